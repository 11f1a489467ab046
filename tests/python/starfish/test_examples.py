# SPDX-License-Identifier: BSD-3-Clause
"""configs/examples/starfish, in short form."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zelos.starfish import Emulator, Spectrum, SpectrumModel

from . import library

SHARED = Path(os.environ.get("ZELOS_SHARED", Path(__file__).parents[4] / "shared"))
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


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_emcee(inputs: Path) -> None:
    pytest.importorskip("emcee")
    chain = example("emcee_fit").main(["library.h5", "star.hdf5", "--steps", "60"])
    for name, truth in zip(library.NAMES, library.TRUTH, strict=True):
        assert abs(chain[name].mean() - truth) < 5 * chain[name].std(), name


def test_dynesty(inputs: Path, trained: Emulator, observed: Spectrum) -> None:
    pytest.importorskip("dynesty")
    module = example("dynesty_fit")
    chain, evidence, error = module.main(
        ["library.h5", "star.hdf5", "--live", "30", "--walks", "10", "--dlogz", "1"]
    )
    for name, truth in zip(library.NAMES, library.TRUTH, strict=True):
        assert abs(chain[name].mean() - truth) < 5 * chain[name].std(), name

    # Laplace's approximation: the height and width of the largest posterior over the volume of the prior.
    model = SpectrumModel(trained, observed, library.TRUTH, vz=0.0, log_scale=0.0)
    best = model.train().x
    hessian = np.empty((len(best), len(best)))
    steps = 1e-4 * np.maximum(np.abs(best), 1.0) * np.eye(len(best))
    for i, step in enumerate(steps):
        slopes = []
        for x in (best + step, best - step):
            model.set_param_vector(x)
            slopes.append(model.log_likelihood_gradient()[1])
        hessian[i] = (slopes[0] - slopes[1]) / (2 * step[i])
    model.set_param_vector(best)
    volumes = [*np.ptp(trained.grid_points, axis=0), *(high - low for low, high in module.PRIORS.values())]
    pixels = len(observed[0].wave)
    expected = model.log_likelihood() - 0.5 * pixels * np.log(2 * np.pi) - np.log(volumes).sum()
    expected += 0.5 * (len(best) * np.log(2 * np.pi) - np.linalg.slogdet(-hessian)[1])
    assert abs(evidence - expected) < 4 * error + 0.5


@pytest.fixture(scope="module")
def star() -> tuple[Any, str]:
    """The example of a real star, and its spectrum."""
    pytest.importorskip("astropy")
    spectrum = SHARED / "data/spectra/hd190406_hires.fits"
    if not spectrum.is_file():
        pytest.skip(f"needs {spectrum.name} in {SHARED.name}/data/spectra (ZELOS_SHARED)")
    spec = importlib.util.spec_from_file_location("hd190406", EXAMPLES / "hd190406.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example, str(spectrum)


def test_noise_of_a_real_star(star: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the photons' noise is said to be, against fourth differences of the continuum's pixels."""
    example, spectrum = star
    monkeypatch.setattr(example, "BIN", 1)
    for _, flux, sigma in example.read(spectrum):
        continuum = flux[2:-2] > 0.97
        found = np.median(np.abs(np.diff(flux, 4)[continuum])) / 0.6745 / np.sqrt(70)
        assert found == pytest.approx(np.median(sigma[2:-2][continuum]), rel=0.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the best fit is beyond")  # of segments, whose velocities are used alone
def test_fit_of_a_real_star(star: tuple[Any, str]) -> None:
    """With two rounds of local kernels; without them 80 % of the pixels are within one standard deviation."""
    example, spectrum = star
    emulator = Emulator.from_grid(example.library(), 15, whiten_pixels=False)
    emulator.train("independent", mean_degree=2)
    model = example.fit(emulator, example.straighten(emulator, example.read(spectrum)), rounds=2)
    z = np.concatenate(example.scores(model))
    assert 0.9 < np.sqrt(np.mean(z**2)) < 1.1
    assert 0.65 < np.mean(np.abs(z) < 1) < 0.74
    assert abs(model["T"] - 5941) < 150 and abs(model["logg"] - 4.4) < 0.2
