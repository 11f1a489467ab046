# SPDX-License-Identifier: BSD-3-Clause
"""Progress of the steps: one rewritten line on a terminal; in a log a line every 10 % or every minute."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

_WIDTH = 48
_LOG_SECONDS = 60.0
_TERMINAL_SECONDS = 0.2


class Console:
    """Where a build speaks. quiet: only errors (on standard error)."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = sys.stdout if stream is None else stream
        self.is_terminal = self.stream.isatty()

    def say(self, text: str = "") -> None:
        if not self.quiet:
            print(text, file=self.stream, flush=True)

    def warn(self, text: str) -> None:
        print(f"zelos_build: warning: {text}", file=sys.stderr, flush=True)

    def step(self, title: str) -> Step:
        return Step(self, title)


class Step:
    """``>>> Building training set ......................[done]``"""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._line = f">>> {title} ".ljust(_WIDTH, ".")
        self._begin = time.monotonic()
        self._last_time = 0.0
        self._last_tenth = 0
        self._open_line = False
        self._baseline: tuple[float, float] | None = None

    def __enter__(self) -> Step:
        if self._console.is_terminal and not self._console.quiet:
            self._write(self._line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        word = "[done]" if kind is None else "[stopped]" if kind is KeyboardInterrupt else "[failed]"
        if self._console.quiet:
            return
        if self._open_line:
            self._write("\r\x1b[2K")
        self._console.say(f"{self._line}{word}")

    def update(self, fraction: float, text: str = "") -> None:
        """fraction done in [0, 1]; the time left follows from how it grew since the first call."""
        if self._console.quiet:
            return
        now = time.monotonic()
        if self._baseline is None:
            self._baseline = (now, fraction)
        message = f"{text + ', ' if text else ''}{self._eta(now, fraction)}"
        if self._console.is_terminal:
            if now - self._last_time >= _TERMINAL_SECONDS or fraction >= 1:
                self._write(f"\r\x1b[2K{self._line}[{100 * fraction:.0f} %, {message}]")
                self._last_time = now
            return
        tenth = int(10 * fraction)
        if now - self._begin > 1 and (
            tenth > self._last_tenth or now - max(self._last_time, self._begin) >= _LOG_SECONDS
        ):
            self._console.say(f"    {100 * fraction:.0f} %: {message}")
            self._last_time, self._last_tenth = now, tenth

    def _eta(self, now: float, fraction: float) -> str:
        assert self._baseline is not None
        begin, first = self._baseline
        if fraction <= first or now - begin < 1:
            return "ETA unknown"
        return f"ETA {duration((now - begin) * (1 - fraction) / (fraction - first))}"

    def _write(self, text: str) -> None:
        self._console.stream.write(text)
        self._console.stream.flush()
        self._open_line = True


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
