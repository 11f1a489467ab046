# SPDX-License-Identifier: BSD-3-Clause
"""Libraries of model spectra, and which points of their parameter space they surround."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import ArgumentError, FileError, FormatError
from .optional import need

Array = np.ndarray[Any, np.dtype[np.float64]]

C_KMS = 2.99792458e5


class GridLike(Protocol):
    """What `Emulator.from_grid` needs of a grid; Starfish's HDF5Interface has it."""

    @property
    def wl(self) -> Any: ...
    @property
    def grid_points(self) -> Any: ...
    @property
    def param_names(self) -> Any: ...
    @property
    def fluxes(self) -> Iterable[Any]: ...


@dataclass(frozen=True)
class Grid:
    """A library in memory.

    wl:           (P,) wavelengths, ascending.
    grid_points:  (M, D).
    param_names:  D names.
    fluxes:       (M, P), positive on average.
    """

    wl: Array
    grid_points: Array
    param_names: Sequence[str]
    fluxes: Array

    def __post_init__(self) -> None:
        wl, points, fluxes = (
            np.asarray(a, dtype=np.float64) for a in (self.wl, self.grid_points, self.fluxes)
        )
        if points.ndim != 2 or points.shape[1] != len(self.param_names):
            raise ArgumentError(
                f"grid_points: expected points of {len(self.param_names)} parameters "
                f"({', '.join(self.param_names)}), found the shape {points.shape}"
            )
        if fluxes.shape != (len(points), len(wl)):
            raise ArgumentError(
                f"fluxes: expected {len(points)} spectra of {len(wl)} pixels, found the shape {fluxes.shape}"
            )
        if not np.all(np.diff(wl) > 0) or wl[0] <= 0:
            raise ArgumentError("wl: wavelengths are positive and ascend")
        bad = np.flatnonzero(~np.isfinite(fluxes).all(axis=1) | ~(fluxes.mean(axis=1) > 0))
        if bad.size:
            raise ArgumentError(
                f"fluxes: the spectrum of {points[bad[0]]} is not finite or not positive on average"
            )
        if len(np.unique(points, axis=0)) != len(points):
            raise ArgumentError("grid_points: a point occurs twice")
        object.__setattr__(self, "wl", wl)
        object.__setattr__(self, "grid_points", points)
        object.__setattr__(self, "fluxes", fluxes)
        object.__setattr__(self, "param_names", [str(name) for name in self.param_names])

    def select(self, points: Array | Sequence[int] | Sequence[bool]) -> Grid:
        """The grid with some of its points: a mask or indices."""
        chosen = np.asarray(points)
        return Grid(self.wl, self.grid_points[chosen], self.param_names, self.fluxes[chosen])

    def truncate(self, wl_range: tuple[float, float]) -> Grid:
        """The grid within a range of wavelengths, ends included."""
        inside = (self.wl >= wl_range[0]) & (self.wl <= wl_range[1])
        if np.count_nonzero(inside) < 6:
            raise ArgumentError(
                f"wl_range {tuple(wl_range)}: fewer than six pixels of {self.wl[0]:g} to {self.wl[-1]:g}"
            )
        return Grid(self.wl[inside], self.grid_points, self.param_names, self.fluxes[:, inside])


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """A grid in the layout of Starfish's HDF5Creator."""
    h5py = need("h5py", "reading a grid in HDF5")
    name = os.path.expandvars(os.fspath(path))
    try:
        with h5py.File(name, "r") as file:
            points = np.array(file["grid_points"][()], dtype=np.float64)
            names = [text(n) for n in file["grid_points"].attrs["names"]]
            key_name = text(file["flux"].attrs["key_name"])
            wl = np.array(file["wl"][()], dtype=np.float64)
            fluxes = np.empty((len(points), len(wl)))
            for i, point in enumerate(points):
                file["flux"][key_name.format(*point)].read_direct(fluxes[i])
    except OSError as error:
        raise FileError(f"{name}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{name}: not a grid in Starfish's layout: {error}") from error
    return Grid(wl, points, names, fluxes)


def in_memory(grid: GridLike | str | os.PathLike[str]) -> Grid:
    """The grid, whatever it is given as."""
    if isinstance(grid, Grid):
        return grid
    if isinstance(grid, (str, os.PathLike)):
        return read_grid(grid)
    fluxes = np.array(list(grid.fluxes), dtype=np.float64)
    names = [text(name) for name in grid.param_names]
    return Grid(np.asarray(grid.wl), np.asarray(grid.grid_points), names, fluxes)


def text(value: Any) -> str:
    """A string attribute as h5py has it: str or bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


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
        self._scattered = len(points) / full < self.LEAST_FILL
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
        if self._scattered:
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
