# SPDX-License-Identifier: BSD-3-Clause
"""How far the emulator's error may move a likelihood: the mean and the 95 % quantile of delta chi^2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import ArgumentError, OutsideRegion

if TYPE_CHECKING:
    from .emulator import Array, Emulator, Params


class ErrorEstimate(NamedTuple):
    """Of delta chi^2: numbers, or arrays for a batch. NaN where a family predicts no error."""

    mean: Any
    quantile: Any
    """95 % of the errors are smaller."""


class ErrorModel:
    """Made by `Emulator.error_model`. May be used from many threads.

    With r = matrix (emulator - real code), delta chi^2 = r^T covariance^-1 r: -2 delta log L where the
    data are the real code's answer. Called with a point or a batch, as the emulator is, also outside the
    region; raises OutsideRegion where a value is not finite, is of other physics than the training held
    fixed, or where a parameter has to be solved for outside."""

    def __init__(
        self,
        emulator: Emulator,
        outputs: Sequence[str] | None,
        axes: Mapping[str, Any] | None,
        covariance: Any = None,
        matrix: Any = None,
        reference: Params | None = None,
    ) -> None:
        if covariance is None and (matrix is not None or axes):
            what = "matrix" if matrix is not None else "axes"
            raise ArgumentError(f"{what}: expected the covariance of the data as well")
        if outputs is not None and not outputs:
            raise ArgumentError("outputs of an error model: expected one at least")
        bound = emulator._bind(emulator.parameters, outputs, axes)
        if any(part.order is not None for part in bound.parts):
            raise ArgumentError("axes of an error model: expected ascending values")
        at: Any = None if reference is None else list(emulator.canonical(reference).values())
        self._emulator = emulator
        self._core = bound.query.error_model(*map(_numbers, (covariance, matrix, at)))

    @property
    def calibration(self) -> float:
        """What the quantile was multiplied by, so that it covers 95 % of the errors at points left out."""
        return float(self._core.calibration)

    @property
    def n_left_out(self) -> int:
        """How many points left out of the training the calibration rests on; 0: there is none."""
        return int(self._core.n_left_out)

    def __call__(self, params: Params) -> ErrorEstimate:
        names, points, batch = self._emulator._points(params)
        if names != self._emulator.parameters:
            table = {name: points[:, i] for i, name in enumerate(names)}
            self._check(self._emulator.verdict(table))
            points = np.column_stack(list(self._emulator.canonical(table).values()))
        found, verdicts = self._core.evaluate(points)
        self._check(verdicts)
        if batch:
            return ErrorEstimate(found[:, 0], found[:, 1])
        return ErrorEstimate(float(found[0, 0]), float(found[0, 1]))

    def _check(self, verdicts: Sequence[Any]) -> None:
        for row, verdict in enumerate(verdicts):
            if verdict.reason in ("not_finite", "no_solution", "fixed_parameter"):
                raise OutsideRegion(f"{self._emulator.name}: {verdict}", verdict, row)


def _numbers(values: Any) -> Array:
    return np.empty(0) if values is None else np.ascontiguousarray(values, float)
