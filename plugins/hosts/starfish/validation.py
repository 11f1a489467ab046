# SPDX-License-Identifier: BSD-3-Clause
"""How well an emulator does on spectra that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import ArgumentError, OutsideRegion
from .grid import Array, Grid
from .pca import folds

if TYPE_CHECKING:
    from .emulator import Emulator

#: Inner nodes of an axis that are left out, and points that are left out singly where neighbours predict.
_NODES, _POINTS = 3, 300


@dataclass(frozen=True)
class HeldOut:
    """Of weights of left-out points, in flux: what the components leave out is not part of it.

    error:    relative, rms over pixels.
    z:        rms error over rms predicted error.
    by_axis:  both for the nodes of each axis.
    errors, sigmas:  (K, m) of all that was left out.
    """

    error: float
    z: float
    by_axis: dict[str, tuple[float, float]]
    errors: Array
    sigmas: Array


@dataclass(frozen=True)
class Validation:
    """Of spectra over their mean flux, truncation included.

    error:     relative, rms over pixels and spectra.
    error_99:  99 % of the pixels have less.
    z:         rms of (emulator - spectrum) / predicted standard deviation, pixel by pixel.
    spectra:   that were compared.
    outside:   spectra at points that the emulator's library does not surround, which were not.
    """

    error: float
    error_99: float
    z: float
    spectra: int
    outside: int


def validate(emulator: Emulator, grid: Grid) -> Validation:
    if emulator.whole_wl.shape != grid.wl.shape or not np.allclose(emulator.whole_wl, grid.wl, rtol=1e-9):
        before = " before it was truncated, over which their means are" if emulator.truncated else ""
        raise ArgumentError(f"the spectra are not on the emulator's wavelengths{before}")
    relative, z, outside = [], [], 0
    for point, flux in zip(grid.grid_points, grid.fluxes, strict=True):
        truth = flux[emulator.kept] / flux.mean()
        try:
            found, variance = emulator.load_flux(point), emulator.flux_variance(point)
        except OutsideRegion:
            outside += 1
            continue
        relative.append(found / truth - 1)
        z.append((found - truth) / np.sqrt(variance))
    if not relative:
        raise ArgumentError("the emulator's library surrounds none of the spectra's points")
    return Validation(
        float(np.sqrt(np.mean(np.square(relative)))),
        float(np.percentile(np.abs(relative), 99)),
        float(np.sqrt(np.mean(np.square(z)))),
        len(relative),
        outside,
    )


def held_out(emulator: Emulator) -> HeldOut:
    emulator.require_trained()
    level = np.ones_like(emulator.flux_mean) if emulator.log_flux else emulator.flux_mean
    x = emulator.eigenspectra * emulator.flux_std / level
    pixels = x @ x.T / x.shape[1]
    noise = emulator.nuggets
    parts: dict[str, list[tuple[Array, Array]]] = {}
    if emulator.neighbours and len(emulator.grid_points) > emulator.neighbours:
        random = np.random.default_rng(0)
        rows = random.choice(
            len(emulator.grid_points), min(_POINTS, len(emulator.grid_points)), replace=False
        )
        errors, sigmas = emulator.left_out_errors(np.sort(rows))
        parts["single points"] = [(errors, sigmas**2)]
    else:
        w_hat = emulator.w_hat.reshape(emulator.ncomps, -1).T
        for axis, left in _folds(emulator):
            process = _core.spectrum.WeightProcess(
                emulator.weight_model(np.flatnonzero(~left)), emulator.get_param_vector()
            )
            pairs = [process.predict(point) for point in emulator.grid_points[left]]
            errors = np.array([mu for mu, _ in pairs]) - w_hat[left]
            variances = np.array([np.diag(cov) for _, cov in pairs]) + noise
            parts.setdefault(axis, []).append((errors, variances))

    def figures(pairs: list[tuple[Array, Array]]) -> tuple[float, float]:
        errors, variances = (np.vstack(a) for a in zip(*pairs, strict=True))
        square = float(np.mean(np.einsum("ki,ij,kj->k", errors, pixels, errors)))
        return float(np.sqrt(square)), float(np.sqrt(square / np.mean(variances @ np.diag(pixels))))

    everything = [pair for pairs in parts.values() for pair in pairs]
    error, z = figures(everything)
    return HeldOut(
        error,
        z,
        {axis: figures(pairs) for axis, pairs in parts.items()},
        np.vstack([e for e, _ in everything]),
        np.sqrt(np.vstack([v for _, v in everything])),
    )


def _folds(emulator: Emulator) -> Iterator[tuple[str, Any]]:
    """Points to be left out together, and the axis."""
    if not emulator.scattered:
        found = False
        for name, column in zip(emulator.param_names, emulator.grid_points.T, strict=True):
            inner = np.unique(column)[1:-1]
            if len(inner) < 2:
                continue
            found = True
            for node in inner[np.unique(np.linspace(0, len(inner) - 1, _NODES).astype(int))]:
                yield name, column == node
        if found:
            return
    for left in folds(len(emulator.grid_points)):
        yield "points", left
