# SPDX-License-Identifier: BSD-3-Clause
"""`Class`, as CLASS's module `classy` has it, answered by an emulator.

A script for classy runs on by one changed import::

    from zelos.montepython import Class

MontePython imports `classy`: docs/hosts.md says how it finds this one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import zelos
from zelos.one_point import OnePoint

from . import real_classy
from .emulated import Emulated
from .errors import CosmoComputationError, CosmoError, CosmoSevereError, NotEmulated
from .inputs import Inputs, Training

__all__ = ["Class", "CosmoComputationError", "CosmoError", "CosmoSevereError"]

#: Parameters that are for the emulator, not for CLASS.
_OURS = ("zelos_emulator", "zelos_fallback")


class Class:
    """As `classy.Class`. The methods that answer after compute() are those of `emulated.Emulated`.

    emulator:  what `zelos.get_emulator` takes; default ``$ZELOS_EMULATOR``, else ``hub:CAMB_lcdm``.
    fallback:  ``"classy"``: CLASS itself, with the script's own input, answers whatever the emulator does
               not: points outside its region, other physics and settings, other methods. Or ``"camb"``, the
               code of the training: it answers, with the training's settings, for points. Default
               ``$ZELOS_FALLBACK``; else none.

    Both may also be set, as ``zelos_emulator`` and ``zelos_fallback``, among the parameters. A parameter that
    is not given has CLASS's default. Without a fallback a point outside the region is a
    CosmoComputationError; physics that is not the training's, and what is not emulated, a CosmoSevereError
    which says what to give for the emulator's. Thread rule: one object belongs to one thread.

    source:  who answers: "emulator", "camb" or "classy"; "" before compute().
    """

    def __init__(
        self,
        default: Mapping[str, Any] | None = None,
        emulator: str | None = None,
        fallback: str | None = None,
    ) -> None:
        self._reference = emulator or os.environ.get("ZELOS_EMULATOR", "hub:CAMB_lcdm")
        self._fallback = os.environ.get("ZELOS_FALLBACK") if fallback is None else fallback
        self._emulator: zelos.Emulator | None = None
        self._training: Training | None = None
        self._opened: tuple[str, str | None] | None = None
        self._pars: dict[str, Any] = {}
        self._point: OnePoint | None = None
        self._emulated: Emulated | None = None
        self._real: Any = None
        self._said: set[str] = set()
        self.source = ""
        self.computed = self.state = False
        self.ready = False
        if default:
            self.set(default)

    @property
    def pars(self) -> dict[str, Any]:
        return self._pars

    def set(self, *pars: Mapping[str, Any], **kwargs: Any) -> bool:
        """Adds parameters, CLASS's names and values."""
        for mapping in (*pars, kwargs):
            self._pars.update(mapping)
        self.computed = self.state = False
        return True

    def set_default(self) -> None:
        self.set({"output": "tCl mPk", "lensing": "yes"})

    def empty(self) -> None:
        """Forgets the parameters."""
        self._pars = {}
        self.computed = self.state = False

    def struct_cleanup(self) -> None:
        """Forgets what was computed."""
        if self._real is not None:
            self._real.struct_cleanup()
            self._real.empty()
        self._real = self._emulated = None
        self.source = ""
        self.computed = self.state = False

    def compute(self, level: Iterable[str] | None = None) -> None:
        """Asks the emulator for everything at once. `level`, of CLASS's modules, means nothing here."""
        self.struct_cleanup()
        emulator = self._open()
        try:
            self._emulate(emulator)
            self.source = self._point.source if self._point is not None else ""
            if self.source == "fallback" and emulator.fallback is not None:
                self.source = emulator.fallback.code
        except (NotEmulated, zelos.OutsideRegion) as error:
            if not self._class_answers():
                kind = CosmoComputationError if isinstance(error, zelos.OutsideRegion) else CosmoSevereError
                raise kind(str(error)) from error
            if isinstance(error, NotEmulated):
                self._say(error)
            self._compute_with_class()
            self.source = "classy"
        except zelos.ArgumentError as error:
            raise CosmoSevereError(str(error)) from error
        except zelos.FallbackError as error:
            raise CosmoComputationError(str(error)) from error
        self.computed = self.state = self.ready = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if not self.computed:
            raise CosmoSevereError(f"{name}: nothing is computed: call set() and compute() first")
        if self._emulated is None:
            return self._of_class(name)
        try:
            found = getattr(self._emulated, name)
        except (AttributeError, NotEmulated, zelos.ArgumentError) as error:
            reason = f"classy's '{name}' is not emulated" if isinstance(error, AttributeError) else str(error)
            if not self._class_answers():
                raise CosmoSevereError(reason) from error
            self._say(reason)
            return self._of_class(name)
        return self._guarded(name, found) if callable(found) else found

    # --- how

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return method(*arguments, **options)
            except (NotEmulated, zelos.ArgumentError) as error:
                if not self._class_answers():
                    raise CosmoSevereError(str(error)) from error
                self._say(error)
                return self._of_class(name)(*arguments, **options)

        return call

    def _open(self) -> zelos.Emulator:
        reference = str(self._pars.get("zelos_emulator", self._reference))
        fallback = self._pars.get("zelos_fallback", self._fallback) or None
        if self._emulator is None or self._opened != (reference, fallback):
            try:
                emulator = zelos.get_emulator(reference, fallback=None if fallback == "classy" else fallback)
            except zelos.Error as error:
                raise CosmoSevereError(str(error)) from error
            self._emulator, self._opened, self._point = emulator, (reference, fallback), None
            self._training = Training(emulator)
        return self._emulator

    def _emulate(self, emulator: zelos.Emulator) -> None:
        assert self._training is not None
        inputs = Inputs(self._pars, self._training)
        if inputs.clash:
            if emulator.fallback is None:
                raise NotEmulated(inputs.clash)
            self._say(inputs.clash, emulator.fallback.code)
        # What was asked of the point before is likely to be asked again.
        self._point = OnePoint(emulator, inputs.point, self._point)
        self._emulated = Emulated(self._point, inputs, self._pars)

    def _class_answers(self) -> bool:
        return self._opened is not None and self._opened[1] == "classy"

    def _compute_with_class(self) -> None:
        if self._real is None:
            real = real_classy.new()
            real.set({name: value for name, value in self._pars.items() if name not in _OURS})
            real_classy.translated(real.compute)()
            self._real = real

    def _of_class(self, name: str) -> Any:
        self._compute_with_class()
        found = getattr(self._real, name)
        return real_classy.translated(found) if callable(found) else found

    def _say(self, reason: object, who: str = "CLASS") -> None:
        """Once for each reason: it is slow, and was perhaps not meant."""
        if str(reason) not in self._said:
            self._said.add(str(reason))
            warnings.warn(f"zelos: {who} answers: {reason}", stacklevel=4)
