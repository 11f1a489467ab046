# SPDX-License-Identifier: BSD-3-Clause
"""What physics an emulator states, under one set of names, and of what code with which settings."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from typing import Any

from . import _core
from .errors import MissingError


@functools.cache
def base_name(name: str) -> str:
    """One name for all names of a parameter."""
    return min([name, *_core.synonyms(name)])


def value_as(value: float, name: str, other: str) -> float:
    """A value given under one name of a parameter, under another one; as it is under a code's own name that
    is none of its synonyms."""
    return _core.convert(value, name, other) if other in _core.synonyms(name) else value


def same_value(a: Any, b: Any) -> bool:
    """Of settings: numbers to rounding."""
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-12)
    return bool(a == b)


class Member:
    """An emulator of an atlas: what physics it states, and of what code with which settings."""

    def __init__(self, core: Any) -> None:
        provenance = json.loads(core.info_json()).get("provenance") or {}
        config = {key: value for key, value in (provenance.get("config") or {}).items() if key != "code"}
        self.core = core
        self.name: str = core.name
        self.code: dict[str, Any] = {
            "code": provenance.get("code"),
            "version": provenance.get("code_version"),
            "ini": provenance.get("ini"),
        }
        driver = _driver(provenance.get("code"))
        neutral: Mapping[str, float] = getattr(driver, "neutral", {})
        self.immaterial: Mapping[str, Mapping[str, float]] = getattr(driver, "immaterial", {})
        self.neutral = {base_name(name): (name, value) for name, value in neutral.items()}
        self.free = {base_name(p.name): str(p.name) for p in core.parameters}
        self.fixed = {base_name(name): (str(name), float(value)) for name, value in core.fixed}
        self.solvable = {base_name(name): base_name(target) for name, target in core.solvable}
        self.settings: dict[str, Any] = {}
        for key, value in config.items():
            base = base_name(key)
            if base in self.neutral and base not in self.free and not isinstance(value, str):
                self.fixed.setdefault(base, (key, float(value)))
            elif base not in self.fixed:
                self.settings[key] = value

    def states(self, base: str) -> bool:
        return base in self.free or base in self.fixed

    def held(self, base: str) -> float | None:
        """What a parameter is held at, stated or neutral; None if it is free, or not known."""
        if base in self.free:
            return None
        if base in self.fixed:
            return self.fixed[base][1]
        return self.neutral[base][1] if base in self.neutral else None

    def label(self, base: str) -> str:
        """The name by which the emulator or the code calls a parameter."""
        if base in self.free:
            return self.free[base]
        return {**self.neutral, **self.fixed}.get(base, (base, 0.0))[0]


def _driver(code: Any) -> Any:
    from .fallback import driver as drivers

    try:
        return drivers.load(str(code))
    except (MissingError, ImportError):
        return None
