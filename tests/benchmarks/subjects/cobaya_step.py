# SPDX-License-Identifier: BSD-3-Clause
"""A step of a Cobaya chain: log-posterior at a new point, Planck 2018 TTTEEE lite and a prior on tau."""

from __future__ import annotations

from typing import Any

import numpy as np
from cobaya.model import get_model
from cobaya.theory import Theory

import zelos

from . import common

TITLE = "Cobaya"
NOTE = "Planck 2018 TTTEEE lite"
LIKELIHOOD = "planck_2018_highl_plik.TTTEEE_lite_native"


class Constant(Theory):  # type: ignore[misc]
    """Spectra at no cost: what Cobaya and the likelihood take by themselves."""

    params = dict.fromkeys(common.NAMES)

    def get_Cl(self, ell_factor: bool = False, units: str = "FIRASmuK2") -> dict[str, Any]:
        return {name: np.ones(2509) for name in ("tt", "te", "ee", "ell")}

    def get_can_provide(self) -> list[str]:
        return ["Cl"]


def versions() -> dict[str, str]:
    return common.version("cobaya")


def model(theory: dict[str, Any], packages: str) -> Any:
    flat = {
        name: {"prior": {"min": centre - 2 * width, "max": centre + 2 * width}}
        for name, centre, width in zip(common.NAMES, common.CENTRE, common.WIDTH, strict=True)
    }
    flat["tau"]["prior"] = {"dist": "norm", "loc": 0.0544, "scale": 0.0073}
    flat["logA"]["drop"] = "constant" not in theory  # type: ignore[assignment]
    amplitude = (
        {} if "constant" in theory else {"As": {"value": "lambda logA: 1e-10*np.exp(logA)"}, "mnu": 0.06}
    )
    planck = {"prior": {"dist": "norm", "loc": 1, "scale": 0.0025}}
    return get_model(
        {
            "theory": theory,
            "likelihood": {LIKELIHOOD: None},
            "params": {**flat, **amplitude, "A_planck": planck},
            "packages_path": packages,
        }
    )


def step(theory: dict[str, Any], packages: str) -> Any:
    posterior = model(theory, packages)
    points = [
        dict(zip(common.NAMES, row.tolist(), strict=True)) | {"A_planck": 1.0} for row in common.points(64)
    ]
    result = posterior.logposterior(points[0], cached=False)
    assert np.isfinite(result.logpost)
    return common.in_turn(lambda point: posterior.logposterior(point, cached=False), points), 1


def cases(options: dict[str, Any]) -> common.Cases:
    packages = options["packages"]
    if not packages:
        raise FileNotFoundError("no folder of Cobaya's packages was given (--packages)")
    emulator = options["emulator"]
    result = {
        "Cobaya step, no theory": step({"constant": {"external": Constant}}, packages),
        "Cobaya step, zelos": step(
            {"zelos.cobaya.Zelos": {"emulator": emulator, "fallback": None, "outside": "error"}}, packages
        ),
    }
    if options["camb"]:
        settings = dict(zelos.get_emulator(emulator).info.get("provenance", {}).get("config", {}))
        for name in ("mnu", *common.NAMES):
            settings.pop(name, None)
        camb = {"camb": {"extra_args": settings or {"lens_potential_accuracy": 1}}}
        result["Cobaya step, CAMB"] = step(camb, packages)
    return result
