# SPDX-License-Identifier: BSD-3-Clause
"""The same points through Python and through Cobaya."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zelos

from .conftest import NAMES, TOLERANCE, Reference

SPECTRA = ("tt", "te", "ee", "bb", "pp")
ELL, K = np.arange(2.0, 2501), np.arange(1, 65) / 64
Z, Z_BACKGROUND = np.array([0.0, 0.5, 1.0, 2.0]), np.array([0.0, 0.125, 0.5, 1.0, 2.5])
BACKGROUND = ("Hubble", "comoving_radial_distance", "angular_diameter_distance")


def test_same_points_in_python(reference: Reference, artifact: Path) -> None:
    emulator = zelos.get_emulator(artifact)
    points = dict(zip(NAMES, reference.points.T, strict=True))
    answer = {
        **emulator.evaluate(points, [f"Cl.{name}" for name in SPECTRA], {"ell": ELL}),
        **emulator.evaluate(points, ["Pk.linear", "Pk.nonlinear"], {"k": K, "z": Z}),
        **emulator.evaluate(points, BACKGROUND, {"z": Z_BACKGROUND}),
        **emulator.evaluate(points, ["sigma8_z", "fsigma8"], {"z": Z}),
        **emulator.evaluate(points, ["derived"]),
    }
    mine = np.concatenate([values.reshape(20, -1) for values in answer.values()], axis=1)
    np.testing.assert_allclose(mine, reference.values, rtol=TOLERANCE)


@pytest.mark.cobaya
def test_same_points_in_cobaya(reference: Reference, artifact: Path) -> None:
    pytest.importorskip("cobaya")
    from cobaya.model import get_model

    model = get_model(
        {
            "theory": {
                "zelos.cobaya.Zelos": {"emulator": str(artifact), "fallback": None, "outside": "error"}
            },
            "likelihood": {"one": None},
            "params": {name: {"prior": {"min": 0, "max": 100}} for name in NAMES} | {"rdrag": None},
        }
    )
    model.add_requirements(
        {
            "Cl": dict.fromkeys(SPECTRA, 2500),
            **{name: {"z": Z_BACKGROUND} for name in BACKGROUND},
            **{name: {"z": Z} for name in ("sigma8_z", "fsigma8")},
        }
    )
    labels = zelos.get_emulator(artifact).labels()
    for values, expected in zip(reference.points, reference.values, strict=True):
        found = model.logposterior(dict(zip(NAMES, values, strict=True)))
        cl = model.provider.get_Cl(ell_factor=False, units="muK2")
        for i, name in enumerate(SPECTRA):
            block = expected[2499 * i : 2499 * (i + 1)]
            np.testing.assert_allclose(cl[name][2:2501], block, rtol=TOLERANCE)
        begin = 5 * 2499 + 2 * 256
        for name in BACKGROUND:
            getter = getattr(model.provider, f"get_{name}")
            mine = getter(Z_BACKGROUND, units="km/s/Mpc") if name == "Hubble" else getter(Z_BACKGROUND)
            np.testing.assert_allclose(mine, expected[begin : begin + 5], rtol=TOLERANCE, err_msg=name)
            begin += 5
        for name in ("sigma8_z", "fsigma8"):
            mine = getattr(model.provider, f"get_{name}")(Z)
            np.testing.assert_allclose(mine, expected[begin : begin + 4], rtol=TOLERANCE, err_msg=name)
            begin += 4
        derived = dict(zip(labels, expected[-len(labels) :], strict=True))
        assert found.derived[0] == pytest.approx(derived["rdrag"], rel=TOLERANCE)
