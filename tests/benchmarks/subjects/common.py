# SPDX-License-Identifier: BSD-3-Clause
"""Points, axes and processes that the subjects share."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

Cases = dict[str, tuple[Callable[[], object], float]]

ELL = np.arange(2.0, 2509.0)
BATCH = 256
FOLDER = Path(__file__).resolve().parents[1]
SPECTRA = ("Cl.tt", "Cl.te", "Cl.ee", "Cl.pp")
#: Within five standard deviations of Planck's posterior.
NAMES = ("ombh2", "omch2", "H0", "tau", "logA", "ns")
CENTRE = np.array([0.02237, 0.1201, 67.3, 0.0543, 3.045, 0.9659])
WIDTH = np.array([0.0006, 0.005, 2.5, 0.025, 0.06, 0.018])


def points(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return CENTRE + WIDTH * np.random.default_rng(1).uniform(-1, 1, (n, len(CENTRE)))


def in_turn(call: Callable[[Any], object], arguments: list[Any]) -> Callable[[], object]:
    """Calls with another argument each time, so that nothing can be kept from the call before."""
    turn = itertools.cycle(arguments)
    return lambda: call(next(turn))


def process(code: str, *arguments: str) -> Callable[[], object]:
    """A fresh interpreter that runs `code`."""
    command = [sys.executable, "-c", code, *arguments]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def version(*packages: str) -> dict[str, str]:
    return {package: metadata.version(package) for package in packages}
