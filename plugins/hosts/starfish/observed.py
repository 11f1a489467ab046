# SPDX-License-Identifier: BSD-3-Clause
"""What the pixels of an observed order are asked for, and the operator that brings a model there."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..errors import ArgumentError, OutsideRegion
from .grid import C_KMS, Array
from .spectrum import Order
from .transforms import chebyshev_basis, extinction_coefficients, integral_weights

LN_MAGNITUDE = 0.4 * np.log(10.0)


class OrderPixels:
    """An order; what needs its pixels alone is computed once. ArgumentError if wavelengths do not ascend."""

    def __init__(self, order: Order) -> None:
        self._made_of = (order._wave, order._flux, order._sigma, order.mask)
        self.wave: Array = np.ascontiguousarray(order.wave)
        self.flux: Array = np.ascontiguousarray(order.flux)
        self.variance: Array = order.sigma**2
        if not (np.all(np.diff(self.wave) > 0) and self.wave[0] > 0):
            raise ArgumentError("the wavelengths of an order are positive and ascend")
        self.log_wave: Array = np.log(self.wave)
        self._extinction: tuple[Array, Array] | None = None
        self._chebyshev: Array = np.zeros((0, len(self.wave)))
        self._weights: Array | None = None
        self._likelihoods: dict[float, Any] = {}
        self._rows: tuple[Source, float, float, Array] | None = None
        self._starfish: Any = None

    def is_of(self, order: Order) -> bool:
        """Whether the order still has the arrays that this was made of."""
        wave, flux, sigma, mask = self._made_of
        return order._wave is wave and order._flux is flux and order._sigma is sigma and order.mask is mask

    def likelihood(self, correlation_length: float) -> Any:
        """zelos/spectrum.hpp: Pixels, for an error of the model with this correlation length (km/s)."""
        if correlation_length not in self._likelihoods:
            if len(self._likelihoods) >= 8:  # a fallback's answers have each their own
                del self._likelihoods[next(reversed(self._likelihoods))]
            self._likelihoods[correlation_length] = _core.spectrum.Pixels(
                self.wave, self.variance, correlation_length
            )
        return self._likelihoods[correlation_length]

    def starfish(self, jitter: float) -> Any:
        """The same with a jitter on the variance, for starfish_compat."""
        if self._starfish is None:
            self._starfish = _core.spectrum.Pixels(self.wave, self.variance + jitter, 0.0)
        return self._starfish

    def rows(self, source: Source, vz: float, vsini: float) -> Array:
        """(N, m + 2): the rows of a model at these pixels; not to be changed."""
        kept = self._rows
        if kept is None or kept[0] is not source or kept[1:3] != (vz, vsini):
            self._rows = kept = (source, vz, vsini, source.sample(vz, vsini, self.log_wave))
        return kept[3]

    def extinction(self) -> tuple[Array, Array]:
        if self._extinction is None:
            self._extinction = extinction_coefficients(self.wave)
        return self._extinction

    def chebyshev(self, count: int) -> Array:
        if len(self._chebyshev) < count:
            self._chebyshev = chebyshev_basis(self.wave, count)
        return self._chebyshev[:count]

    def integral_weights(self) -> Array:
        if self._weights is None:
            self._weights = integral_weights(self.wave)
        return self._weights


def row_sampler(wl: Array, rows: Array) -> Any:
    """The operator of rows on wavelengths that are uniform in their logarithm."""
    steps = np.diff(np.log(wl))
    step = float(np.mean(steps))
    # Of a pixel, over the whole range.
    drift = np.abs(np.log(wl) - np.log(wl[0]) - step * np.arange(len(wl))).max() / step
    if drift > 1e-3:
        raise ArgumentError(
            f"the emulator's wavelengths are not uniform in ln(lambda): they drift by {drift:.2g} pixels "
            f"({C_KMS * steps.min():.4g} to {C_KMS * steps.max():.4g} km/s a pixel); resample first"
        )
    return _core.spectrum.RowSampler(float(np.log(wl[0])), step, rows)


def velocities(wl: Array, log_wave: Array) -> tuple[float, float]:
    """The least and the largest vz (km/s) that bring all pixels onto the wavelengths wl; where there is none
    the first is the larger."""
    least, largest = log_wave[-1] - np.log(wl[-1]), log_wave[0] - np.log(wl[0])
    return C_KMS * float(np.tanh(least)), C_KMS * float(np.tanh(largest))


class Source:
    """Rows of a model on the emulator's wavelengths: X (m, P), the mean, the standard deviation of what these
    leave out. Broadened when they are first asked for at a vsini."""

    def __init__(self, wl: Array, x: Array, mean: Array, error: Array, correlation_length: float) -> None:
        self.components = len(x)
        self.wl = wl
        self.correlation_length = correlation_length
        self._sampler = row_sampler(wl, np.vstack([x, mean, error]))
        self._kept: tuple[float, Any, Any] | None = None

    def _broadened(self, vsini: float, slopes: bool) -> tuple[Any, Any]:
        if self._kept is None or self._kept[0] != vsini or (slopes and self._kept[2] is None):
            if slopes:
                self._kept = (vsini, *self._sampler.coefficients_slope(vsini))
            else:
                self._kept = (vsini, self._sampler.coefficients(vsini), None)
        return self._kept[1], self._kept[2]

    def _require_inside(self, vz: float, log_wave: Array) -> None:
        low, high = velocities(self.wl, log_wave)
        rounding = 1e-7 * (self.wl[1] / self.wl[0] - 1) * C_KMS
        if vz < low - rounding or vz > high + rounding:
            most = f"from {low:.4g} to {high:.4g}" if low <= high else "at no vz"
            raise OutsideRegion(
                f"wavelengths of the data are outside the emulator's, {self.wl[0]:.2f} to {self.wl[-1]:.2f}, "
                f"shifted by vz = {vz:g} km/s: they are inside {most}"
            )

    def sample(self, vz: float, vsini: float, log_wave: Array) -> Array:
        """(N, m + 2). OutsideRegion where vz takes pixels beyond the wavelengths."""
        self._require_inside(vz, log_wave)
        values, _ = self._broadened(vsini, False)
        return np.asarray(self._sampler.sample(values, vz, log_wave))

    def sample_slopes(
        self, vz: float, vsini: float, log_wave: Array, by_vsini: bool
    ) -> tuple[Array, Array, Array]:
        """The same, its derivatives by vz and, if asked for, by vsini."""
        self._require_inside(vz, log_wave)
        values, change = self._broadened(vsini, by_vsini)
        rows, by_vz = self._sampler.sample_slope(values, vz, log_wave)
        other = self._sampler.sample(change, vz, log_wave) if by_vsini else np.zeros((0, 0))
        return rows, by_vz, other
