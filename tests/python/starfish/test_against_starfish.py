# SPDX-License-Identifier: BSD-3-Clause
"""Files and numbers of Starfish 0.4.2, which reference/make.py wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zelos.starfish import Emulator, Grid, Spectrum, SpectrumModel
from zelos.starfish.grid import read_grid
from zelos.starfish.transforms import extinction_coefficients

from . import library

pytest.importorskip("h5py")

REFERENCE = Path(__file__).parent / "reference"
NUMBERS: dict[str, Any] = json.loads((REFERENCE / "reference.json").read_text())
POINT = library.TRUTH


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator.load(REFERENCE / "emulator.hdf5")


@pytest.fixture(scope="module")
def data() -> Spectrum:
    return Spectrum.load(REFERENCE / "spectrum.hdf5")


def test_components_are_those_of_scikit_learn() -> None:
    grid = Grid(library.WL, library.points(), library.NAMES, library.fluxes())
    emulator = Emulator.from_grid(grid, n_components=4)
    np.testing.assert_allclose(emulator.flux_mean[::37], NUMBERS["flux_mean"], rtol=1e-12)
    np.testing.assert_allclose(emulator.flux_std[::37], NUMBERS["flux_std"], rtol=1e-12)
    np.testing.assert_allclose(emulator.factors[::7], NUMBERS["factors"], rtol=1e-12)
    np.testing.assert_allclose(np.abs(emulator.weights[::7]), NUMBERS["weights"], rtol=1e-9, atol=1e-9)
    assert emulator.log_likelihood() == pytest.approx(NUMBERS["untrained_log_likelihood"], rel=1e-12)


def test_log_likelihood(emulator: Emulator) -> None:
    """At lambda_xi = 50: where it is large, the difference is the rounding of Starfish's dense matrix."""
    assert emulator.log_likelihood() == pytest.approx(NUMBERS["log_likelihood"], rel=1e-12)


def test_predictions(emulator: Emulator) -> None:
    mu, cov = emulator(POINT)
    np.testing.assert_allclose(mu, NUMBERS["mu"], rtol=1e-9)
    np.testing.assert_allclose(cov, NUMBERS["cov"], rtol=1e-8, atol=1e-12)
    pair = [POINT, (6111.0, 3.9, 0.1)]
    mu, cov = emulator(pair)
    np.testing.assert_allclose(mu, NUMBERS["pair_mu"], rtol=1e-9)
    np.testing.assert_allclose(cov, NUMBERS["pair_cov"], rtol=1e-7, atol=1e-11)
    mu, variance = emulator(pair, full_cov=False, reinterpret_batch=True)
    np.testing.assert_allclose(mu, NUMBERS["batch_mu"], rtol=1e-9)
    np.testing.assert_allclose(variance, NUMBERS["batch_var"], rtol=1e-8)


def test_text(emulator: Emulator) -> None:
    assert repr(emulator) == NUMBERS["repr"]


def test_norm_factor_is_near_linear_interpolation(emulator: Emulator) -> None:
    assert emulator.norm_factor(POINT) == pytest.approx(NUMBERS["norm_factor"], rel=1e-2)
    truth = library.spectrum(POINT).mean()
    assert abs(emulator.norm_factor(POINT) / truth - 1) < 0.2 * abs(NUMBERS["norm_factor"] / truth - 1)


# Starfish's quintic spline stands on lambda and ends sharply, ours on ln(lambda) and continues smoothly;
# rotation wraps around there. Its global kernel's distance differs by a relative 1e-7.
@pytest.mark.parametrize("name", list(NUMBERS["models"]))
def test_starfish_compat(name: str, emulator: Emulator, data: Spectrum) -> None:
    expected = NUMBERS["models"][name]
    model = SpectrumModel(emulator, data, POINT, starfish_compat=True, **expected["params"])
    flux, covariance = model()
    np.testing.assert_allclose(flux[::29], expected["flux"], rtol=3e-5)
    np.testing.assert_allclose(covariance.diagonal()[::29], expected["variance"], rtol=3e-4)
    scale = np.max(expected["variance"])
    np.testing.assert_allclose(covariance[200, ::29], expected["covariance_row"], atol=3e-4 * scale)
    assert model.log_likelihood() == pytest.approx(expected["log_likelihood"], rel=2e-3)


def test_model_state(emulator: Emulator, data: Spectrum) -> None:
    model = SpectrumModel(emulator, data, [5000, 4.0, 0.0])
    model.load(REFERENCE / "model.toml")
    assert set(model.labels) == set(NUMBERS["labels"])
    assert model["local_cov:0:mu"] == 5120.0
    np.testing.assert_array_equal(model.grid_params, POINT)
    theirs = SpectrumModel(emulator, data, [5000, 4.0, 0.0], starfish_compat=True)
    theirs.load(REFERENCE / "model.toml")
    assert theirs["cheb"] == [0.1, -0.03]


def test_series_of_a_state(emulator: Emulator, data: Spectrum, tmp_path: Path) -> None:
    """Starfish's Chebyshev series of wave / wave.max() becomes the same function of the order's range, and
    back."""
    model = SpectrumModel(emulator, data, [5000, 4.0, 0.0], truncation="none")
    model.load(REFERENCE / "model.toml")
    x = data[0].wave / data[0].wave.max()
    theirs = 1 + np.polynomial.chebyshev.chebval(x, [0.0, 0.1, -0.03])
    flux, _ = model.flux_and_std()
    model["cheb"] = [0.0, 0.0]
    model["log_scale"] = -0.2
    np.testing.assert_allclose(flux, model.flux_and_std()[0] * theirs * np.exp(0.2), rtol=1e-12)
    again = SpectrumModel(emulator, data, [5000, 4.0, 0.0], starfish_compat=True)
    model.load(REFERENCE / "model.toml")
    model.save(tmp_path / "model.toml")
    again.load(tmp_path / "model.toml")
    assert again["cheb"] == pytest.approx([0.1, -0.03], rel=1e-9)
    assert again["log_scale"] == pytest.approx(0.0, abs=1e-9)


def test_own_file_in_starfish_layout(emulator: Emulator, tmp_path: Path) -> None:
    emulator.save_starfish(tmp_path / "again.hdf5")
    again = Emulator.load(tmp_path / "again.hdf5")
    assert again.log_likelihood() == pytest.approx(emulator.log_likelihood(), rel=1e-12)
    import h5py

    with h5py.File(tmp_path / "again.hdf5") as ours, h5py.File(REFERENCE / "emulator.hdf5") as theirs:
        assert set(ours) == set(theirs) and dict(ours.attrs) == dict(theirs.attrs)
        for name in theirs:
            if name != "hyperparameters":
                np.testing.assert_array_equal(ours[name], theirs[name])
                assert dict(ours[name].attrs).keys() == dict(theirs[name].attrs).keys()


def test_grid_in_starfish_layout(tmp_path: Path) -> None:
    import h5py

    points, fluxes = library.points()[:4], library.fluxes()[:4]
    with h5py.File(tmp_path / "grid.hdf5", "w") as file:
        group = file.create_group("flux")
        key = group.attrs["key_name"] = "T{0:.1f}_g{1:.2f}_Z{2:.2f}"
        for point, flux in zip(points, fluxes, strict=True):
            group.create_dataset(key.format(*point), data=flux, compression=9)
        file.create_dataset("wl", data=library.WL)
        file.create_dataset("grid_points", data=points).attrs["names"] = library.NAMES
    grid = read_grid(tmp_path / "grid.hdf5")
    np.testing.assert_array_equal(grid.fluxes, fluxes)
    assert grid.param_names == library.NAMES


def test_masks_of_starfish_files_are_not_wavelengths(data: Spectrum) -> None:
    assert data.masks.dtype == bool and data.masks.all()


@pytest.mark.parametrize("law", ["ccm89", "odonnell94"])
def test_extinction(law: str) -> None:
    """The package extinction, which Starfish uses."""
    wave = np.array(NUMBERS["extinction"]["wave"])
    a, b = extinction_coefficients(wave, law)
    for rv in (2.5, 3.1):
        np.testing.assert_allclose(a + b / rv, NUMBERS["extinction"][f"{law} {rv}"], rtol=1e-9)
