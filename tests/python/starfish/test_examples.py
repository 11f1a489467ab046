# SPDX-License-Identifier: BSD-3-Clause
"""configs/examples/starfish, in short form."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zelos.starfish import Emulator, Spectrum, SpectrumModel

from . import library

EXAMPLES = Path(__file__).parents[3] / "configs/examples/starfish"


@pytest.fixture
def inputs(trained: Emulator, observed: Spectrum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    trained.save("library.h5")
    observed.save("star.hdf5")
    return tmp_path


def test_cobaya(inputs: Path, trained: Emulator, observed: Spectrum) -> None:
    yaml = pytest.importorskip("cobaya.yaml")
    from cobaya.model import get_model
    from cobaya.run import run

    info: dict[str, Any] = yaml.yaml_load_file(str(EXAMPLES / "cobaya.yaml"))
    point = {"T": 5690.0, "logg": 4.2, "Z": -0.18, "vz": 0.5, "log_scale": 0.001, "cheb_1": 0.002}
    with get_model(info) as model:
        found = model.loglike(point, return_derived=False)
        own = SpectrumModel(trained, observed, (5690.0, 4.2, -0.18), vz=0.5, log_scale=0.001, cheb=[0.002])
        assert found == pytest.approx(own.log_likelihood(), rel=1e-12)
        outside = model.loglike({**point, "T": 6501.0}, return_derived=False)
        assert outside == -np.inf
        counts = model.likelihood["zelos.cobaya.Spectrum"].spectrum_model.answered
        assert counts == {"emulator": 1, "rejected": 1}
    info["sampler"] = {"mcmc": {"max_samples": 60, "Rminus1_stop": 0.5, "seed": 2}}
    del info["output"]
    _, sampler = run(info)
    chain = sampler.products(to_getdist=False)["sample"]
    assert len(chain) > 10 and 5400 < chain["T"].to_numpy()[-1] < 6000


def test_emcee(inputs: Path) -> None:
    pytest.importorskip("emcee")
    spec = importlib.util.spec_from_file_location("emcee_fit", EXAMPLES / "emcee_fit.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    chain = example.main(["library.h5", "star.hdf5", "--steps", "60"])
    for name, truth in zip(library.NAMES, library.TRUTH, strict=True):
        assert abs(chain[name].mean() - truth) < 5 * chain[name].std(), name
