# SPDX-License-Identifier: BSD-3-Clause
"""Libraries that are streamed from their file, with holes, and as an instrument sees them: small ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zelos
from zelos.starfish import Emulator, Grid, GridFile, Instrument, Spectrum, read_grid

from . import library

h5py = pytest.importorskip("h5py")
pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four corners of the library are missing, and one point within it."""
    points, fluxes = library.points(), library.fluxes()
    hot = (points[:, 0] > 6400) & (points[:, 1] < 3.6) | (points[:, 0] < 5100) & (points[:, 1] > 4.9)
    hole = np.all(points == (5600.0, 4.0, -0.5), axis=1)
    path = tmp_path_factory.mktemp("holed") / "grid.hdf5"
    with h5py.File(path, "w") as file:
        group = file.create_group("flux")
        key = group.attrs["key_name"] = "T{0:.1f}_g{1:.2f}_Z{2:.2f}"
        for point, flux in zip(points[~hot & ~hole], fluxes[~hot & ~hole], strict=True):
            group.create_dataset(key.format(*point), data=flux, compression=4)
        file.create_dataset("wl", data=library.WL)
        file.create_dataset("grid_points", data=points[~hot & ~hole]).attrs["names"] = library.NAMES
    return path


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("log_flux", [True, False])
def test_streamed_components_are_those_in_memory(holed: Path, whiten: bool, log_flux: bool) -> None:
    options = {"whiten_pixels": whiten, "log_flux": log_flux}
    whole = Emulator.from_grid(holed, n_components=6, **options)
    streamed = Emulator.from_grid(holed, n_components=6, memory=1e4, **options)
    np.testing.assert_allclose(streamed.flux_mean, whole.flux_mean, rtol=1e-12)
    np.testing.assert_allclose(streamed.flux_std, whole.flux_std, rtol=1e-11)
    np.testing.assert_allclose(streamed.eigenspectra @ streamed.eigenspectra.T, np.eye(6), atol=1e-13)
    overlap = np.linalg.svd(streamed.eigenspectra @ whole.eigenspectra.T, compute_uv=False)
    assert overlap.min() > 1 - 1e-6
    explained = [e.provenance["explained_variance"] for e in (streamed, whole)]
    assert explained[0] == pytest.approx(explained[1], abs=1e-6)
    ratio = streamed.residual_variance.mean() / whole.residual_variance.mean()
    assert 0.4 < ratio < 2.5  # an eighth of the spectra against all


def test_streaming_takes_a_number(holed: Path) -> None:
    with pytest.raises(zelos.ArgumentError, match="an integer from 1"):
        Emulator.from_grid(holed, memory=1e4)


def test_neighbours_predict_as_all_points(holed: Path, tmp_path: Path) -> None:
    emulator = Emulator.from_grid(holed, n_components=5, whiten_pixels=False)
    assert not emulator.on_grid
    emulator.train("independent", kernel="matern52", mean_degree=2, points=70)
    assert emulator.training is not None and emulator.training.settings["points"] == 70
    every = np.array([emulator(p)[0] for p in _inside(emulator)])
    sigma = np.sqrt([np.diag(emulator(p)[1]) for p in _inside(emulator)])
    emulator.norm_factor(_inside(emulator)[0])
    emulator.neighbours = 40
    some = np.array([emulator(p)[0] for p in _inside(emulator)])
    wider = np.sqrt([np.diag(emulator(p)[1]) for p in _inside(emulator)])
    assert np.all(np.abs(some - every) < 4 * wider) and wider.mean() > 0.9 * sigma.mean()
    emulator.save(tmp_path / "emulator.h5")
    again = Emulator.load(tmp_path / "emulator.h5")
    for point in _inside(emulator)[:3]:
        np.testing.assert_array_equal(again(point)[1], emulator(point)[1])
        assert again.norm_factor_with_error(point) == emulator.norm_factor_with_error(point)
    assert 0.2 < emulator.held_out().z < 3
    with pytest.raises(zelos.ArgumentError, match="neighbours: expected"):
        emulator.neighbours = -1
    with pytest.raises(zelos.OutsideRegion, match="hole"):
        emulator([5500.0, 4.1, -0.4])


def _inside(emulator: Emulator) -> list[np.ndarray]:
    points = np.random.default_rng(3).uniform(emulator.min_params, emulator.max_params, (30, 3))
    return [p for p in points if not emulator._region.why_outside(p)]


def test_grid_file(holed: Path) -> None:
    grid = read_grid(holed)
    part = GridFile(holed, wl_range=(5110.0, 5120.0))
    assert part.bytes == 8 * len(grid.grid_points) * len(part.wl) and 5110 <= part.wl[0] < part.wl[-1] <= 5120
    rows = np.vstack([block for _, block in part.blocks(7)])
    np.testing.assert_array_equal(rows, grid.truncate((5110.0, 5120.0)).fluxes)
    with pytest.raises(zelos.ArgumentError, match="fewer than six pixels"):
        GridFile(holed, wl_range=(1.0, 2.0))


def test_instrument_broadens() -> None:
    """A Gaussian line becomes one whose width is the root of the sum of squares."""
    wl = np.geomspace(5000.0, 5050.0, 6000)
    velocity = 299792.458 * np.log(wl / 5025.0)

    def line(fwhm: float, v: np.ndarray) -> np.ndarray:
        sigma = fwhm / np.sqrt(8 * np.log(2))
        return 1 - 0.5 * 8.0 / fwhm * np.exp(-0.5 * (v / sigma) ** 2)

    instrument = Instrument(fwhm=20.0, wl_range=(5010.0, 5040.0), oversampling=5)
    grid = instrument.observe(Grid(wl, np.array([[1.0], [2.0]]), ["x"], np.array([line(8.0, velocity)] * 2)))
    v = 299792.458 * np.log(grid.wl / 5025.0)
    np.testing.assert_allclose(grid.fluxes[0], line(np.hypot(8.0, 20.0), v), atol=2e-6)
    np.testing.assert_allclose(np.diff(np.log(grid.wl)) * 299792.458, 4.0, rtol=2e-3)
    # Of a library with a resolution of its own, only the difference is applied.
    same = Instrument(fwhm=8.0, wl_range=(5010.0, 5040.0), pixel=2.0, library_fwhm=8.0)
    grid = same.observe(Grid(wl, np.array([[1.0], [2.0]]), ["x"], np.array([line(8.0, velocity)] * 2)))
    np.testing.assert_allclose(grid.fluxes[0], line(8.0, 299792.458 * np.log(grid.wl / 5025.0)), atol=3e-6)
    with pytest.raises(zelos.ArgumentError, match="beyond the library"):
        Instrument(20.0, (4000.0, 5040.0)).operator(wl)


def test_emulator_of_one_order(holed: Path) -> None:
    wave = np.linspace(5115.0, 5130.0, 100)
    order = Spectrum(wave, np.ones(100), np.ones(100))[0]
    instrument = Instrument.of_order(order, fwhm=12.0, margin=200.0)
    emulator = Emulator.from_grid(holed, n_components=4, instrument=instrument)
    streamed = Emulator.from_grid(holed, n_components=4, instrument=instrument, memory=1e3)
    assert emulator.wl[0] < 5112 and emulator.wl[-1] > 5133 and len(emulator.wl) < 520
    np.testing.assert_allclose(streamed.flux_mean, emulator.flux_mean, rtol=1e-10)
    assert emulator.provenance["instrument"]["fwhm"] == 12.0
