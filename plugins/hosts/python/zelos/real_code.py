# SPDX-License-Identifier: BSD-3-Clause
"""The real code in the emulator's place. The core does the work, as for every host; here are Python's
defaults and exceptions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _core
from .errors import ArgumentError, Error, FallbackError

Array = np.ndarray[Any, np.dtype[np.float64]]


class RealCode:
    """Answers the queries of an emulator with its real code.

    code:            ``"camb"``, ``"classy"``, the name or the path of a fallback plugin.
    version_policy:  None: FallbackError if the code's version or settings differ from those of the training
                     runs; the message says what differs. ``"any"``: `differences` says it.
    options:         for the plugin. Those of the codes in Python: ``workers`` (processes), ``threads`` (of
                     each), ``timeout`` (seconds a run), ``retries`` (after a worker died, hung or gave
                     NaN), ``python``, ``environment``, ``grid`` (a library of runs in the code's place).
    cache:           folder in which answers are kept and looked for; FallbackError with ``grid``: what is
                     interpolated would be taken for the code's answers.
    """

    def __init__(
        self,
        code: str | os.PathLike[str],
        emulator: _core.Emulator,
        version_policy: str | None = None,
        options: Mapping[str, Any] | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        if version_policy not in (None, "any"):
            raise ArgumentError(f"fallback_version '{version_policy}': expected None or 'any'")
        given = dict(options or {})
        self._at_once = given.get("workers", 1)
        # The workers find what this process finds.
        here = {
            "python": sys.executable,
            "environment": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        }
        try:
            self._core = _core.Fallback(
                emulator,
                os.fspath(code),
                json.dumps(given),
                {"python": json.dumps(here)},
                version_policy == "any",
                "" if cache is None else os.fspath(cache),
            )
        except Error as error:
            hint = ""
            if "is not the code that" in str(error):
                hint = "; pass fallback_version='any' to use it all the same"
            raise FallbackError(f"{error}{hint}") from error
        self.code = self._core.code
        self.version = self._core.version
        self.differences = self._core.differences

    @property
    def statistics(self) -> dict[str, Any]:
        """points, runs, from_cache, repeated, failed, seconds, reasons, last_failure, cache_failure."""
        return self._core.statistics()

    def evaluate(
        self, query: _core.Query, points: Array, verdicts: Sequence[_core.Verdict]
    ) -> Iterator[Array]:
        """The answer at each point, in their order; several workers take several points at once. Raises
        FallbackError."""
        if len(points) == 1 or self._at_once == 1:
            for point, verdict in zip(points, verdicts, strict=True):
                yield self.at(query, point, verdict)[0]
            return
        with ThreadPoolExecutor(self._at_once) as pool:
            yield from pool.map(lambda pair: self.at(query, *pair)[0], zip(points, verdicts, strict=True))

    def at(self, query: _core.Query, point: Array, verdict: _core.Verdict) -> tuple[Array, Array]:
        """The answer at one point, and its canonical parameters, NaN for those that the code solved for and
        does not give. Raises FallbackError."""
        try:
            return self._core.evaluate(query, point, verdict)
        except Error as error:
            raise FallbackError(str(error)) from error


def seconds_per_run(provenance: Mapping[str, Any]) -> float | None:
    """What a training run of the code cost, from an emulator's provenance; None if that does not say."""
    total = (provenance.get("cost") or {}).get("run_seconds")
    runs = (provenance.get("training_set") or {}).get("n")
    return float(total / runs) if total and runs else None


@dataclass(frozen=True)
class Answer:
    """What a real code computed at one point, as a cache holds it."""

    code: str
    version: str
    settings_sha256: str
    parameters: dict[str, float]
    outputs: dict[str, CachedOutput]


@dataclass(frozen=True)
class CachedOutput:
    """An array over its axes; a labelled axis has names in `labels`."""

    values: Array
    unit: str
    axes: dict[str, Array]
    labels: dict[str, list[str]] = field(default_factory=dict)
    label_units: list[str] = field(default_factory=list)


def read_cache(folder: str | os.PathLike[str]) -> list[Answer]:
    """All answers in a cache folder; what is damaged or half written is left out. Raises FileError."""
    found: list[Answer] = []

    def visit(entry: dict[str, Any]) -> None:
        outputs = {name: CachedOutput(**output) for name, output in entry.pop("outputs").items()}
        found.append(Answer(**entry, outputs=outputs))

    _core.visit_cache(os.fspath(folder), visit)
    return found
