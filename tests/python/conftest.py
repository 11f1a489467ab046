# SPDX-License-Identifier: BSD-3-Clause
"""A toy code (toy/toy_driver.py) and an emulator of it, built once by the command zelos_build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toy"
sys.path.insert(0, str(TOY))  # the driver's entry point is found there, in this process and in spawned ones

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def hosts_folder() -> Path:
    """Where `.ci/hosts` puts what tests need and no package has ready: $ZELOS_HOSTS, else build/hosts."""
    return Path(os.environ.get("ZELOS_HOSTS", Path(__file__).parents[2] / "build/hosts"))


def toy_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    paths = [str(TOY), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "SOURCE_DATE_EPOCH": "1700000000",
        **(extra or {}),
    }


def run_build(*arguments: object, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zelos.build.cli", *map(str, arguments)]
    return subprocess.run(command, env=toy_environment(env), capture_output=True, text=True, timeout=900)


@pytest.fixture
def build() -> Command:
    """build(SPEC, *arguments, env=...) runs zelos_build."""
    return run_build


@pytest.fixture
def toy_spec(tmp_path: Path) -> Path:
    """A copy of the toy's spec."""
    return Path(shutil.copy(TOY / "toy.yaml", tmp_path / "toy.yaml"))


@pytest.fixture(scope="session")
def toy_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the toy was built; do not change it."""
    folder = tmp_path_factory.mktemp("toy")
    done = run_build(TOY / "toy.yaml", "-o", folder, "-j2")
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="session")
def toy_artifact(toy_build: Path) -> Path:
    return toy_build / "toy.build" / "artifact" / "toy.h5"


#: What each emulator of the toy's atlas has in place of the lines of toy.yaml.
TOY_ATLAS = {
    "toy_base": {"fixed": "{B: 0, M: 0.1}"},
    "toy_b": {"extra_args": "{fluid: ppf}", "fixed": "{M: 0.1}", "parameters": "{B: [-1, 1]}"},
    "toy_m": {"extra_args": "{species: 3}", "fixed": "{B: 0}", "parameters": "{M: [0, 0.5]}"},
    "toy_wide": {"fixed": "{B: 0, M: 0.1}", "A": "[0.5, 4]"},
    "toy_other_b": {"fixed": "{B: 0.3, M: 0.1}"},
    "toy_b_m": {"parameters": "{B: [-1, 1]\n  M: [0, 0.5]}"},
    "toy_old": {"extra_args": "{tilt: 0.01}", "fixed": "{B: 0, M: 0.1}"},
}


def atlas_spec(name: str) -> str:
    changes = TOY_ATLAS[name]
    config = "".join(f"\n  {key}: {changes[key]}" for key in ("extra_args", "fixed") if key in changes)
    extra = changes.get("parameters", "{}")[1:-1]
    spectra = "" if name == "toy_b" else "  Cl.tt: {ell: [2, 120], transforms: [log]}\n"
    return f"""name: {name}
config:
  code: toy
  version: 1.2.0{config}
parameters:
  A: {changes.get("A", "[1, 2]")}
  n: [0.9, 1.0]
  {extra}
outputs:
  Pk.linear: {{k: {{min: 1e-2, max: 1, n: 12, spacing: log}}, z: [0, 0.5, 1.0, 2.0], transforms: [log]}}
{spectra}emulator_fn: {{type: polynomial}}
training: {{n: 40, validation: 8, seed: 11, threads: 1}}
"""


@pytest.fixture(scope="session")
def toy_atlas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Emulators of the toy that differ in what they vary, and in settings: name -> artifact."""
    folder = tmp_path_factory.mktemp("atlas")
    found = {}
    for name in TOY_ATLAS:
        spec = folder / f"{name}.yaml"
        spec.write_text(atlas_spec(name))
        done = run_build(spec, "-o", folder, "-j1", "--stage", "validate")
        assert done.returncode == 0, done.stderr
        found[name] = folder / f"{name}.build" / "artifact" / f"{name}.h5"
    return found
