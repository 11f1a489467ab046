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
    before = int(np.searchsorted(wl, low, side="right")) - 1
    after = int(np.searchsorted(wl, high, side="left"))
    chunk = len(wl)
    while chunk // 2 > after - before:
        chunk //= 2
    if chunk == len(wl):
        return
    # Around the middle of the range, if that encloses it.
    first = int(np.argmin(np.abs(wl - (low + high) / 2))) - chunk // 2
    first = int(np.clip(first, max(after + 1 - chunk, 0), min(before, len(wl) - chunk)))
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
