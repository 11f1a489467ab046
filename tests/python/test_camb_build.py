# SPDX-License-Identifier: BSD-3-Clause
"""The smallest real thing: configs/examples/tiny.yaml, built with CAMB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zelos

from .conftest import run_build

pytestmark = [pytest.mark.camb, pytest.mark.slow]

camb = pytest.importorskip("camb")
SPEC = Path(__file__).parents[2] / "configs" / "examples" / "tiny.yaml"
POINT = {"H0": 68.1, "omch2": 0.1187}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    done = run_build(SPEC, "-o", folder, "-j2", "--no-learning-curve")
    assert done.returncode == 0, done.stderr
    return folder / "tiny.tar.gz"


def camb_power(point: dict[str, float], k: np.ndarray, z: float) -> np.ndarray:
    pars = camb.set_params(ombh2=0.0224, As=1e-10 * np.exp(3.05), ns=0.965, mnu=0.06, WantCls=False, **point)
    pars.set_matter_power(redshifts=[1.0, 0.5, 0.0], kmax=1.02 * 5)
    pars.NonLinear = camb.model.NonLinear_none
    power = camb.get_results(pars).get_matter_power_interpolator(
        nonlinear=False, hubble_units=False, k_hunit=False
    )
    return np.asarray(power.P(z, k))


def test_it_agrees_with_camb_inside_and_is_camb_outside(artifact: Path) -> None:
    emulator = zelos.get_emulator(artifact, fallback="camb")
    k = np.geomspace(2e-3, 0.9, 20)
    np.testing.assert_allclose(emulator(POINT, k, 0.5), camb_power(POINT, k, 0.5), rtol=3e-3)
    assert emulator.last_source == "emulator"
    outside = {"H0": 78.0, "omch2": 0.1187}
    np.testing.assert_allclose(emulator(outside, k, 0.5), camb_power(outside, k, 0.5), rtol=1e-5)
    assert emulator.last_source == "fallback"
    assert emulator.derived(outside)["omegam"] == pytest.approx(camb_omegam(outside), rel=1e-9)


def camb_omegam(point: dict[str, float]) -> float:
    return float(camb.set_params(ombh2=0.0224, mnu=0.06, **point).omegam)


def test_provenance_has_the_settings_as_camb_reports_them(artifact: Path) -> None:
    record = zelos.get_emulator(artifact).info["provenance"]
    assert record["code_version"] == camb.__version__
    assert record["config"] == {"ombh2": 0.0224, "logA": 3.05, "ns": 0.965, "mnu": 0.06}
    assert "class: <CAMBparams>" in record["settings"]
    assert "ombh2 = 0.0224" in record["settings"]
