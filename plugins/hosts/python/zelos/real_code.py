# SPDX-License-Identifier: BSD-3-Clause
"""The real code in the emulator's place: the driver with the settings that the artifact was trained with."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import ArgumentError, FallbackError, MissingError
from .fallback import driver as drivers

if TYPE_CHECKING:
    from .emulator import Emulator

Array = np.ndarray[Any, np.dtype[np.float64]]
_Request = tuple[str, tuple[Array, ...]]
_Key = tuple[tuple[str, float], ...]
_KEPT_RUNS = 4
#: Real codes are not thread-safe: one of them works at a time in a process.
_LOCK = threading.RLock()


class _Run(NamedTuple):
    """One run, kept since the outputs of a point are often asked for one after the other."""

    key: _Key
    axes: dict[str, dict[str, Array]]
    answer: dict[str, Array]

    def has(self, output: str, wanted: tuple[Array, ...]) -> bool:
        have = self.axes[output].values()
        return all(bool(np.isin(values, axis).all()) for axis, values in zip(have, wanted, strict=False))


class RealCode:
    """Answers requests of an `Emulator` with its real code.

    Raises FallbackError if the code is another one than the emulator's, or if its version or settings
    differ from those of the training runs and `version_policy` is not ``"any"``; the message says what
    differs.
    """

    def __init__(self, code: str, emulator: Emulator, version_policy: str | None = None) -> None:
        if version_policy not in (None, "any"):
            raise ArgumentError(f"fallback_version '{version_policy}': expected None or 'any'")
        provenance = emulator.info.get("provenance", {})
        trained_on = provenance.get("code", "")
        if trained_on != code:
            raise FallbackError(
                f"fallback '{code}': the emulator {emulator.name} was trained on "
                f"'{trained_on or 'an unknown code'}'"
            )
        self.code = code
        self._emulator = emulator
        self._config: dict[str, Any] = dict(provenance.get("config", {}))
        if "ini" in provenance:
            self._ini = tempfile.NamedTemporaryFile("w", suffix=".ini")  # noqa: SIM115 (lives as long as this)
            self._ini.write(provenance["ini"])
            self._ini.flush()
            self._config["ini"] = self._ini.name
        try:
            self._driver_class = drivers.load(code)
            self._native = self._make({})
            version = self._native.version
        except (ImportError, MissingError) as error:
            raise FallbackError(f"fallback '{code}' is not available: {error}") from error
        self._runs: list[_Run] = []
        self.differences = self._compare(provenance, version)
        if self.differences and version_policy != "any":
            raise FallbackError(
                f"fallback '{code}' is not the code that {emulator.name} emulates: "
                f"{'; '.join(self.differences)}; pass fallback_version='any' to use it all the same"
            )

    def evaluate(
        self, params: Mapping[str, float], requests: list[tuple[str, tuple[Array, ...]]]
    ) -> list[Array]:
        """One array per request, at the request's axes (native if it has none)."""
        key = tuple(sorted(params.items()))
        with _LOCK:
            for run in self._runs:
                if run.key == key and all(run.has(self._canonical(name), axes) for name, axes in requests):
                    break
            else:
                run = self._run(params, key, requests)
                self._runs = [*self._runs[1 - _KEPT_RUNS :], run]
        return [self._extract(run, name, axes) for name, axes in requests]

    def _run(self, params: Mapping[str, float], key: _Key, requests: Sequence[_Request]) -> _Run:
        driver = self._make({name: axes for name, axes in requests if axes})
        try:
            answer = driver.run(params)
        except Exception as error:
            listed = ", ".join(f"{name}={value:g}" for name, value in params.items())
            raise FallbackError(f"{self.code} failed at {listed}: {error}") from error
        return _Run(key, driver.outputs, answer)

    def _extract(self, run: _Run, name: str, axes: tuple[Array, ...]) -> Array:
        canonical = self._canonical(name)
        values = run.answer[canonical]
        labels = self._emulator.labels(name)
        if labels:
            known = list(self._driver_class.derived)
            values = values[
                [known.index(drivers.canonical_derived(self._driver_class, label)) for label in labels]
            ]
        else:
            wanted = axes or tuple(self._emulator.axes(name).values())
            grid = run.axes[canonical].values()
            where = [np.searchsorted(have, want) for have, want in zip(grid, wanted, strict=True)]
            values = values[np.ix_(*where)]
        if not np.isfinite(values).all():
            raise FallbackError(f"{self.code}: output '{name}' is not finite")
        return values

    def _canonical(self, name: str) -> str:
        return drivers.canonical_output(self._driver_class, name)

    def _make(self, wanted: Mapping[str, tuple[Array, ...]]) -> drivers.Driver:
        """The driver on the native axes, so that its settings are those of training, with the wanted values
        added."""
        outputs: dict[str, dict[str, Array]] = {}
        for name in self._emulator.outputs:
            axes = self._emulator.axes(name)
            for (axis, native), values in zip(axes.items(), wanted.get(name, ()), strict=False):
                if axis == "ell" and np.any(values != np.round(values)):
                    raise FallbackError(f"{self.code} answers at whole multipoles only")
                axes[axis] = np.union1d(native, values)
            outputs[self._canonical(name)] = axes
        return self._driver_class(self._config, outputs)

    def _compare(self, provenance: Mapping[str, Any], version: str) -> list[str]:
        differences = []
        if version != provenance.get("code_version"):
            differences.append(f"version {version} here, {provenance.get('code_version')} in training")
        centre = provenance.get("settings_at")
        if centre and provenance.get("settings_sha256"):
            with _LOCK:
                here = self._native.settings(centre)
            if hashlib.sha256(here.encode()).hexdigest() != provenance["settings_sha256"]:
                differences.append(f"settings: {_first_difference(provenance.get('settings', ''), here)}")
        return differences


def _first_difference(trained: str, here: str) -> str:
    for before, now in zip(trained.splitlines(), here.splitlines(), strict=False):
        if before != now:
            return f"'{now.strip()}' here, '{before.strip()}' in training"
    return f"{len(here.splitlines())} lines here, {len(trained.splitlines())} in training"
