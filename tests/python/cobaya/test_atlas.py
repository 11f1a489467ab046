# SPDX-License-Identifier: BSD-3-Clause
"""Several emulators in one run; the toy's of tests/python/conftest.py, whose formulas are the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_driver
from cobaya.likelihood import Likelihood
from cobaya.log import LoggedError
from cobaya.model import get_model

pytestmark = pytest.mark.cobaya

Z = [0.0, 0.5]
Atlas = dict[str, Path]


class Power(Likelihood):
    def get_requirements(self) -> dict[str, Any]:
        return {"Pk_grid": {"z": Z, "k_max": 0.5, "nonlinear": False}}

    def logp(self, **_: Any) -> float:
        return 0.0


class PowerAndSpectra(Power):
    def get_requirements(self) -> dict[str, Any]:
        return {**super().get_requirements(), "Cl": {"tt": 100}}


def model(
    emulators: list[Path], tmp_path: Path, likelihood: Any = Power, params: Any = None, **options: Any
) -> Any:
    theory = {
        "emulator": [str(path) for path in emulators],
        "fallback": "toy",
        "cache": str(tmp_path / "cache"),
    }
    info = {
        "theory": {"zelos.cobaya.Zelos": {**theory, **options}},
        "likelihood": {"power": {"external": likelihood}},
        "params": {
            "A": {"prior": {"min": 0.1, "max": 9}, "ref": 1.5},
            "n": {"prior": {"min": 0.5, "max": 1.5}, "ref": 0.95},
            **(params or {}),
        },
    }
    return get_model(info)


def theory_of(chain: Any) -> Any:
    return chain.theory["zelos.cobaya.Zelos"]


def error(chain: Any, point: dict[str, float], **physics: Any) -> float:
    """Largest relative error of P(k, z) against the formula."""
    assert np.isfinite(chain.logposterior(point).logpost)
    k, z, power = chain.provider.get_Pk_grid(nonlinear=False)
    settings = physics.get("settings", ())
    factor, shift = toy_driver.extension(physics.get("b", 0), physics.get("m", 0.1), *settings)
    true = toy_driver.power(point["A"] * factor, point["n"] + shift, k, z[:, None])
    return float(np.max(np.abs(power / true - 1)))


def test_each_point_by_the_first_that_holds_it(toy_atlas: Atlas, tmp_path: Path) -> None:
    chain = model([toy_atlas["toy_base"], toy_atlas["toy_wide"]], tmp_path)
    theory = theory_of(chain)
    assert error(chain, {"A": 1.5, "n": 0.95}) < 1e-3
    assert error(chain, {"A": 3.0, "n": 0.95}) < 5e-2
    assert error(chain, {"A": 6.0, "n": 0.95}) < 1e-12
    report = theory.statistics.as_dict()
    assert report["emulators"] == {"toy_base": 1, "toy_wide": 1}
    assert (report["emulated"], report["fallback"], report["reasons"]) == (2, 1, {"A above its range": 1})
    assert "3 points: 2 emulated (toy_base 1, toy_wide 1), 1 by the fallback" in theory.statistics.report()
    assert theory.emulator_id.count("+") == 1 and "toy_wide@" in theory.get_version()
    chain.close()


def test_what_is_sampled_decides_who_leads(
    toy_atlas: Atlas, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    every = [toy_atlas[name] for name in ("toy_base", "toy_b", "toy_m")]
    free_b = model(every, tmp_path, params={"B": [-2, 2]})
    assert error(free_b, {"A": 1.5, "n": 0.95, "B": 0.3}, b=0.3, settings=("ppf",)) < 1e-3
    assert error(free_b, {"A": 1.5, "n": 0.95, "B": 0.0}) < 1e-3
    assert error(free_b, {"A": 1.5, "n": 0.95, "B": 1.5}, b=1.5, settings=("ppf",)) < 1e-12
    assert theory_of(free_b).statistics.as_dict()["emulators"] == {"toy_base": 1, "toy_b": 1, "toy_m": 0}
    assert "toy_m is not asked" in caplog.text
    caplog.clear()
    free_m = model(every, tmp_path, params={"M": [0, 0.5]})
    assert error(free_m, {"A": 1.5, "n": 0.95, "M": 0.1}, m=0.1, settings=("", 3)) < 1e-3
    assert theory_of(free_m).statistics.as_dict()["emulators"] == {"toy_base": 0, "toy_b": 0, "toy_m": 1}
    assert "toy_base is not asked beside toy_m, its physics is another: species" in caplog.text
    caplog.clear()
    fixed = model(every, tmp_path, params={"M": 0.1, "B": 0.0})
    assert error(fixed, {"A": 1.5, "n": 0.95}) < 1e-3
    assert theory_of(fixed).statistics.as_dict()["emulators"]["toy_base"] == 1
    fixed = model(every, tmp_path, params={"B": 0.3})
    assert error(fixed, {"A": 1.5, "n": 0.95}, b=0.3, settings=("ppf",)) < 1e-3
    assert "toy_base is not asked: B is 0.3 in this run and 0 there" in caplog.text


def test_a_product_that_the_first_lacks_comes_from_the_next(toy_atlas: Atlas, tmp_path: Path) -> None:
    chain = model([toy_atlas["toy_b"], toy_atlas["toy_base"]], tmp_path, PowerAndSpectra)
    assert error(chain, {"A": 1.5, "n": 0.95}) < 1e-3
    tt = chain.provider.get_Cl(units="muK2")["tt"][2:101]
    np.testing.assert_allclose(tt, toy_driver.spectrum("tt", 1.5, 0.96, np.arange(2.0, 101)), rtol=1e-3)
    assert error(chain, {"A": 3.0, "n": 0.95}) < 1e-12
    assert theory_of(chain).statistics.as_dict()["fallback"] == 1
    with pytest.raises(LoggedError, match="has no spectra bb"):
        model(
            [toy_atlas["toy_b"], toy_atlas["toy_base"]],
            tmp_path,
            type("B", (Power,), {"get_requirements": lambda _: {"Cl": {"bb": 100}}}),
        )
    with pytest.raises(LoggedError, match="toy_b, whose settings the fallback takes, does not have Cl"):
        model([toy_atlas["toy_b"], toy_atlas["toy_base"]], tmp_path, PowerAndSpectra, {"B": [-1, 1]})


def test_refused_at_initialisation(toy_atlas: Atlas, toy_artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(LoggedError, match=r"tilt: \(not set\) in toy_base, 0.01 in toy_old"):
        model([toy_atlas["toy_base"], toy_atlas["toy_old"]], tmp_path)
    with pytest.raises(LoggedError, match="'mix' is null or 'any'"):
        model([toy_atlas["toy_base"]], tmp_path, mix="some")
    with pytest.raises(LoggedError, match="'emulator' or 'atlas', not both"):
        model([toy_atlas["toy_base"]], tmp_path, atlas="hub:CAMB")
    with pytest.raises(LoggedError, match="does not know 'B'"):
        model([toy_artifact], tmp_path, params={"B": [-1, 1]})


@pytest.mark.parametrize("order", [("L", "B"), ("B", "L")])
def test_every_parameter_that_the_code_can_not_be_told_has_to_be_neutral(
    order: tuple[str, str], toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_driver.Driver, "neutral", {"B": 0.0, "L": 1.0})
    values: dict[str, Any] = {"L": 1.0, "B": 0.0}
    sampled = {name: [-1, 1] if name == "B" else values[name] for name in order}
    with pytest.raises(LoggedError, match="does not know 'B'"):
        model([toy_artifact], tmp_path, params=sampled)
    chain = model([toy_artifact], tmp_path, params={name: values[name] for name in order})
    assert error(chain, {"A": 6.0, "n": 0.95}, m=0.0) < 1e-12
    with pytest.raises(LoggedError, match=r"'B' is 0\.3"):
        theory_of(chain).calculate({}, want_derived=False, A=6.0, n=0.95, **{**values, "B": 0.3})
    chain.close()


def test_the_file_of_an_atlas(toy_atlas: Atlas, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "toys.atlas"
    file.write_text(f"{toy_atlas['toy_base']}\nhub:absent\n{toy_atlas['toy_wide']}\n")
    info = {
        "theory": {"zelos.cobaya.Zelos": {"atlas": str(file), "outside": "reject"}},
        "likelihood": {"power": {"external": Power}},
        "params": {"A": {"prior": [0.1, 9]}, "n": {"prior": [0.5, 1.5]}},
    }
    chain = get_model(info)
    assert "hub:absent is not asked: the atlas names it, but it is not installed" in caplog.text
    assert error(chain, {"A": 3.0, "n": 0.95}) < 5e-2
    assert chain.logposterior({"A": 6.0, "n": 0.95}).logpost == -np.inf
    assert theory_of(chain).statistics.as_dict()["emulators"] == {"toy_base": 0, "toy_wide": 1}
