# SPDX-License-Identifier: BSD-3-Clause
"""zelos.starfish."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from zelos.starfish import Emulator, Spectrum, SpectrumModel

from . import common, spectra

TITLE = "zelos"
NOTE = ""
FACTS: dict[str, Any] = {}


def versions() -> dict[str, str]:
    return common.version("zelos", "numpy")


def cases(options: dict[str, Any]) -> spectra.Cases:
    shared = spectra.Shared(Emulator, Spectrum, SpectrumModel, options)

    def make(pixels: int) -> dict[str, float]:
        """The emulator of likelihoods of many pixels, and the observed spectrum of a length."""
        shape = spectra.SMALL if pixels == 4096 else (5, 4, 3)
        high = 5100.0 * (5300.0 / 5100.0) ** ((pixels - 1) / 4095)  # pixels as wide as there
        grid = spectra.library(shape, pixels, high)
        emulator = spectra.prepared(Emulator.from_grid(grid, n_components=spectra.COMPONENTS))
        emulator.save(shared.folder / f"{pixels}.h5")
        flux = grid.fluxes[len(grid.fluxes) // 2]
        noise = 0.01 * np.random.default_rng(2).normal(size=pixels)
        np.save(shared.folder / f"{pixels}.npy", flux / flux.mean() + noise)
        return {}

    FACTS.update(make=make, training=training, reuse=reuse, values=shared.values, memory=shared.memory)
    known: spectra.Cases = {}
    for m in options["components"]:
        known[f"hyper {m}"] = shared.hyper(m), 1.0
        known[f"gradient {m}"] = shared.hyper(m, gradient=True), 1.0
        known[f"call {m}"] = shared.call(m), 1.0
    for pixels in options["sizes"]:
        own = f"{length(pixels)}.h5"
        for name in spectra.MODELS:
            if length(pixels) == 4096:
                file = "starfish.hdf5"
                known[f"likelihood {pixels} {name}"] = shared.likelihood(file, pixels, name), 1.0
                known[f"slopes {pixels} {name}"] = shared.likelihood(file, pixels, name, True), 1.0
            known[f"own likelihood {pixels} {name}"] = shared.likelihood(own, pixels, name), 1.0
            known[f"own slopes {pixels} {name}"] = shared.likelihood(own, pixels, name, True), 1.0
    known["neighbours"] = neighbours(), 1.0
    return known


def length(pixels: int) -> int:
    """Of the emulator of an observed spectrum."""
    return 4096 if pixels < 4000 else pixels + pixels // 8


def neighbours() -> Callable[[], object]:
    """A call with 15 components of 7,000 spectra that are no complete grid."""
    axes = (
        np.linspace(4000, 7800, 20),
        np.linspace(2, 5, 12),
        np.linspace(-1.5, 0.5, 8),
        np.linspace(0, 0.4, 4),
    )
    points = np.array(list(itertools.product(*axes)))
    random = np.random.default_rng(3)
    points = points[np.sort(random.choice(len(points), 7000, replace=False))]
    u = (points - points.mean(axis=0)) / np.ptp(points, axis=0)
    weights = np.sin(3 * u @ random.normal(size=(4, 15)) + random.normal(size=15))
    eigenspectra = np.linalg.qr(random.normal(size=(64, 15)))[0].T
    wl, ones = np.geomspace(5000, 5010, 64), np.ones(64)
    emulator = Emulator(
        points,
        ["T", "logg", "Z", "alpha"],
        wl,
        weights,
        eigenspectra,
        weights.T.ravel(),
        ones,
        ones,
        np.ones(len(points)),
        1e6,
        np.ones(15),
        np.tile([1500.0, 2.0, 1.0, 0.5], (15, 1)),
        neighbours=40,
        mean_degree=2,
    )
    emulator.trained = True
    inside = [point for point in points + 0.3 * np.ptp(points, axis=0) / 20 if _has(emulator, point)]
    return common.in_turn(emulator, inside[:2000:20])


def _has(emulator: Emulator, point: Any) -> bool:
    try:
        emulator.require_inside(point[np.newaxis])
    except ValueError:
        return False
    return True


def _train(emulator: Emulator) -> dict[str, float]:
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what has not converged is told
        result = emulator.train("joint", threads=1)
    return {
        "training": time.process_time() - began,
        "evaluations": float(result.evaluations),
        "converged": float(result.converged),
        "optimum": float(emulator.log_likelihood()),
    }


def training(shape: list[int], pixels: int, high: float, components: int) -> dict[str, float]:
    """To convergence, from nothing."""
    grid = spectra.library((shape[0], shape[1], shape[2]), pixels, high)
    return _train(Emulator.from_grid(grid, n_components=components))


def reuse() -> dict[str, Any]:
    """Of 700 spectra: from nothing and from an emulator of another number of components, or of a part."""
    grid = spectra.library(spectra.LARGE, 1000, 5200.0)
    hot = grid.grid_points[:, 0] > grid.grid_points[:, 0].max() - 300
    part = type(grid)(**{**vars(grid), "grid_points": grid.grid_points[~hot], "fluxes": grid.fluxes[~hot]})
    made = {
        "five components": Emulator.from_grid(grid, n_components=5),
        "six components": Emulator.from_grid(grid, n_components=6),
        "without the hottest": Emulator.from_grid(part, n_components=6),
    }
    found: dict[str, Any] = {name: _train(emulator) for name, emulator in made.items()}
    for name, start, components in (
        ("six from five", "five components", 6),
        ("five from six", "six components", 5),
        ("six from six without the hottest", "without the hottest", 6),
    ):
        emulator = Emulator.from_grid(grid, n_components=components)
        emulator.start_from(made[start])
        found[name] = _train(emulator)
    return found
