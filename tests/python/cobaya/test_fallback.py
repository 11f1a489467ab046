# SPDX-License-Identifier: BSD-3-Clause
"""Cobaya's CAMB as a fallback against CAMB itself: of what the training fixed, nothing may be lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cobaya.log import LoggedError
from cobaya.model import get_model

from zelos import _core
from zelos.cobaya.fallback import FallbackError, FallbackModel

from ..conftest import run_build

camb = pytest.importorskip("camb")
pytestmark = [pytest.mark.cobaya, pytest.mark.camb]

#: None of them is CAMB's default.
FIXED = {
    "ombh2": 0.0217, "omch2": 0.115, "tau": 0.08, "logA": 3.2, "ns": 0.94,
    "mnu": 0.12, "omk": 0.01, "nnu": 3.3, "w": -0.9,
}  # fmt: skip
ELSEWHERE = {
    "ombh2": 0.0235, "omch2": 0.126, "tau": 0.05, "logA": 2.9, "ns": 0.99,
    "mnu": 0.3, "omk": -0.02, "nnu": 2.8, "w": -1.05,
}  # fmt: skip
EMULATED = ["omegam", "rdrag", "zrei", "age"]
DERIVED = ["sigma8", *EMULATED]
SPEC = f"""
name: small
config: {{code: camb, fixed: {FIXED}}}
parameters: {{H0: [65, 70]}}
outputs: {{Hubble: {{z: [0, 1]}}}}
derived: [{", ".join(EMULATED)}]
emulator_fn: {{type: polynomial}}
training: {{n: 4, validation: 2, seed: 1}}
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SPEC)
    done = run_build(folder / "small.yaml", "-o", folder, "--no-learning-curve")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "small.tar.gz"


def by_camb(h0: float, values: dict[str, float]) -> dict[str, float]:
    cosmology = {name: value for name, value in values.items() if name not in ("logA", "ns", "w")}
    params = camb.CAMBparams(WantCls=False)
    params.set_cosmology(H0=h0, **cosmology)
    params.set_dark_energy(w=values["w"])
    params.InitPower.set_params(As=1e-10 * np.exp(values["logA"]), ns=values["ns"])
    params.set_matter_power(redshifts=[0.0], kmax=5)
    params.NonLinear = camb.model.NonLinear_none
    results = camb.get_results(params)
    derived = results.get_derived_params()
    omegam = results.get_Omega("baryon") + results.get_Omega("cdm") + results.get_Omega("nu")
    zrei = params.Reion.get_zre(params, values["tau"])
    return {
        "sigma8": results.get_sigma8_0(), "omegam": omegam, "rdrag": derived["rdrag"], "zrei": zrei,
        "age": derived["age"],
    }  # fmt: skip


def by_cobaya(artifact: Path, h0: float, params: dict[str, Any], **point: float) -> dict[str, float]:
    info = {
        "theory": {"zelos.cobaya.Zelos": {"emulator": str(artifact), "fallback": "camb"}},
        "likelihood": {"one": None},
        "params": {"H0": {"prior": [40, 100]}, **params, **dict.fromkeys(DERIVED)},
    }
    chain = get_model(info)
    derived = chain.logposterior({"H0": h0, **point}).derived
    assert chain.theory["zelos.cobaya.Zelos"].statistics.fallen_back == 1
    chain.close()
    return dict(zip(chain.parameterization.derived_params(), derived, strict=True))


def names(which: int) -> dict[str, str]:
    """A name of each that Cobaya takes: the first is that of the training."""
    every = {name: [name, *filter(str.isidentifier, _core.synonyms(name))] for name in FIXED}
    return {name: known[min(which, len(known) - 1)] for name, known in every.items()}


def agrees(got: dict[str, float], expected: dict[str, float]) -> None:
    for name, value in expected.items():
        # Cobaya ends the integral of sigma8 at another k.
        assert got[name] == pytest.approx(value, rel=1e-3 if name == "sigma8" else 1e-6), name


@pytest.mark.parametrize("which", [None, 1, 2])
def test_what_the_training_fixed_is_told_under_every_name(artifact: Path, which: int | None) -> None:
    """A point outside the range of H0; `which` None: no name is given, the training's values hold."""
    given = {} if which is None else names(which)
    params = {other: _core.convert(FIXED[name], name, other) for name, other in given.items()}
    agrees(by_cobaya(artifact, 60.0, params), by_camb(60.0, FIXED))


@pytest.mark.parametrize("which", [0, 1])
def test_another_value_of_what_was_fixed_is_told_under_every_name(artifact: Path, which: int) -> None:
    """Sampled, at a point within the range of H0."""
    point = {other: _core.convert(ELSEWHERE[name], name, other) for name, other in names(which).items()}
    params = {name: {"prior": [-1e3, 1e3]} for name in point}
    agrees(by_cobaya(artifact, 67.0, params, **point), by_camb(67.0, ELSEWHERE))


def test_the_usual_amplitude_of_cobaya(artifact: Path) -> None:
    """logA is sampled and dropped, As follows."""
    params = {
        "logA": {"prior": [2, 4], "drop": True},
        "As": {"value": "lambda logA: 1e-10*np.exp(logA)"},
    }
    agrees(by_cobaya(artifact, 60.0, params, logA=FIXED["logA"]), by_camb(60.0, FIXED))
    agrees(by_cobaya(artifact, 67.0, params, logA=2.9), by_camb(67.0, {**FIXED, "logA": 2.9}))


def test_where_cobayas_theory_lacks_a_name_the_cache_is_pointed_to(tmp_path: Path) -> None:
    """CAMB has no Omega_b; zelos tells it ombh2."""
    point = {"Omega_b": 0.048, "Omega_cdm": 0.26, "H0": 58.0, "logA": 3.1, "ns": 0.97, "w0": -0.9}
    theory = {"emulator": "hub:CAMB_linear_matter_power", "fallback": "camb"}
    info: dict[str, Any] = {
        "theory": {"zelos.cobaya.Zelos": theory},
        "likelihood": {"one": None},
        "params": {**point, "H0": {"prior": [50, 90]}, "sigma8": None, "omegam": None},
    }
    with pytest.raises(LoggedError, match=r"does not know the parameter 'Omega_b'.*With 'cache: FOLDER'"):
        get_model(info)
    theory["cache"] = str(tmp_path / "cache")
    chain = get_model(info)
    found = chain.logposterior({"H0": point["H0"]}).derived
    chain.close()
    h2 = (point["H0"] / 100) ** 2
    values = {"ombh2": point["Omega_b"] * h2, "omch2": point["Omega_cdm"] * h2, "tau": 0.055, "omk": 0.0}
    expected = by_camb(point["H0"], {**values, "mnu": 0.06, "nnu": 3.044, "logA": 3.1, "ns": 0.97, "w": -0.9})
    assert found == [pytest.approx(expected[name], rel=1e-3) for name in ("sigma8", "omegam")]


def test_a_name_that_no_theory_reads_is_refused() -> None:
    required = [{"rdrag": None}]
    FallbackModel("camb", {}, {"H0": "H0"}, required, None).close()
    with pytest.raises(FallbackError, match="logA"):
        FallbackModel("camb", {}, {"H0": "H0", "logA": "logA"}, required, None)
