# SPDX-License-Identifier: BSD-3-Clause
"""Where runs of a real code are made: worker processes on this machine, or anything that has ``submit``."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_connections
from typing import Any, NamedTuple, Protocol, cast

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_environment_lock = threading.Lock()


class Outcome(NamedTuple):
    """What became of a task: its value, or the reason why there is none."""

    task: tuple[Any, ...]
    value: Any = None
    error: str | None = None


class Pool(Protocol):
    def run(self, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Outcome]:
        """Calls ``function(*task)`` for each task, in any order, and yields the outcomes as they come. An
        exception of the function, or the death of its process, is an outcome and not an error."""
        ...

    def close(self) -> None: ...


class LocalPool:
    """Spawned processes (forked ones hang in a library that used OpenMP before the fork), each with one
    thread.

    Every worker has its own pipe, so that a death is blamed on the task that the worker had; that task is
    tried once more in a fresh process. Workers ignore Ctrl-C and end with the parent, however that ends.
    """

    def __init__(self, workers: int, threads: int = 1, tries: int = 2) -> None:
        self._workers = max(1, workers)
        self._threads = threads
        self._tries = tries
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}

    def run(self, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Outcome]:
        queue = iter(tasks)
        again: list[tuple[tuple[Any, ...], int]] = []
        exhausted = False
        try:
            while True:
                while len(self._busy) < self._workers and (again or not exhausted):
                    if again:
                        task, deaths = again.pop()
                    else:
                        try:
                            task, deaths = next(queue), 0
                        except StopIteration:
                            exhausted = True
                            break
                    self._start(function, task, deaths)
                if not self._busy:
                    return
                for ready in wait_for_connections(list(self._busy)):
                    worker = self._busy.pop(cast(Connection, ready))
                    try:
                        value, error = worker.connection.recv()
                    except (EOFError, OSError):
                        worker.end()
                        if worker.deaths + 1 < self._tries:
                            again.append((worker.task, worker.deaths + 1))
                        else:
                            yield Outcome(
                                worker.task, error=f"the worker process died ({worker.how_it_ended()})"
                            )
                        continue
                    self._idle.append(worker)
                    yield Outcome(worker.task, value, error)
        finally:
            for worker in self._busy.values():
                worker.end()
            self._busy.clear()

    def close(self) -> None:
        for worker in self._idle:
            worker.end()
        self._idle.clear()

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, function: Callable[..., Any], task: tuple[Any, ...], deaths: int) -> None:
        while True:
            worker = self._idle.pop() if self._idle else _Worker(self._context, self._threads)
            try:
                worker.connection.send((function, task))
            except OSError:  # it died while it was idle
                worker.end()
                continue
            worker.task, worker.deaths = task, deaths
            self._busy[worker.connection] = worker
            return


class ExecutorPool:
    """Any executor: ``submit(function, *task)`` gives a future (Dask's, mpi4py's, concurrent.futures')."""

    def __init__(self, executor: Any, in_flight: int = 64) -> None:
        self._executor = executor
        self._in_flight = in_flight

    def run(self, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Outcome]:
        queue = iter(tasks)
        running: dict[Future[Any], tuple[Any, ...]] = {}
        while True:
            while len(running) < self._in_flight:
                try:
                    task = next(queue)
                except StopIteration:
                    break
                running[self._executor.submit(function, *task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    yield Outcome(task, future.result())
                except Exception as error:
                    yield Outcome(task, error=describe(error))

    def close(self) -> None:
        with contextlib.suppress(AttributeError):
            self._executor.shutdown()


def describe(error: BaseException) -> str:
    """One line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class _Worker:
    def __init__(self, context: Any, threads: int) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _environment_lock, _thread_variables(threads):
            self.process.start()
        theirs.close()
        self.task: tuple[Any, ...] = ()
        self.deaths = 0

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def how_it_ended(self) -> str:
        code = self.process.exitcode
        if code is not None and code < 0:
            return signal.Signals(-code).name
        return f"exit code {code}"


@contextlib.contextmanager
def _thread_variables(threads: int) -> Iterator[None]:
    """A child's OpenMP reads these when it is loaded: they have to be there before its first import."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            function, task = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[Any, str | None] = (function(*task), None)
        except Exception as error:
            answer = (None, describe(error))
        try:
            connection.send(answer)
        except OSError:
            return
