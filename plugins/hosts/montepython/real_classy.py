# SPDX-License-Identifier: BSD-3-Clause
"""CLASS itself in the emulator's place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from zelos.fallback.classy import module

from .errors import CosmoComputationError, CosmoSevereError


def new() -> Any:
    """A `Class` of CLASS. Raises CosmoSevereError where it is not installed."""
    try:
        return module.new()
    except ImportError as error:
        raise CosmoSevereError(f"zelos_fallback = classy: {error}") from error


def translated(function: Callable[..., Any]) -> Callable[..., Any]:
    """With our exceptions for CLASS's."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        classy = module.module()
        try:
            return function(*arguments, **options)
        except classy.CosmoComputationError as error:
            raise CosmoComputationError(str(error)) from error
        except classy.CosmoSevereError as error:
            raise CosmoSevereError(str(error)) from error

    return call
