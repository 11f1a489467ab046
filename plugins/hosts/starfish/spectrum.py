# SPDX-License-Identifier: BSD-3-Clause
"""An observed spectrum, with the interface of Starfish.spectrum."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_file import replacing
from ..errors import ArgumentError, FileError, FormatError
from .grid import text
from .optional import need


class Order:
    """One order: `wave`, `flux` and `sigma` are the pixels that the mask keeps, with an underscore all of
    them. The arrays are copies that can't be written to, so that models see what changes: set another one
    (`order.mask = ...`)."""

    def __init__(self, _wave: Any, _flux: Any, _sigma: Any = None, mask: Any = None) -> None:
        self._wave = _wave
        self._flux = _flux
        self._sigma = np.zeros(np.shape(_flux)) if _sigma is None else _sigma
        self.mask = np.ones(np.shape(_wave), dtype=bool) if mask is None else mask

    def __setattr__(self, name: str, value: Any) -> None:
        array = np.array(value, dtype=bool if name == "mask" else np.float64)
        array.setflags(write=False)
        super().__setattr__(name, array)

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, array in state.items():
            setattr(self, name, array)

    @property
    def wave(self) -> Any:
        return self._wave[self.mask]

    @property
    def flux(self) -> Any:
        return self._flux[self.mask]

    @property
    def sigma(self) -> Any:
        return self._sigma[self.mask]

    def __len__(self) -> int:
        return len(self._wave)


class Spectrum:
    """Orders of one spectrum.

    waves (Angstrom), fluxes, sigmas (default: 1), masks (True: the pixel is used; default: all) are 1-D for
    one order, 2-D, or sequences of orders of different lengths, which Starfish does not have.
    """

    def __init__(
        self, waves: Any, fluxes: Any, sigmas: Any = None, masks: Any = None, name: str | None = "Spectrum"
    ) -> None:
        rows = _orders(waves)
        others = [
            _orders(fluxes),
            [np.ones(len(row)) for row in rows] if sigmas is None else _orders(sigmas),
            [np.ones(len(row), dtype=bool) for row in rows] if masks is None else _orders(masks),
        ]
        for what, given in zip(("flux", "sigma", "mask"), others, strict=True):
            if [len(row) for row in given] != [len(row) for row in rows]:
                raise ArgumentError(f"{what} array incompatible shape: expected that of the wavelengths")
        self.orders = [Order(w, f, s, m) for w, f, s, m in zip(rows, *others, strict=True)]
        self.name = name
        for i, order in enumerate(self.orders):
            _check(i, order)

    def __getitem__(self, index: int) -> Order:
        return self.orders[index]

    def __setitem__(self, index: int, order: Order) -> None:
        expected = len(self.orders[index])
        if len(order) != expected:
            raise ArgumentError(f"order {index}: expected {expected} pixels, found {len(order)}")
        _check(index, order)
        self.orders[index] = order

    def __len__(self) -> int:
        return len(self.orders)

    def __iter__(self) -> Iterator[Order]:
        return iter(self.orders)

    def _stack(self, attribute: str) -> Any:
        rows = [getattr(order, attribute) for order in self.orders]
        if len({len(row) for row in rows}) == 1:
            return np.asarray(rows)
        ragged = np.empty(len(rows), dtype=object)
        ragged[:] = rows
        return ragged

    @property
    def waves(self) -> Any:
        """(norders, npixels) of the pixels that are used; an array of arrays if the orders differ."""
        return self._stack("wave")

    @property
    def fluxes(self) -> Any:
        return self._stack("flux")

    @property
    def sigmas(self) -> Any:
        return self._stack("sigma")

    @property
    def masks(self) -> Any:
        return self._stack("mask")

    @property
    def _waves(self) -> Any:
        return self._stack("_wave")

    @property
    def _fluxes(self) -> Any:
        return self._stack("_flux")

    @property
    def _sigmas(self) -> Any:
        return self._stack("_sigma")

    @property
    def shape(self) -> tuple[int, int]:
        return (len(self), len(self.orders[0]))

    @shape.setter
    def shape(self, shape: tuple[int, int]) -> None:
        self.__dict__.update(self.reshape(shape).__dict__)

    def reshape(self, shape: tuple[int, int]) -> Spectrum:
        """The same pixels in another number of orders, by numpy's rules."""
        wave, flux, sigma, mask = (
            self._stack(name).reshape(shape) for name in ("_wave", "_flux", "_sigma", "mask")
        )
        return type(self)(wave, flux, sigma, mask, self.name)

    @classmethod
    def load(cls, filename: str | os.PathLike[str]) -> Spectrum:
        """HDF5 as `save` and Starfish write it, also with the names wls, fls of older files. A file whose
        masks are wavelengths, which Starfish writes, has no masks."""
        h5py = need("h5py", "reading a spectrum in HDF5")
        name = os.fspath(filename)
        try:
            with h5py.File(name, "r") as base:
                waves = base["waves" if "waves" in base else "wls"][()]
                fluxes = base["fluxes" if "fluxes" in base else "fls"][()]
                sigmas = base["sigmas"][()]
                masks = base["masks"][()] if "masks" in base else None
                title = text(base.attrs["name"]) if "name" in base.attrs else None
        except OSError as error:
            raise FileError(f"{name}: {error}") from error
        except KeyError as error:
            raise FormatError(f"{name}: not a spectrum in Starfish's layout: {error}") from error
        if masks is not None and masks.dtype.kind == "f" and np.array_equal(masks, waves):
            masks = None
        lengths = [len(row) - int(np.argmin(np.isnan(row[::-1]))) for row in np.atleast_2d(waves)]
        if min(lengths) < np.shape(waves)[-1]:
            waves, fluxes, sigmas, masks = (
                None if rows is None else [row[:n] for row, n in zip(rows, lengths, strict=True)]
                for rows in (waves, fluxes, sigmas, masks)
            )
        return cls(waves, fluxes, sigmas, masks, name=title)

    def save(self, filename: str | os.PathLike[str]) -> None:
        """HDF5 with all pixels and their masks. Shorter orders end in pixels without a wavelength, which are
        masked; `load` leaves them out."""
        h5py = need("h5py", "writing a spectrum in HDF5")
        longest = max(map(len, self.orders))

        def padded(rows: Any, with_what: Any) -> Any:
            return np.array([np.pad(row, (0, longest - len(row)), constant_values=with_what) for row in rows])

        with replacing(Path(filename)) as temporary, h5py.File(temporary, "w") as base:
            for key, rows in (
                ("waves", padded(self._waves, np.nan)),
                ("fluxes", padded(self._fluxes, np.nan)),
                ("sigmas", padded(self._sigmas, np.nan)),
                ("masks", padded(self.masks, False)),
            ):
                base.create_dataset(key, data=rows, compression=9)
            if self.name is not None:
                base.attrs["name"] = self.name

    def plot(self, ax: Any = None, **kwargs: Any) -> Any:
        """All orders, what is masked in grey; returns the axes."""
        from . import plots

        return plots.spectrum(self, ax, kwargs)

    def __repr__(self) -> str:
        return f"{self.name} ({len(self)} orders)"


def _check(index: int, order: Order) -> None:
    if not order.wave.size:
        raise ArgumentError(f"order {index}: the mask leaves no pixel")
    if not (np.all(np.isfinite(order.flux)) and np.all(np.isfinite(order.sigma))):
        raise ArgumentError(f"order {index}: a flux or sigma that the mask keeps is not finite")
    if np.any(order.sigma < 0):
        raise ArgumentError(f"order {index}: a sigma is negative")


def _orders(values: Any) -> list[Any]:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return list(np.atleast_2d(values))
    rows = list(values)
    return [np.asarray(row) for row in rows] if rows and np.ndim(rows[0]) > 0 else [np.asarray(rows)]
