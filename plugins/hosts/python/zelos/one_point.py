# SPDX-License-Identifier: BSD-3-Clause
"""One point of an emulator, asked piece by piece: what hosts need whose interface is that of another code's
results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline, PPoly

from .emulator import Array, Emulator
from .errors import ArgumentError

_ROUND_OFF = 1e-9


class OnePoint:
    """The answer at one point, and what lies between its nodes.

    Between redshifts the core interpolates: at any z the numbers are those of `Emulator.evaluate`, bit for
    bit. Between wavenumbers they are the same to rounding: where ln P over ln k is emulated, a spline of ln P
    over ln k is what the core's interpolation comes to; an output of another kind is asked for each k. Where
    the real code answered, the splines are of its values on the emulator's axes.

    A redshift that is new takes some ms; those that were asked of the point `before` are computed with the
    first of them.

    values:   the outputs on their native axes.
    source:   "emulator" or "fallback".
    derived:  label -> value.

    Raises what `Emulator.evaluate` raises, and ArgumentError for an atlas. Thread rule: one object belongs to
    one thread.
    """

    def __init__(
        self, emulator: Emulator, params: Mapping[str, float], before: OnePoint | None = None
    ) -> None:
        if hasattr(emulator, "emulators"):
            raise ArgumentError(f"{emulator.name}: expected one emulator, found an atlas")
        self.emulator = emulator
        self.params = dict(params)
        self.values, self.source = emulator._evaluated(self.params)
        labels = emulator.labels()
        self.derived: dict[str, float] = (
            dict(zip(labels, self.values["derived"].tolist(), strict=True)) if labels else {}
        )
        self._asked: dict[str, dict[float, None]] = {}
        self._before: dict[str, dict[float, None]] = {}
        if before is not None and before.emulator is emulator:
            self._before = {name: dict(asked) for name, asked in list(before._asked.items())}
        self._axes: dict[str, dict[str, Array]] = {}
        self._ranges: dict[tuple[str, str], tuple[float, float]] = {}
        self._at: dict[str, dict[float, Any]] = {}
        self._splines: dict[str, dict[float, Any]] = {}

    def output(self, name: str) -> Array:
        """An output on its native axes."""
        if name not in self.values:
            raise ArgumentError(f"'{name}' is not emulated")
        return self.values[name]

    def axis(self, name: str, axis: str) -> Array:
        """A native axis of an output."""
        self.output(name)
        if name not in self._axes:
            self._axes[name] = self.emulator.axes(name)
        return self._axes[name][axis]

    def at_z(self, name: str, z: Any) -> Any:
        """An output of z at any redshifts: a number, or an array of z's shape; of an output of k and z
        ``[k, *z]`` at the native k."""
        self.output(name)
        if isinstance(z, (int, float)) and len(self.emulator._axes[name]) == 1:
            value = self._number_inside(name, "z", z)
            return float(self._computed(name, [value])[value])
        values = self._inside(name, "z", np.asarray(z, float))
        wanted = values.ravel().tolist()
        at = self._computed(name, wanted)
        found = np.stack([at[value] for value in wanted], axis=-1)
        found = found.reshape((*found.shape[:-1], *values.shape))
        return float(found) if found.ndim == 0 else found

    def power(self, name: str, k: Any, z: Any) -> Any:
        """P at any k and z, arrays that broadcast; a number if both are."""
        if isinstance(k, (int, float)) and isinstance(z, (int, float)):
            ln_k_value = math.log(self._number_inside(name, "k", k))
            return math.exp(self._spline(name, self._number_inside(name, "z", z))(ln_k_value))
        wavenumbers = self._inside(name, "k", np.asarray(k, float))
        redshifts = self._inside(name, "z", np.asarray(z, float))
        ln_k, each = np.broadcast_arrays(np.log(wavenumbers), redshifts)
        distinct = np.unique(redshifts)
        self._computed(name, distinct.tolist())
        out = np.empty(ln_k.shape)
        for value in distinct:
            here = each == value
            out[here] = np.exp(self._spline(name, float(value))(ln_k[here]))
        return out if out.ndim else float(out)

    def _inside(self, name: str, axis: str, values: Array) -> Array:
        low, high = self._range(name, axis)
        slack = 1 - _ROUND_OFF, 1 + _ROUND_OFF
        good = (values >= low * slack[0]) & (values <= high * slack[1])
        if not good.all():
            raise self._beyond(name, axis, values[~good].flat[0])
        return np.clip(values, low, high)

    def _number_inside(self, name: str, axis: str, value: float) -> float:
        low, high = self._range(name, axis)
        if low <= value <= high:
            return float(value)
        return float(self._inside(name, axis, np.array([value]))[0])

    def _range(self, name: str, axis: str) -> tuple[float, float]:
        found = self._ranges.get((name, axis))
        if found is None:
            native = self.axis(name, axis)
            found = self._ranges[name, axis] = (float(native[0]), float(native[-1]))
        return found

    def _beyond(self, name: str, axis: str, value: float) -> ArgumentError:
        low, high = self._range(name, axis)
        return ArgumentError(f"{name}: {axis} = {value:g}; the emulator has {low:g} to {high:g}")

    def _computed(self, name: str, wanted: Sequence[float]) -> dict[float, Any]:
        """z -> number, or array over k; at least of those that are wanted."""
        if name not in self._at:
            native = self.axis(name, "z").tolist()
            self._at[name] = dict(zip(native, np.moveaxis(self.values[name], -1, 0), strict=True))
        at = self._at[name]
        self._asked.setdefault(name, {}).update(dict.fromkeys(wanted))
        missing = [value for value in wanted if value not in at]
        if missing:
            before = self._before.get(name, {})
            if any(value in before for value in missing):
                missing += [value for value in before if value not in at]
            z = np.unique(missing)
            at.update(zip(z.tolist(), np.moveaxis(self._evaluate(name, {"z": z}), -1, 0), strict=True))
        return at

    def _evaluate(self, name: str, axes: dict[str, Array]) -> Array:
        if self.source == "emulator":
            bound = self.emulator._bind(tuple(self.params), [name], axes)
            values, outside = bound.query.evaluate(np.array([list(self.params.values())], float))
            if outside:
                raise self.emulator._outside(outside[0], 1)
            return np.asarray(values.reshape(bound.parts[0].shape))
        native, values = self.axis(name, "z"), self.values[name]
        if values.ndim == 1:
            return np.asarray(CubicSpline(native, values)(axes["z"]))
        return np.asarray(np.exp(CubicSpline(native, np.log(values), axis=-1)(axes["z"])))

    def _spline(self, name: str, z: float) -> Any:
        """ln P of ln k at one redshift."""
        splines = self._splines.setdefault(name, {})
        if z not in splines:
            at = self._computed(name, [z])
            if not self._logarithmic(name):
                return lambda ln_k: self._log_power(name, ln_k, z)
            asked = {z: None, **self._asked[name], **self._before.get(name, {})}
            ready = [value for value in asked if value in at and value not in splines]
            ln_k = np.log(self.axis(name, "k"))
            table = CubicSpline(ln_k, np.log(np.stack([at[value] for value in ready], axis=-1)))
            for i, value in enumerate(ready):
                splines[value] = PPoly.construct_fast(np.ascontiguousarray(table.c[:, :, i]), ln_k)
        return splines[z]

    def _log_power(self, name: str, ln_k: Any, z: float) -> Any:
        distinct, inverse = np.unique(np.exp(ln_k), return_inverse=True)
        k = np.clip(distinct, *self.axis(name, "k")[[0, -1]])
        return np.log(self._evaluate(name, {"k": k, "z": np.array([z])})[:, 0])[
            inverse.reshape(np.shape(ln_k))
        ]

    def _logarithmic(self, name: str) -> bool:
        """Whether all that is interpolated is a logarithm, at the native k, over ln k."""
        if self.source != "emulator":
            return True
        output = next(output for output in self.emulator.info["outputs"] if output["name"] == name)
        kinds = {transform["type"] for transform in output["point_transforms"]}
        others = [other for t in output["point_transforms"] for other in t.get("other", ())]
        return (
            "log" in kinds <= {"log", "amplitude", "tilt", "background", "ratio"}
            and output["axes"][0]["coordinate"] == "log"
            and [bool(segment["knots"]) for segment in output["segments"]] == [False]
            and all(map(self._logarithmic, others))
        )
