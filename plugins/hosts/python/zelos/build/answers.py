# SPDX-License-Identifier: BSD-3-Clause
"""Answers of the real code in a run, from its cache, as training runs of a spec."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _core
from ..real_code import Answer
from .plan import Plan
from .runs import point_hash
from .training import shapes

Array = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

#: One answer in so many is held out. Which, its parameters decide: it stays so in all versions of an
#: emulator.
HELD_OUT = 5
#: Of them that have to be inside its region for an emulator to be judged.
LEAST_HELD_OUT = 4
#: Answers further from the others than this, in their standard deviations and for one parameter, are on the
#: way to the posterior rather than in it; it grows with the square root of the number of parameters.
STRAY = 3.0


class Unfit(Exception):
    """An answer that is no run of the spec: the message says why."""


@dataclass
class Runs:
    """Runs of a spec: parameters (n, d), output -> array (n, ...)."""

    points: Array
    arrays: dict[str, Array]
    left_out: Counter[str] = field(default_factory=Counter)
    """Why answers of the cache are not among them -> how many."""

    def __len__(self) -> int:
        return len(self.points)

    def take(self, chosen: Any) -> Runs:
        return Runs(
            self.points[chosen], {name: values[chosen] for name, values in self.arrays.items()}, self.left_out
        )

    def __add__(self, other: Runs) -> Runs:
        return Runs(
            np.concatenate([self.points, other.points]),
            {name: np.concatenate([values, other.arrays[name]]) for name, values in self.arrays.items()},
            self.left_out + other.left_out,
        )

    def is_held_out(self) -> Mask:
        return np.array([int(point_hash(point)[:8], 16) % HELD_OUT == 0 for point in self.points], bool)


def as_runs(plan: Plan, answers: Iterable[Answer], provenance: Mapping[str, Any]) -> Runs:
    """The answers that are runs of the spec, each point once; what they do not have (a scalar that no output
    needs) is NaN.

    provenance: of an emulator of the same code, version and settings.
    """
    expected = shapes(plan)
    points: dict[str, Array] = {}
    rows: list[dict[str, Array]] = []
    left_out: Counter[str] = Counter()
    for answer in answers:
        try:
            _check_code(answer, provenance)
            point, row = _parameters(plan, answer), _outputs(plan, answer)
        except Unfit as error:
            left_out[str(error)] += 1
            continue
        key = point_hash(point)
        if key not in points:
            points[key] = point
            rows.append(row)
    # Neither the order of files nor that of a run's steps is that of the points' hashes.
    order = sorted(range(len(rows)), key=list(points).__getitem__)
    table = np.array(list(points.values())).reshape(len(rows), len(plan.names))
    arrays = {
        name: np.array([rows[i][name] for i in order]).reshape(len(rows), *shape)
        for name, shape in expected.items()
    }
    return Runs(table[order], arrays, left_out)


def _check_code(answer: Answer, provenance: Mapping[str, Any]) -> None:
    for what, found, wanted in (
        ("code", answer.code, provenance.get("code")),
        ("version", answer.version, provenance.get("code_version")),
    ):
        if found != wanted:
            raise Unfit(f"{what} {found}, not {wanted}")
    if answer.settings_sha256 != provenance.get("settings_sha256"):
        raise Unfit("other settings")


def _parameters(plan: Plan, answer: Answer) -> Array:
    """Canonical parameters; what the code solved for is among its scalars."""
    given = dict(answer.parameters)
    for name, value in plan.data["config"]["fixed"].items():
        told = _take(given, name)
        if told is not None and not math.isclose(told, value, rel_tol=1e-12, abs_tol=1e-12):
            raise Unfit(f"{name} = {told:g}, not {value:g}")
    scalars = _scalars(plan, answer)
    point = []
    for name in plan.names:
        value = _take(given, name)
        value = scalars.get(name) if value is None else value
        if value is None or not math.isfinite(value):
            raise Unfit(f"no value of {name}")
        point.append(value)
    solved_for = plan.driver_class.derived
    unknown = [name for name in given if name not in solved_for and not _neutral(plan, name, given[name])]
    if unknown:
        raise Unfit(f"a parameter that the emulator does not know: {unknown[0]}")
    return np.array(point)


def _take(given: dict[str, float], name: str) -> float | None:
    """Takes a parameter out, whatever its name there."""
    for other in (name, *_core.synonyms(name)):
        if other in given:
            value = given.pop(other)
            return value if other == name else float(_core.convert(value, other, name))
    return None


def _neutral(plan: Plan, name: str, value: float) -> bool:
    neutral: Mapping[str, float] = getattr(plan.driver_class, "neutral", {})
    return name in neutral and math.isclose(value, neutral[name], abs_tol=1e-12)


def _scalars(plan: Plan, answer: Answer) -> dict[str, float]:
    """By the driver's names."""
    synonyms = plan.driver_class.synonyms
    found: dict[str, float] = {}
    for output in answer.outputs.values():
        for labels in output.labels.values():
            names = [synonyms.get(label, label) for label in labels]
            found.update(zip(names, output.values.tolist(), strict=True))
    return found


def _outputs(plan: Plan, answer: Answer) -> dict[str, Array]:
    row = {}
    for output in plan.outputs:
        kept = answer.outputs.get(output.name) or answer.outputs.get(output.canonical)
        if kept is None:
            raise Unfit(f"no {output.name}")
        values = kept.values
        for dimension, (axis, wanted) in enumerate(output.axes.items()):
            have = kept.axes.get(axis, np.empty(0))
            index = np.minimum(np.searchsorted(have, wanted), max(0, len(have) - 1))
            if not len(have) or not np.array_equal(have[index], wanted):
                raise Unfit(f"{output.name} on another axis {axis}")
            values = np.take(values, index, axis=dimension)
        row[output.canonical] = values
    known = list(plan.driver_class.derived)
    if known:
        scalars = _scalars(plan, answer)
        row["derived"] = np.array([scalars.get(name, np.nan) for name in known])
    for name, values in row.items():
        if name != "derived" and not np.isfinite(values).all():
            raise Unfit(f"{name} is not finite")
    return row


def not_stray(points: Array) -> Mask:
    """Mask of the points that belong to the bulk. The others, such as those of a chain on its way, would make
    an ellipsoid around all of them that is empty for the most part."""
    n, d = points.shape
    kept: Mask = np.ones(n, bool)
    if n < 3 * (d + 1):
        return kept
    # From the half that is nearest to the medians outwards.
    spread = np.median(np.abs(points - np.median(points, axis=0)), axis=0)
    distance = np.sum(((points - np.median(points, axis=0)) / np.where(spread > 0, spread, 1)) ** 2, axis=1)
    kept = distance <= np.median(distance)
    for _ in range(50):
        offset = points - points[kept].mean(axis=0)
        covariance = np.atleast_2d(np.cov(points[kept].T))
        distance = np.sqrt(np.sum(offset * np.linalg.solve(covariance, offset.T).T, axis=1))
        new = distance <= STRAY * math.sqrt(d)
        if np.array_equal(new, kept):
            break
        kept = new
    return kept


def beside_steps(plan: Plan, points: Array) -> Mask:
    """Mask of the training points without those that are the few on one side of a step of the spec: a jump
    can't be learnt from a handful, and the training (`add_step` in train.cpp) refuses so few. It ends its
    region where there are none."""
    kept: Mask = np.ones(len(points), bool)
    for options in plan.data["features"].values():
        if "step" in options:
            above = points[:, plan.names.index(options["of"][0])] > options["step"]
            n = int((above & kept).sum())
            if min(n, int(kept.sum()) - n) < 2 * (len(plan.names) + 1):
                kept &= above == (2 * n > int(kept.sum()))
    return kept
