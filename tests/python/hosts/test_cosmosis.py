# SPDX-License-Identifier: BSD-3-Clause
"""The CosmoSIS module on a datablock, and in CosmoSIS itself where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zelos

from ..conftest import hosts_folder
from .conftest import HOSTS, NAMES, PACKAGE, ROOT, TOLERANCE, Reference

pytest.importorskip("scipy")
from zelos.cosmosis import zelos_interface as module

COSMOLOGY = "cosmological_parameters"
POINT = dict(zip(NAMES, (0.0224, 0.12, 67.4, 0.054, 3.045, 0.965), strict=True))


class Block:
    """What a module uses of CosmoSIS's datablock; names do not depend on the case."""

    def __init__(self, values: dict[tuple[str, str], Any]) -> None:
        self.values = {(section, name.lower()): value for (section, name), value in values.items()}

    def has_value(self, section: str, name: str) -> bool:
        return (section, name.lower()) in self.values

    def __getitem__(self, key: tuple[str, str]) -> Any:
        return self.values[key[0], key[1].lower()]

    def __setitem__(self, key: tuple[str, str], value: Any) -> None:
        self.values[key[0], key[1].lower()] = value

    def get(self, section: str, name: str, *default: Any) -> Any:
        return self.values.get((section, name.lower()), *default)

    get_double = get_string = get_int = get

    def put_grid(self, section: str, x: str, xs: Any, y: str, ys: Any, z: str, zs: Any) -> None:
        assert zs.shape == (len(xs), len(ys))
        for name, values in ((x, xs), (y, ys), (z, zs)):
            self[section, name] = values


def cosmology(point: dict[str, float]) -> dict[tuple[str, str], Any]:
    names = {
        "ombh2": "ombh2",
        "omch2": "omch2",
        "H0": "hubble",
        "tau": "tau",
        "logA": "log1e10As",
        "ns": "n_s",
    }
    return {(COSMOLOGY, names[name]): value for name, value in point.items()}


@pytest.fixture(scope="module")
def config(artifact: Path) -> Any:
    return module.setup(Block({("module_options", "emulator"): str(artifact)}))


def test_same_points(reference: Reference, config: Any) -> None:
    """Spectra and derived parameters by the C++ API; P(k, z) and distances, native, by the emulator."""
    labels = config.emulator.labels()
    for values, expected in zip(reference.points, reference.values, strict=True):
        point = dict(zip(NAMES, values, strict=True))
        block = Block(cosmology(point))
        assert module.execute(block, config) == 0
        ell = np.arange(2, 2501)
        assert block["cmb_cl", "ell"][0] == 2
        for i, name in enumerate(("TT", "TE", "EE", "BB", "PP")):
            mine = block["cmb_cl", name][:2499] / (ell * (ell + 1)) * 2 * np.pi
            np.testing.assert_allclose(
                mine, expected[2499 * i : 2499 * (i + 1)], rtol=TOLERANCE, err_msg=name
            )
        derived = dict(zip(labels, expected[-len(labels) :], strict=True))
        assert block["distances", "rs_zdrag"] == derived["rdrag"]
        assert block["distances", "chistar"] == 1000 * derived["DAstar"]
        assert block[COSMOLOGY, "sigma_8"] == derived["sigma8"]
        h = point["H0"] / 100
        answer = config.emulator.evaluate(point)
        for section, output in (("matter_power_lin", "Pk.linear"), ("matter_power_nl", "Pk.nonlinear")):
            np.testing.assert_allclose(block[section, "p_k"] / h**3, answer[output].T, rtol=TOLERANCE)
            np.testing.assert_allclose(
                block[section, "k_h"] * h, config.emulator.axes(output)["k"], rtol=TOLERANCE
            )
        np.testing.assert_allclose(block["distances", "H"] * 299792.458, answer["Hubble"], rtol=TOLERANCE)
        np.testing.assert_array_equal(block["distances", "D_A"], answer["angular_diameter_distance"])
        np.testing.assert_array_equal(block["growth_parameters", "fsigma_8"], answer["fsigma8"])


def test_parameterisations_agree(config: Any) -> None:
    blocks = []
    h2 = 0.674**2
    first = Block(cosmology(POINT))
    assert module.execute(first, config) == 0
    densities = {
        (COSMOLOGY, "h0"): 0.674,
        (COSMOLOGY, "omega_b"): 0.0224 / h2,
        (COSMOLOGY, "omega_m"): (0.0224 + 0.12 + 0.0006448994) / h2,
        (COSMOLOGY, "tau"): 0.054,
        (COSMOLOGY, "A_s"): 1e-10 * np.exp(3.045),
        (COSMOLOGY, "n_s"): 0.965,
        (COSMOLOGY, "mnu"): 0.06,
        (COSMOLOGY, "w"): -1.0,
        (COSMOLOGY, "omega_k"): 0.0,
    }
    theta = dict(cosmology(POINT))
    del theta[COSMOLOGY, "hubble"]
    theta[COSMOLOGY, "cosmomc_theta"] = config.emulator.derived(POINT)["cosmomc_theta"]
    for values in (densities, theta):
        blocks.append(Block(values))
        assert module.execute(blocks[-1], config) == 0
        assert blocks[-1][COSMOLOGY, "omch2"] == pytest.approx(0.12, rel=1e-6)
        assert blocks[-1][COSMOLOGY, "hubble"] == pytest.approx(67.4, rel=1e-7)
        np.testing.assert_allclose(blocks[-1]["cmb_cl", "TT"], first["cmb_cl", "TT"], rtol=3e-5)


@pytest.mark.camb
@pytest.mark.parametrize("nnu", [2.5, 3.044, 4.0])
def test_neutrinos_of_omega_m_are_cambs(artifact: Path, nnu: float) -> None:
    """CAMB's omnuh2 does not depend on nnu."""
    camb = pytest.importorskip("camb")
    path = str(artifact.with_name("CAMB_lcdm_nnu.h5"))
    config = module.setup(Block({("module_options", "emulator"): path}))
    expected = camb.set_params(**{name: POINT[name] for name in ("ombh2", "omch2", "H0")}, mnu=0.06, nnu=nnu)
    values = {name: value for name, value in cosmology(POINT).items() if name[1] != "omch2"}
    block = Block({**values, (COSMOLOGY, "omega_m"): expected.omegam, (COSMOLOGY, "nnu"): nnu})
    assert module.execute(block, config) == 0
    assert block[COSMOLOGY, "omch2"] == pytest.approx(0.12, rel=1e-6)


def test_what_is_left_out_is_cambs_default(artifact: Path) -> None:
    """0.06 eV, in one neutrino: those of the training have to be asked for."""
    path = artifact.with_name("CAMB_lcdm_mnu.h5")
    config = module.setup(Block({("module_options", "emulator"): str(path)}))
    with pytest.raises(ValueError, match=r"num_massive_neutrinos is not given.* = 3"):
        module.execute(Block(cosmology(POINT)), config)
    block = Block({**cosmology(POINT), (COSMOLOGY, "num_massive_neutrinos"): 3.0})
    assert module.execute(block, config) == 0
    exact = zelos.get_emulator(path).derived({**POINT, "mnu": 0.06})
    assert block[COSMOLOGY, "sigma_8"] == exact["sigma8"]
    assert module.execute(Block({**cosmology(POINT), (COSMOLOGY, "mnu"): 0.0}), config) == 0
    config = module.setup(Block({("module_options", "emulator"): str(artifact.with_name("CAMB_w0wa.h5"))}))
    block = Block(cosmology(POINT))
    assert module.execute(block, config) == 0
    exact = config.emulator.derived({**POINT, "w": -1.0, "wa": 0.0})
    assert block[COSMOLOGY, "sigma_8"] == exact["sigma8"]


def test_theta_outside_is_the_fallbacks(artifact: Path, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator can not solve for H0 there: h is that of the answer."""
    values = {name: value for name, value in cosmology(POINT).items() if name[1] != "hubble"}
    values[COSMOLOGY, "cosmomc_theta"] = config.emulator.derived(POINT)["cosmomc_theta"]
    values[COSMOLOGY, "tau"] = 0.3
    assert module.execute(Block(values), config) == 1
    answer = config.emulator.evaluate({**POINT, "tau": 0.1})
    monkeypatch.setattr(config.emulator, "_evaluated", lambda point: (answer, "fallback"))
    block = Block(values)
    assert module.execute(block, config) == 0
    assert block[COSMOLOGY, "hubble"] == pytest.approx(67.4, rel=1e-8)
    assert block["matter_power_lin", "k_h"][0] == pytest.approx(1e-4 / 0.674, rel=1e-8)


def test_theta_leaves_no_h_for_fractions(config: Any) -> None:
    values = {name: value for name, value in cosmology(POINT).items() if name[1] != "ombh2"}
    values |= {(COSMOLOGY, "cosmomc_theta"): 0.0104, (COSMOLOGY, "omega_b"): 0.05}
    with pytest.raises(ValueError, match="omega_b beside cosmomc_theta: expected ombh2"):
        module.execute(Block(values), config)


def test_distances_are_consistent(config: Any) -> None:
    block = Block(cosmology(POINT))
    module.execute(block, config)
    z, h = (block["distances", name] for name in ("z", "H"))
    steps = np.concatenate([[0], np.cumsum(np.diff(z) * (1 / h[1:] + 1 / h[:-1]) / 2)])
    np.testing.assert_allclose(block["distances", "D_C"][1:], steps[1:], rtol=2e-3)
    np.testing.assert_allclose(block["distances", "D_L"], (1 + z) ** 2 * block["distances", "D_A"])
    growth = {name: block["growth_parameters", name] for name in ("z", "d_z", "f_z", "sigma_8", "fsigma_8")}
    slope = -np.gradient(np.log(growth["d_z"]), np.log1p(growth["z"]))
    np.testing.assert_allclose(slope[1:-1], growth["f_z"][1:-1], rtol=1e-2)


def test_outside_fails_and_is_counted(config: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert module.execute(Block({**cosmology(POINT), (COSMOLOGY, "tau"): 0.4}), config) == 1
    assert "tau" in capsys.readouterr().out
    assert module.execute(Block({**cosmology(POINT), (COSMOLOGY, "mnu"): 0.2}), config) == 1
    with pytest.raises(zelos.ParameterError, match="tau"):
        module.execute(Block({key: v for key, v in cosmology(POINT).items() if key[1] != "tau"}), config)
    module.cleanup(config)
    assert "points emulated, 0 by the fallback" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("section", "name", "value", "neutral"),
    [
        *(
            (COSMOLOGY, name, 0.1, 0.0)
            for name in ("n_run", "nrun", "nrunrun", "r", "r_t", "sterile_neutrino")
        ),
        *((COSMOLOGY, name, 1.1, 1.0) for name in ("A_lens", "a_l", "cs2_de")),
        *((COSMOLOGY, name, 3.0, 1.0) for name in ("massive_nu", "num_massive_neutrinos")),
        (COSMOLOGY, "TCMB", 2.8, 2.7255),
        ("halo_model_parameters", "A", 3.0, 3.13),
        ("halo_model_parameters", "eta", 0.7, 0.603),
    ],
)
def test_physics_that_is_not_emulated(
    config: Any, section: str, name: str, value: float, neutral: float
) -> None:
    """Under every name that CAMB's module reads it by."""
    with pytest.raises(ValueError, match=f"(?i){name}.*expected {neutral:g}"):
        module.execute(Block({**cosmology(POINT), (section, name): value}), config)
    assert module.execute(Block({**cosmology(POINT), (section, name): neutral}), config) == 0


@pytest.mark.camb
def test_sections_are_those_that_camb_fills(config: Any) -> None:
    """Names, units and signs, by CAMB's own functions; its settings are cheap ones."""
    camb = pytest.importorskip("camb")
    block = Block(cosmology(POINT))
    assert module.execute(block, config) == 0
    redshifts = block["growth_parameters", "z"]
    parameters = camb.set_params(
        **{name: POINT[name] for name in ("ombh2", "omch2", "H0", "tau", "ns")}, As=1e-10 * np.exp(3.045),
        mnu=0.06, nnu=3.044, lmax=1500, lens_potential_accuracy=1, halofit_version="mead2016",
    )  # fmt: skip
    parameters.set_matter_power(redshifts=redshifts, kmax=5)
    results = camb.get_results(parameters)
    for name, value in results.get_derived_params().items():
        assert block["distances", name] == pytest.approx(value, rel=3e-4), name
    for name, value in (
        ("omega_m", parameters.omegam),
        ("omega_lambda", 1 - parameters.omegam),
        ("ommh2", parameters.omegam * 0.674**2),
        ("n_eff", parameters.N_eff),
        ("omega_nu", parameters.omeganu),
        ("sigma_8", results.get_sigma8_0()),
    ):
        assert block[COSMOLOGY, name] == pytest.approx(value, rel=1e-3), name
    z = block["distances", "z"][1:]
    bao = results.get_BAO(z, parameters)
    for name, expected in (
        ("rs_DV", bao[:, 0]),
        ("F_AP", bao[:, 3]),
        ("D_A", results.angular_diameter_distance(z)),
        ("D_M", results.comoving_radial_distance(z)),
        ("D_L", results.luminosity_distance(z)),
        ("MU", 5 * np.log10(results.luminosity_distance(z)) + 25),
        ("H", results.h_of_z(z)),
    ):
        np.testing.assert_allclose(block["distances", name][1:], expected, rtol=1e-4, err_msg=name)
    ell = np.arange(2, 1001)
    total = results.get_total_cls(1000, CMB_unit="muK")[2:]
    for name, column in (("TT", 0), ("EE", 1), ("BB", 2), ("TE", 3)):
        scale = np.sqrt(total[:, 0] * total[:, 1]) if name == "TE" else total[:, column]
        error = (block["cmb_cl", name][:999] - total[:, column]) / scale
        assert np.abs(error).max() < (0.05 if name == "BB" else 0.01), name
    lens = results.get_lens_potential_cls(1000, raw_cl=True, CMB_unit="muK")[2:]
    for column, name in enumerate(("PP", "PT", "PE")):
        expected = lens[:, column] * ell * (ell + 1) / (2 * np.pi)
        error = (block["cmb_cl", name][:98] - expected[:98]) / np.abs(expected[:98]).max()
        assert np.abs(error).max() < 0.01, name
    for section, nonlinear in (("matter_power_lin", False), ("matter_power_nl", True)):
        k_h = block[section, "k_h"]
        inside = (k_h > 1e-3) & (k_h < 2)
        late = block[section, "z"] <= 2  # before, HMcode needs a larger kmax
        power = results.get_matter_power_interpolator(nonlinear=nonlinear)
        expected = power.P(block[section, "z"][late], k_h[inside])
        np.testing.assert_allclose(block[section, "p_k"][late][:, inside], expected, rtol=0.01)
    for name, expected in (("sigma_8", results.get_sigma8()), ("fsigma_8", results.get_fsigma8())):
        np.testing.assert_allclose(block["growth_parameters", name], expected[::-1], rtol=2e-3)


def test_options_are_checked(artifact: Path) -> None:
    for name, value in (("lmax", 9000), ("zmax_background", 1100.0)):
        with pytest.raises(ValueError, match=name):
            module.setup(
                Block({("module_options", "emulator"): str(artifact), ("module_options", name): value})
            )
    lean = module.setup(
        Block({("module_options", "emulator"): str(artifact), ("module_options", "nz_background"): 7})
    )
    block = Block(cosmology(POINT))
    module.execute(block, lean)
    assert block["distances", "nz"] == 7
    z = block["distances", "z"]
    exact = lean.emulator.evaluate(POINT, ["angular_diameter_distance"], {"z": z})
    np.testing.assert_allclose(block["distances", "D_A"], exact["angular_diameter_distance"], rtol=TOLERANCE)
    options = {
        ("module_options", "emulator"): str(artifact),
        ("module_options", "halofit_version"): "mead2020",
    }
    with pytest.raises(ValueError, match="CAMB_lcdm has mead2016"):
        module.setup(Block(options))


def cosmosis(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs pipeline.ini: in the CosmoSIS of .ci/hosts, else in an installed one."""
    built = hosts_folder() / "cosmosis-3.26"
    if not built.is_dir():
        pytest.importorskip("cosmosis", reason=f"needs CosmoSIS in {built}: .ci/hosts cosmosis")
    environment = {**os.environ, "ZELOS": str(PACKAGE / "cosmosis"), "PYTHONPATH": str(built)}
    command = [sys.executable, "-m", "cosmosis.main", "pipeline.ini"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def example(artifact: Path, folder: Path, changes: dict[str, str]) -> None:
    for path in (ROOT / "configs/examples/cosmosis").iterdir():
        text = path.read_text() if path.is_file() else ""
        for old, new in {"hub:CAMB_lcdm": str(artifact), **changes}.items():
            text = text.replace(old, new)
        (folder / path.name).write_text(text)


def test_a_chain_in_cosmosis(artifact: Path, tmp_path: Path) -> None:
    """Points outside the region have zero likelihood and do not end the run."""
    sampler = "sampler = list\n[list]\nfilename = list.txt\n[output]\nfilename = out.txt"
    changes = {"sampler = test": sampler, "0.60 0.674 0.75": "0.40 0.674 0.99"}
    example(artifact, tmp_path, changes)
    values = (0.45, 0.66, 0.674, 0.95, 0.69)
    (tmp_path / "list.txt").write_text("#cosmological_parameters--h0\n" + "\n".join(map(str, values)))
    done = cosmosis(tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    chain = np.loadtxt(tmp_path / "out.txt")
    emulator = zelos.get_emulator(artifact)
    point = {name: value for name, value in POINT.items() if name != "logA"} | {"As": 2.1e-9}
    for h0, row in zip(values, chain, strict=True):
        assert row[0] == h0
        if h0 in (0.45, 0.95):
            assert row[-1] == -np.inf
            continue
        peak = emulator({**point, "H0": 100 * h0}, np.array([220.0]), output="Cl.tt")[0]
        expected = -0.5 * ((peak * 220 * 221 / (2 * np.pi) - 5740) / 50) ** 2
        assert row[-1] - row[-2] == pytest.approx(expected, rel=1e-9)
    assert "3 points emulated, 0 by the fallback" in done.stdout


def test_in_cosmosis(artifact: Path, tmp_path: Path) -> None:
    example(artifact, tmp_path, {})
    done = cosmosis(tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    emulator = zelos.get_emulator(artifact)
    point = {name: value for name, value in POINT.items() if name != "logA"} | {"As": 2.1e-9}
    saved = {
        name: np.loadtxt(tmp_path / f"output/{name}.txt")
        for name in ("cmb_cl/tt", "distances/h", "matter_power_lin/p_k")
    }
    answer = emulator.evaluate(point)
    ell = np.arange(2, 4401)
    np.testing.assert_allclose(
        saved["cmb_cl/tt"], answer["Cl.tt"] * ell * (ell + 1) / (2 * np.pi), rtol=1e-12
    )
    np.testing.assert_allclose(saved["distances/h"] * 299792.458, answer["Hubble"], rtol=1e-12)
    np.testing.assert_allclose(saved["matter_power_lin/p_k"], answer["Pk.linear"].T * 0.674**3, rtol=1e-12)


def test_the_module_says_where_it_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zelos.cosmosis"], capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).read_text() == (HOSTS / "cosmosis/zelos_interface.py").read_text()
