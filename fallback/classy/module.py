# SPDX-License-Identifier: BSD-3-Clause
"""CLASS's Python module, also where a folder that `python -m zelos.montepython` wrote stands before it on the
path."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

_NAME = "classy"
#: The first line of the module that stands in classy's place.
MARK = "# The classy of MontePython, where this folder is on PYTHONPATH: an emulator."


def _stands_in(origin: str | None) -> bool:
    if origin is None or not origin.endswith(".py"):
        return False
    with Path(origin).open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip() == MARK


@contextlib.contextmanager
def _named(module: Any) -> Iterator[None]:
    """The module goes by the name of classy: it imports its parts, and looks for its files, by that."""
    there = sys.modules.get(_NAME)
    sys.modules[_NAME] = module
    try:
        yield
    finally:
        if there is not None:
            sys.modules[_NAME] = there


@functools.cache
def _find() -> Any:
    for entry in sys.path:
        spec = PathFinder.find_spec(_NAME, [entry])
        if spec is None or spec.loader is None or _stands_in(spec.origin):
            continue
        found = importlib.util.module_from_spec(spec)
        with _named(found):
            spec.loader.exec_module(found)
        return found
    raise ModuleNotFoundError("No module named 'classy': CLASS's Python module is not installed", name=_NAME)


def module() -> Any:
    """Raises ImportError where CLASS is not installed."""
    there = sys.modules.get(_NAME)
    if there is not None and not _stands_in(getattr(there, "__file__", None)):
        return there
    return _find()


def new() -> Any:
    """A `classy.Class`."""
    classy = module()
    with _named(classy):
        return classy.Class()
