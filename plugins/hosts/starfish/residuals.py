# SPDX-License-Identifier: BSD-3-Clause
"""Where a model of a spectrum fails: centres and starts of local kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import ArgumentError

if TYPE_CHECKING:
    from .model import SpectrumModel


def find_residual_peaks(
    model: SpectrumModel,
    num_residuals: int | None = None,
    threshold: float = 4.0,
    buffer: float = 2.0,
    wl_range: tuple[float, float] = (0.0, float("inf")),
    *,
    order: int = 0,
) -> list[float]:
    """Wavelengths (Angstrom) where the data differ from the model by more than `threshold` of the standard
    deviations that the model has there, the largest first, at least `buffer` apart. Starfish compares with
    the scatter of the residual instead.

    num_residuals: the mean of that many of the last residuals (`model.residuals`, as many as there are) is
                   the residual, as in Starfish; None, or none there: that of the present parameters.
    """
    flux, std = model.flux_and_std(order)
    wave = model.spectrum[order].wave
    residual = flux - model.spectrum[order].flux
    if num_residuals is not None:
        if num_residuals < 1:
            raise ArgumentError(f"num_residuals: expected at least 1, found {num_residuals}")
        count = len(model.spectrum)  # each likelihood has added the residuals of all orders
        last = [r for r in list(model.residuals)[::-1][count - 1 - order :: count] if len(r) == len(wave)]
        residual = np.mean(last[:num_residuals] or [residual], axis=0)
    score = np.abs(residual) / std
    score[(wave < wl_range[0]) | (wave > wl_range[1])] = 0.0
    found: list[float] = []
    for i in np.argsort(-score):
        if score[i] <= threshold:
            break
        if all(abs(wave[i] - mu) > buffer for mu in found):
            found.append(float(wave[i]))
    return found


def local_kernels(
    model: SpectrumModel, centres: list[float], width: float = 15.0, order: int = 0
) -> list[dict[str, float]]:
    """Local kernels for model["local_cov"] or model["orders:N:local_cov"]: as wide as `width` (km/s), with
    the square of the residual at each centre as its variance."""
    flux, _ = model.flux_and_std(order)
    wave, data = model.spectrum[order].wave, model.spectrum[order].flux
    kernels = []
    for mu in sorted(centres):
        square = float((data - flux)[np.argmin(np.abs(wave - mu))] ** 2)
        kernels.append({"mu": mu, "log_amp": float(np.log(square)), "log_sigma": float(np.log(width))})
    return kernels
