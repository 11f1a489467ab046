# SPDX-License-Identifier: BSD-3-Clause
"""Who answers outside the library, with which error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import zelos
from zelos.fallback.driver import Kind
from zelos.starfish import Code, Emulator, Grid, Interpolation, Spectrum, SpectrumModel

from . import library

pytest.importorskip("scipy")


class Driver:
    """The library's closed form as a spectrum code, up to 7200 K."""

    code: ClassVar[str] = "toy"
    kinds: ClassVar[Mapping[str, Kind]] = {"flux": Kind("", (("wavelength", "Angstrom"),))}
    derived: ClassVar[Mapping[str, str]] = {}
    synonyms: ClassVar[Mapping[str, str]] = {}
    version = "1"

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.outputs = {"flux": {"wavelength": library.WL}}

    def library_hash(self) -> str:
        return "0" * 64

    def settings(self, params: Mapping[str, float]) -> str:
        return "closed form"

    def run(self, params: Mapping[str, float]) -> dict[str, Any]:
        if params["T"] > 7200:
            raise ValueError("no atmosphere")
        return {"flux": library.spectrum([params[name] for name in library.NAMES])}

    def error(self, params: Mapping[str, float], answer: Mapping[str, Any]) -> dict[str, Any]:
        return {"flux": 2e-3 * answer["flux"]}


@pytest.fixture(scope="module")
def cool(grid: Grid) -> Emulator:
    """Of the part of the library below 6000 K."""
    emulator = Emulator.from_grid(grid.select(grid.grid_points[:, 0] < 6000), 12, whiten_pixels=False)
    emulator.train("independent", mean_degree=2)
    return emulator


def dense(model: SpectrumModel) -> float:
    flux, covariance = model()
    residual = flux - model.data.flux
    return float(-0.5 * (np.linalg.slogdet(covariance)[1] + residual @ np.linalg.solve(covariance, residual)))


def test_each_rung_answers_where_the_one_before_has_nothing(
    cool: Emulator, grid: Grid, observed: Spectrum
) -> None:
    outside = [Interpolation(grid), Code(Driver()), "reject"]
    model = SpectrumModel(cool, observed, library.TRUTH, vz=3.0, vsini=5.0, log_scale=0.0, outside=outside)
    for teff, who in ((5680, "emulator"), (6250, "interpolation"), (7000, "toy"), (9000, "rejected")):
        model["T"] = teff
        before = model.answered[who]
        value = model.log_likelihood()
        assert model.answered[who] == before + 1
        if who == "rejected":
            assert value == -np.inf
        else:
            assert value == pytest.approx(dense(model), rel=1e-10)
    assert model.answered == {"emulator": 1, "interpolation": 1, "toy": 1, "rejected": 1}
    model["T"] = 6250.0
    with pytest.raises(zelos.OutsideRegion):
        model.log_likelihood_gradient()
    model.outside = [Interpolation(grid)]
    model["T"] = 9000.0
    with pytest.raises(zelos.OutsideRegion, match="convex hull of the raw library"):
        model.log_likelihood()


def test_a_fallback_is_the_spectrum_that_it_stands_for(cool: Emulator, observed: Spectrum) -> None:
    """The mean of the emulator and that of the code agree where both answer, and the error is the code's."""
    point = dict(zip(library.NAMES, (6990.0, 4.0, 0.1), strict=True))
    model = SpectrumModel(
        cool, observed, list(point.values()), log_scale=0.1, norm=True, outside=Code(Driver())
    )
    flux, sigma = model.flux_and_std()
    truth = np.exp(0.1) * library.spectrum(list(point.values()))[40:-40]
    np.testing.assert_allclose(flux, truth, rtol=1e-9)
    np.testing.assert_allclose(sigma**2 - observed[0].sigma ** 2, (2e-3 * truth) ** 2, rtol=1e-6)


@pytest.mark.parametrize("norm", [False, True])
def test_a_truncated_emulator_falls_back_on_the_same_spectrum(
    cool: Emulator, grid: Grid, tmp_path: Path, norm: bool
) -> None:
    cool.save(tmp_path / "cool.h5")
    part = Emulator.load(tmp_path / "cool.h5")
    part.determine_chunk_log([5121.0, 5124.0], buffer=1.0)
    wave = part.wl[3:-3]
    data = Spectrum(wave, np.ones_like(wave), np.full_like(wave, 0.01))
    for fallback in (Interpolation(grid), Code(Driver())):
        (flux, sigma), (of_whole, sigma_of_whole) = (
            SpectrumModel(
                emulator, data, (6250.0, 4.2, -0.1), log_scale=0.0, norm=norm, outside=fallback
            ).flux_and_std()
            for emulator in (part, cool)
        )
        np.testing.assert_allclose(flux, of_whole, rtol=1e-9)
        np.testing.assert_allclose(sigma, sigma_of_whole, rtol=1e-6)


@pytest.mark.parametrize("hole", [False, True])
def test_error_of_interpolation_is_what_it_says(grid: Grid, hole: bool) -> None:
    """In cells, and in a hole of twelve spectra, where it is large."""
    kept = np.ones(len(grid.grid_points), dtype=bool)
    low, high = np.array([5000, 3.5, -1.0]), np.array([6500, 5.0, 0.5])
    if hole:
        inner = np.abs((grid.grid_points - [5600, 4.0, 0.0]) / [400, 0.6, 0.6]).max(axis=1) < 1
        kept[inner] = False
        low, high = np.array([5450, 3.8, -0.3]), np.array([5750, 4.2, 0.3])
    interpolation = Interpolation(grid.select(kept))
    random = np.random.default_rng(3)
    scores, relative = [], []
    for _ in range(40):
        point = random.uniform(low, high)
        answer = interpolation.spectrum(dict(zip(library.NAMES, point, strict=True)), library.WL)
        error = answer.flux - library.spectrum(point)
        scores.append(np.sqrt(np.mean((error / answer.error) ** 2)))
        relative.append(np.sqrt(np.mean((error / answer.flux) ** 2)))
    assert 0.4 < np.sqrt(np.mean(np.square(scores))) < 1.5
    assert np.median(relative) < (0.2 if hole else 0.02)
    node = grid.grid_points[kept][7]
    answer = interpolation.spectrum(dict(zip(library.NAMES, node, strict=True)), library.WL)
    np.testing.assert_allclose(answer.flux, library.spectrum(node), rtol=1e-9)
    assert answer.error.max() < 1e-9


def test_a_grid_of_runs_is_a_code(cool: Emulator, observed: Spectrum, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    from zelos.fallback.grid.driver import open_library, write_library

    axes = dict(zip(library.NAMES, ([6000.0, 6250.0, 6500.0], [4.0, 4.5], [-0.5, 0.0]), strict=True))
    write_library(tmp_path / "runs.h5", Driver(), axes, {name: a[0] for name, a in axes.items()})  # type: ignore[arg-type]
    driver = open_library(tmp_path / "runs.h5")({}, {"flux": {"wavelength": library.WL}})
    model = SpectrumModel(cool, observed, (6300.0, 4.5, 0.0), truncation="none", outside=[Code(driver)])
    _, stated = model.flux_and_std()
    assert np.isfinite(model.log_likelihood()) and model.answered["toy"] == 1
    assert np.all(stated**2 - observed[0].sigma ** 2 > -1e-15) and stated.max() > 0.011
    model.outside = [Code(driver, error=0.0)]
    np.testing.assert_allclose(model.flux_and_std()[1], observed[0].sigma, rtol=1e-9)
    model["logg"] = 3.6
    with pytest.raises(zelos.OutsideRegion, match="is outside the grid"):
        model.log_likelihood()


class Strict(Driver):
    """One that says what it knows, `Z` being fixed."""

    parameters: ClassVar[Mapping[str, float | None]] = {"T": None, "logg": None, "Z": 0.0}

    def run(self, params: Mapping[str, float]) -> dict[str, Any]:
        return super().run({**self.parameters, **params})  # type: ignore[dict-item]


class Confused(Driver):
    """One that finds out at the first point."""

    def run(self, params: Mapping[str, float]) -> dict[str, Any]:
        raise zelos.ArgumentError("unknown parameter 'T'")


def test_a_fallback_knows_the_emulators_parameters(
    cool: Emulator, grid: Grid, observed: Spectrum, tmp_path: Path
) -> None:
    """One that ignored a parameter would answer the same whatever its value; one that refused all points
    would be a prior."""
    solar = grid.grid_points[:, 2] == 0
    of_two = Grid(grid.wl, grid.grid_points[solar, :2], library.NAMES[:2], grid.fluxes[solar])
    renamed = Grid(grid.wl, grid.grid_points, ["Teff", "logg", "Z"], grid.fluxes)
    for fallback, what in (
        (Interpolation(of_two), "not know 'Z': its parameters are T, logg, the emulator's T, logg, Z$"),
        (Interpolation(renamed), "interpolation does not know 'T'"),
    ):
        with pytest.raises(zelos.ArgumentError, match=what):
            SpectrumModel(cool, observed, library.TRUTH, outside=[fallback, "reject"])
    model = SpectrumModel(cool, observed, library.TRUTH, outside=[Code(Confused()), "reject"])
    model["T"] = 7000.0
    with pytest.raises(zelos.ArgumentError, match="unknown parameter 'T'"):
        model.log_likelihood()
    fewer = Emulator.from_grid(of_two, n_components=4)
    fewer.train("independent")
    with pytest.raises(zelos.ArgumentError, match="interpolation needs 'Z'"):
        SpectrumModel(fewer, observed, library.TRUTH[:2], outside=Interpolation(grid))
    model = SpectrumModel(fewer, observed, (7000.0, 4.2), log_scale=0.0, norm=True, outside=Code(Strict()))
    flux, _ = model.flux_and_std()
    np.testing.assert_allclose(flux, library.spectrum((7000.0, 4.2, 0.0))[40:-40], rtol=1e-9)


def test_a_grid_of_runs_says_what_it_varies(cool: Emulator, observed: Spectrum, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    from zelos.fallback.grid.driver import open_library, write_library

    class Cooler(Driver):
        def run(self, params: Mapping[str, float]) -> dict[str, Any]:
            return super().run({"Z": 0.0, **params})

    axes = {"T": [6000.0, 6250.0, 6500.0], "logg": [4.0, 4.5]}
    write_library(tmp_path / "runs.h5", Cooler(), axes, {name: a[0] for name, a in axes.items()})  # type: ignore[arg-type]
    outputs = {"flux": {"wavelength": library.WL}}
    runs = open_library(tmp_path / "runs.h5")
    with pytest.raises(zelos.ArgumentError, match="does not know 'Z'"):
        SpectrumModel(cool, observed, library.TRUTH, outside=[Code(runs({}, outputs), 0.0), "reject"])
    with pytest.raises(zelos.ArgumentError, match=r"does not vary Z, nor does the config have it"):
        runs({}, outputs).run({"T": 6100.0, "logg": 4.2, "Z": 0.0})
    with pytest.raises(zelos.ArgumentError, match="needs logg"):
        runs({}, outputs).run({"T": 6100.0})
    model = SpectrumModel(
        cool, observed, (6250.0, 4.0, 0.0), outside=[Code(runs({"Z": 0.0}, outputs), 0.0), "reject"]
    )
    assert np.isfinite(model.log_likelihood()) and model.answered["toy"] == 1
    model["Z"] = 0.1
    assert model.log_likelihood() == -np.inf


class Silent(Driver):
    error = None  # type: ignore[assignment]


def test_misuse(cool: Emulator, grid: Grid, observed: Spectrum) -> None:
    with pytest.raises(zelos.ArgumentError, match="states no error"):
        Code(Silent())
    with pytest.raises(zelos.ArgumentError, match="expected interpolation, or code"):
        SpectrumModel(cool, observed, library.TRUTH, outside=[{"library": "x"}])
    for outside in ("ignore", ["reject", Code(Driver())], [Interpolation(grid), Interpolation(grid)]):
        with pytest.raises(zelos.ArgumentError, match="outside"):
            SpectrumModel(cool, observed, library.TRUTH, outside=outside)
    scattered = Grid(
        library.WL, grid.grid_points[:4] + np.eye(4, 3) * [40, 0.3, 0.2], library.NAMES, grid.fluxes[:4]
    )
    with pytest.raises(zelos.ArgumentError, match="no three spectra along"):
        point = scattered.grid_points.mean(axis=0)
        Interpolation(scattered).spectrum(dict(zip(library.NAMES, point, strict=True)), library.WL)


def test_fit_by_values_goes_where_a_fallback_answers(cool: Emulator, grid: Grid) -> None:
    pytest.importorskip("scipy")
    flux = library.spectrum((6050.0, 4.2, -0.1))[40:-40]
    data = Spectrum(library.WL[40:-40], flux / flux.mean(), np.full(len(flux), 0.01))
    outside = [Interpolation(grid), "reject"]
    model = SpectrumModel(cool, data, (5850.0, 4.2, -0.1), log_scale=0.0, outside=outside)
    result = model.train(method="Nelder-Mead", options={"maxfev": 800})
    assert result.success and " is at the " not in result.message
    assert model["T"] == pytest.approx(6050.0, abs=60.0)
