# SPDX-License-Identifier: BSD-3-Clause
"""Options of an emulator, chosen by its error on what it has not seen."""

from __future__ import annotations

import copy
import itertools
import logging
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, NumericError
from .emulator import Emulator
from .grid import GridLike, in_memory
from .pca import held_out_residuals, normalise

log = logging.getLogger(__name__)

#: Error of the best emulator of log_flux, over that of the flux, from which it is worth its gradient.
LOG_FLUX_ERROR = 0.8


def choose_components(
    grid: GridLike | str | os.PathLike[str],
    error: float,
    whiten_pixels: bool = True,
    log_flux: bool = False,
    largest: int | None = None,
) -> tuple[int, dict[int, float]]:
    """The least number of components whose truncation leaves a relative error (rms over pixels and spectra
    that the components were not made from) of at most `error`; with it the errors of all numbers that were
    tried. ArgumentError if none suffices."""
    library = in_memory(grid)
    z, _, mean, std = normalise(library.fluxes, whiten_pixels, log_flux)
    level = np.ones_like(mean) if log_flux else mean
    limit = min(largest or len(z), int(len(z) * 7 / 8) - 1, z.shape[1])
    numbers = sorted({*range(1, min(limit, 30) + 1), *np.linspace(1, limit, 40).astype(int).tolist()})
    squares, _ = held_out_residuals(z, numbers)
    errors = {
        n: float(np.sqrt(np.mean(s * std**2 / level**2))) for n, s in zip(numbers, squares, strict=True)
    }
    good = [n for n, e in errors.items() if e <= error]
    if not good:
        best = min(errors, key=lambda n: errors[n])
        raise ArgumentError(
            f"no number of components up to {limit} leaves an error of {error:g}: the least is "
            f"{errors[best]:.2g} with {best}"
        )
    return good[0], errors


@dataclass(frozen=True)
class Choice:
    """Options, and what they gave with inner nodes left out (see `HeldOut`).

    log_flux:  of `from_grid`.
    train:     arguments of `train`.
    score:     mean of error^2 / variance + log variance; the least is chosen.
    """

    log_flux: bool
    train: dict[str, Any]
    error: float
    z: float
    score: float


def choose_options(
    grid: GridLike | str | os.PathLike[str], n_components: int, whiten_pixels: bool = False
) -> tuple[Emulator, list[Choice]]:
    """An emulator trained with the options that predict best what is left out and calibrated on that, and all
    options that were tried, best first: flux or its logarithm; kernel, ratios of the length scales and
    polynomial mean; then the scale of each parameter whose values are positive, one after the other. The
    logarithm, whose likelihood has no gradient, is taken where its error is below `LOG_FLUX_ERROR` of that of
    the flux; what was tried of the other is at the end."""
    library = in_memory(grid)
    made = {
        log_flux: Emulator.from_grid(library, n_components, whiten_pixels=whiten_pixels, log_flux=log_flux)
        for log_flux in (False, True)
        if not log_flux or np.all(library.fluxes > 0)
    }
    tried: list[tuple[Choice, Emulator]] = []

    def attempt(log_flux: bool, options: dict[str, Any]) -> None:
        emulator = copy.deepcopy(made[log_flux])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                emulator.train("independent", **options)
            found = emulator.held_out()
        except (ArgumentError, NumericError) as error:
            log.info("%s: %s", options, error)
            return
        variance = (found.error / found.z) ** 2
        choice = Choice(log_flux, options, found.error, found.z, float(found.z**2 + np.log(variance)))
        log.info("%s", choice)
        tried.append((choice, emulator))

    kernels = (("squared_exponential", False), ("matern52", False), ("matern52", True))
    for log_flux, (kernel, kept), degree in itertools.product(made, kernels, (-1, 2)):
        attempt(log_flux, {"kernel": kernel, "keep_ratios": kept, "mean_degree": degree})
    if not tried:
        raise ArgumentError("no options could be trained on this library")
    logarithms, fluxes = (_best(tried, kind) for kind in (True, False))
    log_flux = fluxes is None or (logarithms is not None and logarithms.error < LOG_FLUX_ERROR * fluxes.error)
    for name, column in zip(library.param_names, library.grid_points.T, strict=True):
        if np.all(column > 0) and len(np.unique(column)) > 2:
            best = _best(tried, log_flux)
            assert best is not None
            for scale in ("logarithm", "reciprocal"):
                scales = {**best.train.get("scales", {}), name: scale}
                attempt(best.log_flux, {**best.train, "scales": scales})
    tried.sort(key=lambda pair: (pair[0].log_flux != log_flux, pair[0].score))
    tried[0][1].calibrate()
    return tried[0][1], [choice for choice, _ in tried]


def _best(tried: list[tuple[Choice, Emulator]], log_flux: bool) -> Choice | None:
    choices = [choice for choice, _ in tried if choice.log_flux == log_flux]
    return min(choices, key=lambda choice: choice.score, default=None)
