# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

import zelos
from zelos.starfish import (
    Emulator,
    Grid,
    Spectrum,
    SpectrumModel,
    choose_components,
    choose_options,
    normalisation,
    selection,
)
from zelos.starfish.draws import correlated
from zelos.starfish.region import Region
from zelos.starfish.training import first_guess

from . import library

scipy_linalg = pytest.importorskip("scipy.linalg")


def dense_log_likelihood(emulator: Emulator) -> float:
    factor = scipy_linalg.cho_factor(emulator.v11, lower=True)
    log_det = 2 * np.log(np.diag(factor[0])).sum()
    return -0.5 * float(log_det + emulator.w_hat @ scipy_linalg.cho_solve(factor, emulator.w_hat))


@pytest.fixture
def small(grid: Grid) -> Emulator:
    emulator = Emulator.from_grid(grid, n_components=4)
    emulator.lambda_xi = 1e3
    emulator.variances = [3e3, 8e2, 2e2, 60.0]
    emulator.lengthscales = np.tile([1200.0, 1.8, 1.3], (4, 1))
    return emulator


@pytest.mark.parametrize("kernel", ["squared_exponential", "matern52"])
@pytest.mark.parametrize("independent", [False, True])
def test_blocks_equal_the_dense_matrix(small: Emulator, kernel: str, independent: bool) -> None:
    small.set_kind(independent, kernel, -1, {})
    if independent:
        small.nuggets = [1e-3, 2e-3, 5e-3, 1e-2]
    assert small.log_likelihood() == pytest.approx(dense_log_likelihood(small), rel=1e-11)


@pytest.mark.parametrize(
    ("name", "value"),
    [("kernel", "matern52"), ("mean_degree", 1), ("independent", True), ("scales", {"T": "reciprocal"})],
)
def test_what_is_set_is_used(small: Emulator, name: str, value: object) -> None:
    small.trained = True
    small(library.TRUTH)
    small.norm_factor(library.TRUTH)
    setattr(small, name, value)
    with pytest.raises(zelos.ArgumentError, match="must train"):
        small(library.TRUTH)
    options = {key: getattr(small, key) for key in ("kernel", "mean_degree", "scales")}
    nuggets = small.nuggets if small.independent else None
    fresh = Emulator(
        small.grid_points, small.param_names, small.wl, small.weights, small.eigenspectra, small.w_hat,
        small.flux_mean, small.flux_std, small.factors, 1e3, small.variances, small.lengthscales,
        nuggets=nuggets, **options,
    )  # fmt: skip
    assert getattr(fresh, name) == value
    fresh.trained = small.trained = True
    for ours, theirs in zip(small(library.TRUTH), fresh(library.TRUTH), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert small.norm_factor_with_error(library.TRUTH) == fresh.norm_factor_with_error(library.TRUTH)


def test_eigenspectra_that_are_not_orthonormal(small: Emulator) -> None:
    rows = small.eigenspectra[:, ::2]
    general = Emulator(
        small.grid_points, small.param_names, small.wl[::2], small.weights, rows, small.w_hat,
        small.flux_mean[::2], small.flux_std[::2], small.factors, 1e3, small.variances, small.lengthscales,
    )  # fmt: skip
    assert general.gram.size
    assert general.log_likelihood() == pytest.approx(dense_log_likelihood(general), rel=1e-11)
    general._trained = True
    point = np.array(library.TRUTH)
    count = len(small.grid_points)
    cross = np.zeros((4 * count, 4))
    for i, (v, s) in enumerate(zip(small.variances, small.lengthscales, strict=True)):
        cross[i * count : (i + 1) * count, i] = v * np.exp(
            -0.5 * (((small.grid_points - point) / s) ** 2).sum(1)
        )
    mu, cov = general(point)
    solved = np.linalg.solve(general.v11, cross)
    np.testing.assert_allclose(mu, solved.T @ small.w_hat, rtol=1e-8)
    np.testing.assert_allclose(
        cov, np.diag(small.variances) - cross.T @ solved, atol=1e-8 * small.variances.max()
    )


@pytest.mark.parametrize(("log10_lambda", "tolerance"), [(6, 1e-11), (8, 1e-10), (10, 2e-8)])
def test_large_precision_keeps_its_digits(small: Emulator, log10_lambda: int, tolerance: float) -> None:
    """Against a Cholesky factorisation in 50 digits. The condition of the matrix is about 1e6 lambda_xi."""
    mpmath = pytest.importorskip("mpmath")
    few = slice(0, 24)
    emulator = Emulator(
        small.grid_points[few], small.param_names, small.wl, small.weights[few], small.eigenspectra,
        small.weights[few].T.ravel(), small.flux_mean, small.flux_std, small.factors[few], 10.0**log10_lambda,
        small.variances, small.lengthscales * 3,
    )  # fmt: skip
    with mpmath.workdps(50):
        total = mpmath.mpf(0)
        for i in range(4):
            scales = [mpmath.exp(emulator[f"log_lengthscale:{i}:{j}"]) for j in range(3)]
            u = [[x / s for x, s in zip(p.tolist(), scales, strict=True)] for p in emulator.grid_points]
            v = mpmath.exp(emulator[f"log_variance:{i}"])
            c = mpmath.matrix(24)
            for a in range(24):
                for b in range(24):
                    square = sum((x - y) ** 2 for x, y in zip(u[a], u[b], strict=True))
                    c[a, b] = v * mpmath.exp(-square / 2) + (
                        mpmath.exp(-emulator["log_lambda_xi"]) if a == b else 0
                    )
            y = mpmath.matrix(emulator.weights[:, i].tolist())
            lower = mpmath.cholesky(c)
            white = mpmath.lu_solve(lower, y)
            total -= sum(mpmath.log(lower[a, a]) for a in range(24)) + sum(w**2 for w in white) / 2
    assert emulator.log_likelihood() == pytest.approx(float(total), rel=tolerance)


def test_gradient(small: Emulator) -> None:
    value, gradient = small.log_likelihood_gradient()
    assert value == pytest.approx(small.log_likelihood(), rel=1e-10)
    start = small.get_param_vector()
    for i in (0, 1, 4, 5, 9, 16):
        values = []
        for step in (-1e-5, 1e-5):
            small.set_param_vector(start + step * (np.arange(len(start)) == i))
            values.append(small.log_likelihood())
        assert gradient[i] == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-6, abs=1e-5)


def test_training_reaches_the_optimum(small: Emulator) -> None:
    before = small.log_likelihood()
    training = small.train()
    assert training.converged and training.gradient_norm <= 0.5
    assert small.log_likelihood() > before
    assert training.log_posterior == pytest.approx(small.log_likelihood(), abs=1e-3)
    from scipy.optimize import minimize

    start = small.get_param_vector()

    def negative(x: np.ndarray) -> float:
        small.set_param_vector(x)
        return -small.log_likelihood()

    found = minimize(negative, start, method="Nelder-Mead", options={"maxiter": 120})
    small.set_param_vector(start)
    assert -found.fun < training.log_posterior + 0.05


def test_a_component_that_starts_badly_is_tried_again(grid: Grid) -> None:
    """With a shared noise a start of all components at once would have to be good for each."""
    good = Emulator.from_grid(grid, n_components=5)
    good.train("joint")
    assert len(good.training.start_values) == 4
    found = {}
    for n_starts in (1, 4):
        emulator = Emulator.from_grid(grid, n_components=5)
        emulator.start_from(good)
        lengths = good.lengthscales
        lengths[2] = 0.15 * np.array([300.0, 0.5, 0.5])  # a tenth of the steps: noise
        emulator.lengthscales = lengths
        training = emulator.train(n_starts=n_starts)
        assert training.log_posterior == pytest.approx(emulator.log_likelihood(), abs=0.1)
        found[n_starts] = training.log_posterior
    assert found[1] < good.training.log_posterior - 5
    assert found[4] == pytest.approx(good.training.log_posterior, abs=0.1)


@pytest.mark.parametrize(("method", "n_starts"), [("independent", 2), ("joint", 3)])
def test_threads_and_seeds_do_not_matter(grid: Grid, method: str, n_starts: int) -> None:
    found = []
    for threads in (1, 2):
        emulator = Emulator.from_grid(grid, n_components=3)
        emulator.train(method, threads=threads, n_starts=n_starts, seed=3)
        found.append(emulator.get_param_vector())
    np.testing.assert_array_equal(*found)


def test_priors_pull(small: Emulator) -> None:
    small.train(method="joint")
    free = small.lengthscales[:, 1].copy()
    small.train(lengthscale_priors=[(1.0, 0.0), (400.0, 400.0 / 0.8), (1.0, 0.0)], tolerance=5.0)
    pulled = small.lengthscales[:, 1]
    assert np.all(np.abs(pulled - 0.8) < np.abs(free - 0.8))
    small.train(lambda_xi_prior=(1e5, 1e5 / 40.0), tolerance=50.0)  # of a curvature of 1e5
    assert small.lambda_xi == pytest.approx(40.0, rel=0.1)


def test_altered_prior_is_the_residual(grid: Grid) -> None:
    emulator = Emulator.from_grid(grid, n_components=5)
    shape, rate = emulator.altered_prior(1.0, 0.0)
    z = (grid.fluxes / emulator.factors[:, np.newaxis] - emulator.flux_mean) / emulator.flux_std
    in_sample = 0.5 * np.sum((z - emulator.weights @ emulator.eigenspectra) ** 2)
    assert shape == 1.0 + 0.5 * len(z) * (z.shape[1] - 5)
    assert in_sample < rate < 2 * in_sample  # of spectra that the components have not seen


def test_altered_prior_needs_a_residual(small: Emulator, tmp_path: Path) -> None:
    small.save_starfish(tmp_path / "starfish.hdf5")
    emulator = Emulator.load(tmp_path / "starfish.hdf5")
    before = emulator.get_param_vector()
    with pytest.raises(zelos.ArgumentError, match="no residual variance"):
        emulator.train("joint", lambda_xi_prior="altered")
    np.testing.assert_array_equal(emulator.get_param_vector(), before)


def test_accuracy_and_calibration(trained: Emulator) -> None:
    random = np.random.default_rng(7)
    low, high = trained.min_params, trained.max_params
    z, error, nearest = [], [], []
    for point in random.uniform(low, high, (40, 3)):
        truth = library.spectrum(point)
        truth = truth / truth.mean()
        flux = trained.load_flux(point)
        z.append((flux - truth) / np.sqrt(trained.flux_variance(point)))
        error.append(flux / truth - 1)
        near = library.spectrum(trained.grid_points[trained.get_index(point)])
        nearest.append(near / near.mean() / truth - 1)
    assert np.sqrt(np.mean(np.square(error))) < 0.03 * np.sqrt(np.mean(np.square(nearest)))
    assert 0.6 < np.sqrt(np.mean(np.square(z))) < 1.5


def test_left_out_errors(small: Emulator) -> None:
    small._trained = True
    errors, sigma = small.left_out_errors()
    for i in (0, 37, 95):
        kept = np.arange(len(small.grid_points)) != i
        other = Emulator(
            small.grid_points[kept], small.param_names, small.wl, small.weights[kept], small.eigenspectra,
            small.weights[kept].T.ravel(), small.flux_mean, small.flux_std, small.factors[kept],
            small.lambda_xi, small.variances, small.lengthscales,
        )  # fmt: skip
        mu, cov = other.process.predict(small.grid_points[i])
        np.testing.assert_allclose(errors[i], mu - small.weights[i], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(sigma[i] ** 2, np.diag(cov) + 1 / small.lambda_xi, rtol=1e-6)


def test_samples_scatter_as_the_covariance_says(trained: Emulator) -> None:
    point = np.array(library.TRUTH)
    draws = np.array([trained.load_flux(point, sample=True, seed=seed) for seed in range(600)])
    expected = trained.flux_variance(point)
    np.testing.assert_allclose(draws.var(axis=0).mean(), expected.mean(), rtol=0.05)
    np.testing.assert_array_equal(trained.load_flux(point), trained.load_flux(point))


@pytest.mark.parametrize("length", [0.0, 3.0, 40.0, 4000.0])
def test_residuals_are_drawn_with_the_covariance_of_the_likelihood(length: float) -> None:
    """A draw is linear in its normals, which gives a root of its covariance."""
    wl = library.WL[:40]
    wl = np.delete(wl, [7, 8, 21])
    normals = np.eye(6 * len(wl)).reshape(3, 2, len(wl), -1)
    root = correlated(wl, length, normals)
    core = zelos._core.spectrum
    pixels = core.Pixels(wl, np.zeros_like(wl), length)
    factors = np.zeros((len(wl), 0))
    expected = pixels.dense(core.PixelCovariance(factors, np.ones_like(wl), None, []))
    np.testing.assert_allclose(root @ root.T, expected, atol=1e-12)


def test_samples_are_correlated_as_the_likelihood_says(trained: Emulator) -> None:
    """Of what is left of samples without the components, beyond which there is the residual alone."""
    rows = np.linalg.qr((trained.eigenspectra * trained.flux_std).T)[0]
    point = np.array(library.TRUTH)
    samples = [trained.load_flux(point, sample=True, seed=seed) for seed in range(200)]
    rest = np.array(samples) - trained.flux_mean
    rest -= (rest @ rows) @ rows.T
    core = zelos._core.spectrum
    pixels = core.Pixels(trained.wl, np.zeros_like(trained.wl), trained.residual_length)
    spread = np.sqrt(trained.residual_variance)
    covariance = pixels.dense(core.PixelCovariance(np.zeros((len(spread), 0)), spread, None, []))
    without = np.eye(len(spread)) - rows @ rows.T
    covariance = without @ covariance @ without
    tolerance = 0.03 * np.mean(np.diagonal(covariance))
    for lag in (0, 1, 2, 4):
        found = np.mean(rest[:, lag:] * rest[:, : rest.shape[1] - lag])
        assert found == pytest.approx(np.mean(np.diagonal(covariance, lag)), abs=tolerance)


def test_samples_of_long_spectra() -> None:
    """What is dense would take 7 GB."""
    wl = np.geomspace(5000.0, 5600.0, 30_000)
    random = np.random.default_rng(0)
    drawn = correlated(wl, 5.0, [random.normal(size=(2, len(wl), 2)) for _ in range(3)])
    assert drawn.shape == (30_000, 2) and np.var(drawn) == pytest.approx(1.0, abs=0.05)


def test_checkpoint_and_resume(grid: Grid, tmp_path: Path) -> None:
    whole = Emulator.from_grid(grid, n_components=4)
    whole.train("joint")
    first = Emulator.from_grid(grid, n_components=4)
    path = tmp_path / "checkpoint.json"
    with pytest.raises(KeyboardInterrupt):
        first.train("joint", checkpoint=path, checkpoint_every=5, progress=interrupt)
    second = Emulator.from_grid(grid, n_components=4)
    training = second.train("joint", checkpoint=path, resume=True)
    assert training.converged
    assert second.log_likelihood() == pytest.approx(whole.log_likelihood(), abs=0.02)


def interrupt(evaluations: int, value: float) -> bool:
    if evaluations >= 20:
        raise KeyboardInterrupt
    return True


@pytest.mark.parametrize("method", ["joint", "independent"])
def test_ctrl_c_keeps_the_best_so_far(grid: Grid, tmp_path: Path, method: str) -> None:
    best: list[float] = []

    def progress(evaluations: int, value: float) -> bool:
        best.append(value)
        return interrupt(evaluations - 10, value)

    emulator, path = Emulator.from_grid(grid, n_components=4), tmp_path / "checkpoint.json"
    with pytest.raises(KeyboardInterrupt):
        emulator.train(method, checkpoint=path, checkpoint_every=1000, progress=progress)
    assert not emulator.trained
    start = Emulator.from_grid(grid, n_components=4)
    start.set_kind(method == "independent", "squared_exponential", -1, {})
    start.set_param_dict(first_guess(start))
    kept = emulator.log_likelihood()
    assert kept > start.log_likelihood() + 1
    if method == "joint":  # of independent ones only some components have begun
        assert kept == pytest.approx(best[-1], abs=1e-3)
    other = Emulator.from_grid(grid, n_components=4)
    other.load_hyperparameters(path)
    np.testing.assert_array_equal(other.get_param_vector(), emulator.get_param_vector())
    for again in (emulator, other):
        with pytest.warns(UserWarning, match="not converged"):
            goes_on = again.train(threads=1, progress=lambda evaluations, value: not np.isfinite(value))
        assert goes_on.log_posterior > kept - 1e-3


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, zelos.ArgumentError])
def test_a_retraining_that_ends_in_an_exception_changes_nothing(
    grid: Grid, tmp_path: Path, error: type[BaseException]
) -> None:
    emulator = Emulator.from_grid(grid, n_components=3)
    training = emulator.train("joint")
    expected = emulator(library.TRUTH)

    def progress(evaluations: int, value: float) -> bool:
        if evaluations > 20:
            raise error
        return True

    path = tmp_path / "checkpoint.json"
    for options in ({"method": "independent", "mean_degree": 1}, {"scales": {"T": "reciprocal"}}, {}):
        with pytest.raises(error):
            emulator.train(kernel="matern52", checkpoint=path, progress=progress, **options)
        assert (emulator.kernel, emulator.mean_degree, emulator.scales) == ("squared_exponential", -1, {})
        assert emulator.trained and emulator.training is training
        for found, mine in zip(emulator(library.TRUTH), expected, strict=True):
            np.testing.assert_array_equal(found, mine)
    if error is KeyboardInterrupt:
        assert json.loads(path.read_text())["kernel"] == "matern52"


def test_a_start_is_not_a_training(grid: Grid, tmp_path: Path) -> None:
    old, new = Emulator.from_grid(grid, n_components=3), Emulator.from_grid(grid, n_components=4)
    with pytest.raises(zelos.ArgumentError, match="other emulator has not been trained"):
        new.start_from(old)
    old.train("joint")
    new.start_from(old)
    with pytest.raises(zelos.ArgumentError, match="must train"):
        new(library.TRUTH)
    new.save(tmp_path / "start.h5")
    again = Emulator.load(tmp_path / "start.h5")
    assert not again.trained
    with pytest.warns(UserWarning, match="not converged"):
        training = again.train(progress=lambda evaluations, value: False)
    assert training.log_posterior == pytest.approx(new.log_likelihood(), abs=1e-3)
    assert len(training.start_values) <= 1


def test_stopping_is_not_convergence(small: Emulator) -> None:
    with pytest.warns(UserWarning, match="not converged"):
        training = small.train(progress=lambda evaluations, value: evaluations < 5)
    assert not training.converged and training.evaluations == 5


def test_start_from_another_emulator(grid: Grid) -> None:
    """One start each, and a library that has grown by an eighth of its points, or a component more."""
    fresh = Emulator.from_grid(grid, n_components=5)
    cold = fresh.train("joint", n_starts=1)
    for of, components in ((grid, 4), (grid.select(np.arange(96) % 8 != 3), 5)):
        old = Emulator.from_grid(of, components)
        old.train("joint")
        new = Emulator.from_grid(grid, n_components=5)
        new.start_from(old)
        np.testing.assert_allclose(new.lengthscales[:components], old.lengthscales)
        warm = new.train()
        assert warm.log_posterior > fresh.log_likelihood() - 0.1
        assert warm.evaluations < 0.8 * cold.evaluations


def test_file_of_its_own(trained: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "emulator.h5"
    trained.save(path)
    again = Emulator.load(path)
    point = library.TRUTH
    np.testing.assert_array_equal(again(point)[0], trained(point)[0])
    np.testing.assert_array_equal(again.flux_variance(point), trained.flux_variance(point))
    assert again.name == "library" and again.training is not None and again.training.history
    assert again.training == trained.training and again.provenance == trained.provenance
    damaged = bytearray(path.read_bytes())
    damaged[5000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(zelos.FormatError, match=r"SHA-256|digest|damaged"):
        Emulator.load(path)
    with pytest.raises(zelos.FormatError):
        zelos.get_emulator(str(path))


def test_truncated_emulator_keeps_its_processes(trained: Emulator, tmp_path: Path) -> None:
    trained.save(tmp_path / "whole.h5")
    part = Emulator.load(tmp_path / "whole.h5")
    part.determine_chunk_log([5120.0, 5126.0], buffer=2.0)
    assert len(part.wl) == 128 and part.wl[0] < 5118 and part.wl[-1] > 5128
    assert part.bulk_fluxes.shape == (22, 128)
    kept = np.isin(trained.wl, part.wl)
    whole = trained.load_flux(library.TRUTH)[kept]
    np.testing.assert_allclose(part.load_flux(library.TRUTH), whole, rtol=1e-14)
    part.save(tmp_path / "part.h5")
    again = Emulator.load(tmp_path / "part.h5")
    assert again.log_likelihood() == trained.log_likelihood()
    with pytest.raises(zelos.ArgumentError, match="reach beyond"):
        part.determine_chunk_log([5000.0, 5126.0])


@pytest.mark.parametrize(
    ("low", "high"), [(1500.0, 3340.0), (1000.0, 2200.0), (2900.0, 6000.0), (3000.0, 3010.0)]
)
def test_least_chunk_encloses_the_wavelengths(low: float, high: float) -> None:
    """Over a range whose middle in wavelength is not that in pixels."""
    wl = np.geomspace(1000.0, 6000.0, 4096)
    points = np.arange(4.0)[:, np.newaxis]
    fluxes = 1.0 + 0.1 * np.sin(wl / 300.0 + points)
    emulator = Emulator.from_grid(Grid(wl, points, ["T"], fluxes), n_components=2)
    needed = np.count_nonzero((wl >= low) & (wl <= high))
    emulator.determine_chunk_log([low, high], buffer=0.0)
    assert emulator.wl[0] <= low and emulator.wl[-1] >= high
    assert len(emulator.wl) < 2 * (needed + 2) and len(emulator.wl) in 2 ** np.arange(13)
    np.testing.assert_array_equal(emulator.wl, emulator.whole_wl[emulator.kept])


def test_truncated_spectra_are_over_their_means_over_the_whole_range(
    trained: Emulator, grid: Grid, tmp_path: Path
) -> None:
    trained.save(tmp_path / "whole.h5")
    part = Emulator.load(tmp_path / "whole.h5")
    part.determine_chunk_log([5115.0, 5129.0], buffer=2.0)
    part.determine_chunk_log([5121.0, 5124.0], buffer=1.0)
    part.save(tmp_path / "part.h5")
    points = np.array([[5150.0, 3.75, -0.75], [6350.0, 4.75, 0.25]])
    truth = Grid(grid.wl, points, library.NAMES, np.array([library.spectrum(p) for p in points]))
    for emulator in (part, Emulator.load(tmp_path / "part.h5")):
        assert emulator.truncated and len(emulator.wl) == 64
        kept = np.isin(grid.wl, emulator.wl)
        np.testing.assert_array_equal(emulator.whole_wl, grid.wl)
        np.testing.assert_array_equal(np.arange(512)[emulator.kept], np.flatnonzero(kept))
        assert emulator.altered_prior() == trained.altered_prior()
        relative = truth.fluxes / truth.fluxes.mean(axis=1)[:, np.newaxis]
        error = trained.load_flux(points)[:, kept] / relative[:, kept] - 1
        assert emulator.validate(truth).error == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-9)
        with pytest.raises(zelos.ArgumentError, match="before it was truncated"):
            emulator.validate(truth.truncate((emulator.wl[0], emulator.wl[-1])))


def test_truncation_that_a_file_does_not_hold(small: Emulator, tmp_path: Path) -> None:
    small.save_starfish(tmp_path / "whole.hdf5")
    assert Emulator.load(tmp_path / "whole.hdf5").log_likelihood() == small.log_likelihood()
    small.determine_chunk_log([5121.0, 5124.0], buffer=1.0)
    with pytest.raises(zelos.ArgumentError, match="before determine_chunk_log"):
        small.save_starfish(tmp_path / "part.hdf5")
    small.save(tmp_path / "part.h5")
    text, arrays = zelos._core.spectrum.read_emulator(str(tmp_path / "part.h5"))
    old = {**json.loads(text), "version": 2}
    del old["whole"], arrays["whole_wl"]
    zelos._core.spectrum.write_emulator(str(tmp_path / "old.h5"), json.dumps(old), arrays)
    with pytest.raises(zelos.FormatError, match="a truncated emulator of version 2"):
        Emulator.load(tmp_path / "old.h5")


def test_truncation_before_the_decomposition(grid: Grid) -> None:
    part = Emulator.from_grid(grid, n_components=3, wl_range=(5110.0, 5130.0))
    assert part.wl[0] >= 5110.0 and part.wl[-1] <= 5130.0
    np.testing.assert_allclose(part.eigenspectra @ part.eigenspectra.T, np.eye(3), atol=1e-12)


def test_choose_components(grid: Grid) -> None:
    number, errors = choose_components(grid, 1e-3)
    assert errors[number] <= 1e-3 < errors[number - 1]
    with pytest.raises(zelos.ArgumentError, match="the least is"):
        choose_components(grid, 1e-12)


def test_scales(grid: Grid, tmp_path: Path) -> None:
    """The same processes as of a library whose parameter is 5040 / T itself."""
    points = grid.grid_points.copy()
    points[:, 0] = 1 / points[:, 0]
    other = Emulator.from_grid(Grid(grid.wl, points, ["x", "logg", "Z"], grid.fluxes), n_components=4)
    other.train("independent", mean_degree=2)
    emulator = Emulator.from_grid(grid, n_components=4)
    emulator.train("independent", mean_degree=2, scales={"T": "reciprocal"})
    np.testing.assert_allclose(emulator.get_param_vector(), other.get_param_vector(), atol=1e-4)
    point = np.array(library.TRUTH)
    mu, _ = emulator(point)
    expected = other([1 / point[0], *point[1:]])
    np.testing.assert_allclose(mu, expected[0], atol=1e-5 * np.abs(mu).max())
    _, _, slope, _ = emulator.process.predict_slopes(point)
    step = np.array([0.1, 0, 0])
    difference = (emulator(point + step)[0] - emulator(point - step)[0]) / 0.2
    np.testing.assert_allclose(slope[:, 0], difference, rtol=1e-5, atol=1e-8)
    emulator.save(tmp_path / "e.h5")
    again = Emulator.load(tmp_path / "e.h5")
    assert again.scales == {"T": "reciprocal"}
    np.testing.assert_array_equal(again(point)[0], mu)
    with pytest.raises(zelos.ArgumentError, match="scales: expected linear"):
        emulator.train(scales={"T": "theta"})


def test_ratios_of_length_scales_are_kept(grid: Grid) -> None:
    emulator = Emulator.from_grid(grid, n_components=4)
    emulator.train("independent", kernel="matern52", keep_ratios=True)
    ratios = emulator.lengthscales / emulator.spans
    np.testing.assert_allclose(ratios, ratios[:, :1] * np.ones(3), rtol=1e-9)
    assert len(np.unique(np.round(ratios[:, 0], 6))) == 4


def test_complete_grid_or_not_is_the_same(grid: Grid) -> None:
    """The dense algebra, which the core uses for Kronecker's against which it is tested, predicts the
    same."""
    emulator = Emulator.from_grid(grid, n_components=4)
    emulator.train("independent", mean_degree=2)
    assert emulator.on_grid
    whole = emulator.weight_model()
    dense = zelos._core.spectrum.WeightModel(
        emulator.grid_points, emulator.weights, np.zeros((0, 0)), "squared_exponential", True, 2, [], False
    )
    theta = emulator.get_param_vector()
    noisy = theta + 9 * np.array([key.startswith("log_nugget") for key in emulator.hyperparams])
    assert whole.log_likelihood(noisy) == pytest.approx(dense.log_likelihood(noisy), rel=1e-12)
    # At the optimum the condition is beyond 1e13.
    assert whole.log_likelihood(theta) == pytest.approx(dense.log_likelihood(theta), rel=1e-9)
    process = zelos._core.spectrum.WeightProcess(dense, theta)
    mu, cov = process.predict(np.array(library.TRUTH))
    np.testing.assert_allclose(emulator(library.TRUTH)[0], mu, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(emulator(library.TRUTH)[1], cov, rtol=1e-4, atol=1e-9)


def test_held_out_nodes(trained: Emulator, grid: Grid) -> None:
    found = trained.held_out()
    assert set(found.by_axis) == set(library.NAMES)
    assert found.errors.shape == found.sigmas.shape and 0.3 < found.z < 3
    # Off the grid the spacing is half of that, and the error less.
    points = np.array([[5150.0, 3.75, -0.75], [5450.0, 4.25, -0.25], [6350.0, 4.75, 0.25]])
    truth = Grid(grid.wl, points, library.NAMES, np.array([library.spectrum(p) for p in points]))
    result = trained.validate(truth)
    assert result.error < found.error and result.spectra == 3 and result.outside == 0
    assert result.error < result.error_99


@pytest.mark.parametrize(("least", "log_flux"), [(0.8, None), (0.0, False), (1e9, True)])
def test_choose_options(
    least: float, log_flux: bool | None, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "LOG_FLUX_ERROR", least)
    emulator, choices = choose_options(grid, n_components=6 if log_flux is None else 2)
    for kind in (False, True):
        scores = [c.score for c in choices if c.log_flux == kind]
        assert scores == sorted(scores) and len(scores) >= 6
    best = {kind: next(c for c in choices if c.log_flux == kind) for kind in (False, True)}
    expected = best[True].error < least * best[False].error
    assert choices[0].log_flux == expected and log_flux in (None, expected)
    assert emulator.kernel == choices[0].train["kernel"] and emulator.log_flux == choices[0].log_flux
    assert {c.train["kernel"] for c in choices} == {"squared_exponential", "matern52"}
    found = emulator.held_out()
    assert found.error == pytest.approx(choices[0].error)
    assert found.z == pytest.approx(1.0, rel=1e-6)  # calibrated


def test_untrained_is_an_error(small: Emulator) -> None:
    with pytest.raises(ValueError, match="you must train it"):
        small(library.TRUTH)


def test_normalisation_goes_by_the_training(grid: Grid, tmp_path: Path) -> None:
    emulator = Emulator.from_grid(grid, n_components=3)
    emulator.train("independent")
    before = emulator.norm_factor_with_error(library.TRUTH)
    emulator.train(kernel="matern52", keep_ratios=True)
    after = emulator.norm_factor_with_error(library.TRUTH)
    emulator.save(tmp_path / "emulator.h5")
    assert before != after == Emulator.load(tmp_path / "emulator.h5").norm_factor_with_error(library.TRUTH)


def test_normalisation_that_has_not_converged_warns(small: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalisation, "MAX_ITER", 1)
    with pytest.warns(UserWarning, match="mean flux has not converged"):
        small.norm_factor(library.TRUTH)


@pytest.mark.parametrize(
    ("point", "reason"),
    [((4000.0, 4.0, 0.0), "parameter 'T' is 4000"), ((5500.0, 4.0, np.nan), "not finite")],
)
def test_outside_is_an_error(trained: Emulator, point: tuple[float, ...], reason: str) -> None:
    with pytest.raises(zelos.OutsideRegion, match=reason):
        trained(point)


def test_holes_are_outside() -> None:
    points = library.points()
    hole = np.all(points == (5600.0, 4.0, -0.5), axis=1)
    region = Region(points[~hole], library.NAMES)
    assert "(5600, 4, -0.5) is missing" in region.why_outside(np.array([5500.0, 4.1, -0.4]))
    assert region.why_outside(np.array([5950.0, 4.1, -0.4])) == ""
    assert region.why_outside(np.array([5300.0, 4.0, -0.5])) == ""


def test_scattered_points_have_a_convex_hull() -> None:
    from scipy.spatial import Delaunay

    random = np.random.default_rng(4)
    points = random.normal(size=(60, 3)) * [500.0, 1.0, 0.5]
    region, hull = Region(points, library.NAMES), Delaunay(points / [500.0, 1.0, 0.5])
    for point in random.normal(size=(300, 3)) * [500.0, 1.0, 0.5]:
        inside = bool(hull.find_simplex(point / [500.0, 1.0, 0.5]) >= 0)
        assert (region.why_outside(point) == "") == inside


def test_hyperparameters(small: Emulator, tmp_path: Path) -> None:
    keys = list(small.get_param_dict())
    assert keys[:2] == ["log_lambda_xi", "log_variance:0"] and keys[-1] == "log_lengthscale:3:2"
    assert small["log_lambda_xi"] == pytest.approx(np.log(1e3))
    vector = small.get_param_vector() + 0.1
    small.set_param_vector(vector)
    np.testing.assert_array_equal(small.get_param_vector(), vector)
    with pytest.raises(ValueError, match="expected 17, found 3"):
        small.set_param_vector([1, 2, 3])
    small.save_hyperparameters(tmp_path / "h.json")
    small.set_param_vector(vector * 0)
    small.load_hyperparameters(tmp_path / "h.json")
    np.testing.assert_array_equal(small.get_param_vector(), vector)


def test_starfish_scripts_run(small: Emulator) -> None:
    with pytest.warns(UserWarning, match="is ignored"):
        small.train(method="Nelder-Mead", options={"maxiter": 1000})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(library.TRUTH)


def test_bad_grids() -> None:
    points, fluxes = library.points(), library.fluxes()
    with pytest.raises(ValueError, match="expected 96 spectra of 512 pixels"):
        Grid(library.WL, points, library.NAMES, fluxes[:-1])
    fluxes[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        Grid(library.WL, points, library.NAMES, fluxes)
    with pytest.raises(ValueError, match="expected 1 to"):
        Emulator.from_grid(Grid(library.WL, points, library.NAMES, library.fluxes()), n_components=1000)


def test_plots(trained: Emulator) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    truth = library.spectrum(library.TRUTH)
    for figure in (
        trained.plot_eigenspectra(),
        trained.plot_weights(1),
        trained.plot_training(),
        trained.plot_errors(),
        trained.plot_z_scores(),
        trained.plot_reconstruction(library.TRUTH, truth / truth.mean()),
    ):
        assert figure.axes
        plt.close(figure)


def test_page_is_one_file(trained: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    from zelos.starfish.cli import main

    trained.save(tmp_path / "library.h5")
    assert main(["page", str(tmp_path / "library.h5")]) == 0
    text = (tmp_path / "library.html").read_text()
    assert text.count("data:image/png;base64,") == 9 and "http" not in text
    assert "squared exponential" in text and "is not trained" not in text
    assert main(["page", str(tmp_path / "missing.h5")]) == 1
    assert "missing.h5" in capsys.readouterr().err


def test_files_are_there_whole_or_not_at_all(
    small: Emulator, observed: Spectrum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails leaves what was there, and nothing beside it."""
    model = SpectrumModel(small, observed, library.TRUTH)
    writers = {
        "emulator.hdf5": small.save_starfish,
        "hyperparameters.json": small.save_hyperparameters,
        "spectrum.hdf5": observed.save,
        "model.toml": model.save,
    }
    for name, write in writers.items():
        (tmp_path / name).write_text("before")
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no room"):
            patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no room")))
            write(tmp_path / name)
        assert (tmp_path / name).read_text() == "before"
        write(tmp_path / name)
        assert (tmp_path / name).read_bytes() != b"before"
    assert {path.name for path in tmp_path.iterdir()} == set(writers)
