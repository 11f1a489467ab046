# SPDX-License-Identifier: BSD-3-Clause
"""The drop-in Class and the drop-in results of CAMB: the emulator's numbers in the other code's units, and
against CAMB."""

from __future__ import annotations

import functools
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import zelos

from .conftest import NAMES, ROOT, TOLERANCE, Reference, run

pytest.importorskip("scipy")
from zelos import camb as drop_in
from zelos.montepython import Class, CosmoComputationError, CosmoSevereError
from zelos.montepython.inputs import Inputs, Training

POINT = dict(zip(NAMES, (0.0224, 0.12, 67.4, 0.054, 3.045, 0.965), strict=True))
CLASS_NAMES = ("omega_b", "omega_cdm", "H0", "tau_reio", "ln10^{10}A_s", "n_s")
MONTEPYTHON = {
    "output": "tCl pCl lCl mPk",
    "lensing": "yes", "l_max_scalars": 2500, "P_k_max_1/Mpc": 5.0, "z_max_pk": 3.0,
    "non linear": "hmcode", "hmcode_version": 2016,
    "N_ur": 2.0308, "N_ncdm": 1, "m_ncdm": 0.06, "T_ncdm": 0.71611,
}  # fmt: skip
T_MUK = 2.7255e6
#: What a script says so that it means CAMB_lcdm's neutrinos; CLASS's default has none with mass.
NEUTRINOS = {name: MONTEPYTHON[name] for name in ("N_ur", "N_ncdm", "m_ncdm")}


def as_class(point: dict[str, float]) -> dict[str, float]:
    return dict(zip(CLASS_NAMES, point.values(), strict=True))


def as_camb(point: dict[str, float]) -> dict[str, float]:
    values = {name: value for name, value in point.items() if name != "logA"}
    return {**values, "As": 1e-10 * np.exp(point["logA"])}


def camb_params(point: dict[str, float], **more: object) -> drop_in.Params:
    """With CAMB_lcdm's non-linear power in place of CAMB's defaults."""
    return drop_in.set_params(**{**as_camb(point), "lmax": 2500, "halofit_version": "mead2016", **more})


@pytest.fixture(scope="module")
def emulator(artifact: Path) -> zelos.Emulator:
    return zelos.get_emulator(artifact)


@pytest.fixture(autouse=True)
def without_fallback(artifact: Path) -> None:
    drop_in.use(str(artifact), fallback=None)


def cosmo(artifact: Path, point: dict[str, float], **more: object) -> Class:
    code = Class(emulator=str(artifact), fallback="")
    code.set({**MONTEPYTHON, **as_class(point), **more})
    code.compute(level=["lensing"])
    return code


def test_same_points(reference: Reference, artifact: Path, emulator: zelos.Emulator) -> None:
    """Every number at any k and z as the C++ API has it."""
    code = Class(emulator=str(artifact), fallback="")
    labels = emulator.labels()
    k, z = np.arange(1, 65) / 64, np.array([0.0, 0.5, 1.0, 2.0])
    z_background = np.array([0.0, 0.125, 0.5, 1.0, 2.5])
    for row, (values, expected) in enumerate(zip(reference.points, reference.values, strict=True)):
        point = dict(zip(NAMES, values, strict=True))
        code.set({**MONTEPYTHON, **as_class(point)})
        code.compute()
        cl = code.lensed_cl(2500)
        results = drop_in.get_results(camb_params(point))
        raw = results.get_total_cls(2500, CMB_unit="muK", raw_cl=True)[2:]
        # CAMB has As: 1e-10 exp(logA) is not logA to the last bit.
        camb_point = as_camb(point)
        same_amplitude = emulator.evaluate(camb_point)
        for i, (name, column) in enumerate((("tt", 0), ("te", 3), ("ee", 1), ("bb", 2))):
            block = expected[2499 * i : 2499 * (i + 1)]
            np.testing.assert_allclose(cl[name][2:] * T_MUK**2, block, rtol=TOLERANCE)
            np.testing.assert_allclose(raw[:, column], same_amplitude[f"Cl.{name}"][:2499], rtol=TOLERANCE)
        np.testing.assert_allclose(cl["pp"][2:], expected[4 * 2499 : 5 * 2499], rtol=TOLERANCE)
        derived = dict(zip(labels, expected[-len(labels) :], strict=True))
        assert code.rs_drag() == pytest.approx(derived["rdrag"], rel=TOLERANCE)
        assert code.sigma8() == pytest.approx(derived["sigma8"], rel=TOLERANCE)
        exact = dict(zip(labels, same_amplitude["derived"], strict=True))
        assert results.get_derived_params()["rdrag"] == pytest.approx(exact["rdrag"], rel=TOLERANCE)
        begin = 5 * 2499
        for output, method, nonlinear in (("Pk.linear", "pk_lin", False), ("Pk.nonlinear", "pk", True)):
            block = expected[begin : begin + 256].reshape(64, 4)
            begin += 256
            mine = np.array([[getattr(code, method)(a, b) for b in z] for a in k[row::8]])
            np.testing.assert_allclose(mine, block[row::8], rtol=TOLERANCE)
            array = code.get_pk_array(k, z, 64, 4, nonlinear).reshape(4, 64).T
            np.testing.assert_allclose(array, block, rtol=TOLERANCE)
            power = results.get_matter_power_interpolator(nonlinear, hubble_units=False, k_hunit=False)
            asked = emulator.evaluate(camb_point, [output], {"k": k, "z": z})[output]
            np.testing.assert_allclose(power.P(z, k).T, asked, rtol=TOLERANCE)
        for name, of_class, of_camb in (
            ("Hubble", lambda z: code.Hubble(z) * 299792.458, results.hubble_parameter),
            ("comoving_radial_distance", code.comoving_distance, results.comoving_radial_distance),
            ("angular_diameter_distance", code.angular_distance, results.angular_diameter_distance),
        ):
            block = expected[begin : begin + 5]
            begin += 5
            np.testing.assert_allclose(of_class(z_background), block, rtol=TOLERANCE, err_msg=name)
            np.testing.assert_allclose([of_class(value) for value in z_background], block, rtol=TOLERANCE)
            asked = emulator.evaluate(camb_point, [name], {"z": z_background})[name]
            np.testing.assert_allclose(of_camb(z_background), asked, rtol=TOLERANCE, err_msg=name)
        sigma8_z, f_sigma8 = expected[begin : begin + 4], expected[begin + 4 : begin + 8]
        asked = emulator.evaluate(camb_point, ["fsigma8"], {"z": z})["fsigma8"]
        np.testing.assert_allclose(asked, f_sigma8, rtol=TOLERANCE)
        growth = code.scale_independent_growth_factor(z)
        np.testing.assert_allclose(growth, sigma8_z / sigma8_z[0], rtol=TOLERANCE)


def test_class_has_classs_units(artifact: Path, emulator: zelos.Emulator) -> None:
    code = cosmo(artifact, POINT)
    answer, derived = emulator.evaluate(POINT), emulator.derived(POINT)
    z = emulator.axes("Hubble")["z"]
    for i in (0, 10, 40, 80):
        assert code.Hubble(z[i]) == pytest.approx(answer["Hubble"][i] / 299792.458, rel=TOLERANCE)
        assert code.angular_distance(z[i]) == pytest.approx(
            answer["angular_diameter_distance"][i], rel=TOLERANCE, abs=1e-9
        )
    for value in (0.15, 0.51, 2.33):
        exact = emulator.evaluate(POINT, ["Hubble", "angular_diameter_distance"], {"z": np.array([value])})
        assert code.Hubble(value) * 299792.458 == pytest.approx(exact["Hubble"][0], rel=TOLERANCE)
        assert code.angular_distance(value) == exact["angular_diameter_distance"][0]
        assert code.luminosity_distance(value) == code.angular_distance(value) * (1 + value) ** 2
    distance, hubble = code.z_of_r([0.5, 1.0])
    assert distance[1] == code.comoving_distance(1.0) and hubble[0] == code.Hubble(0.5)
    k = emulator.axes("Pk.linear")["k"]
    for output, function in (("Pk.linear", code.pk_lin), ("Pk.nonlinear", code.pk)):
        assert function(k[50], 0.5) == pytest.approx(answer[output][50, 5], rel=1e-10)
    power, grid, redshifts = code.get_pk_and_k_and_z(nonlinear=False, h_units=True)
    assert power[50, -1] == pytest.approx(answer["Pk.linear"][50, 0] * 0.674**3, rel=TOLERANCE)
    assert grid[50] == pytest.approx(k[50] / 0.674) and redshifts[-1] == 0
    array = code.get_pk(np.full((3, 2, 1), 0.1), np.array([0.0, 1.0]), 3, 2, 1)
    assert array[2, 1, 0] == code.pk(0.1, 1.0)
    assert (
        code.h() == pytest.approx(0.674)
        and code.Neff() == pytest.approx(3.044, rel=1e-6)
        and code.n_s() == 0.965
    )
    assert code.Omega_m() == derived["omegam"] and code.Omega_b() == pytest.approx(0.0224 / 0.674**2)
    assert code.scale_independent_growth_factor(0.0) == 1
    for value, low, high in ((0.7, 0.6, 0.8), (0.04, 0.0, 0.08), (0.0, 0.0, 0.01)):
        between = emulator.evaluate(POINT, ["sigma8_z"], {"z": np.array([low, high])})["sigma8_z"]
        slope = (between[0] - between[1]) / (high - low) * (1 + value)
        assert code.effective_f_sigma8(value) == pytest.approx(slope, rel=1e-9)
        assert code.effective_f_sigma8([value, 0.5])[0] == pytest.approx(slope, rel=1e-9)
    f = code.scale_independent_growth_factor_f(0.5)
    assert f == pytest.approx(
        code.Omega_m() ** 0.55 * (1.5**3 / (code.Hubble(0.5) / code.Hubble(0)) ** 2) ** 0.55, rel=0.02
    )
    # An independent integral over the emulated P(k) against the emulated sigma_8.
    assert code.sigma(8.0, 0.0, h_units=True) == pytest.approx(derived["sigma8"], rel=2e-4)
    names = ["H0", "sigma8", "rs_d", "A_s", "ln10^{10}A_s", "Omega_m", "YHe", "age"]
    found = code.get_current_derived_parameters(names)
    assert found["rs_d"] == derived["rdrag"]
    assert found["A_s"] == pytest.approx(1e-10 * np.exp(3.045))


def test_life_of_a_class(artifact: Path) -> None:
    code = Class(emulator=str(artifact), fallback="")
    with pytest.raises(CosmoSevereError, match="nothing is computed"):
        code.h()
    code.set(MONTEPYTHON)
    code.set(**as_class(POINT))
    code.compute()
    assert code.state and code.pars["omega_b"] == POINT["ombh2"]
    code.struct_cleanup()
    assert not code.state
    code.set({"H0": 200.0})
    with pytest.raises(CosmoComputationError, match="H0"):
        code.compute()
    code.empty()
    assert code.pars == {}


@pytest.mark.parametrize(
    ("pars", "message"),
    [
        ({"100*theta_s": 1.04}, "CLASS's own angle"),
        ({"alpha_s": 0.01}, "'alpha_s' = 0.01 is not emulated"),
        ({"r": 0.1}, "'r' = 0.1 is not emulated"),
        ({"YHe": 0.25}, "YHe = 0.25 is not emulated: expected BBN"),
        ({"k_pivot": 0.002}, "k_pivot = 0.002 is not emulated: expected 0.05"),
        ({"reio_parametrization": "reio_none"}, "expected reio_camb"),
        ({"recombination": "CosmoRec"}, "expected recfast or hyrec"),
        ({"Omega_k": 0.01}, "Omega_k = 0.01 is not emulated: CAMB_lcdm holds it at 0"),
        ({"w0_fld": -0.9}, "only with Omega_Lambda = 0"),
        ({"w0_fld": -0.9, "Omega_Lambda": 0}, "w0_fld = -0.9 is not emulated: CAMB_lcdm holds it at -1"),
        ({"Omega_b": 0.05}, "one of omega_b and Omega_b"),
        ({"h": 0.67}, "one of H0 and h"),
        ({"N_ncdm": 3, "m_ncdm": "0.02,0.02,0.02"}, "neutrinos"),
        ({"T_cmb": 2.8}, "T_cmb"),
        ({"modes": "s,t"}, "modes"),
        ({"ic": "ad,cdi"}, "ic = ad,cdi"),
        ({"non linear": "halofit"}, "halofit is not emulated, CAMB_lcdm has mead2016"),
        ({"non linear": "hmcode halofit"}, "halofit is not emulated, CAMB_lcdm has mead2016"),
        ({"l_max_scalars": 6000}, "ell = 4400"),
        ({"zelos_emulator": "/no/such/file.h5"}, "/no/such/file.h5"),
        ({"N_eff": 3.044}, "'N_eff' is not emulated: give N_ur"),
        # 2.0328 makes N_eff 3.046, which the emulator was not trained with.
        ({"N_ur": 2.0328}, "holds mnu = 0.06, nnu = 3.044: give N_ur = 2.0308, N_ncdm = 1, m_ncdm = 0.06"),
        ({"hmcode_version": 2020}, "hmcode 2020 is not emulated.*hmcode_version = 2016"),
        ({"m_ncdm": 0.02, "deg_ncdm": 3}, "neutrinos: expected 1 of equal mass, as in training; found 3"),
    ],
)
def test_what_class_refuses(artifact: Path, pars: dict[str, object], message: str) -> None:
    with pytest.raises(CosmoSevereError, match=message):
        cosmo(artifact, POINT, **pars)


def test_a_class_says_what_is_not_emulated(artifact: Path) -> None:
    code = cosmo(artifact, POINT)
    for call in (
        lambda: code.raw_cl(100),
        lambda: code.lensed_cl(5000),
        lambda: code.pk(100.0, 0.0),
        lambda: code.pk(0.1, 20.0),
        *(
            functools.partial(code.get_current_derived_parameters, [name])
            for name in ("z_rec", "z_star", "rs_star", "da_star", "100*theta_star")
        ),
        lambda: code.get_transfer(0.0),
    ):
        with pytest.raises(CosmoSevereError):
            call()


def test_masses_are_those_of_the_trainings_neutrinos(artifact: Path) -> None:
    """CAMB_lcdm_mnu has three of one mass; at 0.3 eV one alone has another P(k), by 2 %."""
    three = str(artifact.with_name("CAMB_lcdm_mnu.h5"))
    expected = zelos.get_emulator(three).derived({**POINT, "mnu": 0.3})["sigma8"]
    for neutrinos in (
        {"N_ncdm": 1, "deg_ncdm": 3, "m_ncdm": 0.1},
        {"N_ncdm": 3, "deg_ncdm": "1,1,1", "m_ncdm": "0.1, 0.1, 0.1"},
    ):
        code = cosmo(artifact, POINT, zelos_emulator=three, N_ur=0.00441, **neutrinos)
        assert code.sigma8() == pytest.approx(expected, rel=1e-9)
    for neutrinos in ({"N_ncdm": 1, "m_ncdm": 0.3}, {"N_ncdm": 3, "m_ncdm": "0.1,0.1,0.11"}):
        with pytest.raises(CosmoSevereError, match="expected 3 of equal mass"):
            cosmo(artifact, POINT, zelos_emulator=three, N_ur=0.00441, **neutrinos)


def test_linear_lensing_is_refused(artifact: Path) -> None:
    code = cosmo(artifact, POINT, **{"non linear": "none"})
    with pytest.raises(CosmoSevereError, match="non-linear"):
        code.lensed_cl(100)
    assert code.pk(1.0, 0.0) == code.pk_lin(1.0, 0.0)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        (
            ("N_ur", "N_ncdm", "m_ncdm", "T_ncdm"),
            r"\(CLASS's defaults\) is mnu = 0.*give N_ur = 2.0308, N_ncdm",
        ),
        (("N_ur",), "neutrinos: N_ur = 3.044, N_ncdm = 1, m_ncdm = 0.06 is mnu = 0.06, nnu = 4.05"),
        (("hmcode_version",), r"hmcode 2020 \(CLASS's default version\) is not emulated"),
        (("tau_reio",), "tau_reio is not given"),
    ],
)
def test_what_is_left_out_is_classs_default(artifact: Path, left_out: tuple[str, ...], message: str) -> None:
    code = Class(emulator=str(artifact), fallback="")
    code.set({k: v for k, v in {**MONTEPYTHON, **as_class(POINT)}.items() if k not in left_out})
    with pytest.raises(CosmoSevereError, match=message):
        code.compute()


def trained_by_class(**config: object) -> Training:
    """Of an emulator of CLASS that was trained with these settings, of P(k) alone."""
    provenance = {"code": "classy", "code_version": "3.4.1", "config": config}
    core = SimpleNamespace(
        name="CLASS_power",
        info_json=lambda: json.dumps({"provenance": provenance}),
        parameters=[SimpleNamespace(name=name) for name in ("ombh2", "omch2", "H0", "logA", "ns")],
        fixed=[],
        solvable=[],
    )
    emulator = SimpleNamespace(
        name=core.name, core=core, outputs=("Pk.linear", "Pk.nonlinear"),
        axes=lambda _: {"k": np.array([1e-4, 5.0]), "z": np.array([0.0, 3.0])},
    )  # fmt: skip
    return Training(emulator)  # type: ignore[arg-type]


def test_emulators_of_class_are_held_against_classs_defaults_too() -> None:
    plain = Inputs({}, trained_by_class())
    assert plain.clash == "" and plain.point["H0"] == 67.81 and set(plain.point) == {
        "ombh2", "omch2", "H0", "As", "ns"
    }  # fmt: skip
    massive = trained_by_class(**NEUTRINOS, k_pivot=0.002, tol_thermo_integration=1e-6)
    given = {**NEUTRINOS, "k_pivot": 0.002, "tol_thermo_integration": "1e-6"}
    assert Inputs(given, massive).point == plain.point
    for left_out, message in (
        (tuple(NEUTRINOS), r"CLASS's defaults\) is mnu = 0.*give N_ur = 2.0308, N_ncdm = 1, m_ncdm = 0.06"),
        (("k_pivot",), r"k_pivot = 0.05 \(CLASS's default\) is not emulated: expected 0.002"),
        (("tol_thermo_integration",), "tol_thermo_integration is not given, .* 1e-06: give it"),
    ):
        with pytest.raises(CosmoSevereError, match=message):
            Inputs({name: value for name, value in given.items() if name not in left_out}, massive)
    with pytest.raises(CosmoSevereError, match=r"hmcode 2016 is not emulated.*hmcode_version = 2020"):
        Inputs({"non linear": "hmcode", "hmcode_version": 2016}, trained_by_class())
    assert Inputs({"non linear": "hmcode"}, trained_by_class()).nonlinear == "hmcode 2020"
    with pytest.raises(CosmoSevereError, match=r"'w0_fld' = -0\.9 is not emulated"):
        Inputs({"w0_fld": -0.9, "Omega_Lambda": 0}, trained_by_class())
    Inputs({"w0_fld": -1.0, "Omega_Lambda": 0}, trained_by_class())


def test_spectra_that_class_has_by_default_are_refused(artifact: Path) -> None:
    """Linear lensing, or none; P(k) is linear without `non linear`."""
    for left_out in (("non linear",), ("lensing",)):
        code = Class(emulator=str(artifact), fallback="")
        code.set({k: v for k, v in {**MONTEPYTHON, **as_class(POINT)}.items() if k not in left_out})
        code.compute()
        with pytest.raises(CosmoSevereError, match=f"lensed_cl: {left_out[0]}.*CLASS's default"):
            code.lensed_cl(100)
    code = cosmo(artifact, POINT)
    assert len(code.lensed_cl()["tt"]) == 2501


def test_defaults_are_those_of_class(artifact: Path) -> None:
    """A script that gives only tau_reio and the training's neutrinos is at the point of CLASS's defaults; and
    HMcode 2016 is CAMB's mead2016."""
    classy = pytest.importorskip("classy")
    if int(classy.__version__.lstrip("v").split(".")[0]) < 3:
        pytest.skip(f"needs CLASS 3, found {classy.__version__}")
    real = classy.Class()
    settings = {
        "output": "mPk", **NEUTRINOS, "tau_reio": 0.054, "P_k_max_1/Mpc": 1.0,
        "non linear": "hmcode", "hmcode_version": "2016",
    }  # fmt: skip
    real.set(settings)
    real.compute()
    code = Class(emulator=str(artifact), fallback="")
    code.set(settings)
    code.compute()
    for name in ("h", "omega_b", "n_s", "T_cmb"):
        assert getattr(code, name)() == pytest.approx(getattr(real, name)(), rel=1e-9), name
    names = ["A_s"]
    assert code.get_current_derived_parameters(names)["A_s"] == pytest.approx(
        real.get_current_derived_parameters(names)["A_s"], rel=1e-9
    )
    for name in ("Neff", "Omega_m", "sigma8", "rs_drag"):
        assert getattr(code, name)() == pytest.approx(getattr(real, name)(), rel=1e-3), name
    for k in (0.1, 0.9):  # HMcode 2020 is 3 % lower at the second
        assert code.pk(k, 0.0) == pytest.approx(real.pk(k, 0.0), rel=3e-3)
        assert code.pk_lin(k, 0.0) == pytest.approx(real.pk_lin(k, 0.0), rel=3e-3)
    real.struct_cleanup()


def test_class_answers_what_is_not_emulated(artifact: Path, tmp_path: Path) -> None:
    """Without mass, of a point outside, or by a method that is not emulated; also for MontePython, whose
    folder stands before CLASS on the path."""
    classy = pytest.importorskip("classy")
    settings = {**as_class(POINT), "output": "mPk,tCl", "l_max_scalars": 300, "P_k_max_1/Mpc": 1.0}
    outside = {**settings, **NEUTRINOS, "H0": 95.0}
    expected = {}
    for name, pars in (("massless", settings), ("outside", outside), ("inside", {**settings, **NEUTRINOS})):
        real = classy.Class()
        real.set(pars)
        real.compute()
        expected[name] = [float(real.sigma8()), float(real.pk(0.1, 0.0)), float(real.raw_cl(200)["tt"][200])]
        real.struct_cleanup()
    code = Class(emulator=str(artifact), fallback="classy")
    code.set(settings)
    with pytest.warns(UserWarning, match="CLASS answers: neutrinos"):
        code.compute()
    assert code.source == "classy"
    assert [code.sigma8(), code.pk(0.1, 0.0), code.raw_cl(200)["tt"][200]] == expected["massless"]
    code.set(NEUTRINOS)
    code.compute()
    assert code.source == "emulator"
    with pytest.warns(UserWarning, match="CLASS answers: classy's 'raw_cl' is not emulated"):
        spectra = code.raw_cl(200)
    assert spectra["tt"][200] == expected["inside"][2]
    assert code.sigma8() == zelos.get_emulator(artifact).derived(POINT)["sigma8"] != expected["inside"][0]
    folder = tmp_path / "class"
    run([sys.executable, "-m", "zelos.montepython", folder])
    script = (
        f"from classy import Class\ncode = Class(emulator={str(artifact)!r}, fallback='classy')\n"
        f"code.set({outside!r})\ncode.compute()\n"
        "print(code.source, code.sigma8(), code.pk(0.1, 0.0), code.raw_cl(200)['tt'][200])\n"
        "code.set({'alpha_s': 'x'})\ntry:\n    code.compute()\nexcept Exception as error:\n"
        "    print(type(error).__module__, type(error).__name__)\n"
    )
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    done = run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    first, second = done.splitlines()
    assert first.split()[0] == "classy"
    assert [float(word) for word in first.split()[1:]] == pytest.approx(expected["outside"], rel=1e-12)
    assert second == "zelos.montepython.errors CosmoSevereError"


def test_an_emulator_of_linear_power_has_no_other(artifact: Path) -> None:
    """Of densities over the critical one, without tau; P(k) is not linear where a script wants another."""
    path = artifact.with_name("CAMB_linear_matter_power.h5")
    pars = {"omega_b": 0.0224, "omega_cdm": 0.12, "H0": 67.4, "A_s": 2.1e-9, "n_s": 0.965, "tau_reio": 0.054}
    code = Class(emulator=str(path), fallback="")
    code.set({**pars, **NEUTRINOS})
    code.compute()
    h2 = 0.674**2
    point = {"Omega_b": 0.0224 / h2, "Omega_cdm": 0.12 / h2, "H0": 67.4, "As": 2.1e-9, "ns": 0.965, "w0": -1}
    exact = zelos.get_emulator(path).evaluate(point, ["Pk.linear"], {"k": [0.1, 0.33], "z": [0.5, 1.23]})
    found = [[code.pk(k, z) for z in (0.5, 1.23)] for k in (0.1, 0.33)]
    np.testing.assert_allclose(found, exact["Pk.linear"], rtol=TOLERANCE)
    code.set({"non linear": "hmcode"})
    code.compute()
    with pytest.raises(CosmoSevereError, match=r"'Pk.nonlinear' is not emulated"):
        code.pk(0.1, 0.5)


def test_redshifts_are_remembered(artifact: Path, emulator: zelos.Emulator) -> None:
    """Those of the point before are computed at once; numbers do not depend on what was asked before."""
    code = cosmo(artifact, POINT)
    z = [0.17, 0.38, 0.61, 1.37]
    first = [code.pk(0.2, value) for value in z]
    code.set({"H0": 70.0})
    code.compute()
    assert code._point is not None
    second = [code.pk(0.2, value) for value in reversed(z)][::-1]
    exact = emulator.evaluate({**POINT, "H0": 70.0}, ["Pk.nonlinear"], {"k": [0.2], "z": z})["Pk.nonlinear"][
        0
    ]
    np.testing.assert_allclose(second, exact, rtol=TOLERANCE)
    assert set(code._point._splines["Pk.nonlinear"]) == set(z)
    code.set({"H0": 67.4})
    code.compute()
    np.testing.assert_allclose([code.pk(0.2, value) for value in z], first, rtol=TOLERANCE)
    assert code.Hubble(0.38) == code.Hubble(np.array([0.2, 0.38]))[1]


def test_nothing_is_left_of_a_point_before(artifact: Path) -> None:
    code = cosmo(artifact, POINT)
    code.pars["H0"] = 200.0
    with pytest.raises(CosmoComputationError, match="H0"):
        code.compute()
    with pytest.raises(CosmoSevereError, match="nothing is computed"):
        code.sigma8()


def test_a_script_for_classy_finds_it(artifact: Path, tmp_path: Path) -> None:
    """As MontePython does: it reads CLASS's version in the folder, and imports what is on PYTHONPATH."""
    folder = tmp_path / "class"
    command = [sys.executable, "-m", "zelos.montepython", folder]
    assert run(command) == run(command) == f"path['cosmo'] = '{folder}'\n"
    assert (folder / "main/class.c").is_file() and (folder / "python/build").is_dir()
    assert f'_VERSION_ "zelos-{zelos.__version__}"' in (folder / "include/common.h").read_text()
    script = (
        "from classy import Class, CosmoComputationError\n"
        "cosmo = Class()\n"
        f"cosmo.set({ {**MONTEPYTHON, **as_class(POINT)}!r})\n"
        "cosmo.compute(['lensing'])\n"
        "print(cosmo.sigma8(), cosmo.lensed_cl(2500)['tt'][220])\n"
        "cosmo.struct_cleanup(); cosmo.set({'tau_reio': 0.5})\n"
        "try:\n    cosmo.compute()\nexcept CosmoComputationError as error:\n    print(error)\n"
    )
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "ZELOS_EMULATOR": str(artifact)}
    first, second = run([sys.executable, "-c", script], env=environment).splitlines()
    emulator = zelos.get_emulator(artifact)
    tt = emulator(POINT, np.array([220.0]), output="Cl.tt")[0]
    assert [float(word) for word in first.split()] == pytest.approx(
        [emulator.derived(POINT)["sigma8"], tt / T_MUK**2], rel=TOLERANCE
    )
    assert "tau" in second
    (folder / "main/class.c").write_text("int main;")
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 1 and "CLASS is there" in done.stderr


def test_the_example_of_montepython(artifact: Path, emulator: zelos.Emulator) -> None:
    """What MontePython makes of the file: parameters by their factors, and what it asks after compute()."""
    data = SimpleNamespace(parameters={}, cosmo_arguments={})
    runpy.run_path(str(ROOT / "configs/examples/montepython/lcdm.param"), {"data": data})
    assert data.cosmo_arguments.pop("zelos_emulator") == "hub:CAMB_lcdm"
    sampled = {name: row[0] * row[4] for name, row in data.parameters.items() if row[5] == "cosmo"}
    code = Class(emulator=str(artifact))
    code.set({**data.cosmo_arguments, **sampled, "output": ""})
    code.compute()
    found = code.get_current_derived_parameters(
        [name for name, row in data.parameters.items() if row[5] == "derived"]
    )
    expected = emulator.derived(dict(zip(NAMES, (sampled[name] for name in CLASS_NAMES), strict=True)))
    assert found == {
        "Omega_m": expected["omegam"], "sigma8": expected["sigma8"], "rs_d": expected["rdrag"]
    }  # fmt: skip


def test_camb_refuses(artifact: Path) -> None:
    good = as_camb(POINT)
    with pytest.raises(zelos.ArgumentError, match="Alens"):
        drop_in.set_params(**good, Alnes=1)
    for wrong, message in (
        ({"nrun": 0.01}, "nrun = 0.01 is not emulated"),
        ({"DoLensing": False}, "DoLensing = False is not emulated: expected True"),
        ({"TCMB": 2.8}, "TCMB = 2.8 is not emulated: expected 2.7255"),
        ({"YHe": 0.25}, "YHe = 0.25 is not emulated"),
        ({"num_massive_neutrinos": 3}, "num_massive_neutrinos = 3 is not emulated: expected 1"),
        ({"tau": None}, "tau is not given: CAMB's default, zrei = 10"),
        ({"H0": None}, "expected H0"),
    ):
        with pytest.raises(zelos.ArgumentError, match=message):
            drop_in.get_results(drop_in.set_params(**{**good, **wrong}))
    with pytest.raises(zelos.OutsideRegion, match="mnu"):
        drop_in.get_results(drop_in.set_params(**good, mnu=0.3))
    for halofit, message in (
        ({}, r"halofit_version = 'mead2020' \(CAMB's default\) is not emulated: expected 'mead2016'"),
        ({"halofit_version": "takahashi"}, "halofit_version = 'takahashi' is not emulated"),
    ):
        results = drop_in.get_results(drop_in.set_params(**good, lmax=2500, **halofit))
        for method in ("get_total_cls", "get_matter_power_interpolator"):
            with pytest.raises(zelos.ArgumentError, match=message):
                getattr(results, method)()
        assert results.get_matter_power_interpolator(nonlinear=False).P(0.0, 0.1) > 0
    drop_in.get_results(camb_params(POINT, halofit_version="mead")).get_total_cls(100)
    with pytest.raises(zelos.ArgumentError, match="expected what"):
        drop_in.get_results(object())  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match=r"no 'CAMBparams': .*zelos\.camb\.set_params"):
        _ = drop_in.CAMBparams
    assert not hasattr(drop_in, "get_transfer_functions")
    results = drop_in.get_results(camb_params(POINT))
    for call in (
        lambda: results.get_unlensed_scalar_cls(),
        lambda: results.get_total_cls(5000),
        lambda: results.angular_diameter_distance(1e5),
        lambda: results.get_matter_power_interpolator().P(0.0, 1e3),
        lambda: results.get_cmb_power_spectra(spectra=["tensor"]),
    ):
        with pytest.raises(zelos.ArgumentError):
            call()


def test_camb_has_the_trainings_neutrinos(artifact: Path) -> None:
    """One of CAMB's default or three of the training: P(k) differs by 2 % at 0.3 eV."""
    drop_in.use(str(artifact.with_name("CAMB_lcdm_mnu.h5")), fallback=None)
    good = {**as_camb(POINT), "mnu": 0.3}
    for wrong in ({}, {"num_massive_neutrinos": 1}):
        with pytest.raises(zelos.ArgumentError, match=r"num_massive_neutrinos = 1.* expected 3"):
            drop_in.get_results(drop_in.set_params(**good, **wrong))
    found = drop_in.get_results(drop_in.set_params(**good, num_massive_neutrinos=3)).get_sigma8_0()
    assert found == zelos.get_emulator(artifact.with_name("CAMB_lcdm_mnu.h5")).derived(good)["sigma8"]
    drop_in.get_results(drop_in.set_params(**{**good, "mnu": 0.0}))


def test_camb_refuses_linear_lensing(artifact: Path) -> None:
    for settings in (
        {"NonLinear": "NonLinear_none"}, {"NonLinear": "NonLinear_pk"}, {"nonlinear": False}, {"lmax": None},
        {"lens_potential_accuracy": 0},
    ):  # fmt: skip
        results = drop_in.get_results(camb_params(POINT, **settings))
        with pytest.raises(zelos.ArgumentError, match="non-linear"):
            results.get_total_cls(100)
        assert results.get_sigma8_0() > 0


def test_results_of_camb_are_of_their_parameters(artifact: Path) -> None:
    params = camb_params(POINT)
    results = drop_in.get_results(params)
    before = results.get_sigma8()
    params.set_matter_power(redshifts=[2.0], kmax=2)
    np.testing.assert_array_equal(results.get_sigma8(), before)
    for wrong in ({"hubble_unit": False}, {"log_interp": False}):
        with pytest.raises((TypeError, zelos.ArgumentError), match=next(iter(wrong))):
            results.get_matter_power_interpolator(**wrong)
    with pytest.raises(TypeError, match="redshift"):
        params.set_matter_power(redshift=[2.0])
    power, z, k = results.get_matter_power_interpolator(return_z_k=True)
    assert (z[0], z[-1], k[0], k[-1]) == (power.zmin, power.zmax, power.kmin, power.kmax)


@pytest.mark.camb
def test_against_camb(artifact: Path) -> None:
    """A script for CAMB with the one changed import: shapes and units, with cheap settings of CAMB."""
    real = pytest.importorskip("camb")
    answers = []
    for module in (real, drop_in):
        params = module.set_params(
            **as_camb(POINT), mnu=0.06, nnu=3.044, lmax=1500, lens_potential_accuracy=1,
            halofit_version="mead2016", redshifts=[2.0, 0.5, 0.0], kmax=3.0, NonLinear="NonLinear_both",
        )  # fmt: skip
        answers.append(module.get_results(params))
    expected, found = answers
    for unit, raw in (("muK", False), (None, True)):
        a, b = (r.get_cmb_power_spectra(lmax=1000, CMB_unit=unit, raw_cl=raw) for r in answers)
        for name, columns in (("total", (0, 1, 2)), ("lensed_scalar", (0, 1)), ("lens_potential", (0,))):
            assert a[name].shape == b[name].shape
            for column in columns:
                tolerance = 0.05 if (name, column) in (("total", 2), ("lens_potential", 0)) else 1e-2
                np.testing.assert_allclose(b[name][10:, column], a[name][10:, column], rtol=tolerance)
        cross = b["lens_potential"][10:60, 1]
        np.testing.assert_allclose(cross, a["lens_potential"][10:60, 1], rtol=0.02)
    z = np.array([0.0, 0.15, 0.51, 2.33])
    for name in ("hubble_parameter", "h_of_z", "angular_diameter_distance", "comoving_radial_distance"):
        np.testing.assert_allclose(getattr(found, name)(z), getattr(expected, name)(z), rtol=2e-5, atol=1e-9)
    assert found.luminosity_distance(1.0) == pytest.approx(expected.luminosity_distance(1.0), rel=2e-5)
    np.testing.assert_allclose(found.get_sigma8(), expected.get_sigma8(), rtol=1e-3)
    np.testing.assert_allclose(found.get_fsigma8(), expected.get_fsigma8(), rtol=1e-3)
    k = np.geomspace(1e-3, 1, 30)
    for nonlinear in (False, True):
        a, b = (
            r.get_matter_power_interpolator(nonlinear=nonlinear).P([0.0, 0.5, 2.0], k)
            for r in (expected, found)
        )
        np.testing.assert_allclose(b, a, rtol=1e-2)
    theirs = expected.get_derived_params()
    for name, value in found.get_derived_params().items():
        assert value == pytest.approx(theirs[name], rel=2e-4), name
    assert found.cosmomc_theta() == pytest.approx(expected.cosmomc_theta(), rel=1e-6)
    for species in ("de", "baryon", "cdm", "nu"):
        assert found.get_Omega(species) == pytest.approx(expected.get_Omega(species), rel=1e-4)


@pytest.mark.camb
def test_defaults_are_those_of_camb(artifact: Path) -> None:
    """What set_params of both makes of nothing but H0 and tau; the neutrinos of CAMB_lcdm are CAMB's."""
    real = pytest.importorskip("camb")
    params = real.set_params(H0=67.4, tau=0.054)
    physics = real.get_background(params, no_thermo=True)
    found = drop_in.get_results(drop_in.set_params(H0=67.4, tau=0.054))
    for species in ("baryon", "cdm"):
        assert found.get_Omega(species) == pytest.approx(physics.get_Omega(species), rel=1e-9)
    assert found.get_Omega("nu") == pytest.approx(physics.get_Omega("nu"), rel=1e-5)
    point = found._point.params
    assert (point["As"], point["ns"]) == (params.InitPower.As, params.InitPower.ns)
    assert params.NonLinearModel.halofit_version == "mead2020" and params.N_eff == pytest.approx(3.044)
    assert not real.set_params(H0=67.4).Reion.use_optical_depth
    for given in (
        {},
        {"lmax": 2500},
        {"lmax": 2500, "lens_potential_accuracy": 0},
        {"lmax": 2500, "nonlinear": False},
    ):
        lensing = real.set_params(H0=67.4, tau=0.054, **given).NonLinear in (
            "NonLinear_lens",
            "NonLinear_both",
        )
        results = drop_in.get_results(drop_in.set_params(H0=67.4, tau=0.054, **given))
        assert results._lensing_is_nonlinear() == lensing, given


@pytest.mark.camb
def test_camb_answers_what_is_not_emulated(artifact: Path) -> None:
    """With the script's own settings, said once; also where CAMB's idiom hands over the parameters."""
    real = pytest.importorskip("camb")
    drop_in.use(str(artifact), fallback="camb")
    cheap = {**as_camb(POINT), "lmax": 300, "lens_potential_accuracy": 0}
    for more, message in (({"nrun": 0.01}, "nrun = 0.01"), ({}, "linear lensing")):
        params = real.set_params(**cheap, **more)
        expected = real.get_results(params).get_cmb_power_spectra(params, CMB_unit="muK")["total"]
        mine = drop_in.set_params(**cheap, **more)
        with pytest.warns(UserWarning, match=f"CAMB answers: .*{message}"):
            results = drop_in.get_results(mine)
            found = results.get_cmb_power_spectra(mine, CMB_unit="muK")["total"]
        np.testing.assert_array_equal(found, expected)
        assert results.source == ("camb" if more else "emulator")
    assert results.get_sigma8_0() == zelos.get_emulator(artifact).derived(as_camb(POINT))["sigma8"]
    params = real.set_params(**cheap, omk=0.0, r=0.0, meffsterile=0.1, nnu=3.3)
    params.set_matter_power(redshifts=[0.5, 0.0], kmax=1.0)
    mine = drop_in.set_params(**cheap, meffsterile=0.1, nnu=3.3).set_matter_power(
        redshifts=[0.5, 0.0], kmax=1.0
    )
    with pytest.warns(UserWarning, match="meffsterile"):
        found = drop_in.get_results(mine).get_sigma8()
    np.testing.assert_array_equal(found, real.get_results(params).get_sigma8())


@pytest.mark.camb
@pytest.mark.slow
def test_neutrinos_of_class_outside_are_cambs(artifact: Path) -> None:
    """CLASS's default, without mass, is outside; the code of the training answers with those neutrinos."""
    real = pytest.importorskip("camb")
    code = Class(emulator=str(artifact.with_name("CAMB_linear_matter_power.h5")), fallback="camb")
    code.set({**as_class(POINT), "N_ur": 3.044})
    with pytest.warns(UserWarning, match="camb answers: neutrinos"):
        code.compute()
    assert code.source == "camb"
    params = real.set_params(**as_camb(POINT), mnu=0.0, nnu=3.044).set_matter_power(kmax=10, k_per_logint=50)
    params.WantCls = False
    assert code.sigma8() == pytest.approx(real.get_results(params).get_sigma8_0(), rel=1e-4)


@pytest.mark.camb
@pytest.mark.slow
def test_outside_camb_answers(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tau = 0.15 is CAMB's: its numbers come out of the same methods. One run, as in the training."""
    pytest.importorskip("camb")
    point = {**POINT, "tau": 0.15}
    get = functools.partial(zelos.get_emulator, fallback_version="any")
    direct = get(artifact, fallback="camb")
    monkeypatch.setattr(zelos, "get_emulator", lambda *_, **__: direct)
    code = Class(emulator=str(artifact), fallback="camb")
    code.set({**MONTEPYTHON, **as_class(point)})
    code.compute()
    assert direct.last_source == "fallback" and code.source == "camb"
    tt = direct.evaluate(point, ["Cl.tt"])["Cl.tt"]
    np.testing.assert_allclose(code.lensed_cl(2500)["tt"][2:] * T_MUK**2, tt[:2499], rtol=1e-11)
    assert code.tau_reio() == 0.15 and code.h() == pytest.approx(0.674)
