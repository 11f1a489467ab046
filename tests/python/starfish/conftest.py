# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from zelos.starfish import Emulator, Grid, Spectrum

from . import library


@pytest.fixture(scope="session")
def grid() -> Grid:
    return Grid(library.WL, library.points(), library.NAMES, library.fluxes())


@pytest.fixture(scope="session")
def trained(grid: Grid) -> Emulator:
    """Do not change it."""
    emulator = Emulator.from_grid(grid, n_components=20, whiten_pixels=False, name="library")
    emulator.train("independent", mean_degree=2)
    return emulator


@pytest.fixture(scope="session")
def observed() -> Spectrum:
    return Spectrum(*library.observed(), name="observed")
