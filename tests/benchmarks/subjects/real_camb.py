# SPDX-License-Identifier: BSD-3-Clause
"""CAMB with the settings of the emulator's training."""

from __future__ import annotations

from typing import Any

import numpy as np

import zelos
from zelos.fallback import driver as drivers

from . import common

TITLE = "CAMB"
NOTE = ""
#: For an artifact that does not say how it was trained.
PLAIN = {"lmax": 2600, "lens_potential_accuracy": 1, "mnu": 0.06, "nnu": 3.044, "num_massive_neutrinos": 1}


def versions() -> dict[str, str]:
    return common.version("camb")


def cases(options: dict[str, Any]) -> common.Cases:
    global NOTE
    emulator = zelos.get_emulator(options["emulator"])
    config = emulator.info.get("provenance", {}).get("config")
    NOTE = "settings of the training" if config else "lmax 2600, lens_potential_accuracy 1"
    driver = drivers.load("camb")
    points = [dict(zip(common.NAMES, row.tolist(), strict=True)) for row in common.points(64)]
    spectra: dict[str, dict[str, Any]] = {name: {"ell": common.ELL} for name in common.SPECTRA}
    both = driver(config or PLAIN, {**spectra, "derived": {}})
    power = driver(config or PLAIN, {"Pk.linear": {"k": np.geomspace(1e-4, 10, 200), "z": np.zeros(1)}})
    return {
        "spectra and derived": (common.in_turn(both.run, points), 1),
        "P(k), one z": (common.in_turn(power.run, points), 1),
    }
