# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from zelos.errors import ArgumentError, MissingError
from zelos.fallback import driver as drivers
from zelos.fallback.cosmology import default_axis, multipoles
from zelos.fallback.driver import AxisRequest, resolve_axis


def test_drivers_are_found_by_name_and_by_entry_point() -> None:
    assert drivers.load("camb").code == "camb"
    assert drivers.load("toy").code == "toy"
    assert {"camb", "classy", "toy"} <= set(drivers.available())
    with pytest.raises(MissingError, match="did you mean 'camb'"):
        drivers.load("cambb")


def test_outputs_have_synonyms_and_near_misses() -> None:
    camb = drivers.load("camb")
    assert drivers.canonical_output(camb, "linear_matter_power") == "Pk.linear"
    assert drivers.canonical_derived(camb, "Omega_m") == "omegam"
    with pytest.raises(ArgumentError, match=r"did you mean 'Pk\.linear'"):
        drivers.canonical_output(camb, "Pk.linaer")
    with pytest.raises(ArgumentError, match="did you mean 'rdrag'"):
        drivers.canonical_derived(camb, "rdragg")


def test_default_axes_cover_their_range() -> None:
    np.testing.assert_array_equal(default_axis("Cl.tt", "ell", AxisRequest(2, 30)), np.arange(2, 31))
    for n in (0, 12, 268, 303):
        k = default_axis("Pk.linear", "k", AxisRequest(1e-4, 10, n))
        assert k[0] == 1e-4
        assert k[-1] == 10
        assert np.all(np.diff(k) > 0)
        assert not n or len(k) == n
    z = default_axis("Pk.linear", "z", AxisRequest(0, 10))
    assert (z[0], z[-1], len(z)) == (0, 10, 33)
    z = default_axis("Hubble", "z", AxisRequest(0, 10))
    np.testing.assert_allclose(np.diff(np.log1p(z)), np.log(11) / 80, rtol=1e-12)
    with pytest.raises(ArgumentError, match=r"outputs\.Pk\.linear\.k"):
        default_axis("Pk.linear", "k", None)


def test_acoustic_oscillations_are_resolved() -> None:
    k = default_axis("Pk.linear", "k", AxisRequest(1e-4, 10))
    inside = k[(k >= 0.02) & (k <= 0.5)]
    # The wiggles have a period of about 0.043 in k (1/Mpc): at least a dozen nodes in each.
    assert np.diff(inside).max() < 0.043 / 4
    assert np.diff(k[k < 0.25][-20:]).max() < 0.043 / 7


@pytest.mark.camb
def test_camb_driver_against_camb_itself() -> None:
    camb = pytest.importorskip("camb")
    driver_class = drivers.load("camb")
    k, z = np.geomspace(1e-3, 1, 30), np.array([0, 1.0])
    config = {"mnu": 0.06, "ns": 0.965}
    outputs = {name: {"z": z} for name in ("Hubble", "sigma8_z", "fsigma8")}
    driver = driver_class(config, {"Pk.linear": {"k": k, "z": z}, **outputs, "derived": {}})
    point = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.0, "logA": 3.05}
    found = driver.run(point)
    pars = camb.set_params(ombh2=0.0224, omch2=0.12, H0=67.0, As=1e-10 * np.exp(3.05), ns=0.965, mnu=0.06)
    pars.set_matter_power(redshifts=[1.0, 0.0], kmax=3.0)
    pars.NonLinear = camb.model.NonLinear_none
    pars.WantCls = False
    results = camb.get_results(pars)
    kh, _, power = results.get_matter_power_spectrum(minkh=1e-3 / 0.67, maxkh=1 / 0.67, npoints=30)
    np.testing.assert_allclose(kh * 0.67, k, rtol=1e-6)
    np.testing.assert_allclose(found["Pk.linear"].T, power / 0.67**3, rtol=3e-4)
    np.testing.assert_allclose(found["Hubble"], results.hubble_parameter(z), rtol=1e-9)
    derived = dict(zip(driver_class.derived, found["derived"], strict=True))
    # CAMB's own rule for sigma8 needs k finer than CAMB's default.
    pars.set_matter_power(redshifts=[1.0, 0.0], kmax=5.0, k_per_logint=50)
    fine = camb.get_results(pars)
    np.testing.assert_allclose(derived["sigma8"], fine.get_sigma8_0(), rtol=3e-6)
    np.testing.assert_allclose(found["sigma8_z"], fine.get_sigma8()[::-1], rtol=3e-6)
    np.testing.assert_allclose(found["fsigma8"], fine.get_fsigma8()[::-1], rtol=3e-6)
    assert derived["S8"] == pytest.approx(derived["sigma8"] * np.sqrt(derived["omegam"] / 0.3), rel=1e-12)
    assert "ns = 0.965" in driver.settings(point)
    assert driver.version == camb.__version__
    assert len(driver.library_hash()) == 64


@pytest.mark.camb
def test_what_a_settings_file_says_stays_beside_the_parameters(tmp_path: Path) -> None:
    camb = pytest.importorskip("camb")
    written = camb.set_params(
        H0=71.0, ombh2=0.021, omch2=0.11, omk=0.01, mnu=0.2, nnu=3.3, num_massive_neutrinos=3, TCMB=2.7,
        YHe=0.25, tau=0.07, As=1.9e-9, ns=0.94, nrun=0.01, w=-0.9,
    )  # fmt: skip
    camb.write_ini(written, str(tmp_path / "settings.ini"))
    driver = drivers.load("camb")({"ini": tmp_path / "settings.ini"}, {"Hubble": {"z": np.array([0.0, 1.0])}})

    def differences(**point: float) -> set[str]:
        found = driver._params(point)
        names = ("H0", "ombh2", "omch2", "omk", "omnuh2", "num_nu_massive", "N_eff", "TCMB", "YHe")
        values = {name: (getattr(found, name), getattr(written, name)) for name in names}
        for name in ("As", "ns", "nrun"):
            values[name] = getattr(found.InitPower, name), getattr(written.InitPower, name)
        values["tau"] = found.Reion.optical_depth, written.Reion.optical_depth
        values["w"] = found.DarkEnergy.w, written.DarkEnergy.w
        return {name for name, (a, b) in values.items() if a != pytest.approx(b, rel=1e-12)}

    assert differences() == set()
    assert differences(ombh2=0.023) == {"ombh2"}
    assert differences(w0=-1.1, ns=0.96) == {"w", "ns"}
    assert differences(logA=3.0, tau=0.05) == {"As", "tau"}
    assert differences(mnu=0.1) == {"omnuh2"}
    assert differences(Omega_b=0.05) == {"ombh2"}
    assert driver._params({"Omega_b": 0.05}).ombh2 == pytest.approx(0.05 * 0.71**2)
    assert differences(thetastar=0.0104) == {"H0"}


@pytest.mark.camb
def test_all_that_a_settings_file_says_stays(tmp_path: Path) -> None:
    camb = pytest.importorskip("camb")
    general = {"H0": 71.0, "ombh2": 0.021, "omch2": 0.11, "tau": 0.07, "w": -0.9, "wa": -0.2}
    written = camb.set_params(
        **general, As=1.9e-9, dark_energy_model="ppf", r=0.1, nt=-0.01, pivot_tensor=0.01, lmax=2000,
        halofit_version="takahashi", lens_potential_accuracy=2, AccuracyBoost=1.1, deltazrei=0.7,
    )  # fmt: skip
    path = tmp_path / "settings.ini"
    camb.write_ini(written, str(path))
    axes = {"Cl.tt": {"ell": np.arange(2, 101)}}
    driver = drivers.load("camb")({"ini": path}, axes)
    chosen = ("WantTransfer", "kmax", "high_precision", "NonLinear")
    before, now = (
        [line for line in str(found).splitlines() if not line.strip().startswith(chosen)]
        for found in (camb.read_ini(str(path)), driver._params({}))
    )
    assert now == before
    with_r = driver._params({"r": 0.2})
    tilt = -0.2 / 8 * (2 - with_r.InitPower.ns - 0.2 / 8)
    assert (with_r.InitPower.r, with_r.InitPower.nt) == (0.2, pytest.approx(tilt, rel=1e-12))
    finer = drivers.load("camb")({"ini": path, "lSampleBoost": 2}, axes)._params({})
    assert (finer.Accuracy.AccuracyBoost, finer.Accuracy.lSampleBoost) == (1.1, 2)
    # Neutrinos of several masses are no number of arguments.
    split = camb.set_params(H0=71.0, mnu=0.1, num_massive_neutrinos=2, neutrino_hierarchy="normal")
    camb.write_ini(split, str(path))
    with pytest.raises(ValueError, match=r"config\.ini has nu_mass_numbers = \[2, 1\].*neutrino_hierarchy"):
        driver._params({"mnu": 0.12})
    said = drivers.load("camb")({"ini": path, "neutrino_hierarchy": "normal"}, axes)
    assert list(said._params({}).nu_mass_numbers) == [2, 1]


def test_camb_gets_lmax_where_its_settings_need_it() -> None:
    camb = pytest.importorskip("camb")
    ell = {"Cl.tt": {"ell": np.arange(2, 3001)}}
    point = {"ombh2": 0.0224, "omch2": 0.12, "h": 0.67}
    found = drivers.load("camb")({"lens_potential_accuracy": 2}, ell)._params(point)
    expected = camb.set_params(ombh2=0.0224, omch2=0.12, H0=67.0, lmax=3000, lens_potential_accuracy=2)
    assert (found.max_l, found.max_eta_k, found.H0) == (expected.max_l, expected.max_eta_k, 67.0)
    with pytest.raises(ValueError, match=r"outputs go to ell = 3000, config\.extra_args\.lmax to 600"):
        drivers.load("camb")({"lmax": 600}, ell)._params(point)


def test_camb_says_what_it_assumes() -> None:
    pytest.importorskip("camb")
    driver = drivers.load("camb")
    cl = {"Cl.tt": {"ell": np.arange(2, 301)}}
    assert driver({"mnu": 0.06}, cl).assumed({"H0": 67.0, "Omega_b": 0.05, "logA": 3.05, "ns": 0.96}) == (
        pytest.approx({"omch2": 0.12, "tau": driver({}, cl)._params({"H0": 67.0}).Reion.optical_depth})
    )
    everything = {"ombh2": 0.0224, "omch2": 0.12, "h": 0.67, "As": 2e-9, "ns": 0.96, "tau": 0.06}
    assert driver({}, cl).assumed(everything) == {}
    assert set(driver({}, {"Hubble": {"z": np.array([0.0])}}).assumed({"H0": 67.0})) == {"ombh2", "omch2"}


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_k_begins_above_zero(low: float) -> None:
    with pytest.raises(ArgumentError, match=r"outputs\.Pk\.linear\.k: expected values above 0"):
        default_axis("Pk.linear", "k", AxisRequest(low, 2.0, 0))


def test_classy_driver_against_classy_itself() -> None:
    classy = pytest.importorskip(
        "classy", reason="NOT TESTED: the driver of CLASS, since classy is not installed"
    )
    driver_class = drivers.load("classy")
    k, z = np.geomspace(1e-3, 1, 30), np.array([0, 1.0])
    ell = np.arange(2, 501)
    outputs = {"Pk.linear": {"k": k, "z": z}, "Cl.tt": {"ell": ell}, "Hubble": {"z": z}, "derived": {}}
    driver = driver_class({"N_ur": 3.044}, outputs)
    found = driver.run({"ombh2": 0.0224, "omch2": 0.12, "H0": 67.0, "logA": 3.05, "ns": 0.965, "tau": 0.055})
    code = classy.Class()
    code.set({"omega_b": 0.0224, "omega_cdm": 0.12, "H0": 67.0, "A_s": 1e-10 * np.exp(3.05), "n_s": 0.965})
    code.set({"N_ur": 3.044, "tau_reio": 0.055, "output": "tCl,pCl,lCl,mPk", "lensing": "yes"})
    code.set({"l_max_scalars": 2000, "z_max_pk": 1, "P_k_max_1/Mpc": 1.02})
    code.compute()
    np.testing.assert_allclose(found["Pk.linear"][:, 1], [code.pk_lin(value, 1.0) for value in k], rtol=1e-9)
    np.testing.assert_allclose(found["Cl.tt"], code.lensed_cl(500)["tt"][2:] * 2.7255e6**2, rtol=1e-9)
    np.testing.assert_allclose(found["Hubble"][0], 67.0, rtol=1e-6)
    derived = dict(zip(driver_class.derived, found["derived"], strict=True))
    assert derived["sigma8"] == pytest.approx(code.sigma8(), rel=1e-9)
    assert derived["rdrag"] == pytest.approx(code.rs_drag(), rel=1e-9)


def test_camb_and_classy_agree_on_every_product() -> None:
    pytest.importorskip("classy", reason="NOT TESTED: CAMB against CLASS, since classy is not installed")
    pytest.importorskip("camb")
    ell, z = np.arange(2.0, 801), np.array([0, 0.5, 2.0])
    axes = {"Cl": {"ell": ell}, "Pk": {"k": np.geomspace(1e-3, 1, 20), "z": z}, "derived": {}}
    tolerances = {
        "Cl.tt": 4e-3, "Cl.te": 4e-3, "Cl.ee": 6e-3, "Cl.bb": 8e-3, "Cl.pp": 1.5e-2, "Pk.linear": 2e-3,
        "sigma8_z": 1e-3, "fsigma8": 1e-2, "Hubble": 1e-5, "angular_diameter_distance": 1e-5,
        "comoving_radial_distance": 1e-5, "derived": 1e-3,
    }  # fmt: skip
    point = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.0, "logA": 3.05, "ns": 0.965, "tau": 0.055}
    neutrino = {"N_ur": 2.0308, "N_ncdm": 1, "m_ncdm": 0.06, "T_ncdm": 0.71611}
    configs = {
        "camb": {
            "num_massive_neutrinos": 1,
            "mnu": 0.06,
            "nnu": 3.044,
            "lmax": 2500,
            "lens_potential_accuracy": 1,
        },
        "classy": {**neutrino, "non linear": "hmcode", "YHe": 0.2454},
    }
    answers = {}
    for code, config in configs.items():
        outputs = {name: axes.get(name.partition(".")[0], {"z": z}) for name in tolerances}
        answers[code] = drivers.load(code)(config, outputs).run(point)
    found, expected = answers["classy"], answers["camb"]
    for name, tolerance in tolerances.items():
        if name == "derived":
            scalars = [
                dict(zip(drivers.load(code).derived, answers[code][name], strict=True)) for code in configs
            ]
            shared = sorted(set(scalars[0]) & set(scalars[1]) - {"YHe"})
            assert {"sigma8", "S8", "rdrag", "zdrag", "age", "zrei", "omegam", "omegal"} <= set(shared)
            for scalar in shared:
                assert scalars[1][scalar] == pytest.approx(scalars[0][scalar], rel=tolerance), scalar
            continue
        scale = np.abs(expected[name])
        if name == "Cl.te":
            scale = np.sqrt(expected["Cl.tt"] * expected["Cl.ee"])
        difference = np.abs(found[name] - expected[name])
        assert np.all(difference <= tolerance * scale), (name, np.nanmax(difference / scale))


@pytest.mark.parametrize("name", ["thetastar", "cosmomc_theta"])
def test_classy_refuses_an_angle_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "classy", ModuleType("classy"))
    driver = drivers.load("classy")({}, {"Hubble": {"z": np.array([0.0])}})
    assert driver._input({"H0": 67.0, "ombh2": 0.022})["omega_b"] == 0.022
    with pytest.raises(ValueError, match=f"{name}: give H0"):
        driver._input({name: 0.0104, "ombh2": 0.022})


@pytest.mark.camb
def test_camb_is_not_believed_beyond_what_it_computed() -> None:
    pytest.importorskip("camb")
    driver_class = drivers.load("camb")
    point = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.0}
    k, z = np.geomspace(1e-3, 0.5, 5), np.array([0.0, 1.0])
    assert driver_class({}, {"Pk.linear": {"k": k, "z": z}}).run(point)["Pk.linear"].shape == (5, 2)
    low = driver_class({}, {"Pk.linear": {"k": np.r_[1e-9, k], "z": z}})
    with pytest.raises(ValueError, match=r"Pk\.linear: k from 1e-09 to 0\.5 is wanted, CAMB computed"):
        low.run(point)
    driver = driver_class({}, {"Cl.tt": {"ell": np.arange(2, 2401)}})
    with pytest.raises(ValueError, match="ell from 2 to 2400 is wanted, CAMB computed 0 to 2350"):
        driver.run(point)
    good = driver_class({"lmax": 600}, {"Cl.tt": {"ell": np.arange(2, 601)}}).run(point)["Cl.tt"]
    assert good.min() > 0


@pytest.mark.parametrize("name", ["redshifts", "kmax", "NonLinear"])
def test_what_follows_from_the_outputs_is_not_a_setting(name: str) -> None:
    pytest.importorskip("camb")
    driver = drivers.load("camb")({name: 1.0}, {"Hubble": {"z": np.array([0.0])}})
    with pytest.raises(ValueError, match=f"{name} follows from the outputs"):
        driver.settings({"H0": 67.0, "ombh2": 0.022})


@pytest.mark.parametrize("name", ["camb", "classy"])
def test_multipoles_are_whole(name: str) -> None:
    driver = drivers.load(name)
    with pytest.raises(ArgumentError, match=r"outputs\.Cl\.tt\.ell: expected whole multipoles, found 2\.39"):
        resolve_axis(driver, "Cl.tt", "ell", AxisRequest(2, 2500, 41, "log"))
    with pytest.raises(ArgumentError, match=r"outputs\.Cl\.tt\.ell: .* leave n out"):
        resolve_axis(driver, "Cl.tt", "ell", AxisRequest(2, 2500, 41))
    whole = resolve_axis(driver, "Cl.tt", "ell", AxisRequest(10, 50, 5, "linear"))
    np.testing.assert_array_equal(multipoles(whole), [10, 20, 30, 40, 50])
    with pytest.raises(ValueError, match=r"ell = 10\.5"):
        multipoles(np.array([10, 10.5]))


@pytest.mark.camb
def test_scalars_of_camb_do_not_depend_on_what_else_is_asked() -> None:
    pytest.importorskip("camb")
    driver = drivers.load("camb")
    point = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.0, "tau": 0.055, "logA": 3.05, "ns": 0.965}
    z = np.array([0.0, 1.0])
    answers = []
    for last in (0.05, 5.0):
        power = {"Pk.linear": {"k": np.geomspace(1e-3, last, 9), "z": z}, "sigma8_z": {"z": z}}
        answers.append(driver({}, {**power, "derived": {}}).run(point))
    answers.append(driver({"lmax": 600}, {"Cl.tt": {"ell": np.arange(2, 601)}, "derived": {}}).run(point))
    low, high, spectra = (dict(zip(driver.derived, a["derived"], strict=True)) for a in answers)
    for name in driver.derived:
        assert low[name] == pytest.approx(high[name], rel=1e-3 if name in ("zrei",) else 1e-4), name
        assert spectra[name] == pytest.approx(high[name], rel=1e-3 if name in ("zrei",) else 1e-4), name
    assert low["zrei"] > 5
    np.testing.assert_allclose(answers[0]["sigma8_z"], answers[1]["sigma8_z"], rtol=1e-5)


@pytest.mark.parametrize(
    ("code", "config", "params"),
    [
        ("camb", {"Omega_b": 0.05}, {"ombh2": 0.0224, "H0": 67.0}),
        ("camb", {"omch2": 0.12}, {"Omega_cdm": 0.3, "H0": 67.0}),
        ("camb", {"w0": -0.9}, {"w": -0.8, "H0": 67.0}),
        ("camb", {"h": 0.7}, {"H0": 67.0}),
        ("camb", {}, {"logA": 3.0, "As": 2e-9, "H0": 67.0}),
        ("classy", {"A_s": 2e-9, "w": -0.9}, {"w0": -0.8}),
        ("classy", {"omega_b": 0.0224}, {"ombh2": 0.022}),
    ],
)
def test_a_quantity_is_given_once(
    code: str, config: dict[str, float], params: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    if code == "classy":
        monkeypatch.setitem(sys.modules, "classy", ModuleType("classy"))
    else:
        pytest.importorskip("camb")
    driver = drivers.load(code)(config, {"Hubble": {"z": np.array([0.0])}})
    with pytest.raises(ValueError, match="are the same quantity: give one of them"):
        driver.settings(params)
    # What was fixed may be told again, with another value.
    fixed, told = {"w": -0.9}, {"w": -0.8, "H0": 67.0}
    text = drivers.load(code)(fixed, {"Hubble": {"z": np.array([0.0])}}).settings(told)
    assert "-0.8" in text and "-0.9" not in text


def test_classy_computes_as_much_of_the_power_as_sigma8_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "classy", ModuleType("classy"))
    outputs = {"Pk.linear": {"k": np.array([0.01, 0.2]), "z": np.array([0.0])}, "derived": {}}
    assert drivers.load("classy")({}, outputs)._input({"H0": 67.0})["P_k_max_1/Mpc"] == 1.02 * 5


def test_the_redshift_of_reionisation_is_that_of_tau() -> None:
    camb = pytest.importorskip("camb")
    from zelos.fallback.camb.driver import _zrei

    cosmology = {"H0": 61.78, "ombh2": 0.02474, "omch2": 0.1376, "w": -0.578, "wa": -2.764}
    found, plain, taus = [], [], np.linspace(0.0205, 0.024, 60)
    for tau in taus:
        parameters = camb.set_params(tau=tau, dark_energy_model="ppf", **cosmology)
        found.append(_zrei(parameters))
        plain.append(parameters.get_zre())
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-3)  # CAMB's tolerance

    def roughness(values: list[float]) -> float:
        third = np.diff(values, 3)
        return float(np.abs(third).max() / np.abs(np.diff(values)).max())

    assert roughness(found) < 1e-3 < roughness(plain)
