# SPDX-License-Identifier: BSD-3-Clause
"""C and Fortran: the examples print what the emulator says, and the same points agree with the C++ API."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import zelos

from .conftest import HERE, HOSTS, INCLUDE, LINK, NAMES, TOLERANCE, Reference, need, run

C_FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{INCLUDE}"]
F_FLAGS = ["-std=f2008", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZERS = ["-g", "-fcheck=all", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
MODULE = HOSTS / "fortran/zelos.f90"
STRUCTS = HOSTS / "fortran/zelos_c.f90"


def compile_module(folder: Path, flags: list[str]) -> list[Path]:
    need("gfortran")
    objects = [folder / f"{source.stem}.o" for source in (STRUCTS, MODULE)]
    for source, made in zip((STRUCTS, MODULE), objects, strict=True):
        run(["gfortran", *flags, "-J", folder, "-c", source, "-o", made])
    return objects


def expected_example(artifact: Path) -> str:
    """What spectra.c and spectra.f90 print, by the Python package."""
    emulator = zelos.get_emulator(artifact)
    point = dict(zip(NAMES, (0.0224, 0.120, 67.4, 0.054, 3.045, 0.965), strict=True))
    cl = emulator(point, np.array([220.0]), output="Cl.tt")[0]
    derived = emulator.derived(point)
    outside = emulator.verdict({**point, "tau": 0.25})
    return (
        f"D_220 {220 * 221 / (2 * np.pi) * cl:.4f} muK^2, sigma8 {derived['sigma8']:.6f}, "
        f"rdrag {derived['rdrag']:.4f} Mpc\noutside: {outside}\n"
    )


def asks_for_another_label(source: Path, folder: Path) -> Path:
    """The example, asking for a derived parameter that no emulator has."""
    text = re.sub(r"""(?<=index_of\()(&?labels, ['"])rdrag""", r"\1rdrga", source.read_text())
    assert text.count("rdrga") == 1
    copy = folder / f"other{source.suffix}"
    copy.write_text(text)
    return copy


def fails_for_want_of_a_label(program: Path, artifact: Path) -> bool:
    done = subprocess.run([program, artifact], capture_output=True, text=True)
    return done.returncode == 1 and not done.stdout and "has no sigma8 or no rdrag" in done.stderr


def test_c_example(artifact: Path, tmp_path: Path) -> None:
    need("gcc")
    run(["gcc", *C_FLAGS, HOSTS / "c/spectra.c", *LINK, "-lm", "-o", tmp_path / "spectra"])
    assert run([tmp_path / "spectra", artifact]) == expected_example(artifact)
    other = asks_for_another_label(HOSTS / "c/spectra.c", tmp_path)
    run(["gcc", *C_FLAGS, other, *LINK, "-lm", "-o", tmp_path / "other"])
    assert fails_for_want_of_a_label(tmp_path / "other", artifact)


def test_fortran_example(artifact: Path, tmp_path: Path) -> None:
    objects = compile_module(tmp_path, F_FLAGS)
    source = HOSTS / "fortran/spectra.f90"
    run(["gfortran", *F_FLAGS, "-I", tmp_path, source, *objects, *LINK, "-o", tmp_path / "spectra"])
    assert run([tmp_path / "spectra", artifact]) == expected_example(artifact)
    other = asks_for_another_label(source, tmp_path)
    run(["gfortran", *F_FLAGS, "-I", tmp_path, other, *objects, *LINK, "-o", tmp_path / "other"])
    assert fails_for_want_of_a_label(tmp_path / "other", artifact)


def test_same_points_in_c(reference: Reference, artifact: Path, tmp_path: Path) -> None:
    need("gcc")
    run(["gcc", *C_FLAGS, HERE / "compare.c", *LINK, "-lm", "-o", tmp_path / "compare"])
    assert float(run([tmp_path / "compare", artifact, reference.folder])) <= TOLERANCE


@pytest.mark.parametrize("checks", [["-O2"], SANITIZERS], ids=["optimised", "sanitized"])
def test_same_points_in_fortran(
    reference: Reference, artifact: Path, ones: Path, tmp_path: Path, checks: list[str]
) -> None:
    """The sanitized program sees an access out of bounds, and at its end whatever was not released."""
    flags = ["-std=f2008", *checks]
    objects = compile_module(tmp_path, flags)
    program = tmp_path / "compare"
    run(["gfortran", *flags, "-I", tmp_path, HERE / "compare.f90", *objects, *LINK, "-o", program])
    assert float(run([program, artifact, reference.folder, ones])) <= TOLERANCE


def test_the_module_has_every_status_and_reason() -> None:
    """Numbers in zelos.f90 are those of the headers."""
    text = MODULE.read_text()
    headers = "".join((INCLUDE / f"zelos/abi/{name}").read_text() for name in ("zelos.h", "zelos_status.h"))
    statuses = re.findall(r"^  (ZELOS_(?:OK|E_\w+)) = (\d+)", headers, re.M)
    reasons = re.search(r"typedef enum zelos_reason \{(.*?)\}", headers, re.S)
    assert reasons is not None
    constants = statuses + re.findall(r"^  (ZELOS_\w+) = (\d+),", reasons[1], re.M)
    assert len(constants) >= 17
    for name, value in constants:
        assert re.search(rf"\b{name} = {value}\b", text), f"{name} = {value}"
