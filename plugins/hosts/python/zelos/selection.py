# SPDX-License-Identifier: BSD-3-Clause
"""Which emulator of several answers. Every host that takes a list of emulators follows this rule.

For each run, from the names of the parameters that it gives, and which of them are constant:

1. An emulator can be asked if each parameter that it needs is given or has a neutral value, and each that is
   given is its own, was fixed in its training, or has a neutral value. (Neutral: the value that makes a model
   the one without the parameter, such as w = -1; the driver of the code says it.) What was fixed and what is
   unknown is checked at each point; what is needed and not given is set to the leader's fixed value, else to
   the neutral one.
2. The leader defines the physics of the run: the emulator for which the fewest parameters are given that it
   can't vary; of those, the one for which the fewest have to be set; of those, the first in the list.
3. Of the others, those are asked that compute the same physics as the leader, and as each other, wherever
   both can be asked. A setting that differs is no difference where it can't matter (a model of dark energy at
   w = -1, wa = 0). It is one where it does: 0.06 eV in one massive neutrino is not 0.06 eV in three. Who is
   left out, and which difference does not matter, is in `Selection.notes`.

For each point: the first emulator of the list that is asked and whose region holds the point answers; what it
does not compute, the next. Nothing but the run's names and constants and the point itself decides, so that
the same point always has the same answer. Where no region holds the point, the real code answers with the
settings of the leader; what the leader does not have is an error there.

Emulators of different codes, versions or numerical settings are refused from the start: the likelihood would
jump from one region to the next. ``mix = "any"`` takes them, and those of other physics, all the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from . import _core
from .emulator import Array
from .errors import ArgumentError, ParameterError
from .member import Member, base_name, same_value, value_as

#: What a table of settings has where there is no such setting.
_UNSET = "(not set)"


@dataclass(frozen=True)
class Unknown:
    """The verdict on a point where a parameter that the emulator does not know is not neutral."""

    parameter: str
    value: float
    lower: float
    upper: float
    reason: str = "unknown_parameter"
    inside: bool = False

    @property
    def excess(self) -> float:
        return abs(self.value - self.lower)

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return (
            f"parameter '{self.parameter}' is {self.value:.10g}; the emulator does not know it and may "
            f"answer at {self.lower:.10g} only"
        )


@dataclass(frozen=True)
class Route:
    """How one emulator is asked in a run: a table of points of the run -> the columns of its query."""

    index: int
    member: Member
    names: tuple[str, ...]
    columns: tuple[int, ...]
    """Which given parameters come first in `names`."""
    set_to: tuple[float, ...]
    """Values of the parameters that come after them."""
    unknown: tuple[tuple[int, str, float], ...]
    """Column, name and neutral value of the given parameters that are not in `names`."""

    def table(self, points: Array) -> Array:
        extra = np.broadcast_to(np.array(self.set_to, float), (len(points), len(self.set_to)))
        return np.ascontiguousarray(np.concatenate([points[:, self.columns], extra], axis=1))

    def unknown_at(self, point: Array) -> Unknown | None:
        for column, name, neutral in self.unknown:
            if not math.isclose(point[column], neutral, rel_tol=1e-12, abs_tol=1e-12):
                return Unknown(name, float(point[column]), neutral, neutral)
        return None

    def evaluate(self, query: Any, points: Array) -> tuple[Array, list[tuple[int, Any]]]:
        """As `Query.evaluate`, of points of the run."""
        values, outside = query.evaluate(self.table(points))
        if not self.unknown:
            return values, outside
        verdicts = dict(outside)
        for row, point in enumerate(points):
            verdict = self.unknown_at(point)
            if verdict is not None and getattr(verdicts.get(row), "reason", "") != "not_finite":
                verdicts[row] = verdict
                values[row] = np.nan
        return values, sorted(verdicts.items())


class _Candidate(NamedTuple):
    route: Route
    rank: tuple[int, int, int]
    clash: str
    """The constant of the run that the emulator can't have, as text."""


@dataclass
class Selection:
    """The emulators that are asked in a run, in the order of the list.

    notes:  what the user should be told, once.
    """

    routes: list[Route]
    leader: Route
    notes: list[str] = field(default_factory=list)


def check(members: Sequence[Member], mix: bool) -> list[str]:
    """What differs between emulators that can't be excused by the parameters: code, version, settings. Raises
    ArgumentError if something does, unless `mix`; then returns it."""
    first, differences = members[0], []
    for other in members[1:]:
        for key in {*first.code, *other.code}:
            a, b = first.code.get(key), other.code.get(key)
            if not same_value(a, b):
                differences.append(_difference(key, a, first, b, other))
        for key in _settings(first, other):
            if key not in first.immaterial:
                a, b = first.settings.get(key, _UNSET), other.settings.get(key, _UNSET)
                differences.append(_difference(key, a, first, b, other))
    if differences and not mix:
        raise ArgumentError(
            f"emulators that do not belong together: {'; '.join(differences)}. The likelihood would jump "
            "from the region of one to that of the next; mix='any' takes them all the same"
        )
    return differences


def _settings(a: Member, b: Member) -> list[str]:
    """Settings that differ and are no parameter of either."""
    return [
        key
        for key in dict.fromkeys([*a.settings, *b.settings])
        if not same_value(a.settings.get(key, _UNSET), b.settings.get(key, _UNSET))
        and not (base_name(key) in a.free or base_name(key) in b.free)
    ]


def _difference(what: str, a: Any, first: Member, b: Any, other: Member) -> str:
    a, b = (_UNSET if value is None else value for value in (a, b))
    return f"{what}: {a} in {first.name}, {b} in {other.name}"


def compare(
    a: Member, b: Member, constants: Mapping[str, float], set_here: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """What differs in the physics of two emulators wherever both can be asked, and which differing settings
    make no difference there. Base name -> value: constants, of what the run gives; set_here, of what it does
    not give and the leader is asked with, so that no point says where another value was fixed."""
    differing, excused = [], []
    common = {base: value for base, (_, value) in {**b.neutral, **a.neutral}.items()}
    for base in dict.fromkeys([*a.free, *a.fixed, *b.free, *b.fixed]):
        common.pop(base, None)
        in_a, in_b = a.held(base), b.held(base)
        if base in constants:
            common[base] = constants[base]
        elif base in set_here:
            common[base] = set_here[base]
            differing += [
                f"{member.label(base)}: {member.held(base)} in {member.name}, {set_here[base]} in this run"
                for member in (a, b)
                if base in member.fixed and not same_value(member.fixed[base][1], set_here[base])
            ]
        elif base in a.free and base in b.free:
            continue
        elif base in a.free or base in b.free:
            value = in_b if base in a.free else in_a
            if value is None:
                knows, other = (a, b) if base in a.free else (b, a)
                differing.append(
                    f"{knows.label(base)}: a parameter of {knows.name}, not stated by {other.name}"
                )
            else:
                common[base] = value
        elif in_a is None or in_b is None or not same_value(in_a, in_b):
            name = (a if a.states(base) else b).label(base)
            differing.append(_difference(name, in_a, a, in_b, b))
        else:
            common[base] = in_a
    for key in _settings(a, b):
        where = a.immaterial.get(key)
        if where is None:
            continue  # of `check`
        text = _difference(key, a.settings.get(key), a, b.settings.get(key), b)
        at = ", ".join(f"{name} = {value:g}" for name, value in where.items())
        if all(base in common and same_value(common[base], value) for base, value in _bases(where).items()):
            excused.append(f"{text}; no difference at {at}")
        else:
            found = ", ".join(
                f"{name} = {common[base_name(name)]:g}" if base_name(name) in common else f"{name} free"
                for name in where
            )
            differing.append(f"{text}; a difference at {found}")
    return differing, excused


def _bases(values: Mapping[str, float]) -> dict[str, float]:
    return {base_name(name): value for name, value in values.items()}


def select(
    members: Sequence[Member],
    given: Sequence[str],
    constants: Mapping[str, float] | None = None,
    mix: bool = False,
    elsewhere: str = "none of them answers",
) -> Selection:
    """The emulators of a run, as the rule above says.

    given:      names of the parameters that each point of the run has.
    constants:  values of those of them that are the same at every point.
    elsewhere:  what happens where none of them may answer, for the notes.

    Raises ParameterError if no emulator can be asked, with the reason of the first.
    """
    constants = dict(constants or {})
    found: dict[int, _Candidate] = {}
    failures: dict[int, str] = {}
    for index, member in enumerate(members):
        try:
            found[index] = _candidate(index, member, given, constants, {})
        except Exception as error:
            failures[index] = str(error)
    if not found:
        raise ParameterError(failures[0])
    leader = min(found.values(), key=lambda candidate: candidate.rank)
    head = leader.route.member
    known = dict(head.fixed)
    fixed = {
        base_name(name): value_as(value, name, _name_of(head, name)) for name, value in constants.items()
    }
    names_set = leader.route.names[len(leader.route.columns) :]
    set_here = _bases(dict(zip(names_set, leader.route.set_to, strict=True)))
    chosen, notes = [leader.route], []
    for index, member in enumerate(members):
        if index == leader.route.index:
            continue
        reason = ""
        try:
            candidate = _candidate(index, member, given, constants, known)
            reason = candidate.clash
        except Exception as error:
            reason = str(error)
        if reason:
            notes.append(f"{member.name} is not asked: {reason}")
            continue
        for other in chosen:
            differing, excused = compare(other.member, member, fixed, set_here)
            if differing and not mix:
                notes.append(
                    f"{member.name} is not asked beside {other.member.name}, its physics is another: "
                    f"{'; '.join(differing)}"
                )
                break
            notes += [f"{member.name} is asked all the same: {text}" for text in differing]
            notes += [f"{member.name} is asked: {text}" for text in excused]
        else:
            chosen.append(candidate.route)
    if leader.clash:
        notes.append(f"{head.name} answers no point of this run: {leader.clash}")
    notes += _meanings(head, members, given, fixed)
    for column, name, neutral in leader.route.unknown:
        if all(column in {c for c, _, _ in route.unknown} for route in chosen):
            notes.append(f"none of the emulators knows '{name}'; where it is not {neutral:g} {elsewhere}")
    chosen.sort(key=lambda route: route.index)
    return Selection(chosen, leader.route, notes)


def _meanings(
    leader: Member, members: Sequence[Member], given: Sequence[str], constants: Mapping[str, float]
) -> list[str]:
    """Of what the run gives and the leader holds: which setting it has in this run, where an emulator that
    varies it has another. constants: base name -> value."""
    notes = []
    for key, where in leader.immaterial.items():
        for base in {base_name(name) for name in given} & set(_bases(where)):
            held = leader.held(base)
            if held is None or (base in constants and same_value(constants[base], held)):
                continue
            others = [
                f"{other.settings.get(key, _UNSET)} in {other.name}, which varies it"
                for other in members
                if base in other.free and key in _settings(leader, other)
            ]
            if others:
                notes.append(
                    f"{leader.label(base)} of this run is that of {leader.name}, which holds it at {held:g}, "
                    f"with {key} = {leader.settings.get(key, _UNSET)} ({', '.join(others)})"
                )
    return notes


def not_installed(absent: Sequence[str]) -> list[str]:
    """What the user should be told of the emulators that an atlas names and that are not there."""
    return [f"{name} is not asked: the atlas names it, but it is not installed" for name in absent]


def _name_of(member: Member, name: str) -> str:
    label = member.label(base_name(name))
    return label if label in _core.synonyms(name) else name


def _candidate(
    index: int,
    member: Member,
    given: Sequence[str],
    constants: Mapping[str, float],
    known: Mapping[str, tuple[str, float]],
) -> _Candidate:
    """known: base name -> name and value of what is set, if it is not given. Raises what binding the names
    raises."""
    columns, unknown, varied, clash = [], [], 0, ""
    for column, name in enumerate(given):
        base = base_name(name)
        own = member.states(base) or base in member.solvable
        held = member.fixed.get(base)
        if not own and base in member.neutral:
            held = member.neutral[base]
            unknown.append((column, name, value_as(held[1], held[0], name)))
        else:
            columns.append(column)
        if held is None or base in member.free:
            continue
        if name not in constants:
            varied += 1
        elif not math.isclose(
            value_as(constants[name], name, held[0]), held[1], rel_tol=1e-12, abs_tol=1e-12
        ):
            clash = clash or f"{held[0]} is {constants[name]:g} in this run and {held[1]:g} there"
    bases = {base_name(name) for name in given}
    bases |= {member.solvable[base] for base in bases if base in member.solvable}
    extra = {}
    for base, name in member.free.items():
        if base not in bases:
            held = known.get(base, member.neutral.get(base))
            if held is not None:
                extra[name] = value_as(held[1], held[0], name)
    names = (*(given[column] for column in columns), *extra)
    member.core.query(names, [])
    route = Route(index, member, names, tuple(columns), tuple(extra.values()), tuple(unknown))
    return _Candidate(route, (varied + bool(clash), len(extra), index), clash)
