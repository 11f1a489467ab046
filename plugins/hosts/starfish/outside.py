# SPDX-License-Identifier: BSD-3-Clause
"""Who answers where the emulator's library does not surround a point.

Interpolation of a raw library, a spectrum code: each with the error that it states, which the likelihood adds
to its covariance.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import ArgumentError, FormatError, OutsideRegion
from ..fallback.linear_error import error_of_lines, second_difference
from .grid import Array, GridLike, in_memory
from .optional import need
from .pca import correlation_length

if TYPE_CHECKING:
    from ..fallback.driver import Driver


@dataclass(frozen=True)
class Answer:
    """A spectrum and its standard deviation at each wavelength, in the library's units, and the
    correlation length of its error (km/s in the metric of the global kernel)."""

    flux: Array
    error: Array
    correlation_length: float


class Fallback(Protocol):
    """One that answers outside the library."""

    name: str
    """As the counts have it."""
    parameters: Mapping[str, float | None]
    """Optional. Those that it knows -> what stands in where one is not given, None if it must be."""

    def spectrum(self, params: Mapping[str, float], wl: Array) -> Answer:
        """At the library's resolution. Raises OutsideRegion where it has no answer."""
        ...


class Interpolation:
    """Linear interpolation of a raw library in the simplex of its spectra that surrounds a point: in a
    hole of the emulator's library, or where a larger one goes on.

    The error is that of the first term that linear interpolation leaves out (zelos.fallback.linear_error),
    with second derivatives from a spectrum of the simplex and its two neighbours along an axis. Where none
    has two, the root mean square of those of the library stands in.
    """

    name = "interpolation"

    def __init__(self, library: GridLike | str | os.PathLike[str]) -> None:
        grid = in_memory(library)
        spatial = need("scipy.spatial", "interpolation of a raw library")
        self._grid = grid
        self.parameters: Mapping[str, float | None] = dict.fromkeys(grid.param_names)
        self._low = grid.grid_points.min(axis=0)
        self._span = np.maximum(np.ptp(grid.grid_points, axis=0), 1e-300)
        # Distances in steps of the axes, so that no parameter is short because of its unit.
        steps = [max(len(np.unique(column)) - 1, 1) for column in grid.grid_points.T]
        self._unit = self._span / steps
        self._points = (grid.grid_points - self._low) / self._unit
        self._one = grid.grid_points.shape[1] == 1
        self._mesh = None if self._one else spatial.Delaunay(self._points)
        self._index = {tuple(point): i for i, point in enumerate(np.round(self._points, 9).tolist())}
        self._curvatures: dict[tuple[int, int], Array | None] = {}
        self._typical: list[Array | None] = [None] * grid.grid_points.shape[1]

    def _corners(self, point: Array) -> tuple[Any, Array]:
        if self._one:
            order = np.argsort(self._points[:, 0])
            x = self._points[order, 0]
            if not x[0] <= point[0] <= x[-1]:
                raise OutsideRegion("the point is outside the raw library")
            right = int(np.clip(np.searchsorted(x, point[0]), 1, len(x) - 1))
            part = (point[0] - x[right - 1]) / (x[right] - x[right - 1])
            return order[[right - 1, right]], np.array([1 - part, part])
        assert self._mesh is not None
        simplex = int(self._mesh.find_simplex(point, tol=1e-9))
        if simplex < 0:
            raise OutsideRegion("the point is outside the convex hull of the raw library")
        transform = self._mesh.transform[simplex]
        inner = transform[:-1] @ (point - transform[-1])
        return self._mesh.simplices[simplex], np.append(inner, 1 - inner.sum())

    def _curvature(self, node: int, axis: int) -> Array | None:
        """Half the second derivative along an axis, from a spectrum and its neighbours there."""
        if (node, axis) not in self._curvatures:
            at = self._points[node]
            others = np.delete(np.arange(len(at)), axis)
            line = np.flatnonzero(np.all(np.abs(self._points[:, others] - at[others]) < 1e-9, axis=1))
            offset = self._points[line, axis] - at[axis]
            left, right = line[offset < -1e-9], line[offset > 1e-9]
            found = None
            if left.size and right.size:
                a = left[np.argmax(self._points[left, axis])]
                b = right[np.argmin(self._points[right, axis])]
                three = [a, node, b]
                found = np.array(second_difference(self._points[three, axis])) @ self._grid.fluxes[three]
            self._curvatures[node, axis] = found
        return self._curvatures[node, axis]

    def _any(self, axis: int) -> Array:
        """Root mean square of the curvatures of the library along an axis."""
        if self._typical[axis] is None:
            total, count = np.zeros(len(self._grid.wl)), 0
            for node in range(len(self._points)):
                found = self._curvature(node, axis)
                if found is not None:
                    total += found**2
                    count += 1
            self._curvatures.clear()
            if count == 0:
                name = self._grid.param_names[axis]
                raise ArgumentError(
                    f"the raw library has no three spectra along '{name}': the error of interpolation is "
                    f"unknown"
                )
            self._typical[axis] = np.sqrt(total / count)
        typical = self._typical[axis]
        assert typical is not None
        return typical

    def spectrum(self, params: Mapping[str, float], wl: Array) -> Answer:
        check_names(self, params)
        point = (np.array([params[name] for name in self._grid.param_names]) - self._low) / self._unit
        corners, weights = self._corners(point)
        flux = weights @ self._grid.fluxes[corners]
        axes, signed = [], []
        for axis in range(len(point)):
            # sum_v b_v (x_v - x)^2: the reach of a line in one dimension.
            reach = float(weights @ (self._points[corners, axis] - point[axis]) ** 2)
            known = [self._curvature(int(node), axis) for node in corners]
            parts = [part for part in known if part is not None]
            axes.append((reach, parts or [self._any(axis)]))
            signed += [reach * part for part in parts]
        pattern = np.array(signed) if signed else flux[np.newaxis]
        error = np.broadcast_to(error_of_lines(axes), flux.shape)
        return _on(wl, self._grid.wl, flux, error, pattern)


class Code:
    """A spectrum code: a driver (zelos.fallback.driver) with an output "flux" over "wavelength"; that of a
    file of zelos.fallback.grid is one.

    driver: configured, with the library's resolution, and wavelengths that reach as far as the emulator's.
            Of what its `run` raises a ValueError or an ArithmeticError is a point without an answer; what
            says that the driver is used wrongly, as an ArgumentError does, comes through.
    error:  relative standard deviation; None: what the driver states (its method `error`).
    """

    def __init__(self, driver: Driver, error: float | None = None) -> None:
        axes = driver.outputs.get("flux", {})
        if list(axes) != ["wavelength"]:
            raise ArgumentError(
                f"{driver.code}: expected the output flux over wavelength, found {', '.join(driver.outputs)}"
            )
        if error is None and not callable(getattr(driver, "error", None)):
            raise ArgumentError(
                f"{driver.code} states no error of its spectra: give one, relative to the flux"
            )
        if error is not None and not 0 <= error < 1:
            raise ArgumentError(f"error: expected a relative one from 0 to 1, found {error:g}")
        self.name = driver.code
        if hasattr(driver, "parameters"):
            self.parameters = driver.parameters
        self._driver, self._error = driver, error
        self._wl = np.asarray(axes["wavelength"], dtype=np.float64)

    def spectrum(self, params: Mapping[str, float], wl: Array) -> Answer:
        try:
            answer = self._driver.run(params)
        except (ArgumentError, FormatError):
            raise
        except (ValueError, ArithmeticError) as error:
            raise OutsideRegion(f"{self.name}: {error}") from error
        flux = np.asarray(answer["flux"], dtype=np.float64)
        if self._error is not None:
            spread = self._error * np.abs(flux)
        else:
            spread = np.asarray(self._driver.error(params, answer)["flux"])
        # An error of an atmosphere is an error of its lines.
        return _on(wl, self._wl, flux, spread, flux[np.newaxis] - flux.mean())


def _on(wl: Array, have: Array, flux: Array, error: Array, pattern: Array) -> Answer:
    """At other wavelengths, by a cubic spline. `pattern` (K, P): what the error's correlation length is
    that of."""
    if not (np.all(np.isfinite(flux)) and np.all(np.isfinite(error)) and flux.mean() > 0):
        raise OutsideRegion("the spectrum is not finite or not positive on average")
    length = correlation_length(pattern, have) if np.any(error > 0) else 0.0
    if len(wl) == len(have) and np.allclose(wl, have, rtol=1e-12, atol=0):
        return Answer(flux, error, length)
    if wl[0] < have[0] or wl[-1] > have[-1]:
        raise ArgumentError(
            f"the fallback's wavelengths, {have[0]:g} to {have[-1]:g}, do not reach as far as the "
            f"emulator's, "
            f"{wl[0]:g} to {wl[-1]:g}"
        )
    spline = need("scipy.interpolate", "resampling a fallback's spectrum").make_interp_spline
    return Answer(spline(have, flux, k=3)(wl), np.interp(wl, have, error), length)


def check_names(fallback: Fallback, names: Iterable[str]) -> None:
    """ArgumentError if a fallback that says which parameters it knows can't answer for these."""
    known = getattr(fallback, "parameters", None)
    if known is None:
        return
    given = list(names)
    odd = [name for name in given if name not in known]
    missing = [name for name, value in known.items() if value is None and name not in given]
    if odd or missing:
        what = f"does not know '{odd[0]}'" if odd else f"needs '{missing[0]}'"
        raise ArgumentError(
            f"outside: {fallback.name} {what}: its parameters are {', '.join(known)}, the emulator's "
            f"{', '.join(given)}"
        )


def make_fallback(given: Any, wl: Array) -> Fallback:
    """A fallback as it is, or what stands for one in a file of settings: {"interpolation": FILE} of a library
    in Starfish's layout, or {"code": NAME, "config": {...}, "error": x} of a driver, asked for the
    wavelengths wl."""
    if not isinstance(given, Mapping):
        if isinstance(given, str) or not hasattr(given, "spectrum"):
            raise ArgumentError(f"outside: expected a fallback, found '{given}'")
        fallback: Fallback = given
        return fallback
    if set(given) == {"interpolation"}:
        return Interpolation(given["interpolation"])
    if "code" in given and set(given) <= {"code", "config", "error"}:
        from ..fallback import driver

        made = driver.load(given["code"])(dict(given.get("config", {})), {"flux": {"wavelength": wl}})
        return Code(made, given.get("error"))
    raise ArgumentError(
        f"outside: expected interpolation, or code with config and error, found {', '.join(map(str, given))}"
    )


class Ladder:
    """The fallbacks in the order in which they are asked, and how often each has answered.

    outside: "error" (a point outside is an OutsideRegion), "reject" (its likelihood is zero), a fallback,
    or several of them, with "error" (which need not be written) or "reject" at the end.
    wl, names: wavelengths and parameters that they are asked for. ArgumentError if one has other parameters.
    """

    LAST = ("error", "reject")

    def __init__(self, outside: Any, wl: Array, names: Sequence[str]) -> None:
        steps = [*outside] if isinstance(outside, (list, tuple)) else [outside]
        self.last = "error"
        if steps and isinstance(steps[-1], str):
            self.last = steps.pop()
        if self.last not in self.LAST:
            raise ArgumentError(f"outside: expected {' or '.join(self.LAST)}, found '{self.last}'")
        self.fallbacks = [make_fallback(step, wl) for step in steps]
        for fallback in self.fallbacks:
            check_names(fallback, names)
        called = [fallback.name for fallback in self.fallbacks]
        if len(set(called)) != len(called):
            raise ArgumentError(f"outside: two fallbacks have the same name: {', '.join(called)}")
        self.answered = {"emulator": 0, **dict.fromkeys(called, 0), "rejected": 0}

    def answer(self, params: Mapping[str, float], wl: Array, outside: OutsideRegion) -> tuple[str, Answer]:
        """Of the first that has one; else an OutsideRegion that says why nobody had."""
        reasons = [str(outside)]
        for fallback in self.fallbacks:
            try:
                return fallback.name, fallback.spectrum(params, wl)
            except OutsideRegion as error:
                reasons.append(str(error))
        raise OutsideRegion("; ".join(reasons)) from outside
