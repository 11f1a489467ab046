# SPDX-License-Identifier: BSD-3-Clause
"""CAMB_linear_matter_power, which ships, against CAMB called here without zelos."""

import numpy as np
import pytest

import zelos

camb = pytest.importorskip("camb")
pytestmark = [pytest.mark.camb]

HUB = "hub:CAMB_linear_matter_power"
K, Z = np.geomspace(1e-4, 9.9, 60), np.array([0.0, 0.7, 3.0, 10.0])


def run(Omega_b, Omega_cdm, H0, logA, ns, w0):
    h2 = (H0 / 100) ** 2
    parameters = camb.set_params(
        WantCls=False, H0=H0, ombh2=Omega_b * h2, omch2=Omega_cdm * h2, As=1e-10 * np.exp(logA), ns=ns,
        mnu=0.06, nnu=3.044, num_massive_neutrinos=1, w=w0, dark_energy_model="ppf",
        redshifts=Z[::-1].tolist(), kmax=10,
    )  # fmt: skip
    parameters.NonLinear = camb.model.NonLinear_none
    return camb.get_results(parameters)


def power(results):
    return results.get_matter_power_interpolator(nonlinear=False, hubble_units=False, k_hunit=False).P(Z, K)


@pytest.mark.parametrize(
    "point",
    [
        (0.049, 0.262, 67.4, 3.05, 0.966, -1.0),
        (0.02, 0.21, 76.0, 2.8, 1.0, -0.5),
        (0.04, 0.32, 63.0, 3.3, 0.92, -2.5),
    ],
)
def test_linear_power_and_derived(point):
    names = ("Omega_b", "Omega_cdm", "H0", "logA", "ns", "w0")
    params = dict(zip(names, point, strict=True))
    emulator, results = zelos.get_emulator(HUB), run(**params)
    np.testing.assert_allclose(emulator(params, K, Z).T, power(results), rtol=1e-3)
    derived, expected = emulator.derived(params), results.get_derived_params()
    assert derived["sigma8"] == pytest.approx(results.get_sigma8_0(), rel=5e-4)
    for name in ("age", "rdrag", "zdrag"):
        assert derived[name] == pytest.approx(expected[name], rel=1e-4), name


@pytest.mark.parametrize("name", ["CAMB_lcdm", "CAMB_linear_matter_power"])
def test_predicted_errors_are_of_the_size_of_the_measured_ones(name):
    emulator = zelos.get_emulator(f"hub:{name}")
    accuracy = emulator.info["accuracy"]
    points = np.random.default_rng(3).uniform(size=(50, len(emulator.ranges)))
    low, high = np.array(list(emulator.ranges.values())).T
    predicted = {key: np.median(value) for key, value in emulator.error(low + points * (high - low)).items()}
    for output, entry in accuracy["outputs"].items():
        if not output.startswith("Cl."):
            assert 0.2 * entry["relative"]["p50"] < predicted[output] < 5 * entry["relative"]["p95"], output
    if "delta_chi2" in accuracy["delta_chi2"]:
        whole = accuracy["delta_chi2"]["delta_chi2_all"]
        spectra = sum(predicted[f"Cl.{which}"] for which in ("tt", "te", "ee"))
        assert 0.1 * whole["p50"] < spectra < whole["p95"]
    assert 1e-7 < predicted["derived"] < 2e-4


@pytest.mark.parametrize("name", ["CAMB_lcdm", "CAMB_lcdm_mnu", "CAMB_lcdm_nnu", "CAMB_w0wa"])
def test_predicted_errors_of_spectra_are_calibrated(name):
    emulator = zelos.get_emulator(f"hub:{name}")
    for spectra in (["Cl.tt", "Cl.te", "Cl.ee"], ["Cl.tt", "Cl.te", "Cl.ee", "Cl.pp"], ["Cl.bb"], ["Cl.pp"]):
        model = emulator.error_model(spectra)
        assert model.n_left_out == emulator.info["provenance"]["training_set"]["n"]
        assert 0.8 < model.calibration < 3


def test_fallback_beyond_w0():
    params = {"Omega_b": 0.049, "Omega_cdm": 0.262, "H0": 67.4, "logA": 3.05, "ns": 0.966, "w0": -0.2}
    with pytest.raises(zelos.OutsideRegion, match="w0"):
        zelos.get_emulator(HUB)(params, K, Z)
    emulator = zelos.get_emulator(HUB, fallback="camb")
    np.testing.assert_allclose(emulator(params, K, Z).T, power(run(**params)), rtol=1e-4)
    assert emulator.last_source == "fallback"


PLANCK = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.4, "tau": 0.055, "ns": 0.965}
SETTINGS = {
    "halofit_version": "mead2016",
    "lmax": 4400,
    "lens_potential_accuracy": 8,
    "min_l_logl_sampling": 6000,
    "lSampleBoost": 2,
}


@pytest.mark.parametrize(
    ("name", "extension", "camb_only"),
    [
        ("CAMB_lcdm", {}, {"mnu": 0.06, "nnu": 3.044, "num_massive_neutrinos": 1}),
        ("CAMB_lcdm_mnu", {"mnu": 0.23}, {"nnu": 3.044, "num_massive_neutrinos": 3}),
        ("CAMB_lcdm_nnu", {"nnu": 3.6}, {"mnu": 0.06, "num_massive_neutrinos": 1}),
        (
            "CAMB_w0wa",
            {"w": -0.7, "wa": -0.9},
            {"mnu": 0.06, "nnu": 3.044, "num_massive_neutrinos": 1, "dark_energy_model": "ppf"},
        ),
    ],
)
def test_an_extension_is_that_of_camb(name, extension, camb_only):
    emulator = zelos.get_emulator(f"hub:{name}")
    params = {**PLANCK, "logA": 3.05, **extension}
    results = camb.get_results(
        camb.set_params(As=1e-10 * np.exp(3.05), **PLANCK, **extension, **camb_only, **SETTINGS)
    )
    expected = results.get_cmb_power_spectra(CMB_unit="muK", spectra=["total"], raw_cl=True)["total"]
    lensing = results.get_lens_potential_cls(raw_cl=True)[:, 0]
    spectra = emulator(params)
    ell = np.arange(2, 2501)
    at = np.searchsorted(spectra["ell"], ell)
    sigma = np.sqrt(2 / (2 * ell + 1))
    # The k that the training needs for P(k) moves CAMB's own lensing potential by 2 % of cosmic variance.
    for key, truth, most in (
        ("tt", expected[ell, 0], 0.3),
        ("ee", expected[ell, 1], 0.3),
        ("pp", lensing[ell], 3),
    ):
        found = spectra[key][at]
        assert np.sum(((found / truth - 1) / sigma) ** 2) < most, key
    derived = emulator.derived(params)
    assert derived["rdrag"] == pytest.approx(results.get_derived_params()["rdrag"], rel=1e-4)
    assert derived["thetastar"] * 100 == pytest.approx(results.get_derived_params()["thetastar"], rel=1e-5)
    assert derived["zrei"] == pytest.approx(results.Params.Reion.redshift, rel=1e-3)
