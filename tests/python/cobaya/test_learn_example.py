# SPDX-License-Identifier: BSD-3-Clause
"""The examples in configs/examples/learn, in a short form."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cobaya.model import get_model
from cobaya.yaml import yaml_load_file

from zelos.build.plan import make_plan

from ..conftest import toy_environment

pytestmark = pytest.mark.cobaya

EXAMPLE = Path(__file__).parents[3] / "configs/examples/learn"
COVMAT = EXAMPLE.parent / "planck_like/planck_like.covmat"


def reweight() -> Any:
    spec = importlib.util.spec_from_file_location("reweight", EXAMPLE / "reweight.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_weights_find_the_shift_that_an_emulator_made() -> None:
    """ln L of a unit Gaussian whose mean the emulator had wrong by 0.05 in one direction."""
    pd = pytest.importorskip("pandas")
    x = np.random.default_rng(6).normal(0.05, 1, (4000, 2))
    chain = pd.DataFrame({"a": x[:, 0], "b": x[:, 1] - 0.05, "weight": 1.0})
    chain["chi2"] = (chain["a"] - 0.05) ** 2 + chain["b"] ** 2
    entries = [{"row": row, "camb": -0.5 * (x[row, 0] ** 2 + chain["b"][row] ** 2)} for row in range(4000)]
    found = reweight().compare(chain, np.arange(4000), entries, ["a", "b"])
    assert found["points"] == 4000 and 3900 < found["effective"] < 4000
    assert found["parameters"]["a"]["shift"] == pytest.approx(-0.05, abs=0.003)
    assert found["parameters"]["b"]["shift"] == pytest.approx(0, abs=0.003)
    assert found["parameters"]["a"]["width"] == pytest.approx(1, abs=0.01)


@pytest.mark.camb
def test_the_spec_of_the_example_can_be_trained() -> None:
    plan = make_plan(str(EXAMPLE / "planck_lcdm.yaml"))
    assert plan.data["accuracy"] and plan.data["region"]["hull"] == "ellipsoid"
    assert plan.data["region"]["tolerance"] is not None


@pytest.mark.camb
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # Cobaya's reading of Planck's covariance
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["learn", "wide"])
def test_the_example_begins(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The input as it is, to the first point: CAMB answers, its answer is kept."""
    packages = Path(os.environ.get("ZELOS_SHARED", "/nowhere")) / "data/cobaya_packages"
    if not packages.is_dir():
        pytest.skip("needs the data of Planck in $ZELOS_SHARED")
    monkeypatch.setenv("PYTHONPATH", toy_environment()["PYTHONPATH"])
    info = yaml_load_file(str(EXAMPLE / f"{name}.yaml"))
    info["packages_path"] = str(packages)
    theory = info["theory"]["zelos.cobaya.Zelos"]
    if name == "wide":  # any emulator that begins elsewhere
        theory["emulator"], theory["cache"] = "hub:CAMB_lcdm", None
        theory["outside"], theory["fallback"] = "reject", None
    else:
        theory["learn"] = {"spec": str(EXAMPLE / "planck_lcdm.yaml"), "folder": str(tmp_path / "learn")}
    info["sampler"]["mcmc"]["covmat"] = str(COVMAT)
    model = get_model({key: info[key] for key in ("theory", "likelihood", "params", "packages_path")})
    point = {key: p["ref"] for key, p in info["params"].items() if isinstance(p, dict) and "ref" in p}
    found = model.logposterior({**point, "A_planck": 1.0})
    statistics = model.theory["zelos.cobaya.Zelos"].statistics
    assert np.isfinite(found.logpost)
    if name == "learn":
        assert statistics.fallen_back == 1
        assert json.loads((tmp_path / "learn" / "learn.json").read_text())["parameters"] == 6
        assert sum(found.loglikes) * -2 == pytest.approx(590, abs=60)
    model.close()
