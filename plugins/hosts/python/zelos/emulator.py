# SPDX-License-Identifier: BSD-3-Clause
"""The emulator as Python sees it: arrays in, arrays out."""

from __future__ import annotations

import functools
import json
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from . import _core
from .errors import ArgumentError, OutsideRegion, ParameterError, did_you_mean

if TYPE_CHECKING:
    from .error_model import ErrorModel
    from .real_code import RealCode

Array = np.ndarray[Any, np.dtype[np.float64]]
Params: TypeAlias = Mapping[str, Any] | Sequence[float] | Array

#: Other names under which outputs are known.
OUTPUT_SYNONYMS = {
    "linear_matter_power": "Pk.linear",
    "nonlinear_matter_power": "Pk.nonlinear",
    "linear": "Pk.linear",
    "nonlinear": "Pk.nonlinear",
}

_Request = tuple[str, tuple[Array, ...]]
_Order = list[Any] | None
_MAX_BOUND = 64


class _Axis(NamedTuple):
    name: str
    values: Array
    labels: tuple[str, ...]


class _Part(NamedTuple):
    """Where an output's values lie in a query's answer, and what becomes of them."""

    name: str
    begin: int
    end: int
    block: tuple[int, ...]
    order: _Order
    shape: tuple[int, ...]


class _Bound(NamedTuple):
    query: _core.Query
    parts: list[_Part]


class Emulator:
    """An opened artifact; made by `zelos.get_emulator`. May be used from many threads.

    Parameters are given as a mapping (names of the emulator or synonyms: ``ombh2``, ``omega_b``; values
    scalars, or arrays of one length for a batch) or as an array in the order of `parameters` (1-D: one
    point, 2-D: a batch). A batch puts its dimension first in every result.

    Outside the region every method but `verdict` and `error` raises OutsideRegion, unless a fallback was
    given: then the real code answers for that point (`last_source`, `statistics` say so; `jacobian` has no
    fallback).
    """

    def __init__(
        self,
        core: _core.Emulator,
        fallback: str | os.PathLike[str] | None = None,
        fallback_version: str | None = None,
        fallback_options: Mapping[str, Any] | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self._core = core
        self._outputs = {output.name: output for output in core.outputs}
        self._axes = {name: _native(output) for name, output in self._outputs.items()}
        self._spectra = tuple(name for name in self._outputs if name.startswith("Cl."))
        self._ell = _common([self._axes[name][0].values for name in self._spectra])
        self._names = tuple(parameter.name for parameter in core.parameters)
        self._bound: dict[Any, _Bound] = {}
        self._lock = threading.Lock()
        self._info: dict[str, Any] | None = None
        self._error_models: dict[str, ErrorModel] = {}
        self._fallback: RealCode | None = None
        self.statistics: dict[str, Any] = {"emulated": 0, "fallback": 0, "fallback_seconds": 0.0, "left": {}}
        self.last_source = ""
        if fallback is not None:
            from .real_code import RealCode

            self._fallback = RealCode(fallback, core, fallback_version, fallback_options, cache)
        elif cache is not None or fallback_options:
            raise ArgumentError("cache and fallback_options need a fallback")

    # --- what it is

    @property
    def name(self) -> str:
        return self._core.name

    @property
    def version(self) -> str:
        return self._core.version

    @property
    def id(self) -> str:
        """SHA-256 of the artifact's body, hex."""
        return self._core.id

    @property
    def info(self) -> dict[str, Any]:
        """Everything the artifact says of itself: spec, provenance, accuracy, region."""
        if self._info is None:
            self._info = json.loads(self._core.info_json())
        return self._info

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the inputs, in canonical order."""
        return self._names

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The box of the region."""
        return {p.name: (p.min, p.max) for p in self._core.parameters}

    @property
    def synonyms(self) -> dict[str, list[str]]:
        """Other names that are understood for each parameter."""
        return {p.name: list(p.synonyms) for p in self._core.parameters}

    @property
    def fixed(self) -> dict[str, float]:
        """Physics that was held fixed in training; may be given with the same value."""
        return dict(self._core.fixed)

    @property
    def solvable(self) -> dict[str, str]:
        """Parameters that may be given in place of a canonical one: ``{"thetastar": "H0"}``."""
        return dict(self._core.solvable)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self._outputs)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each output; of the derived parameters under their own names."""
        units = {name: output.unit for name, output in self._outputs.items()}
        for output in self._outputs.values():
            for axis in output.axes:
                units.update(zip(axis.labels, output.units, strict=False))
        return units

    def axes(self, output: str) -> dict[str, Array]:
        """Native axes of an output, in order; ``{}`` for labelled ones (see `labels`)."""
        return {axis.name: axis.values.copy() for axis in self._axes[self._output(output)] if not axis.labels}

    def labels(self, output: str = "derived") -> tuple[str, ...]:
        """Names along a labelled axis: the derived parameters. Empty if the emulator has none."""
        return tuple(label for axis in self._axes.get(output, ()) for label in axis.labels)

    @property
    def fallback(self) -> RealCode | None:
        """The real code that answers outside; its `statistics` say how."""
        return self._fallback

    @property
    def core(self) -> _core.Emulator:
        """The bound C++ object, for adapters; not part of the stable interface."""
        return self._core

    def __repr__(self) -> str:
        ranges = ", ".join(f"{name} [{low:g}, {high:g}]" for name, (low, high) in self.ranges.items())
        fallback = f"; fallback {self._fallback.code}" if self._fallback is not None else ""
        return (
            f"<zelos emulator {self.name} {self.version}: {ranges} -> {', '.join(self._outputs)}{fallback}>"
        )

    # --- evaluation

    def __call__(self, params: Params, *axes: Any, output: str | None = None) -> Any:
        """The answer that the outputs suggest.

        ``emulator(params, k, z)``  P(k, z), Mpc^3, shape ``k.shape + z.shape`` (k in 1/Mpc): of the output
                                    `output`, else of ``Pk.linear``, else of the only one with axes k and z.
        ``emulator(params, ell)``   a dict with ``ell`` (whole) and C_ell (no ell factor, muK^2; ``pp``
                                    without unit) under ``tt``, ``te``, ``ee``, ...; with `output`, or if the
                                    emulator has a single output of one axis and no spectra, that array alone.
        ``emulator(params)``        the same dict from ell = 2 on; without spectra, a dict of all outputs on
                                    their native axes.
        """
        if output is None and len(axes) <= 1:
            if self._spectra:
                ell = np.array(axes[0] if axes else self._ell[0], float)
                given = {"ell": ell} if axes or not self._ell[1] else None
                chosen = self.evaluate(params, self._spectra, given)
                return {"ell": ell, **{name[3:]: values for name, values in chosen.items()}}
            if not axes:
                return self.evaluate(params)
        name = self._choose(len(axes), output)
        wanted = [axis.name for axis in self._axes[name]]
        if len(axes) not in (0, len(wanted)):
            raise ArgumentError(
                f"output '{name}' has the axes ({', '.join(wanted)}): found {len(axes)} arrays"
            )
        return self.evaluate(params, [name], dict(zip(wanted, axes, strict=False)))[name]

    def evaluate(
        self,
        params: Params,
        outputs: Sequence[str] | None = None,
        axes: Mapping[str, Any] | None = None,
    ) -> dict[str, Array]:
        """Arrays of several outputs (default: all) at once.

        axes: axis name -> values, for every requested output that has this axis; the native values
        otherwise. The
              result's shape is that of the axes' arrays one after the other (a scalar adds no dimension).
        """
        return self._evaluated(params, outputs, axes)[0]

    def _evaluated(
        self,
        params: Params,
        outputs: Sequence[str] | None = None,
        axes: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Array], str]:
        """As `evaluate`, and who answered: `last_source` may be another thread's."""
        names, points, batch = self._points(params)
        bound = self._bind(names, outputs, axes)
        values, source = self._answer(bound, points)
        n = len(points)
        result: dict[str, Array] = {}
        for part in bound.parts:
            array = values[:, part.begin : part.end].reshape(n, *part.block)
            array = _reorder(array, part.order).reshape(n, *part.shape)
            result[part.name] = array if batch else array[0]
        return result, source

    def derived(self, params: Params) -> dict[str, Any]:
        """Derived parameters: name -> number (an array for a batch). ``{}`` if the emulator has none."""
        labels = self.labels()
        if not labels:
            return {}
        values = self.evaluate(params, ["derived"])["derived"]
        if values.ndim == 1:
            return dict(zip(labels, values.tolist(), strict=True))
        return dict(zip(labels, values.T.copy(), strict=True))

    def verdict(self, params: Params) -> Any:
        """A `Verdict` (true if inside; reason, parameter, value, lower, upper, excess), or a list of them."""
        names, points, batch = self._points(params)
        verdicts = self._bind(names, None, None).query.verdict(points)
        return verdicts if batch else verdicts[0]

    def error(
        self, params: Params, outputs: Sequence[str] | None = None, quantile: bool = False
    ) -> dict[str, Any]:
        """Predicted error of each output. Of spectra: the expected delta chi^2 of the ideal full-sky
        experiment. Of all else: the root mean square of the relative error over
        the output's values, on the scale that the held-out runs gave. NaN where the family predicts none, or
        where no runs were held out. Answers outside the region too.

        quantile: in place of what is expected, what 95 % of the errors do not exceed. See `error_model` for
        several outputs together, and for your own likelihood."""
        names = list(self._outputs) if outputs is None else [self._output(name) for name in outputs]
        sigmas = [name for name in names if not quantile and self._in_units_of_whitening(name)]
        expected = self._predicted(params, sigmas) if sigmas else {}
        held_out = self.info.get("accuracy", {}).get("predicted_error", {})
        predicted = {}
        for name in names:
            found = (
                expected[name] if name in expected else self._ideal_error_model(name)(params)[int(quantile)]
            )
            is_spectrum = name.startswith("Cl.")
            predicted[name] = found if is_spectrum else held_out.get(name, math.nan) * found**0.5
        return predicted

    def error_model(
        self,
        outputs: Sequence[str] | None = None,
        axes: Mapping[str, Any] | None = None,
        covariance: Any = None,
        matrix: Any = None,
        reference: Params | None = None,
    ) -> ErrorModel:
        """What the errors of these outputs together do to a likelihood: ``model(params)`` gives the mean and
        the 95 % quantile of delta chi^2.

        covariance: of the data, n x n. Without one, an ideal experiment: of spectra cosmic variance (which
        grows beyond `last` of a whitening {cosmic_variance: last}: info()["outputs"]), TT, TE and EE jointly
        if all are asked for; of all else the sigma that the outputs were whitened with; on all points of the
        outputs, whatever the axes. matrix, n x values: the data are matrix times the values of the outputs
        (flattened, one after the other), for example the windows of a binned likelihood; without one they
        are these values. reference: the point at which the outputs are linearised, on which the result
        hardly depends; the middle of the region. Takes up to a second to make."""
        from .error_model import ErrorModel

        return ErrorModel(self, outputs, axes, covariance, matrix, reference)

    def _ideal_error_model(self, output: str) -> ErrorModel:
        model = self._error_models.get(output)
        if model is None:
            model = self._error_models[output] = self.error_model([output])
        return model

    def _predicted(self, params: Params, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """The expected sum over the values of an output of (error / sigma)^2, sigma that of its whitening."""
        names, points, batch = self._points(params)
        bound = self._bind(names, outputs, None)
        errors, _ = bound.query.predicted_error(points)
        return {
            part.name: errors[:, i] if batch else float(errors[0, i]) for i, part in enumerate(bound.parts)
        }

    def _in_units_of_whitening(self, output: str) -> bool:
        """Whether the sigma of an output's ideal experiment is that of its whitening."""
        segments = next(o["segments"] for o in self.info["outputs"] if o["name"] == output)
        whitened = all("cosmic_variance" in str(segment["whiten"]) for segment in segments)
        return whitened or not output.startswith("Cl.")

    def jacobian(
        self,
        params: Params,
        outputs: Sequence[str] | None = None,
        axes: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Values as `evaluate` gives them, and exact derivatives of shape ``(..., n)`` with respect to the
        n given parameters in the order in which they were given. Parameters that were held fixed in training
        are refused (ArgumentError): the emulator knows no derivative with respect to them."""
        names, points, batch = self._points(params)
        bound = self._bind(names, outputs, axes)
        values, slopes, outside = bound.query.jacobian(points)
        if outside:
            raise self._outside(outside[0], len(points))
        n, d = len(points), len(names)
        result: dict[str, Array] = {}
        derivative: dict[str, Array] = {}
        for part in bound.parts:
            value = values[:, part.begin : part.end].reshape(n, *part.block)
            slope = slopes[:, part.begin : part.end].reshape(n, *part.block, d)
            value = _reorder(value, part.order).reshape(n, *part.shape)
            slope = _reorder(slope, part.order).reshape(n, *part.shape, d)
            result[part.name] = value if batch else value[0]
            derivative[part.name] = slope if batch else slope[0]
        return result, derivative

    def canonical(self, params: Params) -> dict[str, Any]:
        """The canonical parameters of a point that was given by synonyms or by a solvable parameter.

        Raises OutsideRegion where they are not known: outside the region, if one had to be solved for.
        """
        names, points, batch = self._points(params)
        query = self._bind(names, None, None).query
        values, verdicts = query.canonical(points, len(self._names))
        for row, verdict in enumerate(verdicts):
            if not np.isfinite(values[row]).all() or (query.solves and not verdict):
                raise self._outside((row, verdict), len(points))
        return {name: values[:, i] if batch else float(values[0, i]) for i, name in enumerate(self._names)}

    # --- how

    def _output(self, name: str) -> str:
        for candidate in (name, OUTPUT_SYNONYMS.get(name, name), f"Cl.{name}"):
            if candidate in self._outputs:
                return candidate
        for synonym, canonical in OUTPUT_SYNONYMS.items():
            if canonical == name and synonym in self._outputs:
                return synonym
        hint = did_you_mean(name, self._outputs)
        raise ArgumentError(f"unknown output '{name}': expected one of {', '.join(self._outputs)}{hint}")

    def _choose(self, n_axes: int, output: str | None) -> str:
        if output is not None:
            return self._output(output)
        fitting = [
            name
            for name, axes in self._axes.items()
            if len(axes) == n_axes and not any(axis.labels for axis in axes)
        ]
        for preferred in ("Pk.linear", "linear_matter_power"):
            if preferred in fitting:
                return preferred
        if len(fitting) == 1:
            return fitting[0]
        found = ", ".join(fitting) or "none"
        raise ArgumentError(
            f"which output? {n_axes} axes were given; outputs with that many: {found}; say output="
        )

    def _bind(
        self, names: tuple[str, ...], outputs: Sequence[str] | None, axes: Mapping[str, Any] | None
    ) -> _Bound:
        values = {name: np.asarray(axis, float) for name, axis in axes.items()} if axes else {}
        wanted = None if outputs is None else tuple(outputs)
        key = (names, wanted, tuple((name, axis.shape, axis.tobytes()) for name, axis in values.items()))
        bound = self._bound.get(key)
        if bound is None:
            bound = self._make_bound(names, wanted, values)
            with self._lock:
                if len(self._bound) >= _MAX_BOUND:
                    self._bound.pop(next(iter(self._bound)))
                self._bound[key] = bound
        return bound

    def _make_bound(
        self, names: tuple[str, ...], outputs: tuple[str, ...] | None, axes: Mapping[str, Array]
    ) -> _Bound:
        chosen = list(self._outputs) if outputs is None else [self._output(name) for name in outputs]
        unused = set(axes) - {axis.name for name in chosen for axis in self._axes[name]}
        if unused:
            raise ArgumentError(f"axis '{sorted(unused)[0]}': none of the outputs {', '.join(chosen)} has it")
        plans = [self._plan(name, axes) for name in chosen]
        requests = [request for request, _, _ in plans]
        try:
            query = self._core.query(names, requests)
        except ArgumentError:
            try:
                self._core.query(names, [])
            except ArgumentError as error:
                raise ParameterError(str(error)) from None
            raise
        parts = [
            _Part(name, offset, offset + math.prod(block), tuple(block), order, shape)
            for (_, order, shape), name, (offset, block) in zip(plans, chosen, query.blocks, strict=True)
        ]
        return _Bound(query, parts)

    def _plan(self, name: str, axes: Mapping[str, Array]) -> tuple[_Request, _Order, tuple[int, ...]]:
        """The request to the core (ascending, distinct axis values), how to index its answer, the final
        shape."""
        native = self._axes[name]
        if not any(axis.name in axes for axis in native):
            return (name, ()), None, tuple(len(axis.values) for axis in native)
        wanted: list[Array] = []
        order: list[Any] = []
        shape: tuple[int, ...] = ()
        in_order = True
        for axis in native:
            values = axes.get(axis.name, axis.values)
            flat = values.ravel()
            shape += values.shape
            if flat.size == 0:
                raise ArgumentError(f"axis '{axis.name}' of output '{name}': expected at least one value")
            if np.all(flat[1:] > flat[:-1]):
                wanted.append(np.ascontiguousarray(flat))
                order.append(np.arange(flat.size))
            else:
                distinct, inverse = np.unique(flat, return_inverse=True)
                wanted.append(distinct)
                order.append(inverse)
                in_order = False
        return (name, tuple(wanted)), None if in_order else order, shape

    def _points(self, params: Params) -> tuple[tuple[str, ...], Array, bool]:
        if not isinstance(params, Mapping) and hasattr(params, "keys"):
            table: Any = params  # what pandas has iterates over values
            params = {name: table[name] for name in table.keys()}  # noqa: SIM118
        if isinstance(params, Mapping):
            names = tuple(params)
            try:
                points = np.array([list(params.values())], float)
            except (ValueError, TypeError):
                points = np.empty(0)
            if points.ndim == 2:
                return names, points, False
            return names, self._columns(params), True
        points = np.asarray(params, float)
        if points.ndim not in (1, 2) or points.shape[-1] != len(self._names):
            raise ParameterError(
                f"expected {len(self._names)} values in the order {', '.join(self._names)}, "
                f"found an array of shape {points.shape}"
            )
        return self._names, np.ascontiguousarray(np.atleast_2d(points)), points.ndim == 2

    @staticmethod
    def _columns(params: Mapping[str, Any]) -> Array:
        columns = []
        for name, value in params.items():
            try:
                column = np.asarray(value, float)
            except (ValueError, TypeError):
                raise ParameterError(f"parameter '{name}': expected a number, found {value!r}") from None
            if column.ndim > 1:
                raise ParameterError(
                    f"parameter '{name}': expected one dimension, found shape {column.shape}"
                )
            columns.append(column)
        lengths = {name: len(c) for name, c in zip(params, columns, strict=True) if c.ndim}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ParameterError(f"parameters of a batch have different lengths: {listed}")
        return np.ascontiguousarray(np.stack(np.broadcast_arrays(*columns), axis=-1))

    def _outside(self, entry: tuple[int, _core.Verdict], count: int) -> OutsideRegion:
        row, verdict = entry
        where = f"row {row} of {count}: " if count > 1 else ""
        return OutsideRegion(f"{self.name}: {where}{verdict}", verdict, row)

    def _answer(self, bound: _Bound, points: Array) -> tuple[Array, str]:
        values, outside = bound.query.evaluate(points)
        if not outside:
            with self._lock:
                self.last_source = "emulator"
                self.statistics["emulated"] += len(points)
            return values, "emulator"
        with self._lock:
            left = self.statistics["left"]
            for _, verdict in outside:
                what = verdict.parameter or verdict.reason
                left[what] = left.get(what, 0) + 1
        if self._fallback is None:
            raise self._outside(outside[0], len(points))
        for row, verdict in outside:
            if verdict.reason == "not_finite" and not np.isfinite(points[row]).all():
                raise self._outside((row, verdict), len(points))
        begin = time.perf_counter()
        rows, verdicts = zip(*outside, strict=True)
        answers = self._fallback.evaluate(bound.query, points[list(rows)], verdicts)
        for row, answer in zip(rows, answers, strict=True):
            values[row] = answer
        source = "fallback" if len(outside) == len(points) else "mixed"
        with self._lock:
            self.statistics["emulated"] += len(points) - len(outside)
            self.statistics["fallback"] += len(outside)
            self.statistics["fallback_seconds"] += time.perf_counter() - begin
            self.last_source = source
        return values, source


def _native(output: _core.Output) -> tuple[_Axis, ...]:
    return tuple(_Axis(axis.name, axis.values, tuple(axis.labels)) for axis in output.axes)


def _common(axes: list[Array]) -> tuple[Array, bool]:
    """The values that all axes have, and whether that is all they have."""
    if not axes:
        return np.empty(0), True
    shared = functools.reduce(np.intersect1d, axes)
    return shared, all(len(axis) == len(shared) for axis in axes)


def _reorder(array: Array, order: _Order) -> Array:
    """Takes indices along the axes after the first."""
    for axis, indices in enumerate(order or (), start=1):
        array = array.take(indices, axis=axis)
    return array


def open_emulator(path: str | os.PathLike[str]) -> Emulator:
    """An emulator from the path of an .h5 file, without fallback."""
    return Emulator(_core.open(os.fspath(path)))
