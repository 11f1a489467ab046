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
