# SPDX-License-Identifier: BSD-3-Clause
"""An emulator that is learnt while a run goes on, from what the real code answers. For hosts: what a
process of the run does. `zelos.build.learn` is the process that trains.

    FOLDER/learn.json       what is learnt: the spec, and the code with its settings
    FOLDER/unlearnt.h5      if there was no emulator to begin with: knows names and settings, and little else
    FOLDER/answers/         the cache of the code's answers
    FOLDER/learnt.h5        the newest version that passed its test, replaced at once and whole
    FOLDER/attempts.jsonl   a line for each training: what it had, what came of it
    FOLDER/trainer.log      what the trainer printed

Any number of processes may share a folder. One trainer runs at a time: it holds a lock on
FOLDER/trainer.lock, which its end releases, whatever ends it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _core
from .errors import Error, FileError

#: Trainings begin when there are so many answers for each parameter, and again when they grew by this factor.
FIRST_PER_PARAMETER = 10
GROWTH = 1.25
#: Seconds between looks at FOLDER/learnt.h5.
LOOK = 1.0


@dataclass(frozen=True)
class Attempt:
    """A training: a line of attempts.jsonl."""

    answers: int
    accepted: bool
    reason: str
    version: str = ""
    inside: int = 0
    held_out: int = 0
    error: float | None = None


def attempts(folder: Path) -> list[Attempt]:
    """All that ended; a line cut short by a crash is as if it had not been written."""
    found = []
    path = folder / "attempts.jsonl"
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            found.append(Attempt(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def count_answers(folder: Path) -> int:
    """How many answers a cache holds."""
    count = 0
    for part in os.scandir(folder) if folder.is_dir() else ():
        if part.is_dir():
            with os.scandir(part.path) as entries:
                count += sum(e.name.endswith(".h5") and not e.name.startswith(".") for e in entries)
    return count


class Learning:
    """What one process of a run does for the emulator that the run learns.

    folder:   of the emulator; made if it is not there.
    answers:  the cache in which the run keeps the code's answers (default: FOLDER/answers).
    first:    how many answers there have to be before the first training (default: 10 for each parameter).

    `begin` first. Not thread-safe.
    """

    def __init__(self, folder: str | os.PathLike[str], answers: str | None = None, first: int | None = None):
        self.folder = Path(folder).absolute()
        self.answers = Path(answers).absolute() if answers else self.folder / "answers"
        self._first = first
        self._seen: tuple[int, int] | None = None
        self._looked = -LOOK
        self._wait_for = 0
        self._trainer: subprocess.Popen[bytes] | None = None
        self._log: Any = None

    @property
    def learnt(self) -> Path:
        return self.folder / "learnt.h5"

    # --- what is learnt

    def begin(self, spec: str | os.PathLike[str]) -> Path:
        """Begins without an emulator: the path of an artifact that knows the spec's names and settings. The
        first process that comes makes it, by a few runs of the code; the others wait. Raises Error."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._command("prepare", os.fspath(spec))
        return self.folder / "unlearnt.h5"

    def begin_beside(self, artifact: _core.Emulator) -> None:
        """Begins beside an emulator, of whose spec, code and settings it will be. Raises Error."""
        self.folder.mkdir(parents=True, exist_ok=True)
        from .build.learn import prepare_beside

        prepare_beside(self.folder, artifact)

    def _command(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "zelos.build.learn", *arguments, str(self.folder)],
            env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise Error(lines[-1].removeprefix("zelos.build.learn: "))

    # --- during the run

    def changed(self) -> bool:
        """Whether there is a version that `open` has not returned yet. Looks once a second: else it is
        free."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return False
        self._looked = now
        return self._stamp() != self._seen

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self.learnt.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def open(self) -> _core.Emulator | None:
        """The newest version; None if there is none. Raises Error if it is damaged: it is looked at once,
        and the run goes on with what it has."""
        self._seen = self._stamp()
        return _core.open(str(self.learnt)) if self._seen is not None else None

    def answered(self) -> Attempt | None:
        """To be called when the code has answered: starts the trainer when it is time. Returns what came of
        the training that this process started, when it has ended. Raises Error if the trainer has failed; it
        is tried again when there are more answers."""
        count = count_answers(self.answers)
        ended: Attempt | None = None
        if self._trainer is not None:
            status = self._trainer.poll()
            if status is None:
                return None
            self._forget_trainer()
            if status:
                self._wait_for = int(GROWTH * count) + 1
                raise Error(f"the trainer ended with status {status}: {self._last_words()}")
            ended = next(reversed(attempts(self.folder)), None)
        done = attempts(self.folder)
        last = max((attempt.answers for attempt in done), default=0)
        if count >= max(self._first or self._default_first(), GROWTH * last, self._wait_for):
            self._start()
        return ended

    def _default_first(self) -> int:
        self._first = FIRST_PER_PARAMETER * int(
            json.loads((self.folder / "learn.json").read_text())["parameters"]
        )
        return self._first

    def _start(self) -> None:
        """The trainer ends when this process does: the other end of its input is then closed."""
        command = [sys.executable, "-m", "zelos.build.learn", "train", str(self.folder), str(self.answers)]
        try:
            with (self.folder / "trainer.log").open("ab") as log:
                self._trainer = subprocess.Popen(
                    command, env=_environment(), stdin=subprocess.PIPE, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise FileError(f"{self.folder}: the trainer can't be started: {error}") from None

    def _last_words(self) -> str:
        path = self.folder / "trainer.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.is_file() else []
        return f"{lines[-1] if lines else 'no message'} ({path})"

    def close(self) -> None:
        """Ends this process's trainer, if it is at work; what it has finished is kept."""
        if self._trainer is not None:
            self._trainer.terminate()
            self._trainer.wait()
            self._forget_trainer()

    def _forget_trainer(self) -> None:
        assert self._trainer is not None and self._trainer.stdin is not None
        self._trainer.stdin.close()
        self._trainer = None


def _environment() -> dict[str, str]:
    """One thread; and a child finds what this process finds."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
