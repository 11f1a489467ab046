# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import copy
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zelos
from zelos.starfish import (
    Emulator,
    Grid,
    Order,
    Spectrum,
    SpectrumModel,
    find_residual_peaks,
    local_kernels,
)
from zelos.starfish.grid import C_KMS
from zelos.starfish.transforms import extinction_coefficients

from . import library

SIMPLE: dict[str, Any] = {"vz": 2.0, "vsini": 8.0, "log_scale": 0.01}
KERNELS: dict[str, Any] = {
    "global_cov": {"log_amp": -9.0, "log_ls": 1.8},
    "local_cov": [
        {"mu": 5120.0, "log_amp": -8.0, "log_sigma": 3.5},
        {"mu": 5132.0, "log_amp": -7.0, "log_sigma": 3.0},
    ],
}
CASES: dict[str, dict[str, Any]] = {
    "simple": SIMPLE,
    "matched scale": {"vz": 2.0, "cheb": [0.05, 0.01], "Av": 0.2},
    "kernels": {**SIMPLE, **KERNELS},
    "all": {**SIMPLE, **KERNELS, "cheb": [0.1, -0.02], "Av": 0.3, "Rv": 2.7},
    "norm": {"norm": True, "vz": 1.0, "log_scale": 0.3},
    "diagonal": {**SIMPLE, "truncation": "diagonal"},
    "no truncation": {**SIMPLE, "truncation": "none"},
}


def dense_log_likelihood(model: SpectrumModel) -> float:
    """Of one matrix of all orders' pixels: the weights and the scale have the same errors in each."""
    prediction = model._predict()
    sigma_w = model.emulator(model.grid_params)[1]
    fluxes, factors, blocks = [], [], []
    for i in range(len(model.spectrum)):
        state = model._state(i, prediction)
        p = state.scale * state.extinction * state.series
        x = p[:, np.newaxis] * state.rows[:, : model.emulator.ncomps]
        flux, covariance = model(i)
        fluxes.append(flux)
        factors.append(np.column_stack([x @ np.linalg.cholesky(sigma_w), state.norm[1] * flux]))
        blocks.append(covariance)
    u = np.concatenate(factors)
    covariance = u @ u.T
    first = 0
    for block in blocks:
        own = slice(first, first + len(block))
        covariance[own, own] = block
        first += len(block)
    residual = np.concatenate(fluxes) - np.concatenate([order.flux for order in model.spectrum])
    _, log_det = np.linalg.slogdet(covariance)
    return float(-0.5 * (log_det + residual @ np.linalg.solve(covariance, residual)))


@pytest.mark.parametrize("name", list(CASES))
def test_equals_the_dense_computation(name: str, trained: Emulator, observed: Spectrum) -> None:
    model = SpectrumModel(trained, observed, library.TRUTH, **CASES[name])
    assert model.log_likelihood() == pytest.approx(dense_log_likelihood(model), rel=1e-10)


def check_gradient(model: SpectrumModel, priors: Any = None) -> None:
    """Against differences of the value, of fourth order."""
    value, gradient = model.log_likelihood_gradient(priors)
    assert value == pytest.approx(model.log_likelihood(priors), rel=1e-12)
    start = model.get_param_vector()
    for i, (label, slope) in enumerate(zip(model.labels, gradient, strict=True)):
        # The centre of a local kernel has kinks at the pixels: the step stays between two.
        h = 1e-5 if label.endswith(":mu") else 1e-5 * max(abs(start[i]), 0.1)
        values = []
        for step in (-2, -1, 1, 2):
            x = start.copy()
            x[i] += step * h
            model.set_param_vector(x)
            values.append(model.log_likelihood(priors))
        model.set_param_vector(start)
        difference = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * h)
        assert slope == pytest.approx(difference, rel=2e-5, abs=1e-7 * np.abs(gradient).max()), label


@pytest.mark.parametrize("name", list(CASES))
def test_gradient(name: str, trained: Emulator, observed: Spectrum) -> None:
    check_gradient(SpectrumModel(trained, observed, library.TRUTH, **CASES[name]))


def test_kernels_keep_their_numbers(trained: Emulator, observed: Spectrum) -> None:
    model = SpectrumModel(trained, observed, library.TRUTH, **CASES["kernels"])
    del model["local_cov:0"]
    assert "local_cov:1:mu" in model.labels and "local_cov:0:mu" not in model.labels
    check_gradient(model)
    other = SpectrumModel(
        trained, observed, library.TRUTH, **{**CASES["kernels"], "local_cov": KERNELS["local_cov"][1:]}
    )
    assert model.log_likelihood() == other.log_likelihood()


def test_covariance_is_that_of_draws_of_the_weights(trained: Emulator, observed: Spectrum) -> None:
    """The covariance of spectra whose weights are drawn from the emulator, against the model's (eqs.
    49-50)."""
    model = SpectrumModel(trained, observed, (5480.0, 3.7, -0.8), truncation="none", **SIMPLE, cheb=[0.1])
    flux, covariance = model()
    emulator_part = covariance - np.diag(observed[0].sigma ** 2)
    mu, cov = trained((5480.0, 3.7, -0.8))
    random = np.random.default_rng(5)
    draws = random.multivariate_normal(mu, cov, size=800, method="cholesky")
    spectra = draws @ (trained.eigenspectra * trained.flux_std) + trained.flux_mean
    transformed = np.array([transform(s, trained.wl, model) for s in spectra])
    np.testing.assert_allclose(transformed.mean(axis=0), flux, atol=5e-4)
    scale = np.sqrt(np.outer(emulator_part.diagonal(), emulator_part.diagonal()))
    assert np.abs(np.cov(transformed.T) - emulator_part).max() < 0.2 * scale.max()
    ratio = transformed.var(axis=0) / emulator_part.diagonal()
    assert np.median(ratio) == pytest.approx(1.0, abs=0.12)


def transform(flux: Any, wl: Any, model: SpectrumModel) -> Any:
    """One spectrum through rotation (by its profile, not its transform), shift, interpolation, series and
    scale."""
    from scipy.interpolate import make_interp_spline

    vsini, vz = model.params["vsini"], model.params["vz"]
    spline = make_interp_spline(np.log(wl), flux, k=5)
    wave = model.data.wave
    at = np.log(wave) - 0.5 * np.log((C_KMS + vz) / (C_KMS - vz))
    # Gray (2005) eq. 18.14 with limb darkening 0.6; nodes that the profile's square root does not harm.
    angle = (np.arange(40) + 0.5) * np.pi / 40
    x = np.cos(angle)
    root = np.sin(angle)
    profile = (2 * 0.4 * root + 0.5 * np.pi * 0.6 * root**2) * root
    broadened = sum(p * spline(at - np.log1p(v * vsini / C_KMS)) for v, p in zip(x, profile, strict=True))
    series = 1 + model.cheb @ np.array([2 * (wave - wave[0]) / (wave[-1] - wave[0]) - 1])
    return broadened / profile.sum() * series * np.exp(model.params["log_scale"])


def test_starfish_flattens_the_posterior(trained: Emulator, observed: Spectrum) -> None:
    """The better the emulator, the larger the inverse that Starfish puts where the covariance should
    stand."""
    right = SpectrumModel(trained, observed, library.TRUTH, log_scale=0.0)
    wrong = SpectrumModel(trained, observed, library.TRUTH, log_scale=0.0, starfish_compat=True)
    _, sigma = right.flux_and_std()
    _, theirs = wrong.flux_and_std()
    assert np.median(theirs / sigma) > 30
    np.testing.assert_allclose(sigma, observed[0].sigma, rtol=0.6)


def test_rv_is_used_and_dust_acts_once(trained: Emulator, observed: Spectrum) -> None:
    def flux(**params: float) -> Any:
        return SpectrumModel(trained, observed, library.TRUTH, log_scale=0.0, **params).flux_and_std()[0]

    a, b = extinction_coefficients(observed[0].wave)
    for rv in (2.0, 3.1):
        np.testing.assert_allclose(flux(Av=1.0, Rv=rv) / flux(), 10 ** (-0.4 * (a + b / rv)), rtol=1e-12)
    np.testing.assert_allclose(flux(Av=1.0), flux(Av=1.0, Rv=3.1), rtol=1e-14)


def test_emulator_is_marginalised_over_its_scale(trained: Emulator, observed: Spectrum) -> None:
    model = SpectrumModel(trained, observed, library.TRUTH, norm=True, log_scale=0.0)
    flux, _ = model.flux_and_std()
    truth = library.spectrum(library.TRUTH)[40:-40]
    np.testing.assert_allclose(flux, truth, rtol=0.05)
    assert np.median(np.abs(flux / truth - 1)) < 3e-3


def test_fit_recovers_the_truth(
    trained: Emulator, observed: Spectrum, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scipy")
    model = SpectrumModel(trained, observed, (5900.0, 4.6, 0.1), vz=1.0, vsini=2.0, log_scale=0.0)
    model.freeze("vsini")
    model["vsini"] = 0.0
    calls: list[int] = []
    gradient = model.log_likelihood_gradient
    monkeypatch.setattr(model, "log_likelihood_gradient", lambda *a: (calls.append(1), gradient(*a))[1])
    result = model.train()
    assert result.success and " is at the " not in result.message
    # Of two passes: the start, and in each the widths of five parameters and the end.
    assert 4 < result.nit < result.nfev == result.njev == len(calls) - 1 - 2 * (1 + 2 * 5 + 1)
    # Fisher information from differences of the gradient.
    start = model.get_param_vector()
    n = len(start)
    hessian = np.empty((n, n))
    for i in range(n):
        h = 1e-4 * max(abs(start[i]), 1.0) * (np.arange(n) == i)
        model.set_param_vector(start + h)
        up = model.log_likelihood_gradient()[1]
        model.set_param_vector(start - h)
        hessian[i] = (up - model.log_likelihood_gradient()[1]) / (2 * h.max())
    sigma = np.sqrt(np.diag(np.linalg.inv(-0.5 * (hessian + hessian.T))))
    assert np.all(np.isfinite(sigma)) and sigma[model.labels.index("T")] < 30
    for name, truth in zip(library.NAMES, library.TRUTH, strict=True):
        i = model.labels.index(name)
        assert abs(start[i] - truth) < 4 * sigma[i], name
    assert abs(start[model.labels.index("vz")]) < 4 * sigma[model.labels.index("vz")]


def test_fit_starts_inside(grid: Grid, observed: Spectrum) -> None:
    pytest.importorskip("scipy")
    hole = np.all(np.isclose(grid.grid_points, [5600.0, 4.0, 0.0]), axis=1)
    assert hole.sum() == 1
    emulator = Emulator.from_grid(grid.select(~hole), n_components=8, whiten_pixels=False)
    emulator.train("independent")
    start = (5650.0, 4.1, 0.05)
    for settings in ({}, {"method": "Nelder-Mead"}):
        model = SpectrumModel(emulator, observed, start, log_scale=0.0)
        with pytest.raises(zelos.OutsideRegion, match="hole"):
            model.train(**settings)
        model.outside = "reject"
        with pytest.raises(zelos.ArgumentError, match="-inf at the start"):
            model.train(**settings)
        np.testing.assert_array_equal(model.grid_params, start)


def test_fit_that_ends_nowhere_has_failed(
    trained: Emulator, observed: Spectrum, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    model = SpectrumModel(trained, observed, library.TRUTH, log_scale=0.0)
    minimize = optimize.minimize

    def blocked(f: Any, x: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(model, "log_likelihood_gradient", lambda _: (float("-inf"), np.zeros(4)))
        return minimize(f, x, **kwargs)

    monkeypatch.setattr(optimize, "minimize", blocked)
    result = model.train()
    assert not result.success and "no likelihood" in result.message
    np.testing.assert_array_equal(model.grid_params, library.TRUTH)


@pytest.mark.parametrize("true", [0.0, 12.0])
def test_fit_finds_rotation_from_none(true: float, trained: Emulator) -> None:
    pytest.importorskip("scipy")
    wave = library.WL[40:-40]
    star = Spectrum(wave, np.ones_like(wave), np.full_like(wave, 0.01))
    flux, _ = SpectrumModel(trained, star, library.TRUTH, vsini=true, log_scale=0.0).flux_and_std()
    flux = flux + 0.01 * np.random.default_rng(3).normal(size=len(wave))
    data = Spectrum(wave, flux, star[0].sigma)
    found = []
    for start in (0.0, 10.0):
        model = SpectrumModel(trained, data, (5800.0, 4.4, 0.0), vsini=start, log_scale=0.0)
        result = model.train()
        assert result.success
        found.append((model["vsini"], result.fun))
    assert found[0][0] == pytest.approx(found[1][0], abs=0.1)
    assert found[0][1] == pytest.approx(found[1][1], abs=0.05)
    assert abs(found[0][0] - true) < (2.0 if true else 5.0)


def test_fit_ends_at_the_end_of_a_prior(trained: Emulator, observed: Spectrum) -> None:
    """Where a fit with the parameter frozen there does."""
    stats = pytest.importorskip("scipy.stats")
    frozen = SpectrumModel(trained, observed, (5630.0, 4.3, -0.1), vz=0.0, log_scale=0.0)
    frozen.freeze("T")
    assert frozen.train().success
    for prior in (stats.uniform(5300.0, 330.0), stats.truncnorm(-3.0, 0.1, loc=5620.0, scale=100.0)):
        model = SpectrumModel(trained, observed, (5500.0, 4.4, 0.0), vz=0.0, log_scale=0.0)
        result = model.train({"T": prior, "logg": stats.uniform(3.0, 3.0)})
        assert result.success and model["T"] == pytest.approx(5630.0, rel=1e-6)
        model.freeze("T")
        np.testing.assert_allclose(model.get_param_vector(), frozen.get_param_vector(), rtol=1e-3, atol=1e-3)


class Above:
    """A flat prior that does not say where it ends."""

    def __init__(self, low: float) -> None:
        self.low = low

    def logpdf(self, x: Any) -> float:
        return 0.0 if x >= self.low else -np.inf


@pytest.mark.parametrize("settings", [{}, {"method": "Nelder-Mead", "options": {"maxiter": 4000}}])
def test_fit_says_that_it_ends_at_the_edge(settings: dict[str, Any], trained: Emulator) -> None:
    """Of a star that is cooler than the library."""
    stats = pytest.importorskip("scipy.stats")
    flux = library.spectrum((4850.0, 4.2, -0.2))[40:-40]
    wave = library.WL[40:-40]
    data = Spectrum(wave, flux / flux.mean(), np.full_like(wave, 0.03))
    model = SpectrumModel(trained, data, (5100.0, 4.2, -0.2), log_scale=0.0)
    with pytest.warns(UserWarning, match="beyond what the emulator holds: T is at the edge"):
        result = model.train(**settings)
    assert result.success and model["T"] == pytest.approx(5000.0, abs=2.0)
    assert "T is at the edge of the emulator's library, 5000" in result.message
    model = SpectrumModel(trained, data, (5100.0, 4.2, -0.2), log_scale=0.0)
    result = model.train({"T": stats.uniform(5050.0, 500.0)}, **settings)
    assert result.success and result.message.endswith("T is at the end of its prior, 5050")


def test_simplex_has_the_parameters_sizes(trained: Emulator, observed: Spectrum) -> None:
    """Those that are zero at the start as well."""
    pytest.importorskip("scipy")
    found = []
    for settings in ({}, {"method": "Nelder-Mead", "options": {"maxfev": 600, "xatol": 1e-3}}):
        model = SpectrumModel(
            trained, observed, (5800.0, 4.4, 0.0), vz=0.0, vsini=0.0, log_scale=0.0, cheb=[0.0]
        )
        result = model.train(**settings)
        found.append(result.fun)
    assert found[1] == pytest.approx(found[0], abs=1.0)


def test_fit_turns_back_where_there_is_no_likelihood(trained: Emulator, observed: Spectrum) -> None:
    pytest.importorskip("scipy")

    def model() -> SpectrumModel:
        return SpectrumModel(trained, observed, (6000.0, 4.6, 0.0), vz=0.0, log_scale=0.0)

    free, near, beyond = model(), model(), model()
    assert free.train().success
    assert near.train({"logg": Above(free["logg"] - 1e-3)}).success
    np.testing.assert_allclose(near.get_param_vector(), free.get_param_vector(), rtol=2e-3, atol=2e-3)
    result = beyond.train({"logg": Above(free["logg"] + 0.1)})
    assert not result.success and "still rises along" in result.message and "logg" in result.message
    assert beyond["logg"] == 4.6 and result.fun < -beyond.log_likelihood()


def test_logarithm_of_the_flux(grid: Grid, observed: Spectrum) -> None:
    emulator = Emulator.from_grid(grid, n_components=20, whiten_pixels=False, log_flux=True)
    emulator.train("independent", mean_degree=2)
    truth = library.spectrum(library.TRUTH)
    np.testing.assert_allclose(emulator.load_flux(library.TRUTH), truth / truth.mean(), rtol=5e-3)
    draws = [emulator.load_flux(library.TRUTH, sample=True, seed=seed) for seed in range(500)]
    variance = emulator.flux_variance(library.TRUTH)
    np.testing.assert_allclose(np.var(draws, axis=0).mean(), variance.mean(), rtol=0.05)
    model = SpectrumModel(emulator, observed, library.TRUTH, **CASES["kernels"])
    assert model.log_likelihood() == pytest.approx(dense_log_likelihood(model), rel=1e-10)
    plain = SpectrumModel(emulator, observed, library.TRUTH, log_scale=0.0)
    inside = np.isin(emulator.wl, observed[0].wave)
    flux, std = plain.flux_and_std()
    np.testing.assert_allclose(flux, emulator.load_flux(library.TRUTH)[inside], rtol=1e-9)
    np.testing.assert_allclose(std**2 - observed[0].sigma ** 2, variance[inside], rtol=1e-5)
    with pytest.raises(zelos.ArgumentError, match="no gradient"):
        model.log_likelihood_gradient()


def test_priors(trained: Emulator, observed: Spectrum) -> None:
    stats = pytest.importorskip("scipy.stats")
    model = SpectrumModel(trained, observed, library.TRUTH, log_scale=0.0)
    priors = {"T": stats.norm(5000, 10), "logg": stats.norm(4.0, 0.1), "unknown": stats.norm(0, 1)}
    bare, slope = model.log_likelihood_gradient()
    value, with_priors = model.log_likelihood_gradient(priors)
    expected = stats.norm(5000, 10).logpdf(model["T"]) + stats.norm(4.0, 0.1).logpdf(model["logg"])
    assert value - bare == pytest.approx(expected)
    i = model.labels.index("T")
    assert with_priors[i] - slope[i] == pytest.approx((5000 - model["T"]) / 100, rel=1e-6)
    assert model.log_likelihood({"T": stats.uniform(0, 10)}) == -np.inf
    with pytest.raises(ValueError, match="not a valid key"):
        model.train({"unknown": stats.norm()})


def test_gradient_of_priors_of_groups(trained: Emulator, observed: Spectrum) -> None:
    stats = pytest.importorskip("scipy.stats")
    model = SpectrumModel(trained, observed, library.TRUTH, **CASES["all"])
    together = stats.multivariate_normal([-9.1, 1.7], [[0.02, 0.01], [0.01, 0.03]])
    priors = {"cheb": stats.norm(0.0, 0.01), "global_cov": together, "vz": stats.norm(1.9, 0.01)}
    added = model.log_likelihood(priors) - model.log_likelihood()
    expected = stats.norm(0.0, 0.01).logpdf([0.1, -0.02]).sum() + stats.norm(1.9, 0.01).logpdf(2.0)
    assert added == pytest.approx(expected + together.logpdf([-9.0, 1.8]))
    check_gradient(model, priors)
    model.freeze("cheb:2")
    check_gradient(model, priors)


def orders(spectrum: Spectrum) -> Spectrum:
    o = spectrum[0]
    mask = np.ones(len(o._wave), dtype=bool)
    mask[50:60] = False
    cut = slice(0, 200), slice(230, None)
    return Spectrum(
        [o._wave[c] for c in cut],
        [o._flux[c] for c in cut],
        [o._sigma[c] for c in cut],
        [mask[c] for c in cut],
    )


ORDERS: dict[str, dict[str, Any]] = {
    "shared": {**SIMPLE, "cheb": [0.01], "Av": 0.1},
    "their own": {
        "vz": 1.0,
        "cheb": [0.01],
        "orders": [
            {"log_scale": 0.1, "cheb": [0.02, 0.03]},
            {"log_scale": -0.1, "vz": 2.0, **KERNELS},
        ],
    },
    "norm": {"norm": True, "log_scale": 0.3, **KERNELS},
    "norm of one": {"norm": True, "vsini": 3.0, "orders": [{}, {"log_scale": 0.3}]},
    "no truncation": {**SIMPLE, "truncation": "none"},
}


@pytest.mark.parametrize("name", list(ORDERS))
def test_orders_share_and_have_their_own(name: str, trained: Emulator, observed: Spectrum) -> None:
    data = orders(observed)
    assert len(data[0].wave) == 190 and data.masks.shape == (2,)
    model = SpectrumModel(trained, data, library.TRUTH, **ORDERS[name])
    assert ("orders:1:local_cov:0:mu" in model.labels) == (name == "their own")
    assert model.log_likelihood() == pytest.approx(dense_log_likelihood(model), rel=1e-10)
    check_gradient(model)


def test_orders_are_one_spectrum_that_is_cut(trained: Emulator, observed: Spectrum) -> None:
    """However many orders the pixels are in, the emulator's error is the same, and so is what it leaves
    uncertain."""
    o, sigma = observed[0], np.full(len(observed[0]), 1e-4)
    whole = Spectrum(o._wave, o._flux, sigma)
    cut = Spectrum(*([row[i : i + 48] for i in range(0, 432, 48)] for row in (o._wave, o._flux, sigma)))
    one, many = (
        SpectrumModel(trained, data, library.TRUTH, truncation="none", norm=True, **SIMPLE)
        for data in (whole, cut)
    )
    (value, slopes), (expected, slopes_of_one) = (m.log_likelihood_gradient() for m in (many, one))
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(slopes, slopes_of_one, rtol=1e-9, atol=1e-9 * np.abs(slopes).max())
    alone = [
        SpectrumModel(
            trained, Spectrum(o.wave, o.flux, o.sigma), library.TRUTH, truncation="none", norm=True, **SIMPLE
        )
        for o in cut
    ]
    assert abs(sum(m.log_likelihood() for m in alone) - expected) > 10


def test_spectrum_survives_saving(observed: Spectrum, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    o = observed[0]
    mask = np.arange(len(o)) % 7 > 0
    Spectrum(o._wave, o._flux, o._sigma, mask, name="masked").save(tmp_path / "s.hdf5")
    again = Spectrum.load(tmp_path / "s.hdf5")
    np.testing.assert_array_equal(again.masks[0], mask)
    np.testing.assert_array_equal(again._waves[0], o._wave)
    assert again.name == "masked" and again.reshape((2, 216)).shape == (2, 216)
    ragged = orders(observed)
    ragged.save(tmp_path / "ragged.hdf5")
    again = Spectrum.load(tmp_path / "ragged.hdf5")
    assert [len(order) for order in again] == [200, 202]
    for found, order in zip(again, ragged, strict=True):
        for name in ("_wave", "_flux", "_sigma", "mask"):
            np.testing.assert_array_equal(getattr(found, name), getattr(order, name))


def test_freezing_and_saving(trained: Emulator, observed: Spectrum, tmp_path: Path) -> None:
    model = SpectrumModel(trained, observed, library.TRUTH, **CASES["all"])
    everything = model.labels
    model.freeze(["vz", "global_cov", "local_cov"])
    assert set(everything) - set(model.labels) == {
        "vz", "global_cov:log_amp", "global_cov:log_ls",
        *(f"local_cov:{i}:{k}" for i in (0, 1) for k in ("mu", "log_amp", "log_sigma")),
    }  # fmt: skip
    model.set_param_dict({"vz": 9.0, "vsini": 3.0})
    assert model["vz"] == 2.0 and model["vsini"] == 3.0
    value = model.log_likelihood()
    model.save(tmp_path / "model.toml", metadata={"who": 'a "name"'})
    other = SpectrumModel(trained, observed, (5000.0, 4.0, 0.0))
    other.load(tmp_path / "model.toml")
    assert other.labels == model.labels and set(model.labels) < set(everything)
    assert dict(other.params) == dict(model.params) and set(other.frozen) == set(model.frozen)
    assert other.log_likelihood() == value
    model.thaw("all")
    assert model.labels == everything
    model["cheb:4"] = 0.1
    assert model["cheb"] == [0.1, -0.02, 0.0, 0.1]
    del model["local_cov"]
    assert "local_cov" not in model.params and "global_cov" in model.params
    assert "Log Likelihood" in repr(model)
    model.set_param_vector(model.get_param_vector())
    model.freeze(["vz", "cheb", "local_cov:0"])
    assert "float64" not in repr(model) and "float64" not in repr(model.get_param_dict())


def test_numbers_of_orders_and_kernels_survive_saving(
    trained: Emulator, observed: Spectrum, tmp_path: Path
) -> None:
    o = observed[0]
    data = Spectrum(*(np.reshape(row, (4, 108)) for row in (o._wave, o._flux, o._sigma)))
    two = KERNELS["local_cov"]
    own = [{}, {"log_scale": 0.1}, {"vz": 5.0, "local_cov": two}, {}]
    model = SpectrumModel(trained, data, library.TRUTH, local_cov=two, orders=own)
    model.freeze(["orders:1:log_scale", "local_cov:0"])
    del model["orders:2:local_cov:0"]
    nested = model.get_param_dict()
    assert nested["local_cov"] == [{}, two[1]]
    assert nested["orders"] == [{}, {}, {"vz": 5.0, "local_cov": [{}, two[1]]}]
    assert "orders:" in repr(model) and "0: \n" not in repr(model)
    model.save(tmp_path / "model.toml")
    again = SpectrumModel(trained, data, library.TRUTH)
    again.load(tmp_path / "model.toml")
    assert dict(again.params) == dict(model.params) and again.labels == model.labels
    assert again.log_likelihood() == model.log_likelihood()
    again.set_param_dict(nested)
    assert dict(again.params) == dict(model.params)


def test_new_data_are_seen(trained: Emulator, observed: Spectrum) -> None:
    o = observed[0]
    data = Spectrum(o._wave, o._flux, o._sigma)
    model = SpectrumModel(trained, data, library.TRUTH, **SIMPLE)
    before = model.log_likelihood()
    data[0]._flux = model()[0]
    assert model.log_likelihood() > before and model.log_likelihood() == model.log_likelihood()
    mask = np.arange(len(o)) < 100
    data[0].mask = mask
    value = model.log_likelihood()
    assert len(model()[0]) == 100
    mask[:50] = False  # the order has its own
    assert model.log_likelihood() == value and len(data[0].wave) == 100
    for array in (data[0].mask, data[0]._wave, data[0]._flux, data[0]._sigma):
        with pytest.raises(ValueError, match="read-only"):
            array[:50] = 0


def test_an_order_is_replaced_by_one_of_its_length(trained: Emulator, observed: Spectrum) -> None:
    data = orders(observed)
    model = SpectrumModel(trained, data, library.TRUTH, **SIMPLE)
    before = model.log_likelihood()
    first, second = data
    data[1] = Order(second._wave, second._flux + 0.01, second._sigma, second.mask)
    assert len(second) != len(first) and abs(model.log_likelihood() - before) > 10
    data[0] = Order(first._wave, 1.01 * first._flux, first._sigma)
    assert model.data is data[0] and len(model()[0]) == 200
    with pytest.raises(zelos.ArgumentError, match="order 1: expected 202 pixels, found 200"):
        data[1] = first
    with pytest.raises(zelos.ArgumentError, match="order 1: a sigma is negative"):
        data[1] = Order(second._wave, second._flux, -second._sigma)


def test_new_settings_are_seen(grid: Grid, trained: Emulator, observed: Spectrum) -> None:
    def values(**changed: Any) -> tuple[float, float]:
        """Of a model that was another, and of one made so."""
        settings = {"emulator": trained, "truncation": "correlated", **changed}
        model = SpectrumModel(trained, observed, library.TRUTH, **SIMPLE)
        model.log_likelihood()
        model.emulator, model.truncation = settings["emulator"], settings["truncation"]
        fresh = SpectrumModel(data=observed, grid_params=library.TRUTH, **settings, **SIMPLE)
        return model.log_likelihood(), fresh.log_likelihood()

    other = Emulator.from_grid(grid, n_components=5, whiten_pixels=False)
    other.train("independent")
    before = SpectrumModel(trained, observed, library.TRUTH, **SIMPLE).log_likelihood()
    for changed in ({"emulator": other}, {"truncation": "diagonal"}, {"truncation": "none"}):
        found, expected = values(**changed)
        assert found == expected and abs(found - before) > 1e-3, changed
    model = SpectrumModel(trained, observed, library.TRUTH)
    with pytest.raises(zelos.ArgumentError, match="found 'some'"):
        model.truncation = "some"
    renamed = Emulator.from_grid(Grid(grid.wl, grid.grid_points, ["T", "logg", "M"], grid.fluxes), 4)
    with pytest.raises(zelos.ArgumentError, match="expected one of T, logg, Z, found one of T, logg, M"):
        model.emulator = renamed


def test_truncation_of_the_emulator_is_seen(grid: Grid, observed: Spectrum) -> None:
    emulator = Emulator.from_grid(grid, n_components=5, whiten_pixels=False)
    emulator.train("independent")
    o = observed[0]
    data = Spectrum(o._wave[200:240], o._flux[200:240], o._sigma[200:240])
    model = SpectrumModel(emulator, data, library.TRUTH, log_scale=0.0)
    flux = model()[0]
    emulator.determine_chunk_log(data[0].wave, buffer=2.0)
    assert len(emulator.wl) == 128
    model.log_likelihood()
    assert model._predict().source.wl is emulator.wl
    np.testing.assert_allclose(model()[0], flux, rtol=1e-4)


def test_what_is_kept_between_steps_is_of_these_parameters(
    trained: Emulator, observed: Spectrum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients after single steps are those of a fresh model."""
    trained.save(tmp_path / "library.h5")
    emulator = Emulator.load(tmp_path / "library.h5")
    model = SpectrumModel(emulator, observed, library.TRUTH, **CASES["all"])

    def fresh() -> SpectrumModel:
        other = SpectrumModel(emulator, observed, library.TRUTH, **CASES["all"])
        other.set_param_vector(model.get_param_vector())
        return other

    steps = [
        ("vz", 2.5),
        ("global_cov:log_amp", -8.0),
        ("Av", 0.1),
        ("T", 5650.0),
        ("vsini", 9.0),
        ("vz", 3.5),
    ]
    for name, value in [*steps, ("logg", 4.3), ("log_scale", 0.02)]:
        model.set_param_dict({name: value})
        assert model.log_likelihood() == pytest.approx(fresh().log_likelihood(), rel=1e-13)
    for name, value in [("vz", 1.5), ("Z", -0.2), ("vsini", 7.0), ("cheb:1", 0.08)]:
        model.set_param_dict({name: value})
        found, expected = model.log_likelihood_gradient(), fresh().log_likelihood_gradient()
        assert found[0] == pytest.approx(expected[0], rel=1e-13)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-9 * np.abs(expected[1]).max())
    before = model.log_likelihood()
    emulator.variances = 4 * emulator.variances
    assert model.log_likelihood() == pytest.approx(fresh().log_likelihood(), rel=1e-13)
    assert abs(model.log_likelihood() - before) > 1e-3
    # A step in a kernel asks neither the processes nor the rows.
    monkeypatch.setattr(model, "_prediction", lambda *_: pytest.fail("predicted again"))
    monkeypatch.setattr("zelos.starfish.observed.Source.sample", lambda *_: pytest.fail("sampled again"))
    model["global_cov:log_ls"] = 2.0
    model.log_likelihood()


@pytest.mark.parametrize("name", ["all", "norm"])
def test_models_can_be_copied(name: str, trained: Emulator, observed: Spectrum) -> None:
    model = SpectrumModel(trained, observed, library.TRUTH, **CASES[name])
    value, slope = model.log_likelihood_gradient()
    other = copy.deepcopy(model)
    assert other.labels == model.labels and other.emulator is not trained
    found, found_slope = other.log_likelihood_gradient()
    assert found == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(found_slope, slope, rtol=1e-9, atol=1e-9 * np.abs(slope).max())
    other["vz"] = 5.0
    other.data.mask = np.arange(len(other.data)) < 200
    assert len(other()[0]) == 200 and len(model()[0]) == len(observed[0])
    with pytest.raises(ValueError, match="read-only"):
        other.data.mask[:5] = True
    assert model["vz"] != 5.0 and model.log_likelihood() == pytest.approx(value, rel=1e-13)


def test_log_likelihood_in_a_pool(trained: Emulator, observed: Spectrum) -> None:
    """Which pickles the model each time."""
    model = SpectrumModel(trained, observed, library.TRUTH, **CASES["all"])
    model.log_likelihood_gradient()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found, slope = pool.apply(model.log_likelihood_gradient)
        value, expected = model.log_likelihood_gradient()
        assert found == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
        model["T"] = 9000.0
        with pytest.raises(zelos.OutsideRegion, match="'T' is 9000"):
            pool.apply(model.log_likelihood)


def test_peaks_of_the_residual(trained: Emulator, observed: Spectrum) -> None:
    o = observed[0]
    flux = o._flux + 0.3 * np.exp(-0.5 * ((o._wave - 5120.0) / 0.1) ** 2)
    model = SpectrumModel(trained, Spectrum(o._wave, flux, o._sigma), library.TRUTH, log_scale=0.0)
    (mu,) = find_residual_peaks(model, threshold=6.0)
    assert mu == pytest.approx(5120.0, abs=0.15)
    assert find_residual_peaks(model, threshold=6.0, wl_range=(5130.0, 5140.0)) == []
    bad = model.log_likelihood()
    model["local_cov"] = local_kernels(model, [mu])
    assert model.log_likelihood() > bad + 100
    assert find_residual_peaks(model, threshold=6.0) == []


def test_peaks_of_the_last_residuals(trained: Emulator, observed: Spectrum) -> None:
    """With Starfish's arguments in Starfish's order."""
    data = orders(observed)
    model = SpectrumModel(trained, data, library.TRUTH, log_scale=0.0)
    assert find_residual_peaks(model, 100, 3.0, order=1) == find_residual_peaks(model, threshold=3.0, order=1)
    bad = model["log_scale"] = 0.5
    model.log_likelihood()
    model["log_scale"] = 0.0
    model.log_likelihood()
    assert find_residual_peaks(model, 1, 8.0, 1.0, order=1) == []
    score = (np.exp(bad) + 1) / 2 - 1  # of the continuum, in the mean of both
    found = find_residual_peaks(model, 100, 0.5 * score / 0.01, 1.0, (5130.0, 5140.0), order=1)
    assert len(found) > 4 and all(5130.0 <= mu <= 5140.0 for mu in found)
    with pytest.raises(zelos.ArgumentError, match="num_residuals"):
        find_residual_peaks(model, 0)


def test_misspelt_parameters(trained: Emulator, observed: Spectrum) -> None:
    with pytest.raises(KeyError, match="did you mean 'vsini'"):
        SpectrumModel(trained, observed, library.TRUTH, vsin=3.0)
    with pytest.raises(ValueError, match="expected 3"):
        SpectrumModel(trained, observed, library.TRUTH[:2])
    model = SpectrumModel(trained, observed, library.TRUTH)
    for key in ("global_cov:amp", "local_cov:0:sigma", "cheb:0", "orders:3:vz"):
        with pytest.raises(KeyError):
            model[key] = 1.0


def test_kernels_have_all_parameters(trained: Emulator, observed: Spectrum) -> None:
    for kernels, missing in (
        ({"global_cov": {"log_amp": -9.0}}, "global_cov: .*found no log_ls"),
        ({"local_cov": [{"mu": 5120.0, "log_amp": -9.0}]}, "local_cov:0: .*found no log_sigma"),
        ({"orders": [{"global_cov": {"log_ls": 1.0}}]}, "orders:0:global_cov: .*found no log_amp"),
    ):
        with pytest.raises(zelos.ArgumentError, match=missing):
            SpectrumModel(trained, observed, library.TRUTH, **kernels)
    model = SpectrumModel(trained, observed, library.TRUTH)
    model["global_cov:log_amp"] = -9.0
    with pytest.raises(zelos.ArgumentError, match="found no log_ls"):
        model.log_likelihood()
    model["global_cov:log_ls"] = 1.0
    assert np.isfinite(model.log_likelihood())


def test_parameters_without_effect(trained: Emulator, observed: Spectrum) -> None:
    data = orders(observed)
    own = {"vz": 1.0, "log_scale": 0.1, "cheb": [0.01], "global_cov": KERNELS["global_cov"]}
    shared = {**own, "vz": 2.0}
    for name in own:
        each = [{name: own[name]}, {name: own[name]}]
        SpectrumModel(trained, data, library.TRUTH, orders=each)
        SpectrumModel(trained, data, library.TRUTH, orders=each[:1], **{name: shared[name]})
        with pytest.raises(zelos.ArgumentError, match=f"{name}.* has no effect: every order has its own"):
            SpectrumModel(trained, data, library.TRUTH, orders=each, **{name: shared[name]})
    with pytest.raises(zelos.ArgumentError, match="Rv has no effect: there is no Av"):
        SpectrumModel(trained, data, library.TRUTH, Rv=3.1)
    model = SpectrumModel(trained, data, library.TRUTH, Rv=3.1, Av=0.1)
    model.log_likelihood()
    del model["Av"]
    for value in (model.log_likelihood, model.log_likelihood_gradient, model.train):
        with pytest.raises(zelos.ArgumentError, match="Rv has no effect"):
            value()
    model.freeze("Rv")
    assert np.isfinite(model.log_likelihood())


@pytest.mark.parametrize("name", ["Av", "vsini", "cheb", "orders"])
def test_parameter_of_a_library_with_a_name_of_the_model(name: str, grid: Grid, observed: Spectrum) -> None:
    other = Grid(grid.wl, grid.grid_points, ["T", "logg", name], grid.fluxes)
    emulator = Emulator.from_grid(other, n_components=4)
    with pytest.raises(zelos.ArgumentError, match=f"'{name}' has the name of one of the model"):
        SpectrumModel(emulator, observed, library.TRUTH)


def test_outside(trained: Emulator, observed: Spectrum) -> None:
    model = SpectrumModel(trained, observed, (9000.0, 4.0, 0.0))
    with pytest.raises(zelos.OutsideRegion, match="'T' is 9000"):
        model.log_likelihood()
    model = SpectrumModel(trained, observed, (9000.0, 4.0, 0.0), outside="reject")
    assert model.log_likelihood() == -np.inf and model.rejected == 1


def test_velocity_beyond_the_wavelengths_is_outside(trained: Emulator, observed: Spectrum) -> None:
    """The data begin 40 pixels from the library's end, 230 km/s."""
    reach = C_KMS * np.tanh(40 * np.log(library.WL[1] / library.WL[0]))
    model = SpectrumModel(trained, observed, library.TRUTH, vz=reach * (1 - 1e-9), log_scale=0.0)
    assert np.isfinite(model.log_likelihood())
    for vz in (reach + 0.01, -reach - 0.01, 900.0):
        model["vz"] = vz
        for value in (model.log_likelihood, model.log_likelihood_gradient):
            model.outside = "error"
            with pytest.raises(zelos.OutsideRegion, match=r"inside from -228\.9 to 228\.9"):
                value()
            model.outside = "reject"
            found = value()
            assert (found if isinstance(found, float) else found[0]) == -np.inf and model.rejected == 1
    model["vz"] = float("nan")
    with pytest.raises(zelos.ArgumentError, match="vz"):
        model.log_likelihood()


@pytest.mark.parametrize("settings", [{}, {"method": "Nelder-Mead", "options": {"maxiter": 4000}}])
def test_fit_keeps_to_the_wavelengths(
    settings: dict[str, Any], trained: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a star whose velocity, 60 km/s, takes the last pixels beyond them."""
    pytest.importorskip("scipy")
    wave = library.WL[8:-8]  # 46 km/s from the ends
    flux = np.interp(np.log(wave) - 60.0 / C_KMS, np.log(library.WL), library.spectrum(library.TRUTH))
    data = Spectrum(wave, flux / flux.mean(), np.full_like(wave, 0.01))
    model = SpectrumModel(trained, data, library.TRUTH, vz=40.0, log_scale=0.0)
    with pytest.warns(UserWarning, match="vz is at the edge of the emulator's wavelengths"):
        result = model.train(**settings)
    assert result.x[0] == pytest.approx(45.8, abs=0.2) and result.success
    before = model.get_param_vector()
    calls = []

    def fails(*_: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return 0.0

    monkeypatch.setattr(model, "log_prior", fails)
    with pytest.raises(KeyboardInterrupt):
        model.train(**settings)
    np.testing.assert_array_equal(model.get_param_vector(), before)


def test_rank_statistics_are_uniform(trained: Emulator) -> None:
    """Injection and recovery of T: the posterior, near Gaussian, has the truth at uniform quantiles."""
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(11)
    wave = library.WL[40:-40].copy()
    sigma = np.full_like(wave, 3e-3)
    quantiles = []
    for _ in range(60):
        truth = random.uniform((5300.0, 3.7, -0.7), (6200.0, 4.8, 0.3))
        flux = library.spectrum(truth)
        flux = flux[40:-40] / flux.mean() + sigma * random.normal(size=len(wave))
        model = SpectrumModel(trained, Spectrum(wave, flux, sigma), truth, log_scale=0.0)
        x = model.get_param_vector()
        for _ in range(6):  # Newton's method on the gradient; then T and its width are the Gaussian's
            g = model.log_likelihood_gradient()[1]
            h = np.array([{"T": 1.0, "logg": 1e-3, "Z": 1e-3, "log_scale": 1e-4}[k] for k in model.labels])
            hessian = np.empty((len(x), len(x)))
            for i in range(len(x)):
                model.set_param_vector(x + h * (np.arange(len(x)) == i))
                hessian[i] = (model.log_likelihood_gradient()[1] - g) / h[i]
            x = x - np.linalg.solve(0.5 * (hessian + hessian.T), g)
            model.set_param_vector(x)
        covariance = np.linalg.inv(-0.5 * (hessian + hessian.T))
        i = model.labels.index("T")
        quantiles.append(stats.norm.cdf((truth[0] - x[i]) / np.sqrt(covariance[i, i])))
    assert stats.kstest(quantiles, "uniform").pvalue > 0.01


def test_plots(trained: Emulator, observed: Spectrum) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    model = SpectrumModel(trained, observed, library.TRUTH)
    assert len(model.plot()) == 3 and observed.plot() is not None
    _, axes = plt.subplots(1, 3)
    assert model.plot(axes, {"lw": 2.0}, {"lw": 3.0}) is axes
    assert [[line.get_linewidth() for line in ax.lines] for ax in axes] == [[2.0, 2.0], [3.0], [3.0]]
    flux, data = model.flux_and_std()[0], observed[0].flux
    np.testing.assert_allclose(axes[2].lines[0].get_ydata(), 1 - flux / data)
    several = SpectrumModel(trained, orders(observed), library.TRUTH)
    _, axes = plt.subplots(2)
    several.plot(axes, order=1)
    np.testing.assert_array_equal(axes[0].lines[0].get_xdata(), several.spectrum[1].wave)
    _, axes = plt.subplots(2)
    several.plot(axes, order=0)  # pixels 50 to 59 are masked
    for line in (*axes[0].lines, *axes[1].lines):
        assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == list(range(50, 60))
    plt.close("all")
