# SPDX-License-Identifier: BSD-3-Clause
"""The exceptions of zelos. All derive from `Error`; each message is one line that says what was expected
and found."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._core import Verdict
    from .selection import Unknown


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of a message about an unknown name: the nearest known one, whatever its case, or nothing."""
    names = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), names, 1)
    return f"; did you mean '{prefix}{names[near[0]]}'?" if near else ""


class Error(Exception):
    """Base of all errors that zelos raises."""


class ArgumentError(Error, ValueError):
    """An argument is wrong: an unknown output, an axis value outside the emulated range, a wrong shape."""


class ParameterError(ArgumentError):
    """Parameters are missing, unknown or in conflict; the message names them."""


class SpecError(Error, ValueError):
    """A spec is wrong; the message begins with file:line:column."""


class FormatError(Error, ValueError):
    """A file is damaged, of an unknown version, or not what it says it is."""


class FileError(Error, OSError):
    """A file can't be found, read or written."""


class NumericError(Error, ArithmeticError):
    """A computation did not give a finite number, or did not converge."""


class MissingError(Error, LookupError):
    """A regression family, a driver or an optional package is not installed."""


class Cancelled(Error):
    """Stopped at the caller's wish."""


class FallbackError(Error, RuntimeError):
    """The real code can't answer in the emulator's place: it is not there, of another version, or it
    failed."""


class OutsideRegion(Error, ValueError):
    """A point is outside the region in which the emulator was validated.

    verdict:  why (parameter, value, lower, upper, excess), None if the core gave none.
    row:      which point of a batch.
    """

    def __init__(self, message: str, verdict: Verdict | Unknown | None = None, row: int = 0):
        super().__init__(message)
        self.verdict = verdict
        self.row = row

    @property
    def parameter(self) -> str:
        """The parameter that left its range, or takes the point out of the hull most; empty if the
        predicted error did."""
        return self.verdict.parameter if self.verdict is not None else ""
