# SPDX-License-Identifier: BSD-3-Clause
"""The interface of a driver: the file that knows how to run one real code.

A driver is a class; it is found by the name that a spec has under ``config.code``, either in `BUILT_IN` or
as an entry point of the group ``zelos.drivers`` (``camb = "package.module:Class"``) of an installed package.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar, Protocol

import numpy as np

from ..errors import ArgumentError, MissingError, did_you_mean

Array = np.ndarray[Any, np.dtype[np.float64]]

BUILT_IN = {
    "camb": "zelos.fallback.camb.driver:Driver",
    "classy": "zelos.fallback.classy.driver:Driver",
    "turbospectrum": "zelos.fallback.spectrum.driver:Driver",
}
ENTRY_POINTS = "zelos.drivers"


@dataclass(frozen=True)
class Kind:
    """What an output is: its unit, and name and unit of each axis in the order of the array's dimensions."""

    unit: str
    axes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class AxisRequest:
    """An axis as a spec asks for it; `n` = 0, `spacing` = "" and no `values` leave the choice to the
    driver."""

    min: float
    max: float
    n: int = 0
    spacing: str = ""
    values: Sequence[float] = ()


class Driver(Protocol):
    """One configured code.

    config:   fixed settings, in the code's own words.
    outputs:  canonical output name -> axes (name -> ascending values); ``{"derived": {}}`` for the scalars.

    Not thread-safe; one per process. Everything that the code raises comes through.
    """

    code: ClassVar[str]
    kinds: ClassVar[Mapping[str, Kind]]
    """What it computes, without "derived"."""
    derived: ClassVar[Mapping[str, str]]
    """Scalars that every run gives -> unit, in the order of the array "derived"."""
    synonyms: ClassVar[Mapping[str, str]]
    """Other names of outputs and scalars -> canonical ones."""
    neutral: ClassVar[Mapping[str, float]]
    """Optional. Parameter of an extension -> its value in a model without it: the code's own default."""
    immaterial: ClassVar[Mapping[str, Mapping[str, float]]]
    """Optional. Setting -> parameter values at which it makes no difference, whatever it is."""
    parameters: Mapping[str, float | None]
    """Optional. Every parameter that `run` knows -> what stands in where one is not given, None if it must
    be."""

    config: dict[str, Any]
    outputs: dict[str, dict[str, Array]]

    def __init__(self, config: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]) -> None: ...

    @staticmethod
    def default_axis(output: str, axis: str, request: AxisRequest | None) -> Array:
        """Values of an axis for which the spec gives a range (or nothing: None) and leaves the rest to the
        driver. Raises ArgumentError if it has no default range."""
        ...

    @property
    def version(self) -> str: ...

    def library_hash(self) -> str:
        """SHA-256 (hex) of the code's compiled library."""
        ...

    def settings(self, params: Mapping[str, float]) -> str:
        """Every setting as the code itself reports it at this point; equal text, equal physics."""
        ...

    def assumed(self, params: Mapping[str, float]) -> dict[str, float]:
        """Physics that the outputs depend on and that neither config nor params state -> the code's default
        for it: a spec that forgets a parameter is told. May be ``{}``."""
        return {}

    def run(self, params: Mapping[str, float]) -> dict[str, Array]:
        """All outputs at one point, each an array over its axes. ArgumentError for a parameter that is
        unknown or missing; what else is raised is about the point."""
        ...

    def error(self, params: Mapping[str, float], answer: Mapping[str, Array]) -> dict[str, Array]:
        """Optional. One standard deviation of each value of an answer of `run` at this point, from what the
        driver itself interpolates: a library of runs, model atmospheres. Of others there is none."""
        ...


def load(name: str) -> type[Driver]:
    """The driver's class. Raises MissingError naming what there is; importing the code itself happens
    later."""
    reference = BUILT_IN.get(name) or _entry_points().get(name)
    if reference is None:
        known = available()
        hint = did_you_mean(name, known)
        raise MissingError(f"no driver for the code '{name}': expected one of {', '.join(known)}{hint}")
    module, _, attribute = reference.partition(":")
    driver: type[Driver] = getattr(importlib.import_module(module), attribute)
    return driver


def available() -> list[str]:
    """Names of all drivers, whether or not their codes are installed."""
    return sorted({*BUILT_IN, *_entry_points()})


def _entry_points() -> dict[str, str]:
    return {entry.name: entry.value for entry in metadata.entry_points(group=ENTRY_POINTS)}


def canonical_output(driver: type[Driver], name: str) -> str:
    """``linear_matter_power`` -> ``Pk.linear``. Raises ArgumentError with the nearest known name."""
    canonical = driver.synonyms.get(name, name)
    if canonical in driver.kinds or canonical == "derived":
        return canonical
    hint = did_you_mean(name, [*driver.kinds, *driver.synonyms])
    raise ArgumentError(f"unknown output '{name}': {driver.code} computes {', '.join(driver.kinds)}{hint}")


def canonical_derived(driver: type[Driver], name: str) -> str:
    """The same for derived scalars."""
    canonical = driver.synonyms.get(name, name)
    if canonical in driver.derived:
        return canonical
    hint = did_you_mean(name, [*driver.derived, *driver.synonyms])
    raise ArgumentError(
        f"unknown derived parameter '{name}': {driver.code} computes {', '.join(driver.derived)}{hint}"
    )


def resolve_axis(driver: type[Driver], output: str, axis: str, request: AxisRequest | None) -> Array:
    """The values of an axis: those of the spec, or spaced as it says, or the driver's choice. Raises
    ArgumentError for multipoles that are not whole, and what the driver's choice raises."""
    values = _spaced(request)
    if values is None:
        return driver.default_axis(output, axis, request)
    if axis == "ell" and np.any(values != np.round(values)):
        raise ArgumentError(
            f"outputs.{output}.ell: expected whole multipoles, found "
            f"{values[values != np.round(values)][0]:g}; give the multipoles themselves"
        )
    return values


def _spaced(request: AxisRequest | None) -> Array | None:
    if request is None:
        return None
    if len(request.values):
        return np.array(request.values, float)
    if request.n and request.spacing == "linear":
        return np.linspace(request.min, request.max, request.n)
    if request.n and request.spacing == "log":
        return np.geomspace(request.min, request.max, request.n)
    return None
