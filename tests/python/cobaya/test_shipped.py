# SPDX-License-Identifier: BSD-3-Clause
"""The emulator that ships, in Cobaya, as a user runs it. ZELOS_TEST_EMULATOR names another one."""

import os
import subprocess
import sys

import numpy as np
import pytest
from cobaya.model import get_model
from cobaya.yaml import yaml_dump

import zelos
from zelos.cobaya.products import training_grid

pytestmark = [pytest.mark.cobaya, pytest.mark.camb, pytest.mark.slow]

REFERENCE = os.environ.get("ZELOS_TEST_EMULATOR", "hub:CAMB_lcdm")
REDSHIFTS = [0.0, 0.295, 0.51, 0.706, 0.934, 1.321, 1.484, 2.33]
#: On the grid of the training: CAMB's non-linear lensing depends on where P(k, z) is asked for.
PERTURBATIONS = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
DERIVED = [
    "H0",
    "omegam",
    "sigma8",
    "rdrag",
    "age",
    "zrei",
    "YHe",
    "thetastar",
    "rstar",
    "zstar",
    "DAstar",
    "DH",
]
POINT = {"theta_MC_100": 1.0415, "tau": 0.06, "logA": 3.06}


@pytest.fixture(scope="module")
def emulator():
    try:
        return zelos.get_emulator(REFERENCE)
    except zelos.Error as error:
        pytest.skip(f"{REFERENCE}: {error}")


def params():
    return {
        "theta_MC_100": {"prior": {"min": 1.03, "max": 1.05}, "ref": 1.041, "proposal": 0.001, "drop": True},
        "cosmomc_theta": {"value": "lambda theta_MC_100: 1.e-2*theta_MC_100", "derived": False},
        "logA": {"prior": {"min": 2.9, "max": 3.2}, "ref": 3.05, "proposal": 0.01, "drop": True},
        "As": {"value": "lambda logA: 1e-10*np.exp(logA)"},
        "tau": {"prior": {"min": 0.01, "max": 0.12}, "ref": 0.055, "proposal": 0.005},
        "ombh2": 0.0225,
        "omch2": 0.119,
        "ns": 0.968,
        "mnu": 0.06,
        **dict.fromkeys(DERIVED),
    }


def theory(**options):
    return {"zelos.cobaya.Zelos": {"emulator": REFERENCE, **options}}


def requirements():
    return {
        "Cl": {"tt": 2500, "te": 2500, "ee": 2500, "bb": 2000, "pp": 2000, "pt": 100, "pe": 100},
        "Pk_interpolator": {"z": PERTURBATIONS, "k_max": 5, "nonlinear": (False, True)},
        "Pk_grid": {"z": PERTURBATIONS, "k_max": 5, "nonlinear": (False, True)},
        **{
            name: {"z": REDSHIFTS}
            for name in ("Hubble", "comoving_radial_distance", "angular_diameter_distance")
        },
        **{name: {"z": PERTURBATIONS} for name in ("sigma8_z", "fsigma8")},
        "rdrag": None,
    }


def test_every_product_against_camb(emulator):
    mine = get_model({"theory": theory(outside="error"), "likelihood": {"one": None}, "params": params()})
    settings = {k: v for k, v in emulator.info["provenance"]["config"].items() if k not in params()}
    camb = get_model(
        {"theory": {"camb": {"extra_args": settings}}, "likelihood": {"one": None}, "params": params()}
    )
    camb.add_requirements({"Pk_grid": training_grid(emulator.core.outputs)})
    derived = []
    for model in (mine, camb):
        model.add_requirements(requirements())
        result = model.logposterior(POINT)
        derived.append(dict(zip(model.parameterization.derived_params(), result.derived, strict=True)))
    for name in DERIVED:
        assert derived[0][name] == pytest.approx(derived[1][name], rel=1e-3), name
    a, b = mine.provider, camb.provider
    ell = np.arange(2, 2501)
    cl, expected = (p.get_Cl(units="muK2") for p in (a, b))
    for name in ("tt", "ee", "te"):
        auto = np.sqrt(expected[name[0] * 2][ell] * expected[name[1] * 2][ell])
        assert np.max(np.abs(cl[name][ell] - expected[name][ell]) / auto) < 5e-3, name
    for name, last in (("bb", 2000), ("pp", 2000)):
        np.testing.assert_allclose(
            cl[name][2 : last + 1], expected[name][2 : last + 1], rtol=5e-3, err_msg=name
        )
    for name in ("pt", "pe"):
        auto = np.sqrt(expected["pp"] * expected[2 * name[1]])[2:101]
        assert np.max(np.abs(cl[name][2:101] - expected[name][2:101]) / auto) < 5e-3, name
    for nonlinear in (False, True):
        power = [
            p.get_Pk_interpolator(nonlinear=nonlinear).P(PERTURBATIONS, np.geomspace(2e-4, 4.9, 50))
            for p in (a, b)
        ]
        np.testing.assert_allclose(*power, rtol=3e-3)
    for name, z in requirements().items():
        if name in ("Hubble", "comoving_radial_distance", "angular_diameter_distance", "sigma8_z", "fsigma8"):
            values = [getattr(p, f"get_{name}")(z["z"]) for p in (a, b)]
            np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-9, err_msg=name)


def test_theta_may_be_sampled_under_its_own_name(emulator):
    """Without the detour over cosmomc_theta that CAMB's theory needs."""
    direct = {**params(), "theta_MC_100": {"prior": {"min": 1.03, "max": 1.05}}}
    del direct["cosmomc_theta"]
    derived = []
    for block in (params(), direct):
        model = get_model({"theory": theory(outside="error"), "likelihood": {"one": None}, "params": block})
        derived.append(dict(zip(DERIVED, model.logposterior(POINT).derived[-len(DERIVED) :], strict=True)))
    assert derived[0] == pytest.approx(derived[1], rel=1e-12)


def test_more_multipoles_than_emulated_are_refused(emulator):
    from cobaya.log import LoggedError

    model = get_model({"theory": theory(outside="reject"), "likelihood": {"one": None}, "params": params()})
    with pytest.raises(LoggedError, match="ell = 9000 is required"):
        model.add_requirements({"Cl": {"tt": 9000}})


def cobaya_run(folder, info, *arguments):
    path = folder / "chain_input.yaml"
    path.write_text(yaml_dump(info))
    command = [sys.executable, "-m", "cobaya", "run", str(path), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


LIKELIHOOD = {
    "spectra": {
        "external": "lambda _self=None: "
        "-0.5*((_self.provider.get_Cl(ell_factor=True)['tt'][220]/5700-1)/0.02)**2",
        "requires": {"Cl": {"tt": 300}},
    }
}


def test_cobaya_run_evaluate(emulator, tmp_path):
    info = {"theory": theory(), "likelihood": LIKELIHOOD, "params": params(), "sampler": {"evaluate": None}}
    done = cobaya_run(tmp_path, info)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 points: 1 emulated, 0 by the fallback" in done.stdout
    assert "sigma8 = 0." in done.stdout


def test_cobaya_run_mcmc_and_resume(emulator, tmp_path):
    mcmc = {"max_samples": 100, "seed": 1, "measure_speeds": False}
    info = {
        "theory": theory(outside="reject"),
        "likelihood": LIKELIHOOD,
        "params": params(),
        "output": "chain",
    }
    done = cobaya_run(tmp_path, {**info, "sampler": {"mcmc": mcmc}})
    assert done.returncode == 0, done.stdout + done.stderr
    first = (tmp_path / "chain.1.txt").read_text().count("\n")
    done = cobaya_run(tmp_path, {**info, "sampler": {"mcmc": {**mcmc, "max_samples": 200}}}, "-r")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "chain.1.txt").read_text().count("\n") > first
    assert emulator.id in (tmp_path / "chain.updated.yaml").read_text()
    assert "nan" not in (tmp_path / "chain.1.txt").read_text()
