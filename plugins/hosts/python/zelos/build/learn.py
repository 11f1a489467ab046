# SPDX-License-Identifier: BSD-3-Clause
"""The process that trains an emulator which a run learns (see `zelos.learning` for the folder).

python -m zelos.build.learn prepare SPEC FOLDER     what is learnt, if there is no emulator to begin with
python -m zelos.build.learn train FOLDER ANSWERS    one training, if no other is at work
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..atomic_file import write_file
from ..emulator import Emulator, open_emulator
from ..errors import Error, FormatError
from ..learning import Attempt, count_answers
from ..real_code import read_cache
from . import validate
from .answers import LEAST_HELD_OUT, as_runs, beside_steps, not_stray
from .extend import (
    Extension,
    Source,
    grown_ranges,
    identity,
    learnt_name,
    next_version,
    region_of_answers,
    source_of,
)
from .plan import Plan, make_plan
from .progress import Console
from .stages import Build, Options

Array = np.ndarray[Any, np.dtype[np.float64]]

#: Range of each parameter, as a fraction of the spec's, in which an emulator that has learnt nothing answers.
SPECK = 1e-3
#: Keys of a spec that change neither the runs of the code nor a training.
_SAYS_NOTHING_OF_RUNS = ("accuracy", "author", "description")


# --- what is learnt


def prepare(folder: Path, spec: Path) -> None:
    """Writes learn.json and unlearnt.h5, unless they are there. Raises Error if they are of a spec that
    differs in more than what is good enough and who made it."""
    plan = make_plan(str(spec))
    _check_gate(plan, str(spec))
    with _lock(folder / "prepare.lock"):
        written = folder / "learn.json"
        digest = _digest({key: value for key, value in plan.data.items() if key not in _SAYS_NOTHING_OF_RUNS})
        if written.is_file():
            _check_same(folder, digest, str(spec))
            _take_targets(folder, plan)
            return
        derived = _derived(plan)
        build = Build(
            make_plan(str(spec), _unlearnt(plan, derived)),
            Options(out=folder, work=folder / "unlearnt", jobs=1, last="train"),
            Console(quiet=True),
        )
        build.run()
        record = json.loads(_core.open(str(build._bare)).info_json())["provenance"]
        write_file(folder / "unlearnt.h5", build._bare.read_bytes())
        source = Source(plan.spec.text, str(spec), (f"derived={json.dumps(derived)}",), record)
        _write_source(folder, source, plan, digest, plan.name)
        shutil.rmtree(folder / "unlearnt", ignore_errors=True)


def prepare_beside(folder: Path, artifact: _core.Emulator) -> None:
    """Writes learn.json for an emulator that is learnt beside another one."""
    parent = Emulator(artifact)
    source = source_of(parent, parent.name)
    plan = source.plan()
    _check_gate(plan, parent.name)
    with _lock(folder / "prepare.lock"):
        if (folder / "learn.json").is_file():
            _check_same(folder, parent.id, parent.name)
        else:
            _write_source(folder, source, plan, parent.id, learnt_name(plan.name), identity(parent))


def _check_gate(plan: Plan, label: str) -> None:
    if not plan.data["accuracy"] and plan.data["region"]["tolerance"] is None:
        raise Error(
            f"{label}: learning needs to know what is good enough: accuracy targets in the spec "
            "(accuracy: {delta_chi2.p95: 0.1}), or region: tolerance"
        )
    validate.check_names(plan)


def _check_same(folder: Path, made_of: str, label: str) -> None:
    if json.loads((folder / "learn.json").read_text())["made_of"] != made_of:
        raise Error(
            f"{folder}: learnt from something else than {label}: take another folder; to keep the answers of "
            f"the code, copy {folder / 'answers'} into it"
        )


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _take_targets(folder: Path, plan: Plan) -> None:
    """Of the spec, if its targets are new: the versions so far were judged by others, so that learning begins
    again, with the answers that there are. Waits for a trainer only then."""
    content = json.loads((folder / "learn.json").read_text())
    source = Source(content["text"], content["label"], tuple(content["overrides"]), content["provenance"])
    if source.plan().data["accuracy"] == plan.data["accuracy"]:
        return
    with _lock(folder / "trainer.lock"):
        for name in ("learnt.h5", "attempts.jsonl"):
            (folder / name).unlink(missing_ok=True)
        write_file(folder / "learn.json", json.dumps({**content, "text": plan.spec.text}, indent=1) + "\n")


def _write_source(
    folder: Path, source: Source, plan: Plan, made_of: str, name: str, beside: dict[str, str] | None = None
) -> None:
    content = {
        **asdict(source),
        "made_of": made_of,
        "name": name,
        "parameters": len(plan.names),
        "beside": beside,
    }
    write_file(folder / "learn.json", json.dumps(content, indent=1) + "\n")


def _derived(plan: Plan) -> list[str]:
    """Scalars of the spec, and those that its features emulate."""
    emulated = [options.get("emulated") for options in plan.data["features"].values()]
    return list(dict.fromkeys([*(name for name, _ in plan.derived), *filter(None, emulated)]))


def _unlearnt(plan: Plan, derived: list[str]) -> list[str]:
    """Overrides that make of a spec one with the same names and settings, for a speck in its middle and a
    straight line through a handful of runs."""
    centre = plan.centre
    parameters = {
        p["name"]: {
            "range": [
                centre[p["name"]] - 0.5 * SPECK * (p["range"][1] - p["range"][0]),
                centre[p["name"]] + 0.5 * SPECK * (p["range"][1] - p["range"][0]),
            ],
            **{key: p[key] for key in ("latex", "unit") if p[key]},
        }
        for p in plan.data["parameters"]
    }
    line = {"type": "polynomial", "params": {"degree": 1}}
    features = {
        name: {**options, **line} if "emulated" in options else options
        for name, options in plan.data["features"].items()
    }
    outputs = {
        output.name: {axis: values.tolist() for axis, values in output.axes.items()}
        for output in plan.outputs
    }
    changes: dict[str, Any] = {
        "name": f"{plan.name}_unlearnt",
        "parameters": parameters,
        "limits": {},
        "features": features,
        "outputs": outputs,
        "derived": derived,
        "emulator_fn": line,
        "training": {"n": len(plan.names) + 2, "validation": 0},
        "region": {"hull": "box"},
        "accuracy": {},
    }
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]


# --- a training


def train(folder: Path, answers: Path) -> Attempt:
    """Trains on the answers that are there, and makes the result the newest version if it is better. The
    reason says how many answers the spec's ranges leave out."""
    content = json.loads((folder / "learn.json").read_text())
    source = Source(content["text"], content["label"], tuple(content["overrides"]), content["provenance"])
    count = count_answers(answers)
    base = source.plan()
    runs = as_runs(base, read_cache(answers), source.provenance)
    outside = ""
    if content["beside"] is None:  # the spec says where its features and its code are sound
        outside = _outside(base, runs.points)
        runs = runs.take(np.all((runs.points >= base.lower) & (runs.points <= base.upper), axis=1))
    runs = runs.take(not_stray(runs.points))
    held_out = runs.is_held_out()
    training = runs.take(~held_out)
    training = training.take(beside_steps(base, training.points))
    if len(training) < len(base.names) + 2 or not held_out.any():
        why = "; ".join(f"{n} left out: {reason}" for reason, n in runs.left_out.most_common())
        return Attempt(
            count, False, f"too few answers to learn from ({len(runs)}){', ' + why if why else ''}{outside}"
        )
    current = _current(folder)
    version = next_version(current.version if current is not None else str(base.data["version"]))
    changes = [f"name={content['name']}", f"version={version}", region_of_answers(base)]
    plan = source.plan([*grown_ranges(base, runs.points), *changes])
    work = folder / "work"
    candidate = Extension(
        plan,
        Options(out=work, work=work, jobs=1, last="validate", learning_curve=False),
        Console(quiet=True),
        source,
        training,
        runs.take(held_out),
        current,
        named=identity(current) if current is not None else content["beside"],
    )
    candidate.run()
    attempt = _judge(count, version, candidate, current)
    attempt = replace(attempt, reason=attempt.reason + outside)
    if attempt.accepted:
        write_file(folder / "learnt.h5", candidate.artifact.read_bytes())
    shutil.rmtree(work, ignore_errors=True)
    return attempt


def _outside(plan: Plan, points: Array) -> str:
    """How many of the points are outside the spec's ranges, and where; empty if none is."""
    below, above = points < plan.lower, points > plan.upper
    n = int(np.any(below | above, axis=1).sum())
    where = [
        f"{name} {side} {limits[i]:g}: {int(beyond[:, i].sum())}"
        for i, name in enumerate(plan.names)
        for side, beyond, limits in (("below", below, plan.lower), ("above", above, plan.upper))
        if beyond[:, i].any()
    ]
    return f"; {n} of {len(points)} answers lie outside the spec's ranges ({', '.join(where)})" if n else ""


def _current(folder: Path) -> Emulator | None:
    """The newest version; one that is damaged is as if there were none."""
    try:
        return open_emulator(folder / "learnt.h5") if (folder / "learnt.h5").is_file() else None
    except FormatError:
        return None


def _judge(count: int, version: str, candidate: Extension, current: Emulator | None) -> Attempt:
    """A version has to meet its targets at held-out answers, and be better there than the one before it:
    answer more of them, or those that it answers with a smaller error."""
    summary = candidate.accuracy.summary
    inside, error = summary["inside"], worst(summary)

    def attempt(accepted: bool, reason: str) -> Attempt:
        return Attempt(count, accepted, reason, version, inside, summary["held_out"], error)

    if inside < LEAST_HELD_OUT:
        return attempt(False, f"{inside} held-out answers lie inside its region, {LEAST_HELD_OUT} are needed")
    missed = [
        f"{name} {_reached(target['reached'])}, {target['target']:g} is asked for"
        for name, target in candidate.targets.items()
        if not target["met"]
    ]
    if missed:
        return attempt(False, f"target missed: {'; '.join(missed)}")
    if current is None:
        return attempt(True, "the first version")
    before = validate.measure(candidate.plan, current, *candidate._held_out).summary
    if inside > before["inside"]:
        return attempt(True, f"answers {inside} of the held-out answers, {before['inside']} before")
    previous = worst(before)
    if inside == before["inside"] and error is not None and (previous is None or error < previous):
        return attempt(True, f"error {error:.3g}, {previous:.3g} before" if previous else "error measured")
    return attempt(False, "not better than the version before it")


def _reached(value: float | None) -> str:
    return "can't be measured" if value is None else f"= {value:.3g}"


def worst(summary: dict[str, Any]) -> float | None:
    """One number for the error: delta chi^2 that 95 % of the held-out answers do not exceed, or, without
    spectra, the largest relative error of an output. None if nothing was inside."""
    chi2 = [entry["p95"] for name, entry in summary.get("delta_chi2", {}).items() if name.endswith("_all")]
    if chi2:
        return float(sum(chi2))
    relative = [entry["worst"]["p95"] for entry in summary["outputs"].values() if "worst" in entry]
    relative += [entry["p95"] for entry in summary["derived"].values()]
    return float(max(relative)) if relative else None


# --- the process


@contextlib.contextmanager
def _lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Holds a lock as long as the block runs; yields False if another process has it and `wait` is not
    set."""
    with path.open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _end_with_the_host() -> None:
    """The host holds the other end of our input."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _train(folder: Path, answers: Path) -> int:
    os.nice(10)
    _end_with_the_host()
    with _lock(folder / "trainer.lock", wait=False) as alone:
        if not alone:
            return 0
        try:
            attempt = train(folder, answers)
        except Error as error:
            hint = (
                "; its tolerance counts the predicted errors of all outputs" if "region" in str(error) else ""
            )
            attempt = Attempt(count_answers(answers), False, f"failed: {error}{hint}")
        with (folder / "attempts.jsonl").open("a") as handle:
            handle.write(json.dumps(asdict(attempt)) + "\n")
        print(f"{attempt.answers} answers: {'accepted' if attempt.accepted else 'refused'}, {attempt.reason}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    command, first, second = argv if argv is not None else sys.argv[1:]
    if command == "train":
        return _train(Path(first), Path(second))
    try:
        prepare(Path(second), Path(first))
    except (Error, OSError) as error:
        print(f"zelos.build.learn: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
