# SPDX-License-Identifier: BSD-3-Clause
"""The steps of a build, each kept on disk under a key of what it depends on."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..atomic_file import replacing, write_file
from ..emulator import Emulator, open_emulator
from ..errors import Error, FormatError, SpecError
from ..fallback import driver as drivers
from ..fallback.pool import LocalPool
from . import provenance, report, validate
from .archive import write_archive
from .plan import Plan
from .progress import Console, duration
from .runs import Job, RunStore, load_set, make_runs, run_point, select, set_hash
from .training import shapes, train

Array = np.ndarray[Any, np.dtype[np.float64]]

STAGES = ("runs", "train", "validate", "report", "export")
LEARNING_FRACTIONS = (0.25, 0.5)


class VersionMismatch(Error):
    """The installed code is not the one that the spec names."""


@dataclass
class Options:
    out: Path
    work: Path | None = None
    jobs: int = 1
    last: str = "export"
    shard: tuple[int, int] = (1, 1)
    allow_version_mismatch: bool = False
    retry_failed: bool = False
    learning_curve: bool = True


class Build:
    """One build of one spec; `run` does what is not done yet."""

    def __init__(self, plan: Plan, options: Options, console: Console) -> None:
        self.plan = plan
        self.options = options
        self.console = console
        self.work = options.work if options.work is not None else options.out / f"{plan.name}.build"
        validate.check_names(plan)
        self._begin = time.monotonic()
        self._mismatch = ""

    # --- code

    def code(self) -> drivers.Driver:
        """Imports the code and compares its version. Raises VersionMismatch, SpecError (settings it
        refuses)."""
        wanted = self.plan.data["config"]["version"]
        with self.console.step(f"Checking {self.plan.code} {wanted}".rstrip()):
            try:
                driver = self.plan.make_driver()
                version = driver.version
            except ImportError as error:
                expected = f"{self.plan.code} {wanted}".strip()
                raise VersionMismatch(f"the spec needs {expected}, found none installed ({error})") from None
            if wanted and wanted != version:
                self._mismatch = f"the spec names {self.plan.code} {wanted}, found {self.plan.code} {version}"
                if not self.options.allow_version_mismatch:
                    raise VersionMismatch(f"{self._mismatch}; --allow-version-mismatch builds all the same")
            try:
                driver.settings(self.plan.centre)
                assumed = driver.assumed(self.plan.centre) if hasattr(driver, "assumed") else {}
            except Exception as error:
                raise SpecError(
                    f"{self.plan.spec.file_name}: {self.plan.code} refuses the parameters or config: {error}"
                ) from None
        container = self.plan.data["container"]
        if container:
            self.console.warn(
                f"container {container} is recorded, "
                f"but the runs are made with the local {self.plan.code} {version}"
            )
        for name, value in assumed.items():
            self.console.warn(
                f"'{name}' is neither a parameter nor under config.fixed: {self.plan.code}'s own value, "
                f"{value:g}, is built in, and users of the emulator can't tell"
            )
        if self._mismatch:
            self.console.warn(self._mismatch)
        self._driver = driver
        self._build_of_the_code = f"{version} {driver.library_hash()}"
        self.store = RunStore(
            self.work / "runs" / self.plan.runs_key(self._build_of_the_code),
            "" if self.options.shard[1] == 1 else "{}-of-{}".format(*self.options.shard),
        )
        return driver

    # --- training set

    def runs(self) -> None:
        plan = self.plan
        self.store.create(
            {
                "name": plan.name,
                "code": plan.code,
                "code_version": self._driver.version,
                "library_sha256": self._driver.library_hash(),
                "config": {key: str(value) for key, value in plan.config.items()},
                "outputs": {
                    name: {axis: list(values) for axis, values in axes.items()}
                    for name, axes in plan.driver_outputs.items()
                },
                "parameters": plan.names,
                "settings_at": plan.centre,
                "settings": self._driver.settings(plan.centre),
            }
        )
        self._check_settings()
        if self.options.retry_failed:
            self.store.forget_failures()
        job = self._job(self.store.folder)
        sets = [(plan.design(role), plan.wanted(role)) for role in ("training", "validation")]
        with self.console.step("Building training set") as step, LocalPool(self.options.jobs) as pool:

            def progress(made: int, total: int, failed: int, seconds: float) -> None:
                text = f"runs {made}/{total}" + (f", {failed} failed" if failed else "")
                step.update(made / total if total else 1.0, text)

            make_runs(sets, job, self.store, pool, self.options.shard, progress)

    def _check_settings(self) -> None:
        """The folder's name tells versions of the code apart, but not of what configures it: the driver, the
        environment."""
        known = self.store.description()
        if "settings" not in known:
            return
        here = self._driver.settings(known["settings_at"])
        if here == known["settings"]:
            return
        pairs = zip_longest(known["settings"].splitlines(), here.splitlines(), fillvalue="nothing")
        before, now = next(pair for pair in pairs if pair[0] != pair[1])
        raise Error(
            f"{self.store.folder}: its runs were made with other settings of {self.plan.code}: "
            f"'{before.strip()}' then, '{now.strip()}' now; delete the folder, or build with another --work"
        )

    def _job(self, folder: Path) -> Job:
        plan = self.plan
        return Job(plan.code, plan.config, plan.driver_outputs, tuple(plan.names), str(folder))

    def missing_runs(self) -> int:
        return sum(
            len(select(self.plan.design(role), self.plan.wanted(role), self.store).missing)
            for role in ("training", "validation")
            if self.plan.wanted(role)
        )

    # --- training

    def train(self) -> None:
        plan = self.plan
        with self.console.step("Training model") as step:
            self._points, self._arrays, failed, seconds = self._set("training")
            training_set = set_hash(self._points, self._arrays)
            self._folder = self.work / "train" / plan.train_key(self._build_of_the_code, training_set)
            self.provenance = self._provenance(training_set, failed, seconds)
            self._bare = self._folder / f"{plan.name}.h5"
            if not self._is_artifact(self._bare):
                checkpoints = self._folder / "checkpoints"
                self._train(self._points, self._arrays, self._bare, checkpoints, step.update)
                shutil.rmtree(checkpoints, ignore_errors=True)
            self.provenance = json.loads(_core.open(str(self._bare)).info_json()).get(
                "provenance", self.provenance
            )

    def _set(self, role: str) -> tuple[Array, dict[str, Array], list[dict[str, Any]], float]:
        """Parameters, output -> array, records of the runs that failed, seconds of code. role: "training" or
        "validation"."""
        plan = self.plan
        points, arrays, chosen, seconds = load_set(
            plan.design(role), plan.wanted(role), self.store, shapes(plan)
        )
        return points, arrays, chosen.failed, seconds

    def _provenance(self, training_set: str, failed: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
        return provenance.collect(self.plan, self._driver, training_set, failed, seconds, self._mismatch)

    @staticmethod
    def _is_artifact(path: Path) -> bool:
        if not path.is_file():
            return False
        try:
            _core.open(str(path))
        except FormatError:
            return False
        return True

    def _train(
        self,
        points: Array,
        arrays: dict[str, Array],
        artifact: Path,
        checkpoints: Path | None,
        update: Callable[[float, str], None],
    ) -> None:
        def progress(stage: str, fraction: float, message: str) -> bool:
            update(fraction, f"{stage} {message}".strip())
            return True

        threads = self.plan.data["training"]["threads"] or self.options.jobs
        train(self.plan, points, arrays, artifact, checkpoints, self.provenance, threads, progress)

    # --- accuracy

    def validate(self) -> None:
        plan = self.plan
        self.targets: dict[str, dict[str, Any]] = {}
        with self.console.step("Evaluating accuracy"):
            points, arrays, _, _ = self._set("validation")
            self._held_out = (points, arrays)
            self.accuracy = validate.measure(plan, open_emulator(self._bare), points, arrays)
            summary = self.accuracy.summary
            self.targets = validate.check_targets(plan.data["accuracy"], summary)
            summary["targets"] = self.targets
            summary["target_missed"] = not all(target["met"] for target in self.targets.values())
            self.artifact = self.work / "artifact" / f"{plan.name}.h5"
            self.artifact.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.artifact) as temporary:
                shutil.copyfile(self._bare, temporary)
                _core.attach_accuracy(str(temporary), json.dumps(_finite(summary), sort_keys=True))

    @property
    def target_missed(self) -> bool:
        return any(not target["met"] for target in self.targets.values())

    # --- report

    def report(self) -> None:
        plan = self.plan
        with self.console.step("Writing report") as step:
            learning = self._learning_curve(step.update) if self.options.learning_curve else []
            emulator = open_emulator(self.artifact)
            timing = self._timing(emulator)
            self.document = _finite(
                report.build_json(
                    plan.name,
                    list(plan.names),
                    self.accuracy,
                    self.targets,
                    self.provenance,
                    timing,
                    learning,
                )
            )
            page = report.build_html(
                self.document,
                self.accuracy,
                emulator.ranges,
                {p["name"]: p["unit"] for p in plan.data["parameters"]},
                plan.spec.text,
            )
            write_file(self.artifact.with_name("report.json"), json.dumps(self.document, indent=1) + "\n")
            write_file(self.artifact.with_name("report.html"), page)

    def _learning_curve(self, update: Callable[[float, str], None]) -> list[dict[str, Any]]:
        """Accuracy of emulators trained on the first quarter and half of the runs; kept in the training's
        folder."""
        path = self._folder / "learning.json"
        if path.is_file():
            return list(json.loads(path.read_text()))
        points, arrays = self._held_out
        curve = []
        sizes = [int(fraction * len(self._points)) for fraction in LEARNING_FRACTIONS]
        for i, n in enumerate(size for size in sizes if size >= 4 * len(self.plan.names)):
            artifact = self._folder / f"learning-{n}.h5"
            try:
                if not self._is_artifact(artifact):
                    subset = {name: values[:n] for name, values in self._arrays.items()}
                    share = partial(_share, update, i, len(sizes))
                    self._train(self._points[:n], subset, artifact, None, share)
                measured = validate.measure(self.plan, open_emulator(artifact), points, arrays).summary
            except Error as error:
                self.console.warn(f"learning curve: no emulator from {n} runs: {error}")
                continue
            finally:
                artifact.unlink(missing_ok=True)
            curve.append({"n": n, **_learning_figures(measured)})
        curve.append({"n": len(self._points), **_learning_figures(self.accuracy.summary)})
        curve = [row for row in curve if len(row) > 1]
        write_file(path, json.dumps(_finite(curve)))
        return curve

    def _timing(self, emulator: Emulator) -> dict[str, Any]:
        timing: dict[str, Any] = {
            "artifact bytes": self.artifact.stat().st_size,
            "seconds of the runs, one core each": self.provenance.get("cost", {}).get("run_seconds"),
        }
        if provenance.reproducible():
            return timing
        centre = [list(self.plan.centre.values())]
        query = emulator.core.query(emulator.parameters, [(name, []) for name in emulator.outputs])
        timing["wall seconds of this build"] = round(time.monotonic() - self._begin, 1)
        timing["one point, all outputs, microseconds"] = _best(lambda: query.evaluate(np.array(centre)))
        timing["opening, milliseconds"] = _best(lambda: _core.open(str(self.artifact)), repeats=5) / 1000
        return timing

    # --- export

    @property
    def archive(self) -> Path:
        return self.options.out / f"{self.plan.name}.tar.gz"

    def export(self) -> Path:
        archive = self.archive
        self.options.out.mkdir(parents=True, exist_ok=True)
        members = {
            f"{self.plan.name}.h5": self.artifact.read_bytes(),
            f"{self.plan.name}.yaml": self.plan.spec.text.encode("utf-8", "surrogateescape"),
            "report.json": self.artifact.with_name("report.json").read_bytes(),
            "report.html": self.artifact.with_name("report.html").read_bytes(),
        }
        write_archive(archive, members)
        return archive

    def run(self) -> int:
        """Returns 0, or 2 if an accuracy target is missed."""
        last = STAGES.index(self.options.last)
        self.code()
        self.runs()
        missing = self.missing_runs()
        if self.options.shard[1] > 1 or last == 0:
            index, count = self.options.shard
            part = f"shard {index} of {count} is done, " if count > 1 else ""
            left = f"{missing} runs are left to others" if missing else "all runs are there"
            self.console.say(f"{part}{left} ({self.store.folder})")
            return 0
        self.train()
        if last == 1:
            self.console.say(f"Weights: {self._bare}")
            return 0
        self.validate()
        if last >= 3:
            self.report()
        self._summary()
        if last >= 4:
            self.console.say(f"Exporting emulator to {self.archive}")
            self.export()
        return 2 if self.target_missed else 0

    def _summary(self) -> None:
        summary = self.accuracy.summary
        say = self.console.say
        say("Report:")
        say("-------")
        spec = Path(self.plan.spec.file_name).name
        say(f"Trained emulator for {spec} in {time.monotonic() - self._begin:.0f}s")
        failed = self.provenance["training_set"]["failed"]
        say(
            f"{len(self._points)} training runs of {self.plan.code} {self.provenance['code_version']}"
            + (f", {len(failed)} failed and replaced" if failed else "")
            + f"; {summary['held_out']} held out, {summary['inside']} of them inside the region"
        )
        if summary.get("max_relative_error") is not None:
            say(f"Maximum relative error: {summary['max_relative_error']:.1e}")
        for name, entry in summary.get("delta_chi2", {}).items():
            if name.endswith("_all") and entry["lmax"] <= validate.LMAX:
                continue
            say(
                f"Delta chi2 {entry['spectra']}, ell <= {entry['lmax']}: median {entry['p50']:.2g}, "
                f"95 % {entry['p95']:.2g}, 99 % {entry['p99']:.2g}, worst {entry['max']:.2g}"
            )
        for name, entry in summary["outputs"].items():
            if "relative" in entry:
                numbers = entry["relative"]
                say(
                    f"{name}: relative error 95 % {numbers['p95']:.1e}, 99 % {numbers['p99']:.1e}, "
                    f"worst {numbers['max']:.1e}"
                )
        if summary["derived"]:
            worst = max(summary["derived"], key=lambda name: summary["derived"][name]["p99"])
            say(
                f"Derived parameters: relative error 99 % {summary['derived'][worst]['p99']:.1e} "
                f"({worst}, the worst)"
            )
        for name, target in self.targets.items():
            if not target["met"]:
                say(f"Target missed: {name} <= {target['target']:g}, reached {target['reached']}")


def estimate(build: Build) -> None:
    """--dry-run: what the build would take."""
    plan, say = build.plan, build.console.say
    build.code()
    counts = {role: plan.wanted(role) for role in ("training", "validation")}
    missing = build.missing_runs()
    with build.console.step("Timing runs"):
        seconds = _known_times(build) or _timed_runs(build)
    total = sum(counts.values())
    per_run = float(np.mean(seconds))
    say(f"Parameters: {len(plan.names)} ({', '.join(plan.names)})")
    for output in plan.outputs:
        size = " x ".join(f"{len(axis)} {name}" for name, axis in output.axes.items())
        say(f"Output {output.name}: {size or 'a number'}")
    if plan.derived:
        say(f"Derived parameters: {len(plan.derived)}")
    say(
        f"Runs: {counts['training']} training, {counts['validation']} held out; "
        f"{total - missing} are there already"
    )
    say(f"Time of one run: {per_run:.2f} s ({len(seconds)} timed)")
    say(f"Still to compute: {missing * per_run / 3600:.2f} CPU hours, with -j {build.options.jobs} about "
        f"{duration(missing * per_run / max(1, build.options.jobs))}")  # fmt: skip
    say(f"Disk: {total * plan.n_values * 8 / 1e6:.0f} MB of runs in {build.store.folder}")


def _known_times(build: Build, count: int = 3) -> list[float]:
    keys = sorted(build.store.done())[:count]
    return [float(build.store.read(key)["sec"]) for key in keys]


def _timed_runs(build: Build, count: int = 3, limit: float = 60.0) -> list[float]:
    """Up to three runs in a folder that is thrown away; fewer if they are long. Raises Error if all fail."""
    seconds: list[float] = []
    reason = ""
    points = build.plan.design("validation").points(count)
    with tempfile.TemporaryDirectory() as folder, LocalPool(1) as pool:
        job = build._job(Path(folder))
        for point in points:
            for outcome in pool.run(run_point, [(job, folder, point)]):
                if outcome.error is None:
                    seconds.append(outcome.value)
                else:
                    reason = outcome.error
                    build.console.warn(f"a run failed: {reason}")
            if sum(seconds) > limit:
                break
    if not seconds:
        raise Error(f"none of {len(points)} runs of {build.plan.code} succeeded, the last one: {reason}")
    return seconds


def _learning_figures(summary: dict[str, Any]) -> dict[str, Any]:
    figures = {
        label: {key: entry[key] for key in validate.PERCENTILES}
        for label, entry in summary.get("delta_chi2", {}).items()
        if label in ("delta_chi2", "delta_chi2_pp")
    }
    for name, entry in summary["outputs"].items():
        if "worst" in entry and not name.startswith("Cl.") and len(figures) < 4:
            figures[name] = entry["worst"]
    return figures


def _share(update: Callable[[float, str], None], index: int, count: int, fraction: float, _: str) -> None:
    update((index + fraction) / count, "learning curve")


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.bool_):
        return bool(value)
    return value


def _best(call: Callable[[], Any], repeats: int = 50) -> float:
    """Microseconds of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return round(1e6 * min(times), 2)
