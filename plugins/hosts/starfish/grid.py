# SPDX-License-Identifier: BSD-3-Clause
"""Libraries of model spectra, in memory and in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import ArgumentError, FileError, FormatError
from .optional import need

if TYPE_CHECKING:
    from .instrument import Instrument

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
        _check_fluxes(fluxes, points)
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
        pixels = _within(self.wl, wl_range)
        return Grid(self.wl[pixels], self.grid_points, self.param_names, self.fluxes[:, pixels])


class GridFile:
    """A grid in the layout of Starfish's HDF5Creator, read block by block; truncated to a range of
    wavelengths, or as an instrument sees it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        wl_range: tuple[float, float] | None = None,
        instrument: Instrument | None = None,
    ) -> None:
        h5py = need("h5py", "reading a grid in HDF5")
        self.path = os.path.expandvars(os.fspath(path))
        if wl_range is not None and instrument is not None:
            raise ArgumentError("wl_range: the instrument has its own")
        try:
            with h5py.File(self.path, "r") as file:
                self.grid_points = np.array(file["grid_points"][()], dtype=np.float64)
                self.param_names = [text(n) for n in file["grid_points"].attrs["names"]]
                key_name = text(file["flux"].attrs["key_name"])
                wl = np.array(file["wl"][()], dtype=np.float64)
        except OSError as error:
            raise FileError(f"{self.path}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{self.path}: not a grid in Starfish's layout: {error}") from error
        self._keys = [key_name.format(*point) for point in self.grid_points]
        self._pixels = slice(None) if wl_range is None else _within(wl, wl_range)
        self.wl = wl[self._pixels]
        self._apply: Callable[[Array], Array] | None = None
        if instrument is not None:
            self.wl, self._apply = instrument.operator(wl)

    @property
    def bytes(self) -> int:
        """Of all spectra, as they are used."""
        return 8 * len(self.grid_points) * len(self.wl)

    def blocks(self, size: int = 256) -> Iterator[tuple[slice, Array]]:
        """Rows, and their spectra (K, P)."""
        h5py = need("h5py", "reading a grid in HDF5")
        try:
            with h5py.File(self.path, "r") as file:
                for first in range(0, len(self._keys), size):
                    keys = self._keys[first : first + size]
                    block = np.array([file["flux"][key][self._pixels] for key in keys], dtype=np.float64)
                    if self._apply is not None:
                        block = self._apply(block)
                    rows = slice(first, first + len(keys))
                    _check_fluxes(block, self.grid_points[rows])
                    yield rows, block
        except OSError as error:
            raise FileError(f"{self.path}: {error}") from error
        except KeyError as error:
            raise FormatError(f"{self.path}: not a grid in Starfish's layout: {error}") from error

    @property
    def fluxes(self) -> Iterator[Array]:
        for _, block in self.blocks():
            yield from block


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """A grid in the layout of Starfish's HDF5Creator."""
    return in_memory(GridFile(path))


def in_memory(grid: GridLike | str | os.PathLike[str]) -> Grid:
    """The grid, whatever it is given as."""
    if isinstance(grid, Grid):
        return grid
    if isinstance(grid, (str, os.PathLike)):
        return read_grid(grid)
    fluxes = np.array(list(grid.fluxes), dtype=np.float64)
    names = [text(name) for name in grid.param_names]
    return Grid(np.asarray(grid.wl), np.asarray(grid.grid_points), names, fluxes)


def _within(wl: Array, wl_range: tuple[float, float]) -> slice:
    first = int(np.searchsorted(wl, wl_range[0], side="left"))
    last = int(np.searchsorted(wl, wl_range[1], side="right"))
    if last - first < 6:
        raise ArgumentError(f"wl_range {tuple(wl_range)}: fewer than six pixels of {wl[0]:g} to {wl[-1]:g}")
    return slice(first, last)


def _check_fluxes(fluxes: Array, points: Array) -> None:
    bad = np.flatnonzero(~np.isfinite(fluxes).all(axis=1) | ~(fluxes.mean(axis=1) > 0))
    if bad.size:
        raise ArgumentError(
            f"fluxes: the spectrum of {points[bad[0]]} is not finite or not positive on average"
        )


def text(value: Any) -> str:
    """A string attribute as h5py has it: str or bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
