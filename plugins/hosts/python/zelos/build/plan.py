# SPDX-License-Identifier: BSD-3-Clause
"""A spec, resolved against the driver of its code: what is run, where, with which settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..errors import ArgumentError, FileError, MissingError, SpecError
from ..fallback import driver as drivers
from .design import VALIDATION_SEED_OFFSET, Design

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class PlannedOutput:
    name: str
    """As in the spec and in the artifact."""
    canonical: str
    """The driver's name."""
    axes: dict[str, Array]
    kind: drivers.Kind


@dataclass
class Plan:
    spec: _core.Spec
    data: dict[str, Any]
    """The spec's canonical JSON."""
    driver_class: type[drivers.Driver]
    outputs: list[PlannedOutput]
    derived: list[tuple[str, str]]
    """(name in the spec, driver's name)."""
    names: list[str] = field(default_factory=list)
    lower: Array = field(default_factory=lambda: np.empty(0))
    upper: Array = field(default_factory=lambda: np.empty(0))

    @property
    def name(self) -> str:
        return str(self.data["name"])

    @property
    def code(self) -> str:
        return str(self.data["config"]["code"])

    @property
    def config(self) -> dict[str, Any]:
        """What the driver is given."""
        config = self.data["config"]
        merged = {**config["extra_args"], **config["fixed"]}
        if config.get("ini"):
            merged["ini"] = str(self._ini_path())
        return merged

    @property
    def driver_outputs(self) -> dict[str, dict[str, Array]]:
        axes = {output.canonical: output.axes for output in self.outputs}
        return {**axes, "derived": {}} if self.driver_class.derived else axes

    @property
    def centre(self) -> dict[str, float]:
        return dict(zip(self.names, (0.5 * (self.lower + self.upper)).tolist(), strict=True))

    @property
    def n_values(self) -> int:
        """Numbers in the result of one run."""
        sizes = [int(np.prod([len(axis) for axis in output.axes.values()])) for output in self.outputs]
        return sum(sizes) + len(self.driver_class.derived)

    @property
    def derived_labels(self) -> list[str]:
        """All scalars of the driver, since features may need them, then the spec's synonyms of them."""
        known = list(self.driver_class.derived)
        return [*known, *(name for name, canonical in self.derived if name != canonical)]

    def described_outputs(self) -> list[dict[str, Any]]:
        """What the runs will hold, in the form of `_core.train` but for the values."""
        entries: list[dict[str, Any]] = [
            {
                "name": output.name,
                "unit": output.kind.unit,
                "axis_names": list(output.axes),
                "axis_units": [unit for _, unit in output.kind.axes],
                "axes": [axis.tolist() for axis in output.axes.values()],
                "labels": [],
                "label_units": [],
            }
            for output in self.outputs
        ]
        labels = self.derived_labels
        if labels:
            units, synonyms = self.driver_class.derived, dict(self.derived)
            entries.append(
                {
                    "name": "derived",
                    "unit": "",
                    "axis_names": ["name"],
                    "axis_units": [""],
                    "axes": [[float(i) for i in range(len(labels))]],
                    "labels": labels,
                    "label_units": [units[synonyms.get(label, label)] for label in labels],
                }
            )
        return entries

    def place(self, word: str) -> str:
        """``file:line`` of the first line of the spec that has the word."""
        return _place(self.spec, word)

    def make_driver(self) -> drivers.Driver:
        return self.driver_class(self.config, self.driver_outputs)

    def design(self, role: str) -> Design:
        """role: "training" (margin and hull of the spec) or "validation" (the box itself)."""
        training = self.data["training"]
        # Where the code refuses points of the box, what it answers makes a convex region.
        hull = "box" if training["hull"] == "convex" else training["hull"]
        if role == "training":
            return Design(
                training["design"], self.lower, self.upper, training["seed"], training["n"],
                training["margin"], hull, self.limits,
            )  # fmt: skip
        return Design(
            training["design"], self.lower, self.upper, training["seed"] + VALIDATION_SEED_OFFSET,
            training["validation"], 0.0, hull, self.limits,
        )  # fmt: skip

    @property
    def limits(self) -> list[tuple[Array, float, float]]:
        """Linear combinations of the parameters that the design keeps to: coefficients (d), lower, upper."""
        found = []
        for limit in self.data["limits"]:
            given = dict(zip(limit["of"], limit["coefficients"], strict=True))
            found.append((np.array([given.get(name, 0.0) for name in self.names]), *limit["range"]))
        return found

    def wanted(self, role: str) -> int:
        return int(self.data["training"]["n" if role == "training" else "validation"])

    def runs_key(self, code: str) -> str:
        """Names the folder of runs: equal key, equal results of the code.

        code: what tells builds of the code apart (version, hash of its library). The order of the parameters
        and the axes as the driver resolved them belong to the key too: runs are found by the numbers of
        their point alone, and hold numbers alone.
        """
        parts = {
            "spec": self.spec.stage_key("runs"),
            "code": code,
            "ini": self._ini_hash(),
            "parameters": self.names,
            "axes": {
                output.canonical: {name: list(values) for name, values in output.axes.items()}
                for output in self.outputs
            },
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def train_key(self, code: str, training_set: str) -> str:
        """Names the folder of an artifact, which holds the spec: equal key, equal spec but for comments, so
        that its name, version and description are always those that were asked for."""
        spec = {**self.data, "training": {**self.data["training"], "threads": None}}
        parts = {
            "spec": spec,
            "overrides": list(self.spec.overrides),
            "runs": self.runs_key(code),
            "set": training_set,
            "zelos": _core.version(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _ini_path(self) -> Path:
        path = Path(self.data["config"]["ini"])
        return path if path.is_absolute() else Path(self.spec.file_name).parent / path

    def _ini_hash(self) -> str:
        if not self.data["config"].get("ini"):
            return ""
        return hashlib.sha256(self._ini_path().read_bytes()).hexdigest()


def make_plan(path: str, overrides: Sequence[str] = ()) -> Plan:
    """Reads a spec and checks it against its driver. Raises SpecError, FileError, MissingError."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"{path}: can't read the spec: {error.strerror}") from None
    if overrides:
        return plan_of(overridden(text.decode("utf-8", "surrogateescape"), path, overrides))
    return plan_of(_core.read_spec(path))


def overridden(text: str, path: str, overrides: Sequence[str]) -> _core.Spec:
    """A spec with overrides. Its text, which goes into artifact and archive, says that it is not the whole
    truth."""
    text += "" if text.endswith("\n") or not text else "\n"
    text += "".join(f"# --set {' '.join(override.split())}\n" for override in overrides)
    return _core.parse_spec(text, path, list(overrides))


def plan_of(spec: _core.Spec) -> Plan:
    """Checks a spec against its driver. Raises SpecError, MissingError."""
    data = json.loads(spec.json())
    code = data["config"]["code"]
    try:
        driver_class = drivers.load(code)
    except MissingError as error:
        raise SpecError(f"{_place(spec, code)}: config.code: {error}") from None
    outputs, derived = [], []
    for entry in data["outputs"]:
        if entry["name"] != "derived":
            with _located(spec, entry["name"], "outputs"):
                outputs.append(_resolve(driver_class, entry))
    for name in data["derived"]:
        with _located(spec, name, "derived"):
            derived.append((name, drivers.canonical_derived(driver_class, name)))
    twice = {
        output.canonical for output in outputs if [o.canonical for o in outputs].count(output.canonical) > 1
    }
    if twice:
        canonical = sorted(twice)[0]
        raise SpecError(f"{_place(spec, canonical)}: outputs: '{canonical}' is there under two names")
    plan = Plan(spec, data, driver_class, outputs, derived)
    plan.names = [parameter["name"] for parameter in data["parameters"]]
    plan.lower = np.array([parameter["range"][0] for parameter in data["parameters"]], float)
    plan.upper = np.array([parameter["range"][1] for parameter in data["parameters"]], float)
    if data["config"].get("ini") and not plan._ini_path().is_file():
        named = _place(spec, Path(data["config"]["ini"]).name)
        raise SpecError(f"{named}: config.ini: there is no file {plan._ini_path()}")
    plan.design("training")
    if data["region"]["hull"] == "cells":
        raise SpecError(
            f"{_place(spec, 'cells')}: region.hull: cells needs runs on a grid, which the design "
            f"'{data['training']['design']}' does not make: it is for libraries of runs that are there"
        )
    try:
        _core.check_training(spec, plan.described_outputs())
    except (ArgumentError, MissingError) as error:
        raise SpecError(f"{_place_of(spec, str(error))}: {error}") from None
    return plan


def _word(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){re.escape(word)}(?![\w.])")


def _place(spec: _core.Spec, word: str) -> str:
    """``file:line`` of the first line that has the word; the file alone if an override brought it."""
    found = _word(word)
    for number, line in enumerate(spec.text.splitlines(), start=1):
        if found.search(line.partition("#")[0]):
            return f"{spec.file_name}:{number}"
    return spec.file_name


def _place_of(spec: _core.Spec, message: str) -> str:
    """The place of the word that a message quotes: of several the one that the spec has least often."""
    words = {word: len(_word(word).findall(spec.text)) for word in re.findall(r"'([^']+)'", message)}
    there = {word: count for word, count in words.items() if count}
    return _place(spec, min(there, key=lambda word: there[word])) if there else spec.file_name


@contextlib.contextmanager
def _located(spec: _core.Spec, name: str, section: str) -> Iterator[None]:
    try:
        yield
    except ArgumentError as error:
        raise SpecError(f"{_place(spec, name)}: {section}: {error}") from None


def _resolve(driver_class: type[drivers.Driver], entry: dict[str, Any]) -> PlannedOutput:
    name = entry["name"]
    canonical = drivers.canonical_output(driver_class, name)
    kind = driver_class.kinds[canonical]
    expected = [axis for axis, _ in kind.axes]
    given = {axis["name"]: axis for axis in entry["axes"]}
    for axis in given:
        if axis not in expected:
            raise ArgumentError(f"output '{name}' has the axes {', '.join(expected)}: found '{axis}'")
    axes = {}
    for axis in expected:
        request = None
        if axis in given:
            asked = given[axis]
            request = drivers.AxisRequest(
                asked["min"], asked["max"], asked["n"], asked["spacing"], tuple(asked["values"])
            )
        axes[axis] = drivers.resolve_axis(driver_class, canonical, axis, request)
    return PlannedOutput(name, canonical, axes, kind)
