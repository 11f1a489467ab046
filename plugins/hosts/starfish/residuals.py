# SPDX-License-Identifier: BSD-3-Clause
"""Where a model of a spectrum fails: centres and starts of local kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .model import SpectrumModel


def find_residual_peaks(
    model: SpectrumModel,
    threshold: float = 4.0,
    buffer: float = 2.0,
    wl_range: tuple[float, float] = (0.0, float("inf")),
    order: int = 0,
) -> list[float]:
    """Wavelengths (Angstrom) where the data differ from the model by more than `threshold` of the standard
    deviations that the model has there, the largest first, at least `buffer` apart. Starfish compares with
    the scatter of the residual instead."""
    flux, std = model.flux_and_std(order)
    wave = model.spectrum[order].wave
    score = np.abs(model.spectrum[order].flux - flux) / std
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
