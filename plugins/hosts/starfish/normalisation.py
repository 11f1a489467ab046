# SPDX-License-Identifier: BSD-3-Clause
"""The mean flux of a library's spectra: what `log_scale` is relative to."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import ArgumentError
from .grid import Array
from .training import LARGEST_TRAINING, spread, threads

if TYPE_CHECKING:
    from .emulator import Emulator

#: Of its training.
MAX_ITER, TOLERANCE = 1000, 0.5


class FactorProcess:
    """A Gaussian process of the logarithm of the mean flux, with the emulator's kernel and scales and a
    quadratic mean; trained when it is made."""

    def __init__(self, emulator: Emulator) -> None:
        factors = emulator.factors
        if np.any(factors <= 0):
            raise ArgumentError("factors: the mean flux of a spectrum of the library is not positive")
        logs = np.log(factors)[:, np.newaxis]
        dims = len(emulator.param_names)
        degree = 2 if len(logs) > (dims + 1) * (dims + 2) else 0
        scales = [emulator.scales.get(name, "linear") for name in emulator.param_names]

        def model(rows: Any) -> Any:
            return _core.spectrum.WeightModel(
                emulator.grid_points[rows],
                logs[rows],
                np.zeros((0, 0)),
                emulator.kernel,
                True,
                degree,
                scales,
            )

        all_points = model(slice(None))
        rows: Any = slice(None)
        if len(logs) > LARGEST_TRAINING and not all_points.on_grid:
            rows = spread(emulator.on_scales(emulator.grid_points) / emulator.spans, LARGEST_TRAINING)
        power = max(float(np.var(logs)), 1e-12)
        start = np.concatenate([np.log([1e-6 * power, power]), np.log(0.7 * emulator.spans)])
        settings = {} if emulator.training is None else emulator.training.settings
        optimum = model(rows).train(
            start,
            [],
            None,
            bool(settings.get("keep_ratios", False)),
            2,
            MAX_ITER,
            TOLERANCE,
            0,
            threads(None),
            None,
        )
        if not optimum["converged"]:
            warnings.warn(
                f"the process of the library's mean flux has not converged: the largest component of the "
                f"gradient is {optimum['gradient_norm']:.3g}, the tolerance {TOLERANCE:g}",
                stacklevel=5,
            )
        self._process = _core.spectrum.WeightProcess(
            all_points, optimum["hyperparameters"], emulator.neighbours
        )

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Factors (K,), and the standard deviations of their logarithms."""
        found = [self._process.predict(point) for point in points]
        return np.exp([mean[0] for mean, _ in found]), np.sqrt([cov[0, 0] for _, cov in found])

    def slopes(self, point: Array) -> tuple[Array, Array]:
        """Derivatives (D,) of the logarithm of the factor and of its variance."""
        _, _, slope, variance = self._process.predict_slopes(point)
        return slope[0], np.array([v[0, 0] for v in variance])
