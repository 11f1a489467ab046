# SPDX-License-Identifier: BSD-3-Clause
"""The parameters of the largest posterior density of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, OutsideRegion
from .grid import Array
from .optional import need

if TYPE_CHECKING:
    from .model import Prior, SpectrumModel


#: The value of what has no likelihood, for solvers that take finite numbers alone.
_NOWHERE = 1e25


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
    labels, start = model.labels, model.get_param_vector()
    if not labels:
        raise ArgumentError("all parameters are frozen")
    by_gradient = "method" not in settings and model.has_gradient
    first = model.log_likelihood_gradient(priors)[0] if by_gradient else model.log_likelihood(priors)
    if not np.isfinite(first):
        raise ArgumentError(f"training starts where log_likelihood is finite: found {first:g} at the start")
    if not by_gradient:
        settings.setdefault("method", "Nelder-Mead")

        def negative(x: Array) -> float:
            model.set_param_vector(x)
            try:
                return -model.log_likelihood(priors)
            except OutsideRegion:
                return float("inf")

        result = optimize.minimize(negative, start, **settings)
    else:
        result = _by_gradient(model, optimize, priors, labels, start, settings)
    if not abs(result.fun) < _NOWHERE:
        result.success, result.message = False, "the solver ended where there is no likelihood"
    model.set_param_vector(result.x if result.success else start)
    return result


def _by_gradient(
    model: SpectrumModel,
    optimize: Any,
    priors: dict[str, Prior],
    labels: tuple[str, ...],
    start: Array,
    kwargs: dict[str, Any],
) -> Any:
    box = dict(
        zip(
            model.emulator.param_names,
            zip(model.emulator.min_params, model.emulator.max_params, strict=True),
            strict=True,
        )
    )
    box |= {"vsini": (0.0, np.inf), "Rv": (0.1, np.inf)}
    bounds = np.array([box.get(key, (-np.inf, np.inf)) for key in labels])

    def gradient(x: Array) -> tuple[float, Array]:
        model.set_param_vector(np.clip(x, bounds[:, 0], bounds[:, 1]))
        try:
            value, slope = model.log_likelihood_gradient(priors)
        except (OutsideRegion, ArithmeticError):
            return _NOWHERE, np.zeros(len(x))
        return (-value, -slope) if np.isfinite(value) else (_NOWHERE, np.zeros(len(x)))

    scale = np.ones(len(labels))
    for _ in range(2):  # widths of the posterior, at the start and again where that led to
        for i in range(len(labels)):
            # Small against the width, large against rounding.
            h = 1e-4 * max(abs(start[i]), 1.0)
            step = h * (np.arange(len(labels)) == i)
            up = gradient(np.clip(start + step, bounds[:, 0], bounds[:, 1]))[1][i]
            down = gradient(np.clip(start - step, bounds[:, 0], bounds[:, 1]))[1][i]
            curvature = abs(up - down) / (2 * h)
            scale[i] = 1 / np.sqrt(curvature) if curvature > 0 else max(abs(start[i]), 1.0)

        def scaled(y: Array, unit: Array) -> tuple[float, Array]:
            value, slope = gradient(y * unit)
            return value, slope * unit

        settings: dict[str, Any] = {
            "method": "L-BFGS-B",
            "options": {"maxiter": 500, "maxls": 50},
        } | kwargs
        result = optimize.minimize(
            scaled,
            start / scale,
            args=(scale.copy(),),
            jac=True,
            bounds=bounds / scale[:, np.newaxis],
            **settings,
        )
        start = np.clip(result.x * scale, bounds[:, 0], bounds[:, 1])
        result.x = start
        result.jac = result.jac / scale
    result.pop("hess_inv", None)
    # A line search that rounding has stopped, at the optimum.
    if not result.success and np.max(np.abs(result.jac * scale)) < 0.05:
        result.success = True
    return result
