# SPDX-License-Identifier: BSD-3-Clause
"""Packages that only some functions need."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import MissingError


def need(package: str, what_for: str) -> Any:
    """The package, or a MissingError that says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingError(
            f"{what_for} needs the package {package.split('.')[0]}: pip install 'zelos[starfish]'"
        ) from error
