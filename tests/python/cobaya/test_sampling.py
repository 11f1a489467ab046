# SPDX-License-Identifier: BSD-3-Clause
"""Whole runs: evaluate, mcmc, resume, post-processing of chains."""

import numpy as np
import pytest
from cobaya.likelihood import Likelihood
from cobaya.log import LoggedError
from cobaya.output import load_samples
from cobaya.run import run

from .conftest import Emulator

pytestmark = [pytest.mark.cobaya, pytest.mark.camb]


class Amplitude(Likelihood):
    """Gaussian in the height of the spectrum and in the expansion rate."""

    def get_requirements(self):
        return {"Cl": {"tt": 200}, "Hubble": {"z": [0.38]}}

    def logp(self, **_):
        tt = self.provider.get_Cl(ell_factor=True)["tt"][200]
        return -0.5 * ((tt / 5100 - 1) / 0.02) ** 2


def info(output=None, **sampler):
    return {
        "theory": {"zelos.cobaya.Zelos": {"emulator": "hub:one", "outside": "reject"}},
        "likelihood": {"amplitude": {"external": Amplitude}},
        "params": {
            "logA": {"prior": {"min": 2.6, "max": 3.5}, "ref": 3.04, "proposal": 0.05, "drop": True},
            "As": {"value": "lambda logA: 1e-10*np.exp(logA)"},
            "H0": 67.5,
            "ombh2": 0.0224,
            "omch2": 0.12,
            "tau": 0.055,
            "ns": 0.966,
            "sigma8": None,
            "age": None,
        },
        "sampler": sampler,
        "output": output,
    }


def report(text):
    return [line for line in text.splitlines() if "emulated" in line or "why outside" in line]


def test_evaluate(use, caplog):
    use(Emulator(exact=False))
    _, sampler = run(info(evaluate={"override": {"logA": 3.05}}))
    assert np.isfinite(sampler.products()["sample"]["minuslogpost"].to_numpy(float)).all()
    assert any("1 points: 1 emulated, 0 by the fallback" in line for line in report(caplog.text))


def test_mcmc_reports_and_has_no_missing_derived(use, tmp_path, caplog):
    use(Emulator(exact=False))
    prefix = str(tmp_path / "chain")
    _, sampler = run(info(prefix, mcmc={"max_samples": 150, "seed": 1, "measure_speeds": False}))
    chain = sampler.products(combined=True)["sample"]
    assert len(chain) >= 150
    assert np.isfinite(chain[["sigma8", "age", "minuslogpost"]].to_numpy(float)).all()
    inside = chain["logA"].to_numpy(float)
    assert inside.min() >= 2.7 and inside.max() <= 3.4
    emulated = next(line for line in report(caplog.text) if "emulated" in line)
    assert "emulated, 0 by the fallback" in emulated
    loaded = load_samples(prefix, combined=True)
    assert len(loaded) == len(chain)


def test_resume_only_with_the_same_emulator(use, tmp_path):
    same, other = Emulator(exact=False), Emulator(exact=False, identity="b" * 64)
    use(same)
    prefix = str(tmp_path / "chain")
    first = run(info(prefix, mcmc={"max_samples": 40, "seed": 1, "measure_speeds": False}))[1]
    n = len(first.products()["sample"])
    longer = info(prefix, mcmc={"max_samples": 80, "seed": 1, "measure_speeds": False})
    use(other)
    with pytest.raises(LoggedError, match="not compatible"):
        run(longer, resume=True)
    use(same)
    second = run(longer, resume=True)[1]
    assert len(second.products()["sample"]) > n
    updated = (tmp_path / "chain.updated.yaml").read_text()
    assert f"emulator_id: {'a' * 64}" in updated and "fake_lcdm@0.1+" in updated


def test_getdist_takes_the_chain(use, tmp_path):
    getdist = pytest.importorskip("getdist.mcsamples")
    use(Emulator(exact=False))
    prefix = str(tmp_path / "chain")
    run(info(prefix, mcmc={"max_samples": 200, "seed": 2, "measure_speeds": False}))
    samples = getdist.loadMCSamples(prefix, settings={"ignore_rows": 0.2}, no_cache=True)
    stats = samples.getMargeStats()
    assert 0 < stats.parWithName("sigma8").mean < 2
