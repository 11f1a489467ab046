# SPDX-License-Identifier: BSD-3-Clause
"""``zelos extend``: a new version of an emulator, from what the real code answered where it could not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..emulator import Emulator
from ..errors import ArgumentError, Error
from ..hub import get_emulator
from ..real_code import read_cache, seconds_per_run
from . import provenance, validate
from .answers import HELD_OUT, LEAST_HELD_OUT, Runs, as_runs, beside_steps, not_stray
from .plan import Plan, overridden, plan_of
from .progress import Console
from .runs import RunStore, load_set
from .stages import Build, Options
from .training import shapes

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Source:
    """What an extension stands on: the text of a spec with its overrides, and the provenance of an emulator
    of the same code and settings."""

    text: str
    label: str
    """For messages, and the place of what the spec names."""
    overrides: tuple[str, ...]
    provenance: dict[str, Any]

    def plan(self, more: Sequence[str] = ()) -> Plan:
        replaced = {override.partition("=")[0] for override in more}
        kept = [entry for entry in self.overrides if entry.partition("=")[0] not in replaced]
        everything = [*kept, *more]
        # The text says already what it was overridden with.
        text = "".join(
            line for line in self.text.splitlines(keepends=True) if not line.startswith("# --set ")
        )
        spec = overridden(text, self.label, everything) if everything else _core.parse_spec(text, self.label)
        return plan_of(spec)


def identity(emulator: Emulator) -> dict[str, str]:
    return {"name": emulator.name, "version": emulator.version, "id": emulator.id}


def source_of(emulator: Emulator, label: str) -> Source:
    info = emulator.info
    record = info.get("provenance") or {}
    if not info.get("spec") or not record.get("settings_sha256"):
        raise ArgumentError(f"{label}: the artifact has no spec or no provenance: there is nothing to extend")
    if record.get("ini"):
        raise ArgumentError(f"{label}: built with a settings file of the code (config.ini): not extended yet")
    return Source(info["spec"], label, tuple(record.get("overrides", ())), record)


def grown_ranges(plan: Plan, points: Array) -> list[str]:
    """Overrides that make the ranges of the parameters hold all points."""
    overrides = []
    for j, parameter in enumerate(plan.data["parameters"]):
        low, high = parameter["range"]
        grown = [min(low, float(points[:, j].min())), max(high, float(points[:, j].max()))]
        if grown != [low, high]:
            entry = {"range": grown, "latex": parameter["latex"], "unit": parameter["unit"]}
            text = json.dumps({key: value for key, value in entry.items() if value})
            overrides.append(f"parameters.{parameter['name']}={text}")
    return overrides


def region_of_answers(plan: Plan) -> str:
    """The override that makes the region an ellipsoid around the training points."""
    return _region({**plan.data["region"], "hull": "ellipsoid", "box": None})


def region_of_both(plan: Plan) -> str:
    """The override that makes the region hold the old one and the answers."""
    region = dict(plan.data["region"])
    if region["hull"] == "box":
        box = {p["name"]: p["range"] for p in plan.data["parameters"]}
        region |= {"hull": "convex", "box": box}
    return _region(region)


def _region(region: dict[str, Any]) -> str:
    return f"region={json.dumps({key: value for key, value in region.items() if value is not None})}"


class Extension(Build):
    """A build whose runs are there: the stages are those of `Build`.

    parent:    the emulator that the new one is compared with; None: none.
    archive:   the archive's name (default: NAME.tar.gz).
    n_design:  how many of the training runs are of a design.
    named:     what the provenance names as its parent (default: `parent`).
    """

    def __init__(
        self,
        plan: Plan,
        options: Options,
        console: Console,
        source: Source,
        training: Runs,
        held_out: Runs,
        parent: Emulator | None = None,
        archive: str = "",
        n_design: int = 0,
        named: dict[str, str] | None = None,
    ) -> None:
        super().__init__(plan, options, console)
        self._counts = {"runs": n_design, "answers": len(training) - n_design}
        self._source = source
        self._sets = {"training": training, "validation": held_out}
        self._parent = parent
        self._named = named if named is not None or parent is None else identity(parent)
        self._archive = archive
        record = source.provenance
        self._build_of_the_code = f"{record.get('code_version')} {record.get('library_sha256')}"

    def run(self) -> int:
        """Returns 0, or 2 if an accuracy target is missed."""
        self.train()
        self.validate()
        if self.options.last == "validate":
            return 2 if self.target_missed else 0
        self.report()
        self._summary()
        self.compare()
        self.console.say(f"Exporting emulator to {self.archive}")
        self.export()
        return 2 if self.target_missed else 0

    @property
    def archive(self) -> Path:
        return self.options.out / (self._archive or f"{self.plan.name}.tar.gz")

    def _set(self, role: str) -> tuple[Array, dict[str, Array], list[dict[str, Any]], float]:
        runs = self._sets[role]
        return runs.points, runs.arrays, [], len(runs) * (seconds_per_run(self._source.provenance) or 0.0)

    def _provenance(self, training_set: str, failed: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
        return provenance.extended(
            self.plan,
            self._source.provenance,
            training_set,
            len(self._sets["validation"]),
            dict(self._sets["training"].left_out),
            seconds,
            self._counts,
            self._named,
        )

    def before(self) -> dict[str, Any]:
        """The parent's accuracy on the same held-out runs."""
        assert self._parent is not None
        held_out = self._sets["validation"]
        return validate.measure(self.plan, self._parent, held_out.points, held_out.arrays).summary

    def compare(self) -> None:
        """Prints the accuracy before and after, on runs that neither was trained on."""
        if self._parent is None:
            return
        before, after = self.before(), self.accuracy.summary
        say = self.console.say
        say(f"{'On the same ' + str(after['held_out']) + ' held-out runs':52s}    before     after")
        say(f"{'  inside the region':52s}{before['inside']:10d}{after['inside']:10d}")
        old, new = _figures(before), _figures(after)
        for title in dict.fromkeys([*new, *old]):
            numbers = (f"{found[title]:10.2g}" if title in found else f"{'-':>10s}" for found in (old, new))
            say(f"{'  ' + title:52s}{''.join(numbers)}")


def _figures(summary: dict[str, Any]) -> dict[str, float]:
    found = {}
    for entry in summary.get("delta_chi2", {}).values():
        found[f"delta chi2 {entry['spectra']}, ell <= {entry['lmax']}: 95 %"] = entry["p95"]
    for name, entry in summary["outputs"].items():
        if "relative" in entry:
            found[f"{name}, relative error: 95 %"] = entry["relative"]["p95"]
    for name, entry in summary["derived"].items():
        found[f"{name}, relative error: 95 %"] = entry["p95"]
    return found


def next_version(version: str) -> str:
    """1.0.0 -> 1.0.1; what ends in no number gets one."""
    head, dot, last = version.rpartition(".")
    return f"{head}{dot}{int(last) + 1}" if last.isdigit() else f"{version}.1"


# --- the command


def command(arguments: argparse.Namespace) -> int:
    """Returns 0, or 2 if an accuracy target of the spec is missed. Raises Error."""
    console = Console(quiet=arguments.quiet)
    parent = get_emulator(arguments.emulator)
    source = source_of(parent, str(arguments.emulator))
    base = source.plan()
    out = Path(arguments.out)
    work = Path(arguments.work) if arguments.work else out / f"{base.name}.extend"
    answers = _read(base, source, arguments.caches, console)
    runs = None if arguments.alone else _runs_of(base, source, arguments, work, console)
    if runs is None and not arguments.alone:
        console.say(
            f"The training runs of {parent.name} are not here, so the new emulator learns from the answers "
            "alone, and stands beside it. (--runs FOLDER: where they are; --rerun: make them again)"
        )
    options = Options(out=out, work=work, jobs=arguments.jobs, learning_curve=False)
    kept = answers.take(not_stray(answers.points))
    if len(kept) < len(answers):
        console.say(f"{len(answers) - len(kept)} answers are far from all others, and not used")
    held_out = kept.is_held_out()
    training, validation = kept.take(~held_out), kept.take(held_out)
    if len(training) < len(base.names) + 2 or not len(validation):
        raise Error(
            f"{len(kept)} answers: too few to learn from (one in {HELD_OUT} is held out to test the new "
            f"emulator; at least {len(base.names) + 2} others are needed)"
        )
    changes = [f"version={arguments.version or next_version(str(base.data['version']))}"]
    if runs is None:
        changes += [f"name={learnt_name(base.name)}", region_of_answers(base)]
    else:
        changes += [region_of_both(base)]
        training, validation = runs[0] + training, runs[1] + validation
    few = len(training)
    training = training.take(beside_steps(base, training.points))
    if len(training) < few:
        console.say(f"{few - len(training)} answers beyond a step of the spec: too few to learn from there")
    plan = source.plan([*grown_ranges(base, kept.points), *changes])
    archive = f"{plan.name}-{plan.data['version']}.tar.gz"
    n_design = len(runs[0]) if runs is not None else 0
    extension = Extension(
        plan, options, console, source, training, validation, parent, archive, n_design,
    )  # fmt: skip
    status = extension.run()
    inside, tested = (extension.accuracy.summary[key] for key in ("inside", "held_out"))
    if inside < LEAST_HELD_OUT:
        console.warn(
            f"{inside} of {tested} held-out answers inside the region, {LEAST_HELD_OUT} are needed to judge "
            "an emulator: its accuracy is not known; extend from more answers before you use it"
        )
    elif runs is None:
        console.say(
            f"Use both, as a list: the first whose region holds a point answers it: "
            f"[{arguments.emulator}, {out / archive}]"
        )
    return status


def learnt_name(name: str) -> str:
    return name if name.endswith("_learnt") else f"{name}_learnt"


def _read(plan: Plan, source: Source, caches: Sequence[str], console: Console) -> Runs:
    with console.step("Reading answers"):
        found = [answer for folder in caches for answer in read_cache(folder)]
        answers = as_runs(plan, found, source.provenance)
    for reason, count in answers.left_out.most_common():
        console.say(f"{count} of {len(found)} answers are left out: {reason}")
    if not len(answers):
        raise Error(f"{', '.join(caches)}: no answers that {source.label} could learn from")
    return answers


def _runs_of(
    plan: Plan, source: Source, arguments: argparse.Namespace, work: Path, console: Console
) -> tuple[Runs, Runs] | None:
    """The training runs of the parent and those that were held out."""
    if arguments.rerun:
        build = Build(
            plan, Options(out=work, work=work / "parent", jobs=arguments.jobs, last="runs"), console
        )
        build.run()
        places = [build.store.folder]
    elif arguments.runs:
        places = [Path(arguments.runs)]
    else:
        path = Path(arguments.emulator)
        places = [path.parent / f"{plan.name}.build", path.parent.parent]
    record = source.provenance
    key = plan.runs_key(f"{record.get('code_version')} {record.get('library_sha256')}")
    for place in places:
        for folder in (place / "runs" / key, place):
            if (folder / "store.json").is_file() and folder.name == key:
                return _load(plan, folder, "training"), _load(plan, folder, "validation")
    if arguments.runs or arguments.rerun:
        raise Error(f"{places[0]}: no runs of {source.label} (a folder 'runs/{key}' or '{key}' is expected)")
    return None


def _load(plan: Plan, folder: Path, role: str) -> Runs:
    points, arrays, _, _ = load_set(plan.design(role), plan.wanted(role), RunStore(folder), shapes(plan))
    return Runs(points, arrays)
