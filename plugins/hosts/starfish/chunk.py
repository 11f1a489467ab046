# SPDX-License-Identifier: BSD-3-Clause
"""A chunk of an emulator's wavelengths, and what is kept of its whole range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from .grid import Array

if TYPE_CHECKING:
    from .emulator import Emulator


@dataclass(frozen=True)
class WholeRange:
    """Of an emulator before it was truncated. Its spectra are over their means over all of that.

    wl:        (P,) wavelengths.
    first:     where among them the chunk begins.
    left_out:  sum over all pixels of residual_variance / flux_std^2.
    """

    wl: Array
    first: int
    left_out: float


def truncate(emulator: Emulator, wavelength: Any, buffer: float) -> None:
    """`Emulator.determine_chunk_log`."""
    wave = np.asarray(wavelength, dtype=np.float64)
    wl = emulator.wl
    low, high = wave.min() - buffer, wave.max() + buffer
    if low < wl[0] or high > wl[-1]:
        raise ArgumentError(
            f"wavelengths with their buffer ({low:.2f} to {high:.2f}) reach beyond the emulator's "
            f"({wl[0]:.2f} to {wl[-1]:.2f})"
        )
    needed = int(np.count_nonzero((wl >= low) & (wl <= high)))
    chunk = len(wl)
    while chunk / 2 > needed:
        chunk //= 2
    if chunk == len(wl):
        return
    centre = int(np.argmin(np.abs(wl - (low + high) / 2)))
    first = min(max(centre - chunk // 2, 0), len(wl) - chunk)
    if wl[first] > low or wl[first + chunk - 1] < high:
        return  # wavelengths are not uniform enough for this chunk: all are kept
    emulator.whole = WholeRange(emulator.whole_wl, emulator.kept.start + first, left_out(emulator))
    kept = slice(first, first + chunk)
    emulator.wl = wl[kept]
    emulator.eigenspectra = emulator.eigenspectra[:, kept]
    emulator.flux_mean, emulator.flux_std = emulator.flux_mean[kept], emulator.flux_std[kept]
    emulator.residual_variance = emulator.residual_variance[kept]


def left_out(emulator: Emulator) -> float:
    """`WholeRange.left_out`, whether the emulator is truncated or not."""
    if emulator.whole is not None:
        return emulator.whole.left_out
    return float(np.sum(emulator.residual_variance / emulator.flux_std**2))
