# SPDX-License-Identifier: BSD-3-Clause
"""With `cache`: the real code in processes of zelos, its answers kept. The code is the toy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_driver
from cobaya.likelihood import Likelihood
from cobaya.log import LoggedError
from cobaya.model import get_model

from zelos.real_code import read_cache

pytestmark = pytest.mark.cobaya


class Spectra(Likelihood):
    def get_requirements(self) -> dict[str, Any]:
        return {"Cl": {"tt": 100, "ee": 80}}

    def logp(self, **_: Any) -> float:
        return -float(self.provider.get_Cl()["tt"][50])


def model(artifact: Path, **options: Any) -> Any:
    theory = {"emulator": str(artifact), "fallback": "toy", **options}
    info = {
        "theory": {"zelos.cobaya.Zelos": theory},
        "likelihood": {"spectra": {"external": Spectra}},
        "params": {
            "A": {"prior": {"min": 0.1, "max": 9}, "ref": 1.5},
            "n": {"prior": {"min": 0.5, "max": 1.5}, "ref": 0.95},
            "age": None,
        },
    }
    return get_model(info)


def test_a_cache_answers_the_next_chain(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setenv("TOY_RUNS", str(runs))
    answers = []
    for _ in range(2):
        chain = model(toy_artifact, cache=str(tmp_path / "cache"))
        theory = chain.theory["zelos.cobaya.Zelos"]
        posterior = chain.logposterior({"A": 2.5, "n": 0.95})
        assert posterior.derived == [pytest.approx(13.95, rel=1e-13)]
        spectra = theory.get_Cl(ell_factor=False, units="muK2")
        ell = np.arange(2.0, 101)
        expected = toy_driver.spectrum("tt", 2.5, 0.95, ell)
        np.testing.assert_allclose(spectra["tt"][2:101], expected, rtol=1e-12)
        assert (theory.statistics.emulated, theory.statistics.fallen_back) == (0, 1)
        chain.logposterior({"A": 1.5, "n": 0.95})
        assert (theory.statistics.emulated, theory.statistics.fallen_back) == (1, 1)
        answers.append(posterior.loglikes[0])
        chain.close()
    assert answers[0] == answers[1]
    assert len(runs.read_text().splitlines()) == 1
    (kept,) = read_cache(tmp_path / "cache")
    assert kept.parameters == {"A": 2.5, "n": 0.95}


def test_a_worker_that_fails_is_zero_likelihood_and_the_chain_goes_on(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAULT", "die")
    options = {"fallback": {"toy": {"retries": 0}}, "cache": str(tmp_path / "cache")}
    chain = model(toy_artifact, **options)
    assert chain.logposterior({"A": 2.5, "n": 0.95}).logpost == -np.inf
    assert np.isfinite(chain.logposterior({"A": 1.5, "n": 0.95}).logpost)
    chain.close()
    chain = model(toy_artifact, stop_at_error=True, **options)
    with pytest.raises(LoggedError):
        chain.logposterior({"A": 2.5, "n": 0.95})
    chain.close()


def test_refused_at_initialisation(toy_artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(LoggedError, match="'outside' is 'reject'"):
        model(toy_artifact, cache=str(tmp_path), outside="reject")
    with pytest.raises(LoggedError, match="unknown option 'extra_args'"):
        model(toy_artifact, cache=str(tmp_path), fallback={"toy": {"extra_args": {}}})
