# SPDX-License-Identifier: BSD-3-Clause
"""The parameters of the largest posterior density of a model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, OutsideRegion
from .grid import C_KMS, Array
from .observed import velocities
from .optional import need

if TYPE_CHECKING:
    from .model import Prior, SpectrumModel


#: The value of what has no likelihood, for solvers that take finite numbers alone.
_NOWHERE = 1e25
#: Of a best fit: what a step along one parameter may add to the log posterior.
_GAIN = 0.05
#: At most; each has the widths of the posterior at its start.
_PASSES = 6


def maximise(model: SpectrumModel, priors: Mapping[str, Prior] | None, settings: dict[str, Any]) -> Any:
    """`SpectrumModel.train`."""
    optimize = need("scipy.optimize", "SpectrumModel.train")
    priors = dict(priors or {})
    for key, prior in priors.items():
        if key not in model.params:
            raise ArgumentError(f"Invalid priors. {key} not a valid key.")
        if not callable(getattr(prior, "logpdf", None)):
            raise ArgumentError(f"Invalid priors. {key} does not have a `logpdf` method")
        density = model.log_prior({key: prior})
        if not np.isfinite(density):
            raise RuntimeError(f"{key}'s logpdf evaluated to {density}")
    start = model.get_param_vector()
    if not model.labels:
        raise ArgumentError("all parameters are frozen")
    by_gradient = "method" not in settings and model.has_gradient
    first = model.log_likelihood_gradient(priors)[0] if by_gradient else model.log_likelihood(priors)
    if not np.isfinite(first):
        raise ArgumentError(f"training starts where log_likelihood is finite: found {first:g} at the start")
    try:
        if by_gradient:
            result = _Ascent(model, priors).run(optimize, start, settings)
        else:
            result = _by_values(model, optimize, priors, start, settings)
    except BaseException:
        model.set_param_vector(start)
        raise
    if result.success:
        fallbacks = not by_gradient and bool(model._ladder.fallbacks)
        _name_ends(model, _bounds(model, priors, fallbacks), result)
    if not abs(result.fun) < _NOWHERE:
        result.success, result.message = False, "the solver ended where there is no likelihood"
    model.set_param_vector(result.x if result.success else start)
    return result


def _by_values(
    model: SpectrumModel, optimize: Any, priors: dict[str, Prior], start: Array, settings: dict[str, Any]
) -> Any:
    bounds = _bounds(model, priors, bool(model._ladder.fallbacks))

    def negative(x: Array) -> float:
        if np.any((x < bounds[:, 0]) | (x > bounds[:, 1])):
            return float("inf")
        model.set_param_vector(x)
        try:
            return -model.log_likelihood(priors)
        except (OutsideRegion, ArithmeticError):
            return float("inf")

    settings.setdefault("method", "Nelder-Mead")
    start = _rotating(model, start, bounds)
    if settings["method"] == "Nelder-Mead":
        # scipy's own simplex all but leaves out what is zero.
        down, up = np.minimum(_steps(model), np.abs(bounds.T - start))
        simplex = np.vstack([start, start + np.diag(np.where(up >= down, up, -down))])
        settings["options"] = {"initial_simplex": simplex, **settings.get("options", {})}
    return optimize.minimize(negative, start, **settings)


def _steps(model: SpectrumModel) -> Array:
    """By which each parameter changes a spectrum visibly, without knowing it."""
    emulator, wave = model.emulator, model.pixels[0].wave
    steps = {
        "Av": 0.1,
        "Rv": 0.3,
        "log_scale": 0.05,
        "cheb": 0.02,
        "log_amp": 0.5,
        "log_ls": 0.3,
        "log_sigma": 0.3,
    }
    steps |= {"vz": emulator.dv, "vsini": emulator.dv, "mu": float(np.mean(wave)) * emulator.dv / C_KMS}
    steps |= dict(zip(emulator.param_names, 0.25 * emulator._grid_sep, strict=True))
    return np.array(
        [steps["cheb" if "cheb" in (parts := label.split(":")) else parts[-1]] for label in model.labels]
    )


def _reach(model: SpectrumModel) -> dict[str, tuple[float, float]]:
    """What the emulator holds: the library's box, the velocities that keep the pixels on its wavelengths."""
    emulator = model.emulator
    ends = zip(emulator.min_params.tolist(), emulator.max_params.tolist(), strict=True)
    reach = dict(zip(emulator.param_names, ends, strict=True))
    for order, pixels in enumerate(model.pixels):
        key = model._key("vz", order)
        least, most = velocities(emulator.wl, pixels.log_wave)
        low, high = reach.get(key, (-np.inf, np.inf))
        reach[key] = max(low, least), min(high, most)
    return reach


def _bounds(model: SpectrumModel, priors: Mapping[str, Prior], fallbacks: bool = False) -> Array:
    """(n, 2), of the parameters in `labels`, with the supports of the priors; without the library's box where
    fallbacks answer beyond it."""
    known = _reach(model)
    if fallbacks:
        known = {key: ends for key, ends in known.items() if key not in model.emulator.param_names}
    known |= {"vsini": (0.0, np.inf), "Rv": (0.1, np.inf)}
    bounds = {key: known.get(key, (-np.inf, np.inf)) for key in model.labels}
    for key, prior in priors.items():
        if callable(getattr(prior, "support", None)):
            names = model.params.names(key)
            for name, least, most in zip(names, *_support(prior, len(names)), strict=True):
                if name in bounds:
                    low, high = bounds[name]
                    bounds[name] = (max(low, least), min(high, most))
    return np.array(list(bounds.values()))


def _name_ends(model: SpectrumModel, bounds: Array, result: Any) -> None:
    """Adds to the message which parameters a best fit has at an end. One of what the emulator holds is a
    warning: the best fit is beyond it."""
    reach = _reach(model)
    exact = "jac" in result
    near = 1e-9 if exact else 1e-3  # a simplex does not end at the very end
    beyond, ends = [], []
    for i, (label, (low, high)) in enumerate(zip(model.labels, bounds.tolist(), strict=True)):
        x = float(result.x[i])
        end, outwards = (low, -1) if x - low < high - x else (high, 1)
        if np.isinf(end) or abs(x - end) > near * min(high - low, max(abs(end), 1.0)):
            continue
        if exact and result.jac[i] * outwards >= 0:
            continue
        if end in reach.get(label, ()):
            what = "wavelengths" if label.endswith("vz") else "library"
            beyond.append(f"{label} is at the edge of the emulator's {what}, {end:g}")
        elif label not in ("vsini", "Rv") or end > 0.1:
            ends.append(f"{label} is at the end of its prior, {end:g}")
    if beyond:
        warnings.warn(f"the best fit is beyond what the emulator holds: {'; '.join(beyond)}", stacklevel=4)
    result.message = "; ".join([str(result.message), *beyond, *ends])


def _rotating(model: SpectrumModel, at: Array, bounds: Array) -> Array:
    """A start with rotation, of half a pixel of the library: without it the slope by vsini is zero."""
    slow = (np.array(model.labels) == "vsini") & (at < 0.1)
    return np.where(slow, np.clip(max(0.5 * model.emulator.dv, 0.1), *bounds.T), at)


def _support(prior: Any, count: int) -> tuple[Any, Any]:
    """Of a distribution of scipy.stats, for each of its parameters. An end where rounding or the density
    itself leaves none is moved in."""
    moved = []
    for given, inwards in zip(prior.support(), (1e-9, -1e-9), strict=True):
        end = np.broadcast_to(np.asarray(given, dtype=np.float64), count)
        good = np.isinf(end) | np.isfinite(prior.logpdf(end))
        moved.append(np.where(good, end, end + inwards * np.maximum(np.abs(end), 1.0)).tolist())
    return moved[0], moved[1]


class _Ascent:
    """L-BFGS-B in parameters over their widths.

    Where there is no likelihood, the solver is told a wall: the tangent plane at the best point so far,
    mirrored, so that its line search turns back instead of stopping.
    """

    def __init__(self, model: SpectrumModel, priors: Mapping[str, Prior]) -> None:
        self._model, self._priors = model, priors
        self._low, self._high = _bounds(model, priors).T
        self._best: tuple[float, Array, Array] | None = None

    def _at(self, x: Array) -> tuple[float, Array] | None:
        """-log posterior and its slope."""
        self._model.set_param_vector(x)
        try:
            value, slope = self._model.log_likelihood_gradient(self._priors)
        except (OutsideRegion, ArithmeticError):
            return None
        return (-value, -slope) if np.isfinite(value) and np.all(np.isfinite(slope)) else None

    def _inside(self, x: Array) -> Array:
        return np.clip(x, self._low, self._high)

    def _scaled(self, y: Array, unit: Array) -> tuple[float, Array]:
        x = self._inside(y * unit)
        found = self._at(x)
        if found is not None:
            if self._best is None or found[0] < self._best[0]:
                self._best = (*found, x)
            return found[0], found[1] * unit
        if self._best is None:
            return _NOWHERE, np.zeros(len(x))
        value, slope, of = self._best
        rise = float(slope @ (x - of))
        return value + abs(rise), (slope if rise > 0 else -slope) * unit

    def _widths(self, at: Array) -> Array:
        """Of the posterior along each parameter, from the differences of its slope."""
        scale = np.maximum(np.abs(at), 1.0)
        here = self._at(at)
        for i in range(len(at)):
            # Small against the width, large against rounding.
            h = 1e-4 * max(abs(at[i]), 1.0)
            step = h * (np.arange(len(at)) == i)
            up, down = (self._at(self._inside(at + side * step)) or here for side in (1, -1))
            if up is not None and down is not None:  # at an end one half of it is enough
                curvature = abs(up[1][i] - down[1][i]) / (2 * h)
                scale[i] = 1 / np.sqrt(curvature) if curvature > 0 else scale[i]
        return scale

    def _steep(self, at: Array, value: float, slope: Array, scale: Array) -> list[str]:
        """The parameters by which the posterior still rises from here, within the bounds."""
        free = ((slope > 0) & (at > self._low)) | ((slope < 0) & (at < self._high))
        names = []
        for i in np.flatnonzero(free & ((slope * scale) ** 2 > 2 * _GAIN)):
            # At a kink, as the centre of a local kernel has at pixels, it rises to neither side.
            length = scale[i] * min(abs(slope[i] * scale[i]), 0.5)
            step = length * np.sign(slope[i]) * (np.arange(len(at)) == i)
            found = self._at(self._inside(at - step))
            if found is None or found[0] < value - _GAIN:
                names.append(self._model.labels[i])
        return names

    def run(self, optimize: Any, start: Array, kwargs: dict[str, Any]) -> Any:
        settings: dict[str, Any] = {
            "method": "L-BFGS-B",
            "options": {"maxiter": 500, "maxls": 50},
        } | kwargs
        bounds = np.column_stack([self._low, self._high])
        spent = {"nit": 0, "nfev": 0, "njev": 0}
        for number in range(1, _PASSES + 1):
            start = _rotating(self._model, start, bounds)
            scale = self._widths(start)
            self._best = None
            result = optimize.minimize(
                self._scaled,
                start / scale,
                args=(scale.copy(),),
                jac=True,
                bounds=bounds / scale[:, np.newaxis],
                **settings,
            )
            spent = {what: count + result[what] for what, count in spent.items()}
            start = self._inside(result.x * scale)
            found = self._at(start)
            steep = [] if found is None else self._steep(start, *found, scale)
            if number > 1 and (not steep or result.status == 1):
                break
        result.pop("hess_inv", None)
        result.update(spent)
        result.x = start
        result.fun, result.jac = found or (_NOWHERE, np.zeros(len(start)))
        # A line search that rounding has stopped, at the optimum, has no success of its own.
        result.success = not steep
        if steep:
            result.message = f"the posterior still rises along {', '.join(steep)}: {result.message}"
        return result
