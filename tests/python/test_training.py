# SPDX-License-Identifier: BSD-3-Clause
"""The core's training as Python sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_driver

import zelos
from zelos import _core

SPEC = """
name: small
config: {code: toy}
parameters: {A: [1, 2], n: [0.9, 1.0]}
outputs: {Cl.tt: {ell: [2, 40], transforms: [log]}, Cl.ee: {ell: [2, 30], transforms: [log]}}
emulator_fn: {type: polynomial}
"""
ELL = {"Cl.tt": np.arange(2.0, 41), "Cl.ee": np.arange(2.0, 31)}


def runs(n: int = 30) -> tuple[np.ndarray, list[dict[str, Any]]]:
    points = np.random.default_rng(5).uniform([1, 0.9], [2, 1.0], (n, 2))
    outputs = [
        {
            "name": name,
            "unit": "muK^2",
            "axis_names": ["ell"],
            "axis_units": [""],
            "axes": [ell.tolist()],
            "labels": [],
            "label_units": [],
            "values": np.array([toy_driver.spectrum(name[3:], *x, ell) for x in points]),
        }
        for name, ell in ELL.items()
    ]
    return points, outputs


def test_an_artifact_from_arrays_and_spectra_of_different_length(tmp_path: Path) -> None:
    stages = []
    path = tmp_path / "small.h5"

    def progress(stage: str, fraction: float, message: str) -> bool:
        stages.append((stage, fraction))
        return True

    spec = _core.parse_spec(SPEC, "small.yaml")
    _core.train(spec, *runs(), str(path), provenance=json.dumps({"code": "toy"}), progress=progress)
    assert stages
    assert all(0 <= fraction <= 1 for _, fraction in stages)
    emulator = zelos.get_emulator(path)
    assert emulator.info["provenance"] == {"code": "toy"}
    spectra = emulator([1.5, 0.95])
    np.testing.assert_array_equal(spectra["ell"], np.arange(2, 31))
    for name in ("tt", "ee"):
        np.testing.assert_allclose(
            spectra[name], toy_driver.spectrum(name, 1.5, 0.95, spectra["ell"]), rtol=1e-3
        )
    _core.attach_accuracy(str(path), json.dumps({"held_out": 3}))
    assert zelos.get_emulator(path).info["accuracy"] == {"held_out": 3}


def test_the_callback_can_cancel_and_its_exceptions_come_through(tmp_path: Path) -> None:
    spec = _core.parse_spec(SPEC, "small.yaml")
    path = tmp_path / "small.h5"
    with pytest.raises(zelos.Cancelled):
        _core.train(spec, *runs(), str(path), progress=lambda *_: False)

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _core.train(spec, *runs(), str(path), progress=interrupt)
    assert not path.exists()


def test_arrays_that_do_not_fit_are_named(tmp_path: Path) -> None:
    spec = _core.parse_spec(SPEC, "small.yaml")
    points, outputs = runs()
    with pytest.raises(zelos.ArgumentError, match=r"Cl\.tt.*1170.*1131"):
        short = [{**outputs[0], "values": outputs[0]["values"][:-1]}, outputs[1]]
        _core.train(spec, points, short, str(tmp_path / "x.h5"))
    with pytest.raises(zelos.ArgumentError, match=r"parameters.*points times 2"):
        _core.train(spec, points[:, :1], outputs, str(tmp_path / "x.h5"))


def test_a_spec_error_says_where() -> None:
    with pytest.raises(zelos.SpecError, match=r"^small\.yaml:4:\d+: "):
        _core.parse_spec(SPEC.replace("[1, 2]", "[2, 1]"), "small.yaml")
