# SPDX-License-Identifier: BSD-3-Clause
"""What dust and calibration do to a spectrum: factors for each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from .grid import Array

LAWS = ("ccm89", "odonnell94")

# Powers of y = 1 / lambda - 1.82 (1 / micron), from y^0: Cardelli, Clayton & Mathis (1989), O'Donnell (1994).
_OPTICAL = {
    "ccm89": (
        (1.0, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999),
        (0.0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.30260, -2.09002),
    ),
    "odonnell94": (
        (1.0, 0.104, -0.609, 0.701, 1.137, -1.718, -0.827, 1.647, -0.505),
        (0.0, 1.952, 2.908, -3.989, -7.985, 11.102, 5.491, -10.805, 3.347),
    ),
}


def extinction_coefficients(wave: Array, law: str = "ccm89") -> tuple[Array, Array]:
    """a and b of A(lambda) / A(V) = a + b / R_V, wavelengths in Angstrom, 1000 A to 3.3 micron."""
    if law not in LAWS:
        raise ArgumentError(f"law: expected {' or '.join(LAWS)}, found '{law}'")
    x = 1e4 / np.asarray(wave, dtype=np.float64)
    if np.any((x < 0.3) | (x > 10.0)):
        raise ArgumentError(
            f"{law} holds from 1000 A to 3.33 micron: found {1e4 / x.max():g} to {1e4 / x.min():g} A"
        )
    a, b = np.empty_like(x), np.empty_like(x)
    infrared = x < 1.1
    a[infrared], b[infrared] = 0.574 * x[infrared] ** 1.61, -0.527 * x[infrared] ** 1.61
    optical = (x >= 1.1) & (x < 3.3)
    y = x[optical] - 1.82
    a[optical] = np.polynomial.polynomial.polyval(y, _OPTICAL[law][0])
    b[optical] = np.polynomial.polynomial.polyval(y, _OPTICAL[law][1])
    near = (x >= 3.3) & (x < 8.0)
    u = x[near]
    y = np.maximum(u - 5.9, 0.0)
    a[near] = 1.752 - 0.316 * u - 0.104 / ((u - 4.67) ** 2 + 0.341) - 0.04473 * y**2 - 0.009779 * y**3
    b[near] = -3.090 + 1.825 * u + 1.206 / ((u - 4.62) ** 2 + 0.263) + 0.2130 * y**2 + 0.1207 * y**3
    far = x >= 8.0
    y = x[far] - 8.0
    a[far] = -1.073 - 0.628 * y + 0.137 * y**2 - 0.070 * y**3
    b[far] = 13.670 + 4.257 * y - 0.420 * y**2 + 0.374 * y**3
    return a, b


def chebyshev_basis(wave: Array, count: int, starfish: bool = False) -> Array:
    """(count, N): T_1 .. T_count of the range of the wavelengths, from -1 to 1. `starfish`: of wave /
    wave.max(), where they are all but the same over a narrow range."""
    low, high = _chebyshev_domain(wave, starfish)
    x = (2 * wave - low - high) / (high - low)
    return np.ascontiguousarray(np.polynomial.chebyshev.chebvander(x, count)[:, 1:].T)


def convert_series(series: Array, wave: Array, to_starfish: bool) -> tuple[float, Array]:
    """constant, c': constant (1 + c' @ chebyshev_basis) is 1 + c @ the other basis."""
    polynomial = np.polynomial.Chebyshev([1.0, *series], domain=_chebyshev_domain(wave, not to_starfish))
    coefficients = polynomial.convert(domain=_chebyshev_domain(wave, to_starfish)).coef
    constant = float(coefficients[0])
    converted = np.zeros(len(series))
    converted[: len(coefficients) - 1] = coefficients[1:] / constant
    return constant, converted


def _chebyshev_domain(wave: Array, starfish: bool) -> tuple[float, float]:
    return (-float(wave.max()), float(wave.max())) if starfish else (float(wave.min()), float(wave.max()))


def integral_weights(wave: Array) -> Array:
    """Weights of the trapezoidal rule."""
    weights: Any = np.zeros_like(wave)
    steps = np.diff(wave)
    weights[:-1] += 0.5 * steps
    weights[1:] += 0.5 * steps
    return np.asarray(weights)
