# SPDX-License-Identifier: BSD-3-Clause
"""Where the real code is run: low-discrepancy points in a box or in the ellipsoid inside it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import SpecError

Array = np.ndarray[Any, np.dtype[np.float64]]

#: The held-out points are a design of their own, with this added to the seed.
VALIDATION_SEED_OFFSET = 1000


class Design:
    """An endless sequence of points; the first n do not depend on how many are asked for ("sobol").

    kind:   "sobol" (scrambled) or "latin_hypercube" (of `n` points; those that replace failed runs begin
            another one).
    hull:   "box", or "ellipsoid": the one that touches the faces of the box.
    margin: the box is widened by this fraction of each range at both ends, but not beyond an end at 0,
            which is taken for a limit (masses, amplitudes).
    limits: (coefficients (d), lower, upper) of linear combinations that are kept to, widened likewise.
    """

    def __init__(
        self,
        kind: str,
        lower: Array,
        upper: Array,
        seed: int,
        n: int,
        margin: float = 0.0,
        hull: str = "box",
        limits: Sequence[tuple[Array, float, float]] = (),
    ) -> None:
        if hull not in ("box", "ellipsoid"):
            raise SpecError(f"training.hull: a design lies in 'box' or 'ellipsoid', found '{hull}'")
        self._kind = kind
        self._lower, self._upper = np.asarray(lower, float), np.asarray(upper, float)
        self._seed = seed
        self._n = max(1, n)
        self._margin = margin
        self._hull = hull
        self._limits = tuple(limits)

    def points(self, n: int) -> Array:
        """The first n points, shape (n, d)."""
        size = max(n, self._n)
        while True:
            unit = self._unit(size)
            if self._hull == "ellipsoid":
                unit = unit[np.sum((2 * unit - 1) ** 2, axis=1) <= 1]
            points = self._scaled(unit)
            for coefficients, lower, upper in self._limits:
                below, above = self._padding(lower), self._padding(upper)
                combined = points @ np.asarray(coefficients, float)
                width = upper - lower
                points = points[(combined >= lower - below * width) & (combined <= upper + above * width)]
            if len(points) >= n:
                return points[:n]
            if size > 1000 * max(n, self._n):
                raise SpecError(f"limits: {len(points)} of {size} points of the design are within them")
            size *= 2

    def _padding(self, end: Any) -> Any:
        return np.where(np.asarray(end) == 0, 0.0, self._margin)

    def _scaled(self, unit: Array) -> Array:
        below, above = self._padding(self._lower), self._padding(self._upper)
        points: Array = (unit * (1 + (below + above)) - below) * (self._upper - self._lower) + self._lower
        return points

    def _unit(self, n: int) -> Array:
        from scipy.stats import qmc

        dimension = len(self._lower)
        if self._kind == "sobol":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about lengths that are not powers of two
                return np.asarray(qmc.Sobol(dimension, seed=self._seed).random(1 << (n - 1).bit_length()))[:n]
        blocks = -(-n // self._n)
        cubes = [
            qmc.LatinHypercube(dimension, seed=np.random.default_rng([self._seed, i])).random(self._n)
            for i in range(blocks)
        ]
        return np.concatenate(cubes)[:n]
