# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zelos.fallback.pool import ExecutorPool, LocalPool, Pool


def square(x: int) -> int:
    if x == 5:
        raise ValueError("five")
    return x * x


def fragile(x: int, folder: str) -> str:
    """Task 3 kills its process the first time, task 4 always."""
    mark = Path(folder) / str(x)
    if (x == 3 and not mark.exists()) or x == 4:
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{x} {os.environ['OMP_NUM_THREADS']}"


@pytest.mark.parametrize("make", [lambda: LocalPool(2), lambda: ExecutorPool(ThreadPoolExecutor(2))])
def test_every_task_has_its_outcome(make) -> None:  # type: ignore[no-untyped-def]
    pool: Pool = make()
    outcomes = {outcome.task[0]: outcome for outcome in pool.run(square, [(x,) for x in range(9)])}
    pool.close()
    assert {x: outcome.value for x, outcome in outcomes.items() if outcome.error is None} == {
        x: x * x for x in range(9) if x != 5
    }
    assert outcomes[5].error == "ValueError: five"


def test_a_killed_worker_costs_its_task_one_try_and_the_others_nothing(tmp_path: Path) -> None:
    with LocalPool(2) as pool:
        outcomes = {o.task[0]: o for o in pool.run(fragile, [(x, str(tmp_path)) for x in range(8)])}
    assert [x for x, outcome in outcomes.items() if outcome.error is not None] == [4]
    assert outcomes[4].error == "the worker process died (SIGKILL)"
    assert outcomes[3].value == "3 1"


def test_tasks_are_taken_as_workers_become_free() -> None:
    taken = []

    def tasks():  # type: ignore[no-untyped-def]
        for x in range(6):
            taken.append(x)
            yield (x,)

    with LocalPool(1) as pool:
        outcomes = pool.run(square, tasks())
        next(outcomes)
        assert taken == [0]
        outcomes.close()
