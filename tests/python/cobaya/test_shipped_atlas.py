# SPDX-License-Identifier: BSD-3-Clause
"""The four emulators of CMB spectra that ship, in one run of Cobaya. Nothing here runs CAMB."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cobaya.log import LoggedError
from cobaya.model import get_model

import zelos

pytestmark = [pytest.mark.cobaya]

EVERY = ["hub:CAMB_lcdm", "hub:CAMB_lcdm_mnu", "hub:CAMB_lcdm_nnu", "hub:CAMB_w0wa"]
LCDM = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.5, "tau": 0.055, "logA": 3.045, "ns": 0.966}
PRIORS = {
    "ombh2": [0.015, 0.03],
    "omch2": [0.05, 0.2],
    "H0": [40, 100],
    "tau": [0.01, 0.2],
    "logA": [2, 4],
    "ns": [0.8, 1.1],
}
PLANCK = "planck_2018_highl_plik.TTTEEE_lite_native"


@pytest.fixture(autouse=True)
def _they_are_there() -> None:
    missing = {name[4:] for name in EVERY} - set(zelos.list_emulators())
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def spectra(_self: Any) -> float:
    return 0.0


def run(params: dict[str, Any], likelihood: Any = None, packages: Path | None = None, **options: Any) -> Any:
    some = {"external": spectra, "requires": {"Cl": {"tt": 2000, "ee": 2000, "te": 2000}}}
    info = {
        "theory": {"zelos.cobaya.Zelos": {"outside": "reject", **options}},
        "likelihood": likelihood or {"spectra": some},
        "params": {**{name: {"prior": range_} for name, range_ in PRIORS.items()}, **params},
    }
    return get_model(info, packages_path=str(packages) if packages else None)


def counts(chain: Any) -> dict[str, int]:
    report = chain.theory["zelos.cobaya.Zelos"].statistics.as_dict()["emulators"]
    return {name: count for name, count in report.items() if count}


def tt(chain: Any, point: dict[str, float]) -> Any:
    assert np.isfinite(chain.logposterior(point).logpost)
    return chain.provider.get_Cl(units="muK2")["tt"][2:2001]


def test_each_point_has_its_emulator(caplog: pytest.LogCaptureFixture) -> None:
    chain = run({"w": {"prior": [-3, 1]}, "wa": {"prior": [-4, 2]}}, atlas="hub:CAMB")
    lcdm = tt(chain, {**LCDM, "w": -1, "wa": 0})
    np.testing.assert_array_equal(lcdm, zelos.get_emulator("hub:CAMB_lcdm")(LCDM)["tt"][:1999])
    assert counts(chain) == {"CAMB_lcdm": 1}
    dark = {**LCDM, "w": -0.8, "wa": -0.5}
    np.testing.assert_array_equal(tt(chain, dark), zelos.get_emulator("hub:CAMB_w0wa")(dark)["tt"][:1999])
    assert chain.logposterior({**LCDM, "w": -2.5, "wa": 0}).logpost == -np.inf
    assert counts(chain) == {"CAMB_lcdm": 1, "CAMB_w0wa": 1}
    assert "CAMB_lcdm_mnu is not asked" in caplog.text
    report = chain.theory["zelos.cobaya.Zelos"].statistics.report()
    assert "3 points: 2 emulated (CAMB_lcdm 1, CAMB_lcdm_mnu 0, CAMB_lcdm_nnu 0, CAMB_w0wa 1)" in report
    assert "1 rejected" in report and "w below its range" in report


@pytest.mark.parametrize(
    ("params", "leader"),
    [
        ({}, "CAMB_lcdm"),
        ({"mnu": 0.06, "w": -1, "wa": 0, "nnu": 3.044, "omk": 0}, "CAMB_lcdm"),
        ({"mnu": {"prior": [0, 1]}}, "CAMB_lcdm_mnu"),
        ({"nnu": {"prior": [2, 5]}}, "CAMB_lcdm_nnu"),
        ({"w": {"prior": [-3, 1]}}, "CAMB_w0wa"),
    ],
)
def test_what_the_run_varies_decides_who_leads(params: dict[str, Any], leader: str) -> None:
    chain = run(params, emulator=EVERY)
    assert chain.theory["zelos.cobaya.Zelos"]._artifact.name == leader
    free = {"mnu": 0.1, "nnu": 3.3, "w": -0.9}
    tt(chain, {**LCDM, **{name: value for name, value in free.items() if isinstance(params.get(name), dict)}})
    assert counts(chain) == {leader: 1}


def test_a_parameter_that_nobody_knows(caplog: pytest.LogCaptureFixture) -> None:
    chain = run({"Alens": {"prior": [0.5, 1.5]}}, atlas="hub:CAMB")
    assert np.isfinite(chain.logposterior({**LCDM, "Alens": 1}).logpost)
    for value in (1.1, 1.2):
        assert chain.logposterior({**LCDM, "Alens": value}).logpost == -np.inf
    assert caplog.text.count("'Alens'; where it is not 1 the point has zero likelihood") == 1
    reasons = chain.theory["zelos.cobaya.Zelos"].statistics.as_dict()["reasons"]
    assert reasons == {"Alens: unknown parameter": 2}


def test_a_point_above_the_tolerance_is_outside() -> None:
    chain = run({}, atlas="hub:CAMB", tolerance=0.3)
    theory = chain.theory["zelos.cobaya.Zelos"]
    assert np.isfinite(chain.logposterior(LCDM).logpost)
    edge = {"ombh2": 0.0182, "omch2": 0.092, "H0": 88.0, "tau": 0.119, "logA": 3.39, "ns": 1.039}
    model = zelos.get_emulator("hub:CAMB_lcdm").error_model(["Cl.tt", "Cl.te", "Cl.ee"])
    assert model(LCDM).quantile < 0.3 < model(edge).quantile
    assert chain.logposterior(edge).logpost == -np.inf
    report = theory.statistics.as_dict()
    assert report["reasons"] == {"predicted error above the tolerance": 1}
    assert report["emulators"]["CAMB_lcdm"] == 1


@pytest.mark.parametrize("tolerance", [0, -1, "small", float("nan")])
def test_a_wrong_tolerance_is_refused(tolerance: Any) -> None:
    with pytest.raises(LoggedError, match="'tolerance' is null or a delta chi"):
        run({}, emulator="hub:CAMB_lcdm", tolerance=tolerance)


def test_a_tolerance_without_spectra_is_refused() -> None:
    likelihood = {"h": {"external": spectra, "requires": {"Hubble": {"z": [0.5]}}}}
    with pytest.raises(LoggedError, match="asks the emulator for none"):
        run({}, likelihood, emulator="hub:CAMB_lcdm", tolerance=0.1)


# Cobaya leaves the file of the covariance open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_planck_lite_does_not_see_which_emulator_answers() -> None:
    packages = Path(os.environ.get("ZELOS_SHARED", "/nowhere")) / "data" / "cobaya_packages"
    if not packages.exists():
        pytest.skip("no ZELOS_SHARED/data/cobaya_packages")
    likelihood = {PLANCK: None}
    point = {**LCDM, "A_planck": 1.0006}
    chi2 = {}
    for name, params in {
        "CAMB_lcdm": {},
        "CAMB_lcdm_nnu": {"nnu": 3.044},
        "CAMB_w0wa": {"w": -1, "wa": 0},
    }.items():
        both = {"A_planck": {"prior": [0.9, 1.1]}, **params}
        chain = run(both, likelihood, packages, emulator=f"hub:{name}")
        chi2[name] = -2 * float(chain.loglikes(point)[0][0])
    together = run({"A_planck": {"prior": [0.9, 1.1]}}, likelihood, packages, atlas="hub:CAMB")
    assert -2 * float(together.loglikes(point)[0][0]) == pytest.approx(chi2["CAMB_lcdm"], abs=1e-9)
    assert max(chi2.values()) - min(chi2.values()) < 0.15, chi2
