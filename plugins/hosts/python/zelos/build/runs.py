# SPDX-License-Identifier: BSD-3-Clause
"""The run store: one file for each run of the real code, written at once and whole.

    FOLDER/store.json             what the runs were made with, names of parameters, axes of outputs
    FOLDER/<hash>.npz             one run: x (the parameters), sec (its wall time), one array for each output
    FOLDER/failed*.jsonl          runs that failed: hash, parameters, reason

The hash is that of the parameters; the folder's name is that of everything else (`Plan.runs_key`).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_file import replacing, write_file
from ..errors import Error
from ..fallback import driver as drivers
from ..fallback.pool import Pool, describe
from .design import Design

Array = np.ndarray[Any, np.dtype[np.float64]]


def point_hash(point: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(point, "<f8").tobytes()).hexdigest()[:24]


@dataclass(frozen=True)
class Job:
    """What a worker has to know; the same for all runs of a build."""

    code: str
    config: dict[str, Any]
    outputs: dict[str, dict[str, Array]]
    names: tuple[str, ...]
    folder: str


_warm: tuple[str, drivers.Driver] | None = None


def run_point(job: Job, job_id: str, point: Array) -> float:
    """In the worker: runs one point, writes its file, returns the wall time."""
    global _warm
    if _warm is None or _warm[0] != job_id:
        _warm = (job_id, drivers.load(job.code)(job.config, job.outputs))
    begin = time.perf_counter()
    result = _warm[1].run(dict(zip(job.names, point.tolist(), strict=True)))
    seconds = time.perf_counter() - begin
    for name, values in result.items():
        if not np.isfinite(values).all():
            raise ArithmeticError(f"output '{name}' is not finite")
    write_run(Path(job.folder), point, seconds, result)
    return seconds


def write_run(folder: Path, point: Array, seconds: float, outputs: dict[str, Array]) -> Path:
    """Writes a run's file by atomic rename."""
    path = folder / f"{point_hash(point)}.npz"
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **{"x": point, "sec": np.array(seconds), **outputs})  # type: ignore[arg-type]
    return path


class RunStore:
    """A folder of runs."""

    def __init__(self, folder: Path, shard: str = "") -> None:
        self.folder = folder
        self._failed_file = folder / (f"failed-{shard}.jsonl" if shard else "failed.jsonl")

    def create(self, description: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "store.json"
        if not path.exists():
            write_file(path, json.dumps(description, indent=2) + "\n")
        for leftover in self.folder.glob(".*.tmp"):
            if time.time() - leftover.stat().st_mtime > 3600:
                leftover.unlink(missing_ok=True)

    def description(self) -> dict[str, Any]:
        """What `create` wrote first. Raises Error naming the file if it is damaged."""
        path = self.folder / "store.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise Error(f"{path}: can't be read ({describe(error)})") from None
        return found

    def done(self) -> set[str]:
        """Hashes of the finished runs."""
        if not self.folder.is_dir():
            return set()
        return {entry.name[:-4] for entry in os.scandir(self.folder) if entry.name.endswith(".npz")}

    def failed(self) -> dict[str, dict[str, Any]]:
        """Hash -> record of every failed run. A line cut short by a crash is as if it had not been
        written."""
        records = {}
        for path in sorted(self.folder.glob("failed*.jsonl")):
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                    records[record["hash"]] = record
                except (ValueError, KeyError):
                    continue
        return records

    def forget_failures(self) -> None:
        for path in self.folder.glob("failed*.jsonl"):
            path.unlink()

    def record_failure(self, point: Array, names: Sequence[str], reason: str) -> None:
        record = {
            "hash": point_hash(point),
            "parameters": dict(zip(names, point.tolist(), strict=True)),
            "reason": reason,
        }
        with self._failed_file.open("a") as handle:
            handle.write(json.dumps(record) + "\n")
            handle.flush()
            os.fsync(handle.fileno())

    def read(self, key: str) -> dict[str, Array]:
        """The arrays of one run. Raises Error naming the file if it is damaged."""
        path = self.folder / f"{key}.npz"
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise Error(f"{path}: damaged run ({describe(error)}): delete it and build again") from None


@dataclass(frozen=True)
class Selection:
    """Which points of a design make up a set: the first n that did not fail."""

    points: Array
    hashes: list[str]
    missing: list[int]
    """Indices into points of the runs that are yet to be made."""
    failed: list[dict[str, Any]]


def select(design: Design, n: int, store: RunStore) -> Selection:
    failed = store.failed()
    done = store.done()
    size = n
    while True:
        points = design.points(size)
        hashes = [point_hash(point) for point in points]
        good = [i for i, key in enumerate(hashes) if key not in failed]
        if len(good) >= n:
            break
        size += n - len(good)
    good = good[:n]
    last = good[-1] if good else -1
    return Selection(
        points[good],
        [hashes[i] for i in good],
        [position for position, i in enumerate(good) if hashes[i] not in done],
        [failed[hashes[i]] for i in range(last + 1) if hashes[i] in failed],
    )


def make_runs(
    sets: Sequence[tuple[Design, int]],
    job: Job,
    store: RunStore,
    pool: Pool,
    shard: tuple[int, int] = (1, 1),
    report: Callable[[int, int, int, float], None] = lambda *_: None,
) -> float:
    """Makes the missing runs of all sets; failed ones are recorded and replaced by the next points of their
    design.

    shard:   (i, N): only every Nth point, beginning with the ith, is this process's own.
    report:  is told (runs made, runs to make, failed, seconds of code in this call).

    Returns the seconds of code in this call. Raises Error if more than half of at least 20 runs fail.
    """
    job_id = hashlib.sha256(repr((job.code, sorted(job.config.items()), job.folder)).encode()).hexdigest()
    made = failed = 0
    seconds = 0.0
    while True:
        todo = list(_own(sets, store, shard))
        if not todo:
            return seconds
        total = made + len(todo)
        report(made, total, failed, seconds)
        for outcome in pool.run(run_point, ((job, job_id, point) for point in todo)):
            if outcome.error is None:
                made += 1
                seconds += outcome.value
            else:
                failed += 1
                store.record_failure(outcome.task[2], job.names, outcome.error)
                if failed >= 10 and failed > made:
                    raise Error(
                        f"{failed} of {failed + made} runs of {job.code} failed, "
                        f"the last one with: {outcome.error}"
                    )
            report(made, total, failed, seconds)


def _own(sets: Sequence[tuple[Design, int]], store: RunStore, shard: tuple[int, int]) -> Iterator[Array]:
    """Missing points; held-out and training points take turns, so that an early look at both is possible."""
    index, count = shard
    columns = []
    for design, n in sets:
        if n:
            chosen = select(design, n, store)
            columns.append([chosen.points[i] for i in chosen.missing if i % count == index - 1])
    for row in range(max((len(column) for column in columns), default=0)):
        for column in columns:
            if row < len(column):
                yield column[row]


def load_set(
    design: Design, n: int, store: RunStore, shapes: dict[str, tuple[int, ...]]
) -> tuple[Array, dict[str, Array], Selection, float]:
    """Parameters (n, d), output name -> array (n, ...), the selection, total seconds of code. All runs must
    be there."""
    chosen = select(design, n, store)
    if chosen.missing:
        raise Error(f"{store.folder}: {len(chosen.missing)} of {n} runs are missing")
    arrays = {name: np.empty((n, *shape)) for name, shape in shapes.items()}
    seconds = 0.0
    for row, key in enumerate(chosen.hashes):
        run = store.read(key)
        for name, shape in shapes.items():
            if name not in run or run[name].shape != shape:
                found = run[name].shape if name in run else "no such array"
                raise Error(f"{store.folder / key}.npz: '{name}': expected shape {shape}, found {found}")
            arrays[name][row] = run[name]
        seconds += float(run["sec"])
    return chosen.points, arrays, chosen, seconds


def set_hash(points: Array, arrays: dict[str, Array]) -> str:
    """SHA-256 over parameters and outputs, in the order of the design and of the outputs' names."""
    digest = hashlib.sha256(np.ascontiguousarray(points, "<f8").tobytes())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name], "<f8").tobytes())
    return digest.hexdigest()
