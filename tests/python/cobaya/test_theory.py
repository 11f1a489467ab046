# SPDX-License-Identifier: BSD-3-Clause
"""The theory against Cobaya's own camb, on the same points."""

import re
from copy import deepcopy
from typing import ClassVar

import numpy as np
import pytest
from cobaya.likelihood import Likelihood
from cobaya.log import LoggedError
from cobaya.model import get_model

from .conftest import CONFIG, LMAX, Z_POWER, Emulator, K

pytestmark = [pytest.mark.cobaya, pytest.mark.camb]

REDSHIFTS = [0.15, 0.38, 0.61, 1.5]
DERIVED = [
    "H0", "sigma8", "omegam", "omegal", "rdrag", "zdrag", "rstar", "zstar", "thetastar", "DAstar", "zrei",
    "age", "YHe", "Y_p", "DH", "omnuh2", "omegab", "omegac", "omeganu", "As", "yheused", "YpBBN", "kd", "zeq",
]  # fmt: skip
REQUIRED = {
    "Cl": {"tt": 500, "TE": 500, "et": 400, "ee": 500, "bb": 300, "pp": LMAX, "tp": 300, "pe": 300, "tb": 9},
    "Hubble": {"z": REDSHIFTS},
    "angular_diameter_distance": {"z": REDSHIFTS},
    "comoving_radial_distance": {"z": REDSHIFTS},
    "sigma8_z": {"z": Z_POWER[:4]},
    "fsigma8": {"z": Z_POWER[2:]},
    "Pk_interpolator": {"z": Z_POWER, "k_max": 1.5, "nonlinear": (False, True)},
    "Pk_grid": {"z": Z_POWER, "k_max": 1.5, "nonlinear": (False, True)},
    "rdrag": None,
    "omegam": None,
}
# (Cobaya's camb empties what it is handed: each user of these takes a copy.)
# What an emulator trained on these outputs saw: CAMB takes its non-linear lensing from this grid.
TRAINING_GRID = {"Pk_grid": {"z": Z_POWER, "k_max": 1.02 * K[-1], "nonlinear": True}}


class Everything(Likelihood):
    """Requires `required`; every point is as likely."""

    required: ClassVar[dict] = REQUIRED

    def get_requirements(self):
        return deepcopy(self.required)

    def logp(self, **_):
        return 0.0


def cosmology(**sampled):
    """A params block with these sampled; the rest of the standard set is fixed."""
    params = {"ombh2": 0.0224, "omch2": 0.12, "tau": 0.055, "ns": 0.966, "mnu": 0.06}
    if not {"H0", "cosmomc_theta", "thetastar", "theta_MC_100"} & set(sampled):
        params["H0"] = 67.5
    if "logA" not in sampled:
        params["As"] = 2.1e-9
    params.update({p: v if isinstance(v, dict) else {"prior": v} for p, v in sampled.items()})
    return params


def derived(names, params):
    return {name: None for name in names if name not in params}


def model(theory, params, likelihood=Everything, **more):
    likelihoods = {"all": {"external": likelihood}}
    return get_model({"theory": theory, "likelihood": likelihoods, "params": params, **more})


def emulated(params, likelihood=Everything, **options):
    return model({"zelos.cobaya.Zelos": {"emulator": "fake", **options}}, params, likelihood)


def theory_of(a_model):
    return a_model.theory["zelos.cobaya.Zelos"]


@pytest.fixture(scope="module")
def reference():
    params = cosmology(H0=[40, 100])
    del params["mnu"]
    a_model = model({"camb": {"extra_args": CONFIG}}, params)
    a_model.add_requirements({**deepcopy(TRAINING_GRID), **derived(DERIVED, params)})
    return a_model


def at(a_model, derived_names=(), **point):
    """Everything that the likelihood's getters give at a point."""
    assert np.isfinite(a_model.logposterior(point, cached=False).logpost)
    p = a_model.provider
    out = {name: p.get_param(name) for name in derived_names}
    for factor in (False, True):
        for units in ("1", "muK2", "K2", "FIRASmuK2", "FIRASK2"):
            cl = p.get_Cl(ell_factor=factor, units=units)
            for name in ("tt", "te", "et", "ee", "bb", "pp", "pt", "tp", "pe"):
                last = {"pp": LMAX, "bb": 300, "pt": 300, "tp": 300, "pe": 300}.get(name, 500)
                assert len(cl[name]) > last and cl["ell"][0] == 0
                out[f"Cl {name} {units} {factor}"] = cl[name][: last + 1]
    out["Hubble"] = p.get_Hubble(REDSHIFTS)
    out["Hubble 1/Mpc"] = p.get_Hubble(REDSHIFTS[::-1], units="1/Mpc")
    out["D_A"] = p.get_angular_diameter_distance(REDSHIFTS)
    out["chi"] = p.get_comoving_radial_distance(REDSHIFTS[1:])
    out["sigma8_z"] = p.get_sigma8_z(Z_POWER[1:3])
    out["fsigma8"] = p.get_fsigma8(Z_POWER[3])
    for nonlinear in (False, True):
        k, z, power = p.get_Pk_grid(nonlinear=nonlinear)
        assert power.shape == (len(z), len(k)) and np.all(np.diff(z) > 0) and np.all(np.diff(k) > 0)
        assert k[-1] >= 1.5 * (1 - 1e-12) and set(np.round(Z_POWER, 8)) <= set(np.round(z, 8))
        interpolator = p.get_Pk_interpolator(nonlinear=nonlinear)
        out[f"P(k) {nonlinear}"] = interpolator.P([0.0, 0.5, 2.0], np.array([1e-3, 0.01, 0.1, 1.0]))
    return out


def largest_difference(a, b):
    differences = {}
    for name, value in a.items():
        scale = np.maximum(np.abs(b[name]), 1e-3 * np.max(np.abs(b[name])))
        differences[name] = np.max(np.abs(value - b[name]) / np.where(scale == 0, 1, scale))
    return max(differences.items(), key=lambda item: item[1])


@pytest.mark.parametrize("h0", [67.5, 45.0], ids=["emulated", "fallback"])
def test_every_product_agrees_with_camb(use, exact, reference, h0):
    use(exact)
    params = cosmology(H0=[40, 100])
    a_model = emulated(params)
    a_model.add_requirements(derived(DERIVED, params))
    theory = theory_of(a_model)
    mine = at(a_model, DERIVED, H0=h0)
    assert (theory.statistics.emulated, theory.statistics.fallen_back) == ((1, 0) if h0 == 67.5 else (0, 1))
    name, difference = largest_difference(mine, at(reference, DERIVED, H0=h0))
    assert difference < 2e-4, name
    if h0 == 45.0:
        assert difference < 1e-8, name


def test_derived_parameters_of_a_sample(use, exact, reference):
    use(exact)
    params = cosmology(H0=[40, 100])
    s8 = {"derived": "lambda sigma8, omegam: sigma8*(omegam/0.3)**0.5"}
    a_model = emulated({**params, **derived(DERIVED, params), "S8": None, "mine": s8})
    for h0 in (67.5, 45.0):
        names = a_model.parameterization.derived_params()
        got = dict(zip(names, a_model.logposterior({"H0": h0}).derived, strict=True))
        expected = at(reference, DERIVED, H0=h0)
        assert not any(np.isnan(list(got.values())))
        for name in DERIVED:
            if name in got:
                # CAMB's own search for zrei ends within 1e-3.
                apart = {"abs": 1e-3} if name == "zrei" else {"rel": 2e-6}
                assert got[name] == pytest.approx(expected[name], **apart), name
        assert got["S8"] == pytest.approx(got["sigma8"] * (got["omegam"] / 0.3) ** 0.5)
        assert got["S8"] == pytest.approx(got["mine"])


@pytest.mark.parametrize(
    "params, point",
    [
        (cosmology(H0=[40, 100]), {"H0": 67.5}),
        (cosmology(cosmomc_theta=[0.01, 0.011]), {"cosmomc_theta": 0.01041}),
        (cosmology(thetastar=[0.01, 0.011]), {"thetastar": 0.01041}),
        (
            {
                **cosmology(theta_MC_100={"prior": [1, 1.1], "drop": True}),
                "cosmomc_theta": {"value": "lambda theta_MC_100: 1e-2*theta_MC_100", "derived": False},
                "H0": None,
            },
            {"theta_MC_100": 1.041},
        ),
        (
            {
                **cosmology(H0=[40, 100], logA={"prior": [2, 4], "drop": True}),
                "As": {"value": "lambda logA: 1e-10*np.exp(logA)"},
            },
            {"H0": 67.5, "logA": 3.045},
        ),
        (
            {
                "omegabh2": [0.01, 0.03],
                "omegach2": 0.12,
                "H0": 67.5,
                "tau": 0.05,
                "As": 2.1e-9,
                "ns": 0.96,
                "omegak": 0,
            },
            {"omegabh2": 0.022},
        ),
    ],
    ids=["H0", "cosmomc_theta", "thetastar", "theta_MC_100", "logA dropped", "Planck names"],
)
def test_parametrisations(use, exact, params, point):
    """Any of Cobaya's usual inputs, with nothing but the theory's name changed."""

    class Spectra(Likelihood):
        def get_requirements(self):
            return {"Cl": {"tt": 300}, "H0": None}

        def logp(self, **_):
            return 0.0

    use(exact)
    params = {p: {"prior": v} if isinstance(v, list) else v for p, v in params.items()}
    mine = emulated(params, Spectra)
    config = {k: v for k, v in CONFIG.items() if k not in params}
    camb = model({"camb": {"extra_args": config}}, params, Spectra)
    camb.add_requirements(deepcopy(TRAINING_GRID))
    values = []
    for a_model in (mine, camb):
        assert np.isfinite(a_model.loglike(point)[0])
        values.append((a_model.provider.get_Cl()["tt"][2:301], a_model.provider.get_param("H0")))
    assert theory_of(mine).statistics.emulated == 1
    np.testing.assert_allclose(values[0][0], values[1][0], rtol=2e-4)
    assert values[0][1] == pytest.approx(values[1][1], rel=1e-6)


def test_another_value_of_a_fixed_parameter_goes_to_the_fallback(use, scaled):
    use(scaled)
    a_model = emulated({**cosmology(mnu=[0, 1]), "sigma8": None})
    theory = theory_of(a_model)
    assert np.isfinite(a_model.logposterior({"mnu": 0.06}).logpost)
    heavy = a_model.logposterior({"mnu": 0.3})
    assert theory.statistics.as_dict()["reasons"] == {"mnu: fixed parameter": 1}
    camb = model(
        {"camb": {"extra_args": {k: v for k, v in CONFIG.items() if k != "mnu"}}},
        {**cosmology(mnu=[0, 1]), "sigma8": None},
    )
    assert heavy.derived[0] == pytest.approx(camb.logposterior({"mnu": 0.3}).derived[0], rel=1e-3)


def test_states_keep_their_own_arrays(use, scaled):
    """Cobaya goes back to old states: what they hold must not change with the points after them."""
    use(scaled)
    a_model = emulated({**cosmology(H0=[40, 100], logA={"prior": [2, 4]}), "sigma8": None})
    points = [{"H0": 67.5, "logA": 3.0}, {"H0": 45.0, "logA": 3.0}, {"H0": 67.5, "logA": 3.2}]
    seen = []
    for point in points:
        a_model.logposterior(point)
        power = a_model.provider.get_Pk_grid(nonlinear=False)[2].copy()
        seen.append((a_model.provider.get_Cl()["tt"].copy(), power, a_model.provider.get_Hubble(0.38)))
    statistics = theory_of(a_model).statistics
    count = statistics.points
    for point, (tt, power, hubble) in zip(points, seen, strict=True):
        a_model.logposterior(point)
        np.testing.assert_array_equal(a_model.provider.get_Cl()["tt"], tt)
        np.testing.assert_array_equal(a_model.provider.get_Pk_grid(nonlinear=False)[2], power)
        np.testing.assert_array_equal(a_model.provider.get_Hubble(0.38), hubble)
    assert statistics.points == count == 3
    assert seen[2][0][100] == pytest.approx(seen[0][0][100] * np.exp(0.2))


def test_what_a_getter_returns_is_the_callers(use, scaled):
    use(scaled)
    a_model = emulated(cosmology(H0=[40, 100]))
    a_model.logposterior({"H0": 67.5})
    first = a_model.provider.get_Cl()["tt"]
    kept = first.copy()
    first *= 2
    np.testing.assert_array_equal(a_model.provider.get_Cl()["tt"], kept)


def test_requirements_of_all_likelihoods_are_merged(use, exact):
    class Another(Everything):
        required: ClassVar[dict] = {
            "Hubble": {"z": [0.51]},
            "Cl": {"tt": 550},
            "Pk_interpolator": {"z": [0.25], "k_max": 0.5, "nonlinear": False},
        }

    use(exact)
    a_model = get_model(
        {
            "theory": {"zelos.cobaya.Zelos": {"emulator": "fake", "outside": "reject"}},
            "likelihood": {"one": {"external": Everything}, "two": {"external": Another}},
            "params": cosmology(H0=[40, 100]),
        }
    )
    a_model.logposterior({"H0": 67.5})
    p = a_model.provider
    together = p.get_Hubble([0.15, 0.38, 0.51, 0.61, 1.5])
    assert np.all(np.diff(together) > 0)
    assert together[2] == pytest.approx(p.get_Hubble(0.51))
    assert len(p.get_Cl()["tt"]) == LMAX + 1
    assert 0.25 in p.get_Pk_grid(nonlinear=False)[1]


def test_the_callers_requirements_are_left_alone(use, scaled):
    use(scaled)
    required = {"Pk_grid": {"z": [0.0, 1.0], "k_max": 1.0, "nonlinear": (False, True), "vars_pairs": None}}

    class Power(Everything):
        def get_requirements(self):
            return required

    emulated(cosmology(H0=[40, 100]), Power)
    assert required["Pk_grid"].keys() == {"z", "k_max", "nonlinear", "vars_pairs"}


def test_redshifts_that_were_not_required_are_an_error(use, scaled):
    use(scaled)
    a_model = emulated(cosmology(H0=[40, 100]), outside="reject")
    a_model.logposterior({"H0": 67.5})
    for _ in range(2):
        assert a_model.provider.get_Hubble(0.38) == a_model.provider.get_Hubble([0.61, 0.38])[1]
        with pytest.raises(LoggedError, match="not computed for all z requested"):
            a_model.provider.get_Hubble(0.4)


def test_requirements_added_later(use, scaled):
    use(scaled)
    a_model = emulated(cosmology(H0=[40, 100]))
    a_model.logposterior({"H0": 67.5})
    a_model.add_requirements({"Hubble": {"z": [2.0]}, "zstar": None})
    a_model.logposterior({"H0": 67.5})
    assert a_model.provider.get_Hubble(2.0) > a_model.provider.get_Hubble(1.5)
    assert 1000 < a_model.provider.get_param("zstar") < 1200


def test_what_is_not_emulated_is_computed_by_the_fallback(use, caplog):
    use(Emulator(exact=False, without=("fsigma8",)))

    class More(Everything):
        required: ClassVar[dict] = {
            "Hubble": {"z": REDSHIFTS},
            "Omega_b": {"z": REDSHIFTS},
            "fsigma8": {"z": REDSHIFTS},
            "angular_diameter_distance_2": {"z_pairs": [(0.15, 0.61)]},
            "sigma_R": {"z": [0.0], "R": [8.0, 16.0]},
            "Pk_interpolator": {
                "z": Z_POWER,
                "k_max": 1.0,
                "nonlinear": False,
                "vars_pairs": [("Weyl", "Weyl")],
            },
            "N_eff": None,
        }

    params = {**cosmology(H0=[40, 100]), "N_eff": None}
    a_model = emulated(params, More)
    assert "computed by camb at every point" in caplog.text and "Omega_b" in caplog.text
    camb = model({"camb": {"extra_args": CONFIG}}, {k: v for k, v in params.items() if k != "mnu"}, More)
    for h0 in (67.5, 45.0):
        got, expected = [], []
        for a, values in ((a_model, got), (camb, expected)):
            assert a.logposterior({"H0": h0}, cached=False).derived[0] == pytest.approx(3.044, abs=1e-3)
            p = a.provider
            values += [p.get_Omega_b(REDSHIFTS), p.get_fsigma8(REDSHIFTS), p.get_sigma_R()[2]]
            values += [p.get_angular_diameter_distance_2([(0.15, 0.61), (0.61, 0.15)])]
            values += [p.get_Pk_interpolator(("Weyl", "Weyl"), nonlinear=False).P(0.5, [0.01, 0.1])]
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3)
    assert theory_of(a_model).statistics.seconds_supplement > 0


@pytest.mark.parametrize(
    "required, options, message",
    [
        (
            {"Cl": {"tt": 4000}},
            {},
            "ell = 4000 is required, but the emulator has 'Cl.tt' for ell from 2 to 600",
        ),
        ({"Cl": {"xx": 100}}, {}, "no spectra xx"),
        ({"Pk_grid": {"z": [0, 3.0], "k_max": 1}}, {}, "z = 3 is required"),
        ({"Pk_grid": {"z": [0, 1.0], "k_max": 5}}, {}, "k = 5 is required"),
        ({"Hubble": {"z": [0, 5]}}, {}, "Hubble: z = 5 is required"),
        ({"Omega_b": {"z": [0]}}, {"outside": "reject"}, "does not have Omega_b"),
        ({"unlensed_Cl": {"tt": 100}}, {"outside": "error"}, "does not have unlensed_Cl"),
        ({"source_Cl": {"sources": {}}}, {}, "source_Cl of all is not provided"),
        (None, {"outside": "fallbak"}, "'outside' is one of"),
        (None, {"fallback_version": "1"}, "'fallback_version' is"),
        (None, {"fallback": None}, "needs a fallback"),
        (None, {"fallback": {"camb": {}, "classy": {}}}, "name of one theory"),
        (None, {"fallback": "nosuchcode"}, "fallback 'nosuchcode' can not be used"),
        (
            None,
            {"extra_args": {"halofit_version": "mead"}},
            "halofit_version: not set in the training, 'mead' here",
        ),
        (
            None,
            {"extra_args": {"lens_potential_accuracy": 4}},
            "lens_potential_accuracy: 1 in the training, 4 here",
        ),
        (
            None,
            {"extra_args": {"lens_potential_accuracy": 4}, "outside": "reject"},
            "lens_potential_accuracy: 1 in the training, 4 here",
        ),
        (
            None,
            {"extra_args": {"halofit_version": "mead"}, "outside": "error"},
            "halofit_version: not set in the training, 'mead' here",
        ),
        (None, {"emulator_id": "b" * 64}, "made with another emulator"),
        (None, {"falback": "camb"}, "did you mean 'fallback'"),
    ],
)
def test_refused_at_initialisation(use, scaled, required, options, message):
    class Wanted(Everything):
        pass

    Wanted.required = required or {"Cl": {"tt": 100}}
    use(scaled)
    with pytest.raises(LoggedError, match=re.escape(message)):
        emulated(cosmology(H0=[40, 100]), Wanted, **options)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"Q_0": {"prior": [0, 2]}}, "Q_0"),
        ({"tau": None}, "tau"),
        ({"omegamh2": None}, "omegamh2"),
    ],
)
def test_parameters_refused_at_initialisation(use, scaled, change, message):
    use(scaled)
    params = {k: v for k, v in {**cosmology(H0=[40, 100]), **change}.items() if (k, v) != ("tau", None)}
    with pytest.raises(LoggedError, match=message):
        emulated(params)


def test_another_version_is_refused_unless_told_so(use, caplog):
    use(Emulator(exact=False, provenance={"code_version": "1.3.2"}))
    with pytest.raises(LoggedError, match=r"version of camb: 1\.3\.2 in the training"):
        emulated(cosmology(H0=[40, 100]))
    emulated(cosmology(H0=[40, 100]), fallback_version="any")
    assert "1.3.2 in the training" in caplog.text


def test_another_code_is_refused(use):
    use(Emulator(exact=False, provenance={"code": "classy", "code_version": "3.3"}))
    with pytest.raises(LoggedError, match="code: classy in the training, camb here"):
        emulated(cosmology(H0=[40, 100]))


def test_a_settings_file_of_the_training_is_a_difference(use):
    use(Emulator(exact=False, provenance={"ini": "hubble = 70"}))
    with pytest.raises(LoggedError, match="a settings file"):
        emulated(cosmology(H0=[40, 100]))


def test_settings_that_agree_are_taken(use, scaled):
    use(scaled)
    extra = {"lens_potential_accuracy": 1, "nnu": 3.044, "theta_H0_range": [20, 100]}
    a_model = emulated(cosmology(H0=[40, 100]), extra_args=extra)
    assert theory_of(a_model)._fallback.options["extra_args"]["theta_H0_range"] == [20, 100]
    emulated(cosmology(H0=[40, 100]), extra_args=extra, outside="reject")


@pytest.mark.parametrize("name", ["TCMB", "T_cmb"])
def test_the_temperature_of_the_cmb_is_that_of_the_training(use, name):
    use(Emulator(exact=False, provenance={"config": {**CONFIG, name: 2.6}}))
    a_model = emulated(cosmology(H0=[40, 100]), outside="reject")
    assert np.isfinite(a_model.loglike({"H0": 67.5})[0])
    muk, firas = (a_model.provider.get_Cl(units=units)["tt"][2:] for units in ("muK2", "FIRASmuK2"))
    np.testing.assert_allclose(firas / muk, (2.7255 / 2.6) ** 2, rtol=1e-12)


def test_outside_reject(use, scaled):
    use(scaled)
    a_model = emulated(cosmology(H0=[40, 100]), outside="reject")
    assert a_model.loglike({"H0": 45.0})[0] == -np.inf
    assert np.isfinite(a_model.loglike({"H0": 67.5})[0])
    counts = theory_of(a_model).statistics.as_dict()
    assert (counts["rejected"], counts["emulated"], counts["fallback"]) == (1, 1, 0)
    assert counts["reasons"] == {"H0 below its range": 1}


def test_outside_error(use, scaled):
    use(scaled)
    a_model = emulated(cosmology(H0=[40, 100]), outside="error")
    with pytest.raises(LoggedError, match=r"Outside the region of emulator fake_lcdm.*H0"):
        a_model.loglike({"H0": 45.0})


def test_a_point_at_which_the_fallback_fails_has_zero_likelihood(use, scaled):
    use(scaled)
    a_model = emulated(cosmology(omch2=[-1, 1]))
    assert a_model.loglike({"omch2": -0.5})[0] == -np.inf
    assert theory_of(a_model).statistics.failed == 1


def test_an_emulator_that_breaks_stops_the_run(use, scaled, monkeypatch):
    use(scaled)
    a_model = emulated(cosmology(H0=[40, 100]), outside="reject")

    def broken(values):
        raise ArithmeticError("not finite")

    monkeypatch.setattr(theory_of(a_model)._asked[0].query, "evaluate", broken)
    with pytest.raises(LoggedError, match="failed at"):
        a_model.loglike({"H0": 67.5})


def test_version_names_emulator_and_code(use, scaled):
    use(scaled)
    version = emulated(cosmology(H0=[40, 100]), outside="reject").get_versions()["theory"]
    assert version["zelos.cobaya.Zelos"].startswith("fake_lcdm@0.1+" + 12 * "a" + " (camb ")


def test_measured_speed_is_the_emulators(use, scaled):
    """Reference points outside the region must not reorder the blocks."""
    use(scaled)
    a_model = emulated(cosmology(H0=[40, 100]))
    a_model.loglike({"H0": 67.5})
    a_model.loglike({"H0": 45.0})
    theory = theory_of(a_model)
    theory.statistics.seconds_emulated = 0.002
    theory.set_measured_speed(0.4)
    assert theory.get_speed() == pytest.approx(500)


def test_a_parameter_that_no_emulator_knows_goes_to_the_fallback(use, scaled, caplog):
    use(scaled)
    a_model = emulated({**cosmology(Alens=[0, 2]), "sigma8": None})
    assert (
        caplog.text.count("none of the emulators knows 'Alens'; where it is not 1 the real code answers") == 1
    )
    statistics = theory_of(a_model).statistics
    assert np.isfinite(a_model.logposterior({"Alens": 1.0}).logpost)
    assert (statistics.emulated, statistics.fallen_back) == (1, 0)
    assert np.isfinite(a_model.logposterior({"Alens": 1.5}).logpost)
    assert statistics.as_dict()["reasons"] == {"Alens: unknown parameter": 1}
    got = a_model.provider.get_Cl(units="muK2")["ee"][100:500]
    params = cosmology()
    del params["mnu"]
    camb = model({"camb": {"extra_args": {**CONFIG, "Alens": 1.5}}}, params)
    camb.add_requirements(deepcopy(TRAINING_GRID))
    assert np.isfinite(camb.loglike({})[0])
    np.testing.assert_allclose(got, camb.provider.get_Cl(units="muK2")["ee"][100:500], rtol=1e-6)
