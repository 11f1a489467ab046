# SPDX-License-Identifier: BSD-3-Clause
"""Compilers, the library of the installed package, and the 20 points that every host must answer alike."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import zelos

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
INCLUDE = ROOT / "core/include"
HOSTS = ROOT / "plugins/hosts"
PACKAGE = Path(zelos.__file__).parent
LINK = [f"-L{PACKAGE}", "-lzelos", f"-Wl,-rpath,{PACKAGE}"]
NAMES = ("ombh2", "omch2", "H0", "tau", "logA", "ns")
#: Every host agrees with the C++ API to this, relative: units are converted, nothing else is computed.
TOLERANCE = 1e-12


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, which is not installed")


def run(command: Sequence[object], folder: Path | None = None, **options: object) -> str:
    """What a command prints. Fails with its errors."""
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=600, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def ones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fallback plugin, CAMB 0.0.1, whose every number is 1."""
    need("g++")
    plugin = tmp_path_factory.mktemp("ones") / "ones.so"
    source = HERE / "ones.cpp"
    run(["g++", "-std=c++17", "-shared", "-fPIC", f"-I{INCLUDE}", source, "-o", plugin])
    return plugin


class Reference(NamedTuple):
    """Answers of the C++ API to answers.cpp's requests: values[point, i]."""

    folder: Path
    points: np.ndarray
    values: np.ndarray


def predicted_errors(artifact: Path, points: np.ndarray) -> np.ndarray:
    """What compare.f90 and compare.jl ask of error models: mean and quantile of the ideal TT, TE, EE, and of
    data in three bins of TT to ell = 301."""
    emulator = zelos.get_emulator(artifact)
    windows = np.repeat(np.diag([1 / 50, 1 / 100, 1 / 150]), (50, 100, 150), axis=1)
    covariance = 1e-4 * np.array([[4, 1, 0.5], [1, 2, 0.25], [0.5, 0.25, 1]])
    ideal = emulator.error_model(["Cl.tt", "Cl.te", "Cl.ee"])(points)
    ell = {"ell": np.arange(2.0, 302)}
    binned = emulator.error_model(["Cl.tt"], ell, covariance, windows, points[0])(points)
    return np.column_stack([*ideal, *binned])


@pytest.fixture(scope="session")
def artifact() -> Path:
    path = ROOT / "configs/emulators/CAMB_lcdm.h5"
    if not path.is_file():
        pytest.skip(f"needs {path.relative_to(ROOT)}, which is not in this checkout")
    return path


@pytest.fixture(scope="session")
def reference(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    need("g++")
    folder = tmp_path_factory.mktemp("answers")
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    run(["g++", *flags, f"-I{INCLUDE}", HERE / "answers.cpp", *LINK, "-o", folder / "answers"])
    run([folder / "answers", artifact, folder])
    points = np.fromfile(folder / "points.bin").reshape(20, 6)
    predicted_errors(artifact, points).tofile(folder / "errors.bin")
    return Reference(folder, points, np.fromfile(folder / "answers.bin").reshape(20, -1))
