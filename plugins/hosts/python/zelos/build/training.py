# SPDX-License-Identifier: BSD-3-Clause
"""Hands the runs to the core and gets an artifact back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from .plan import Plan

Array = np.ndarray[Any, np.dtype[np.float64]]


def core_outputs(plan: Plan, arrays: dict[str, Array]) -> list[dict[str, Any]]:
    """The outputs in the form of `_core.train`; all scalars of the driver are there, since features may
    need them."""
    entries = []
    for output in plan.outputs:
        entries.append(
            {
                "name": output.name,
                "unit": output.kind.unit,
                "axis_names": list(output.axes),
                "axis_units": [unit for _, unit in output.kind.axes],
                "axes": [axis.tolist() for axis in output.axes.values()],
                "labels": [],
                "label_units": [],
                "values": arrays[output.canonical],
            }
        )
    if "derived" in arrays:
        labels, values = _all_derived(plan, arrays["derived"])
        units = plan.driver_class.derived
        synonyms = dict(plan.derived)
        entries.append(
            {
                "name": "derived",
                "unit": "",
                "axis_names": ["name"],
                "axis_units": [""],
                "axes": [[float(i) for i in range(len(labels))]],
                "labels": labels,
                "label_units": [units[synonyms.get(label, label)] for label in labels],
                "values": values,
            }
        )
    return entries


def _all_derived(plan: Plan, values: Array) -> tuple[list[str], Array]:
    """Labels and columns under the driver's names, then under the spec's where these are synonyms."""
    known = list(plan.driver_class.derived)
    extra = [(name, canonical) for name, canonical in plan.derived if name != canonical]
    columns = [*range(len(known)), *(known.index(canonical) for _, canonical in extra)]
    return [*known, *(name for name, _ in extra)], np.ascontiguousarray(values[:, columns])


def chosen_derived(plan: Plan, values: Array) -> Array:
    """Columns of the driver's "derived" that the spec lists, in its order."""
    known = list(plan.driver_class.derived)
    return np.ascontiguousarray(values[:, [known.index(canonical) for _, canonical in plan.derived]])


def shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Shape of each array of a run."""
    result: dict[str, tuple[int, ...]] = {
        output.canonical: tuple(len(axis) for axis in output.axes.values()) for output in plan.outputs
    }
    if plan.driver_class.derived:
        result["derived"] = (len(plan.driver_class.derived),)
    return result


def train(
    plan: Plan,
    points: Array,
    arrays: dict[str, Array],
    artifact: Path,
    checkpoints: Path | None,
    provenance: dict[str, Any],
    threads: int,
    progress: Callable[[str, float, str], bool],
) -> None:
    artifact.parent.mkdir(parents=True, exist_ok=True)
    if checkpoints is not None:
        checkpoints.mkdir(parents=True, exist_ok=True)
    _core.train(
        plan.spec,
        np.ascontiguousarray(points),
        core_outputs(plan, arrays),
        str(artifact),
        checkpoint_folder="" if checkpoints is None else str(checkpoints),
        provenance=json.dumps(provenance, sort_keys=True),
        n_threads=threads,
        progress=progress,
    )
