# SPDX-License-Identifier: BSD-3-Clause
"""zelos: emulators of physics codes.

>>> import zelos
>>> emulator = zelos.get_emulator("hub:CAMB_linear_matter_power")
>>> pk = emulator({"Omega_b": 0.05, ...}, k, z)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import Spec as Spec
    from ._core import Verdict as Verdict
    from .emulator import Emulator as Emulator
    from .error_model import ErrorModel as ErrorModel
    from .errors import (
        ArgumentError,
        Cancelled,
        Error,
        FallbackError,
        FileError,
        FormatError,
        MissingError,
        NumericError,
        OutsideRegion,
        ParameterError,
        SpecError,
    )
    from .hub import get_emulator as get_emulator
    from .hub import list_emulators as list_emulators

_ERRORS = (
    "ArgumentError",
    "Cancelled",
    "Error",
    "FallbackError",
    "FileError",
    "FormatError",
    "MissingError",
    "NumericError",
    "OutsideRegion",
    "ParameterError",
    "SpecError",
)
_HOME = {
    **dict.fromkeys(_ERRORS, "errors"),
    "Emulator": "emulator",
    "ErrorModel": "error_model",
    "get_emulator": "hub",
    "list_emulators": "hub",
    "Spec": "_core",
    "Verdict": "_core",
    "Zelos": "cobaya",
}
_MODULES = ("atlas", "build", "cobaya", "emulator", "error_model", "errors", "fallback", "hub")

__all__ = [
    "ArgumentError",
    "Cancelled",
    "Emulator",
    "Error",
    "ErrorModel",
    "FallbackError",
    "FileError",
    "FormatError",
    "MissingError",
    "NumericError",
    "OutsideRegion",
    "ParameterError",
    "Spec",
    "SpecError",
    "Verdict",
    "__version__",
    "get_emulator",
    "list_emulators",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name == "__version__":
        from ._core import version

        return version()
    raise AttributeError(f"module 'zelos' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES, "__version__"})
