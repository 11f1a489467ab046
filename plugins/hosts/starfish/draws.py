# SPDX-License-Identifier: BSD-3-Clause
"""Draws of what the components leave out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .grid import C_KMS, Array
from .optional import need


def correlated(wl: Array, length: float, normals: Iterable[Array]) -> Array:
    """(P, K): Gaussians of unit variance, correlated over the pixels as the residual is in the likelihood
    (zelos/spectrum.hpp: GlobalKernel), in time proportional to P; `length` (km/s) 0: not correlated.

    normals:  three arrays (2, P, K) of independent unit Gaussians.

    A kernel times cos(omega x) is that of a cos(omega x) + b sin(omega x) with a and b of the kernel, and a
    Matern 3/2 process is one of two states, the value and its derivative.
    """
    constant, *waves = normals
    if length == 0:
        return np.asarray(constant[0])
    position = C_KMS / 4 * np.log(wl / wl[0]) / length
    steps = np.sqrt(3) * np.diff(position)
    angle = np.pi / 6 * position[:, np.newaxis]
    a, b = (_matern32(steps, w) for w in waves)
    return np.asarray((_matern32(steps, constant) + a * np.cos(angle) + b * np.sin(angle)) / np.sqrt(2))


def _matern32(steps: Array, normals: Array) -> Array:
    """(P, K), with the correlation (1 + s) exp(-s) at the distance s; `steps` (P - 1) are those of s."""
    need_of = "draws of what the components leave out"
    special, linalg = need("scipy.special", need_of), need("scipy.linalg", need_of)
    decay, s = np.exp(-steps), steps
    # The variance that a step adds to value and derivative (over its own standard deviation), as a root.
    value = np.sqrt(special.gammainc(3, 2 * s))
    both = 2 * (s * decay) ** 2 / value
    slope = np.sqrt(-np.expm1(-2 * s) + 2 * s * (1 - s) * decay**2 - both**2)
    pixels, count = normals.shape[1:]
    new = np.empty((pixels, 2, count))
    new[0] = normals[:, 0]
    new[1:, 0] = value[:, np.newaxis] * normals[0, 1:]
    new[1:, 1] = both[:, np.newaxis] * normals[0, 1:] + slope[:, np.newaxis] * normals[1, 1:]
    # State by state: less what the one before has become, it is what is new. Diagonals below the main one.
    bands = np.zeros((4, 2 * pixels))
    bands[0] = 1.0
    bands[2, 0:-2:2] = -(1 + s) * decay
    bands[1, 1:-2:2] = -s * decay
    bands[3, 0:-2:2] = s * decay
    bands[2, 1:-2:2] = -(1 - s) * decay
    states = linalg.solve_banded((3, 0), bands, new.reshape(2 * pixels, count))
    return np.asarray(states[::2])
