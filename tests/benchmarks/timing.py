# SPDX-License-Identifier: BSD-3-Clause
"""How a callable is timed: many samples, each the mean over a loop long enough for the clocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

SAMPLE_SECONDS = 2e-3


def clocks() -> tuple[float, float]:
    """Time on the wall, and of the processor in this process and its ended children."""
    used = os.times()
    return time.perf_counter(), time.process_time() + used.children_user + used.children_system


def samples(call: Callable[[], object], seconds: float) -> list[tuple[float, float]]:
    """(wall, processor) seconds per call, sampled for about `seconds`, at least once. The first call is not
    counted if there is time for a second."""
    begin = clocks()[0]
    call()
    first = clocks()[0] - begin
    loop = max(1, int(SAMPLE_SECONDS / first))
    taken: list[tuple[float, float]] = []
    while not taken or clocks()[0] - begin < seconds:
        wall, processor = clocks()
        for _ in range(loop):
            call()
        wall, processor = clocks()[0] - wall, clocks()[1] - processor
        taken.append((wall / loop, processor / loop))
        if len(taken) == 1:  # the first call may have compiled or loaded something
            loop = max(1, int(SAMPLE_SECONDS / taken[0][0]))
    return taken
