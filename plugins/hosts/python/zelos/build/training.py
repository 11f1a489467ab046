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
    """The outputs in the form of `_core.train`."""
    values = {output.name: arrays[output.canonical] for output in plan.outputs}
    entries = plan.described_outputs()
    if "derived" in arrays:
        entries[-1], values["derived"] = _known_derived(plan, entries[-1], arrays["derived"])
    return [{**entry, "values": values[entry["name"]]} for entry in entries]


def _known_derived(plan: Plan, entry: dict[str, Any], values: Array) -> tuple[dict[str, Any], Array]:
    """Columns of `Plan.derived_labels`, but for those that are NaN in all runs: a cache of answers holds what
    the emulator has, and not all that its code gives."""
    known = list(plan.driver_class.derived)
    synonyms = dict(plan.derived)
    columns = values[:, [known.index(synonyms.get(label, label)) for label in plan.derived_labels]]
    kept = [i for i in range(columns.shape[1]) if not np.isnan(columns[:, i]).all()]
    entry = {
        **entry,
        "axes": [[float(i) for i in range(len(kept))]],
        "labels": [entry["labels"][i] for i in kept],
        "label_units": [entry["label_units"][i] for i in kept],
    }
    return entry, np.ascontiguousarray(columns[:, kept])


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
