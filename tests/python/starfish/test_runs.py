# SPDX-License-Identifier: BSD-3-Clause
"""Runs of zelos_build as a library, against the toy code itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import toy_driver

import zelos
from zelos.starfish import read_runs


def test_runs_are_a_library(toy_build: Path, tmp_path: Path) -> None:
    folder = toy_build / "toy.build"
    grid = read_runs(folder, "Cl.ee")
    emulator = zelos.get_emulator(folder / "artifact/toy.h5")
    record = emulator.info["provenance"]["training_set"]
    assert grid.param_names == list(emulator.parameters)
    assert grid.fluxes.shape == (record["n"] + record["validation"], len(grid.wl))
    np.testing.assert_array_equal(grid.wl, emulator.axes("Cl.ee")["ell"])
    assert np.all(np.diff(grid.grid_points[:, 0]) >= 0)
    for point, flux in zip(grid.grid_points, grid.fluxes, strict=True):
        np.testing.assert_allclose(flux, toy_driver.spectrum("ee", *point, grid.wl), rtol=1e-12)
    (store,) = folder.glob("runs/*")
    np.testing.assert_array_equal(read_runs(store, "Cl.ee").fluxes, grid.fluxes)

    with pytest.raises(zelos.ArgumentError, match="there is no output 'flux', its runs have"):
        read_runs(folder)
    with pytest.raises(zelos.ArgumentError, match=r"over one axis, 'Pk\.linear' has \['k', 'z'\]"):
        read_runs(folder, "Pk.linear")
    with pytest.raises(zelos.FileError, match="found no runs"):
        read_runs(tmp_path)
    copy = shutil.copytree(store, tmp_path / "runs/one")
    next(copy.glob("*.npz")).write_bytes(b"half")
    with pytest.raises(zelos.FormatError, match="damaged run"):
        read_runs(tmp_path, "Cl.ee")
    shutil.copytree(store, tmp_path / "runs/two")
    with pytest.raises(zelos.ArgumentError, match="runs of 2 specs: name one of"):
        read_runs(tmp_path)
