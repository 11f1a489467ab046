# SPDX-License-Identifier: BSD-3-Clause
"""Libraries of a realistic size, from the folder of shared data: skipped where it is absent."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zelos.starfish import Emulator, Grid, choose_options, read_grid

SHARED = Path(os.environ.get("ZELOS_SHARED", Path(__file__).parents[4] / "shared"))
NAMES = ["T", "logg", "Z"]


@pytest.fixture(scope="module")
def mock() -> tuple[Grid, Any, Any]:
    """The library of 10 x 6 x 5 spectra of 3000 pixels, random points off the grid and their spectra."""
    pytest.importorskip("scipy")
    path = SHARED / "prototypes/spectra/mockgrid.py"
    if not path.is_file():
        pytest.skip(f"needs {path.name} in {SHARED.name}/prototypes/spectra (ZELOS_SHARED)")
    spec = importlib.util.spec_from_file_location("mockgrid", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    atmosphere, made = module.standard_grid()
    grid = Grid(made["wl"], made["points"], NAMES, made["fluxes"])
    points = np.random.default_rng(5).uniform(grid.grid_points.min(0), grid.grid_points.max(0), (60, 3))
    fine = np.geomspace(grid.wl[0], grid.wl[-1], 2 * len(grid.wl) - 1)
    truth = np.array([atmosphere.spectrum(point, fine, R=30000.0)[::2] for point in points])
    return grid, points, truth / truth.mean(axis=1, keepdims=True)


@pytest.mark.slow
def test_optimum_of_the_joint_likelihood(mock: tuple[Grid, Any, Any]) -> None:
    """Starfish's training stops at -673, far from the optimum, and calls it a success."""
    emulator = Emulator.from_grid(mock[0])
    assert emulator.ncomps == 5
    assert emulator.log_likelihood() == pytest.approx(-1410.33, abs=0.01)
    # Rounding of the likelihood, of size 1e-10 of its terms, leaves about 1 in the gradient: more than the
    # tolerance.
    training = emulator.train("joint")
    assert training.converged and emulator.log_likelihood() > 4905.8


@pytest.mark.slow
def test_off_the_grid_better_than_tricubic(mock: tuple[Grid, Any, Any]) -> None:
    from scipy.interpolate import RegularGridInterpolator

    grid, points, truth = mock
    axes = [np.unique(column) for column in grid.grid_points.T]
    cubes = grid.fluxes.reshape(*map(len, axes), -1)
    cubic = RegularGridInterpolator(axes, cubes, method="cubic")(points)
    cubic /= cubic.mean(axis=1, keepdims=True)

    def rms(flux: Any) -> float:
        return float(np.sqrt(np.mean((flux / truth - 1) ** 2)))

    emulator = Emulator.from_grid(grid, n_components=60, whiten_pixels=False, log_flux=True)
    emulator.train("independent", mean_degree=2)
    assert rms(emulator.load_flux(points)) < rms(cubic) < 1.2e-4
    std = np.sqrt([emulator.flux_variance(point) for point in points])
    z = (emulator.load_flux(points) - truth) / std
    assert 0.9 < np.sqrt(np.mean(z**2)) < 1.1


def real_grid() -> Grid:
    pytest.importorskip("h5py")
    path = SHARED / "data/spectra/turbo_marcs_mgb_R44000.hdf5"
    if not path.is_file():
        pytest.skip(f"needs {path.name} in {SHARED.name}/data/spectra (ZELOS_SHARED)")
    return read_grid(path)


@pytest.mark.slow
def test_real_library_with_nodes_left_out() -> None:
    """MARCS and Turbospectrum: 5750, 6250 and 6750 K are predicted from spectra 500 K apart, four
    temperatures in all. The options are chosen without them."""
    from scipy.interpolate import RegularGridInterpolator

    grid = real_grid()
    left = np.isin(grid.grid_points[:, 0], [5750.0, 6250.0, 6750.0])
    kept = grid.select(~left)
    emulator, choices = choose_options(kept, n_components=40)
    result = emulator.validate(grid.select(left))
    axes = [np.unique(column) for column in kept.grid_points.T]
    order = np.lexsort(kept.grid_points.T[::-1])
    cubes = kept.fluxes[order].reshape(*map(len, axes), -1)
    cubic = RegularGridInterpolator(axes, cubes, method="cubic")(grid.grid_points[left])
    cubic /= cubic.mean(axis=1, keepdims=True)
    truth = grid.fluxes[left] / grid.fluxes[left].mean(axis=1, keepdims=True)
    assert result.error < float(np.sqrt(np.mean((cubic / truth - 1) ** 2))) < 1.1e-3
    assert 0.9 < result.z < 1.1, choices[0]
