# SPDX-License-Identifier: BSD-3-Clause
"""What a run asked of the emulator and of the fallback, and what that cost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

#: Below this many seconds in the fallback nobody needs a warning.
QUIET_SECONDS = 30.0


def describe(verdict: Any) -> str:
    """Short name of the reason why a point is outside: what the counts are kept by."""
    if verdict.reason == "error_bound":
        return "predicted error above the tolerance"
    if not verdict.parameter:
        return str(verdict.reason).replace("_", " ")
    if verdict.reason == "box":
        return f"{verdict.parameter} {'below' if verdict.value < verdict.lower else 'above'} its range"
    return f"{verdict.parameter}: {verdict.reason.replace('_', ' ')}"


class Statistics:
    """Counts and times (seconds of wall clock) of one process.

    seconds_per_run: cost of one run of the real code as the artifact knows it; None if it does not say.
    Counts for the time saved until the fallback has run here. emulators: the names of those that may answer.
    """

    def __init__(
        self,
        seconds_per_run: float | None = None,
        clock: Any = time.perf_counter,
        emulators: Iterable[str] = (),
    ):
        self._clock = clock
        self._seconds_per_run = seconds_per_run
        self._start: float | None = None
        self._last_warning = 0
        self.emulated = self.fallen_back = self.rejected = self.failed = 0
        self.seconds_emulated = self.seconds_fallback = self.seconds_supplement = 0.0
        self.reasons: Counter[str] = Counter()
        self.emulators: Counter[str] = Counter(dict.fromkeys(emulators, 0))
        self.versions: list[tuple[int, str]] = []
        self.first_emulated = self.last_outside = 0

    def now(self) -> float:
        """Clock reading; the first one starts the run."""
        now = float(self._clock())
        if self._start is None:
            self._start = now
        return now

    def add_emulated(self, seconds: float, supplement: float = 0.0, emulator: str = "") -> None:
        """A point answered by this emulator; `supplement` of the seconds went into what it does not have."""
        self.emulated += 1
        self.emulators[emulator] += 1
        self.first_emulated = self.first_emulated or self.points
        self.seconds_emulated += seconds
        self.seconds_supplement += supplement

    def add_version(self, name: str, version: str) -> None:
        """A version of an emulator that the run has learnt answers from the next point on."""
        self.emulators.setdefault(name, 0)
        self.versions.append((self.points + 1, version))

    def add_fallback(self, verdict: Any, seconds: float, succeeded: bool) -> None:
        """A point answered by the real code, or one at which that failed."""
        self.fallen_back += 1
        self.failed += not succeeded
        self.seconds_fallback += seconds
        self._add_outside(verdict)

    def add_rejected(self, verdict: Any) -> None:
        """A point given zero likelihood because it is outside."""
        self.rejected += 1
        self._add_outside(verdict)

    def _add_outside(self, verdict: Any) -> None:
        self.reasons[describe(verdict)] += 1
        self.last_outside = self.points

    @property
    def points(self) -> int:
        return self.emulated + self.fallen_back + self.rejected

    @property
    def seconds_per_run(self) -> float | None:
        """Mean cost of the real code: measured in this run, else as the artifact knows it."""
        return self.seconds_fallback / self.fallen_back if self.fallen_back else self._seconds_per_run

    @property
    def seconds_saved(self) -> float | None:
        """What the emulated points would have cost, less what they did; None if unknown."""
        cost = self.seconds_per_run
        if cost is None:
            return None
        return max(0.0, self.emulated * cost - self.seconds_emulated)

    def warning(self) -> str | None:
        """What to tell the user now: the fallback has taken more than half of the time since the start.

        Comes once, and again whenever the number of fallback points has doubled.
        """
        if self._start is None or self.seconds_fallback < QUIET_SECONDS:
            return None
        elapsed = self._clock() - self._start
        if self.seconds_fallback <= 0.5 * elapsed or self.fallen_back < 2 * self._last_warning:
            return None
        self._last_warning = self.fallen_back
        return (
            f"The fallback takes {100 * self.seconds_fallback / elapsed:.0f} % of the time: "
            f"{self.fallen_back} of {self.points} points are outside the region of the emulator "
            f"({self._reasons()}). Narrow the priors, start inside, or set 'outside: reject'."
        )

    def _reasons(self) -> str:
        return ", ".join(f"{reason}: {count}" for reason, count in self.reasons.most_common())

    def as_dict(self) -> dict[str, Any]:
        """The numbers of the report."""
        return {
            "points": self.points,
            "emulated": self.emulated,
            "emulators": dict(self.emulators),
            "first_emulated": self.first_emulated,
            "last_outside": self.last_outside,
            "fallback": self.fallen_back,
            "fallback_failed": self.failed,
            "rejected": self.rejected,
            "reasons": dict(self.reasons),
            "versions": [list(entry) for entry in self.versions],
            "seconds_emulated": self.seconds_emulated,
            "seconds_fallback": self.seconds_fallback,
            "seconds_supplement": self.seconds_supplement,
            "seconds_per_run": self.seconds_per_run,
            "seconds_saved": self.seconds_saved,
        }

    def report(self) -> str:
        """The report of the run, for people."""
        who = ", ".join(f"{name} {count}" for name, count in self.emulators.items())
        emulated = f"{self.emulated} emulated" + (f" ({who})" if len(self.emulators) > 1 else "")
        lines = [f"{self.points} points: {emulated}, {self.fallen_back} by the fallback"]
        if self.rejected:
            lines[0] += f", {self.rejected} rejected"
        if self.points:
            lines[0] += f" ({100 * (self.points - self.emulated) / self.points:.3g} % outside)"
        if self.reasons:
            when = f"; the first emulated point is number {self.first_emulated}" if self.emulated else ""
            lines.append(f"why outside: {self._reasons()}{when}, the last outside number {self.last_outside}")
        if self.versions:
            learnt = ", ".join(f"{version} from point {number} on" for number, version in self.versions)
            lines.append(f"learnt: version {learnt}")
        if self.failed:
            lines.append(f"the fallback failed at {self.failed} points (zero likelihood there)")
        times = f"time: emulator {_duration(self.seconds_emulated)}"
        if self.emulated:
            times += f" ({1e3 * self.seconds_emulated / self.emulated:.2f} ms a point)"
        times += f", fallback {_duration(self.seconds_fallback)}"
        if self.fallen_back:
            times += f" ({self.seconds_fallback / self.fallen_back:.1f} s a point)"
        if self.seconds_supplement:
            times += f", products that are not emulated {_duration(self.seconds_supplement)}"
        lines.append(times)
        if self.seconds_saved is not None and self.emulated:
            source = "measured here" if self.fallen_back else "as measured in the training"
            lines.append(
                f"saved: about {_duration(self.seconds_saved)} ({self.seconds_per_run:.1f} s a run of the "
                f"real code, {source})"
            )
        return "\n".join(lines)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
