# SPDX-License-Identifier: BSD-3-Clause
"""A library as an instrument sees it: range, resolution, sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from .grid import C_KMS, Array, Grid
from .optional import need

if TYPE_CHECKING:
    from .spectrum import Order

_SIGMAS = 5.0


@dataclass(frozen=True)
class Instrument:
    """A Gaussian line profile, and pixels uniform in ln(wavelength).

    fwhm:          of the profile, km/s. 0 does not broaden.
    wl_range:      first and last wavelength.
    oversampling:  pixels for each fwhm.
    pixel:         their width in km/s, instead of `oversampling`.
    library_fwhm:  of the profile that the library has already; km/s.
    """

    fwhm: float
    wl_range: tuple[float, float]
    oversampling: float = 4.0
    pixel: float | None = None
    library_fwhm: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.wl_range[0] < self.wl_range[1]:
            raise ArgumentError(f"wl_range: expected ascending wavelengths, found {self.wl_range}")
        if self.fwhm < self.library_fwhm:
            raise ArgumentError(f"fwhm {self.fwhm:g} km/s is less than the library's {self.library_fwhm:g}")
        if self.step <= 0:
            raise ArgumentError("fwhm, oversampling and pixel: the width of a pixel is not positive")

    @classmethod
    def of_order(cls, order: Order, fwhm: float, margin: float = 300.0, **others: Any) -> Instrument:
        """For one order of an observed spectrum, with a margin in km/s for its Doppler shift and rotation."""
        wave, by = order.wave, margin / C_KMS
        return cls(fwhm, (float(wave[0]) * (1 - by), float(wave[-1]) * (1 + by)), **others)

    @property
    def step(self) -> float:
        """km/s"""
        return float(self.fwhm / self.oversampling if self.pixel is None else self.pixel)

    def description(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "fwhm": self.fwhm,
            "wl_range": list(self.wl_range),
            "pixel": self.step,
            "library_fwhm": self.library_fwhm,
        }

    def observe(self, grid: Grid) -> Grid:
        wl, apply = self.operator(grid.wl)
        return Grid(wl, grid.grid_points, grid.param_names, apply(grid.fluxes))

    def operator(self, wl: Array) -> tuple[Array, Callable[[Array], Array]]:
        """The instrument's wavelengths, and what makes its spectra (K, N) of spectra (K, P) at `wl`. The
        profile is applied on pixels at least as fine as those of `wl`."""
        interpolate = need("scipy.interpolate", "resampling")
        first, last = np.log(self.wl_range)
        if np.exp(first) < wl[0] * (1 - 1e-12) or np.exp(last) > wl[-1] * (1 + 1e-12):
            raise ArgumentError(
                f"wl_range {self.wl_range} reaches beyond the library's {wl[0]:g} to {wl[-1]:g}"
            )
        count = int(np.floor((last - first) * C_KMS / self.step)) + 1
        step = (last - first) / max(count - 1, 1)
        finer = max(1, int(np.ceil(step / np.min(np.diff(np.log(wl))))))
        sigma = np.sqrt(self.fwhm**2 - self.library_fwhm**2) / np.sqrt(8 * np.log(2)) / C_KMS
        margin = int(np.ceil(_SIGMAS * sigma / (step / finer)))
        fine = first + (step / finer) * np.arange(-margin, (count - 1) * finer + margin + 1)
        # Beyond the library's ends its last values go on.
        at = np.clip(np.exp(fine), wl[0], wl[-1])
        response = np.exp(-2 * (np.pi * sigma * np.fft.rfftfreq(len(fine), step / finer)) ** 2)

        def apply(fluxes: Array) -> Array:
            rows = interpolate.make_interp_spline(wl, fluxes, k=3, axis=1)(at)
            if margin:
                rows = np.fft.irfft(np.fft.rfft(rows, axis=1) * response, len(fine), axis=1)
            return np.ascontiguousarray(rows[:, margin : len(fine) - margin : finer])

        return np.exp(first + step * np.arange(count)), apply
