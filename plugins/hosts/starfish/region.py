# SPDX-License-Identifier: BSD-3-Clause
"""Which points of its parameter space a library surrounds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .grid import Array


class Region:
    """The points that a library surrounds.

    If the points stand on a grid that may have holes: the cells all of whose corners are there. If they are
    scattered: their convex hull. The answer is exact up to a relative 1e-9 of each parameter's range.
    """

    #: Below this fraction of the points of a full grid, points are scattered.
    LEAST_FILL = 0.2
    TOLERANCE = 1e-9

    def __init__(self, points: Array, names: Sequence[str]) -> None:
        self._names = list(names)
        self._low, self._high = points.min(axis=0), points.max(axis=0)
        self._span = np.where(self._high > self._low, self._high - self._low, 1.0)
        self._axes = [np.unique(column) for column in points.T]
        full = float(np.prod([float(len(axis)) for axis in self._axes]))
        self.scattered = len(points) / full < self.LEAST_FILL
        self._points = (points - self._low) / self._span
        index = [np.searchsorted(axis, column) for axis, column in zip(self._axes, points.T, strict=True)]
        self._there = set(zip(*(i.tolist() for i in index), strict=True))
        self._full = len(points) == full

    def why_outside(self, point: Array) -> str:
        """Empty inside; else the reason."""
        if not np.all(np.isfinite(point)):
            return "a parameter is not finite"
        slack = self.TOLERANCE * self._span
        for name, x, low, high, s in zip(self._names, point, self._low, self._high, slack, strict=True):
            if not low - s <= x <= high + s:
                return f"parameter '{name}' is {x:g}, its range is [{low:g}, {high:g}]"
        if self._full:
            return ""
        if self.scattered:
            return "" if self._in_hull(point) else "the point is outside the convex hull of the library"
        corners: list[tuple[int, ...]] = []
        for axis, x, s in zip(self._axes, point, slack, strict=True):
            i = int(np.searchsorted(axis, x))
            near = [j for j in (i - 1, i) if 0 <= j < len(axis) and abs(axis[j] - x) <= s]
            corners.append((near[0],) if near else (i - 1, i))
        for corner in itertools.product(*corners):
            if corner not in self._there:
                missing = [f"{axis[i]:g}" for axis, i in zip(self._axes, corner, strict=True)]
                return f"the point is in a hole of the library: ({', '.join(missing)}) is missing"
        return ""

    def _in_hull(self, point: Array) -> bool:
        """Wolfe's algorithm: the point of the hull that is nearest to `point`."""
        p = self._points - (point - self._low) / self._span
        active = [int(np.argmin(np.einsum("ij,ij->i", p, p)))]
        weights: Any = np.ones(1)
        for _ in range(50 * (p.shape[1] + 1)):
            x = weights @ p[active]
            if x @ x <= self.TOLERANCE**2:
                return True
            gains = p @ x
            new = int(np.argmin(gains))
            if gains[new] > x @ x - 1e-14 or new in active:
                return False
            active.append(new)
            weights = np.append(weights, 0.0)
            while True:
                q = p[active]
                system = np.ones((len(active) + 1,) * 2)
                system[0, 0] = 0.0
                system[1:, 1:] = q @ q.T
                right = np.zeros(len(active) + 1)
                right[0] = 1.0
                affine = np.linalg.lstsq(system, right, rcond=None)[0][1:]
                if np.all(affine > 1e-14):
                    weights = affine
                    break
                falling = affine <= 1e-14
                step = np.min(weights[falling] / np.maximum(weights[falling] - affine[falling], 1e-300))
                weights = weights + min(1.0, step) * (affine - weights)
                kept = weights > 1e-14
                if kept.all():
                    kept[np.argmin(weights)] = False
                active = [a for a, keep in zip(active, kept, strict=True) if keep]
                weights = weights[kept] / weights[kept].sum()
        return False
