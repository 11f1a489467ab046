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

import functools
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from . import _core
from .emulator import _MAX_BOUND, Array, Emulator, Params, _Bound, _common, _reorder
from .errors import ArgumentError, FallbackError, MissingError, OutsideRegion, ParameterError

#: What a table of settings has where there is no such setting.
_UNSET = "(not set)"


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


class Atlas(Emulator):
    """Several emulators that answer as one; made by `zelos.get_emulator` of a list. Each point is answered by
    one of them as the module's rule says, with the names that are given as the parameters that vary.

    As an Emulator; `emulators` has each of them, and where an Emulator says what it is (`parameters`,
    `ranges`, `fixed`, `info`, ...) that is of the first. An output's native axes are those of the first that
    has it.
    `statistics["emulators"]` counts the points of each. There is no `jacobian`: ask one of `emulators`.
    """

    def __init__(
        self,
        cores: Sequence[_core.Emulator],
        fallback: Any = None,
        fallback_version: str | None = None,
        fallback_options: Mapping[str, Any] | None = None,
        cache: Any = None,
        mix: str | None = None,
        absent: Sequence[str] = (),
    ) -> None:
        if mix not in (None, "any"):
            raise ArgumentError(f"mix '{mix}': expected None or 'any'")
        super().__init__(cores[0], fallback, fallback_version, fallback_options, cache)
        self.emulators = tuple(Emulator(core) for core in cores)
        self._members = [Member(core) for core in cores]
        self._mix = mix == "any"
        self.differences = check(self._members, self._mix)
        """What differs between the emulators, if ``mix="any"`` took it."""
        for emulator in self.emulators[1:]:
            for name, output in emulator._outputs.items():
                if name not in self._outputs:
                    self._outputs[name] = output
                    self._axes[name] = emulator._axes[name]
        self._labels: dict[str, tuple[str, ...]] = {}
        for name in self._outputs:
            have = [labels for emulator in self.emulators if (labels := emulator.labels(name))]
            for labels in have[:1]:
                self._labels[name] = tuple(label for label in labels if all(label in other for other in have))
        self._spectra = tuple(name for name in self._outputs if name.startswith("Cl."))
        self._ell = _common([self._axes[name][0].values for name in self._spectra])
        self._fallback_arguments = (fallback, fallback_version, fallback_options, cache)
        self._real = {0: self._fallback}
        self.absent = tuple(absent)
        """What the file of the atlas names and is not installed."""
        self._selections: dict[tuple[str, ...], Selection] = {}
        self._asked: dict[Any, dict[int, list[_Bound]]] = {}
        self.statistics["emulators"] = {emulator.name: 0 for emulator in self.emulators}

    @property
    def name(self) -> str:
        return " + ".join(emulator.name for emulator in self.emulators)

    def __repr__(self) -> str:
        return f"<zelos atlas of {self.name} -> {', '.join(self._outputs)}>"

    def selection(self, names: Sequence[str]) -> Selection:
        """Who is asked when these parameters are given; `notes` says why not the others."""
        key = tuple(names)
        if key not in self._selections:
            selection = select(self._members, key, mix=self._mix)
            selection.notes[:0] = not_installed(self.absent)
            self._selections[key] = selection
        return self._selections[key]

    def labels(self, output: str = "derived") -> tuple[str, ...]:
        """As of an Emulator: those that all emulators with this output have."""
        return self._labels.get(output, ())

    def derived(self, params: Params) -> dict[str, Any]:
        """As of an Emulator, with the names of the one that answers; of a batch, those that all have that
        answer."""
        names, points, batch = self._points(params)
        found = self.answering(dict(zip(names, points.T, strict=True)))
        leader = self.selection(names).leader.member.name
        of_each = {emulator.name: emulator.labels() for emulator in self.emulators}
        rows_of: dict[tuple[str, ...], list[int]] = {}
        for row, name in enumerate(found):
            rows_of.setdefault(of_each[name or leader] or self.labels(), []).append(row)
        if self._fallback is None and "" in found:
            rows_of = {self.labels(): list(range(len(points)))}
        common = [label for label in next(iter(rows_of)) if all(label in labels for labels in rows_of)]
        result = {label: np.empty(len(points)) for label in common}
        for labels, rows in rows_of.items() if common else ():
            here = dict(zip(names, points[rows].T, strict=True))
            values = self._evaluate(here, ["derived"], None, {"derived": labels})["derived"]
            for label in common:
                result[label][rows] = values[:, labels.index(label)]
        return result if batch else {label: float(values[0]) for label, values in result.items()}

    def verdict(self, params: Params) -> Any:
        """The verdict of the emulator that answers; outside all regions, that of the leader."""
        names, points, batch = self._points(params)
        selection = self.selection(names)
        verdicts: list[Any] = [None] * len(points)
        for route in [*selection.routes, selection.leader]:
            open_rows = [row for row, verdict in enumerate(verdicts) if not verdict]
            if not open_rows:
                break
            emulator = self.emulators[route.index]
            bound = emulator._bind(route.names, None, None)
            found = bound.query.verdict(route.table(points[open_rows]))
            for row, verdict in zip(open_rows, found, strict=True):
                unknown = route.unknown_at(points[row])
                verdicts[row] = verdict if unknown is None else unknown
        return verdicts if batch else verdicts[0]

    def answering(self, params: Params) -> Any:
        """The name of the emulator that answers, "" outside all regions; of a batch, a list."""
        names, points, batch = self._points(params)
        found = [""] * len(points)
        for route in reversed(self.selection(names).routes):
            bound = self.emulators[route.index]._bind(route.names, None, None)
            for row, verdict in enumerate(bound.query.verdict(route.table(points))):
                if verdict and route.unknown_at(points[row]) is None:
                    found[row] = route.member.name
        return found if batch else found[0]

    def evaluate(
        self,
        params: Params,
        outputs: Sequence[str] | None = None,
        axes: Mapping[str, Any] | None = None,
    ) -> dict[str, Array]:
        return self._evaluate(params, outputs, axes, self._labels)

    def _evaluate(
        self,
        params: Params,
        outputs: Sequence[str] | None,
        axes: Mapping[str, Any] | None,
        labels: Mapping[str, tuple[str, ...]],
    ) -> dict[str, Array]:
        """labels: of each labelled output, those that are wanted."""
        names, points, batch = self._points(params)
        chosen = list(self._outputs) if outputs is None else [self._output(name) for name in outputs]
        given = {name: np.asarray(axis, float) for name, axis in axes.items()} if axes else {}
        unused = set(given) - {axis.name for name in chosen for axis in self._axes[name]}
        if unused:
            raise ArgumentError(f"axis '{sorted(unused)[0]}': none of the outputs {', '.join(chosen)} has it")
        selection = self.selection(names)
        asked = self._asked_for(names, selection, chosen, given, labels)
        n = len(points)
        result: dict[str, Array] = {}
        waiting = {name: np.ones(n, bool) for name in chosen}
        first_of = np.full(n, -1)
        for route in selection.routes:
            for bound in asked[route.index]:
                rows = np.flatnonzero(np.any([waiting[part.name] for part in bound.parts], axis=0))
                if not len(rows):
                    continue
                values, outside = route.evaluate(bound.query, points[rows])
                inside = np.ones(len(rows), bool)
                inside[[row for row, _ in outside]] = False
                first_of[rows[inside & (first_of[rows] < 0)]] = route.index
                for part in bound.parts:
                    here = inside & waiting[part.name][rows]
                    self._put(result, part, values[here], rows[here], n, self._of_labels(route, part, labels))
                    waiting[part.name][rows[here]] = False
        left = np.flatnonzero(np.any(list(waiting.values()), axis=0))
        with self._lock:
            counts = self.statistics["emulators"]
            for index in first_of[first_of >= 0]:
                counts[self.emulators[index].name] += 1
            self.statistics["emulated"] += n - len(left)
            self.last_source = "emulator" if not len(left) else "fallback" if len(left) == n else "mixed"
        if len(left):
            self._fall_back(selection, asked, points, left, waiting, result, labels)
        return {name: result[name] if batch else result[name][0] for name in chosen}

    def _of_labels(self, route: Route, part: Any, labels: Mapping[str, tuple[str, ...]]) -> list[int] | None:
        """Where the wanted labels are among those of an emulator; None if the output has none."""
        own = self.emulators[route.index].labels(part.name)
        return [own.index(label) for label in labels[part.name]] if own else None

    @staticmethod
    def _put(
        result: dict[str, Array], part: Any, values: Array, rows: Any, n: int, columns: list[int] | None
    ) -> None:
        array = values[:, part.begin : part.end].reshape(len(rows), *part.block)
        array = _reorder(array, part.order).reshape(len(rows), *part.shape)
        if columns is not None:
            array = array[:, columns]
        if part.name not in result:
            result[part.name] = np.full((n, *array.shape[1:]), np.nan)
        result[part.name][rows] = array

    def _asked_for(
        self,
        names: tuple[str, ...],
        selection: Selection,
        chosen: Sequence[str],
        given: Mapping[str, Array],
        labels: Mapping[str, tuple[str, ...]],
    ) -> dict[int, list[_Bound]]:
        axes = tuple((name, values.shape, values.tobytes()) for name, values in given.items())
        key = (names, tuple(chosen), axes, tuple(labels.get(name) for name in chosen))
        asked = self._asked.get(key)
        if asked is None:
            asked = self._who_has(selection, chosen, given, labels)
            with self._lock:
                if len(self._asked) >= _MAX_BOUND:
                    self._asked.pop(next(iter(self._asked)))
                self._asked[key] = asked
        return asked

    def _who_has(
        self,
        selection: Selection,
        chosen: Sequence[str],
        given: Mapping[str, Array],
        labels: Mapping[str, tuple[str, ...]],
    ) -> dict[int, list[_Bound]]:
        """Bound queries of each emulator for those of the outputs that it has on these axes. Raises
        ArgumentError for an output that none has."""
        asked: dict[int, list[_Bound]] = {}
        reasons: dict[str, str] = {}
        for route in selection.routes:
            emulator = self.emulators[route.index]
            together, bounds = [], []
            for name in chosen:
                if name not in emulator._outputs:
                    reasons.setdefault(name, f"{route.member.name} has no output '{name}'")
                    continue
                native = emulator._axes[name]
                wanted = {axis.name: axis for axis in self._axes[name]}
                lacking = set(labels.get(name, ())) - set(emulator.labels(name))
                if lacking or (name in labels and not labels[name]):
                    what = ", ".join(sorted(lacking)) or "none that all emulators have"
                    reasons.setdefault(name, f"{route.member.name} lacks of '{name}': {what}")
                    continue
                own = {
                    axis.name: given.get(axis.name, wanted[axis.name].values)
                    for axis in native
                    if axis.name in given
                    or not (axis.labels or np.array_equal(axis.values, wanted[axis.name].values))
                }
                try:
                    bound = emulator._bind(route.names, [name], own)
                except ArgumentError as error:
                    reasons[name] = f"{route.member.name}: {error}"
                    continue
                reasons.pop(name, None)
                if all(axis in given for axis in own):
                    together.append(name)
                else:
                    bounds.append(bound)
            if together:
                used = {axis.name for name in together for axis in emulator._axes[name]}
                own = {name: values for name, values in given.items() if name in used}
                bounds.insert(0, emulator._bind(route.names, together, own))
            asked[route.index] = bounds
        had = {part.name for bounds in asked.values() for bound in bounds for part in bound.parts}
        for name in chosen:
            if name not in had:
                raise ArgumentError(reasons[name])
        return asked

    def _fall_back(
        self,
        selection: Selection,
        asked: Mapping[int, list[_Bound]],
        points: Array,
        rows: Any,
        waiting: Mapping[str, Any],
        result: dict[str, Array],
        labels: Mapping[str, tuple[str, ...]],
    ) -> None:
        leader = selection.leader
        begin = time.perf_counter()
        own = {part.name for bound in asked[leader.index] for part in bound.parts}
        for i, row in enumerate(rows):
            point = points[row]
            lacking = sorted(
                name for name, open_rows in waiting.items() if open_rows[row] and name not in own
            )
            # Of what the leader lacks, the first that has it says why the point is outside.
            route = (
                leader if not lacking else next(r for r in selection.routes if self._has(asked, r, lacking))
            )
            verdict = self._verdict_of(route, point)
            unknown = route.unknown_at(point)
            what = verdict if unknown is None else unknown
            with self._lock:
                left = self.statistics["left"]
                key = what.parameter or what.reason
                left[key] = left.get(key, 0) + 1
            not_finite = verdict.reason == "not_finite" and not np.isfinite(point).all()
            if self._fallback is None or not_finite:
                where = f"row {row} of {len(points)}: " if len(points) > 1 else ""
                raise OutsideRegion(f"{route.member.name}: {where}{what}", what, int(row))
            if lacking:
                raise FallbackError(
                    f"{route.member.name}: {what}; {leader.member.name}, whose settings the real code takes, "
                    f"does not have {', '.join(lacking)}"
                )
            if unknown is not None:
                raise FallbackError(
                    f"{unknown}; the real code is told the parameters of {leader.member.name} alone"
                )
            for bound in asked[leader.index]:
                parts = [part for part in bound.parts if waiting[part.name][row]]
                if not parts:
                    continue
                why = bound.query.verdict(leader.table(point[None]))[0]
                table = leader.table(point[None])[0]
                answer = self._code(leader.index).at(bound.query, table, why)[0]
                for part in parts:
                    columns = self._of_labels(leader, part, labels)
                    self._put(result, part, answer[None], np.array([row]), len(points), columns)
                    waiting[part.name][row] = False
            with self._lock:
                self.statistics["fallback"] += 1
                self.statistics["fallback_seconds"] += (time.perf_counter() - begin) * (i == len(rows) - 1)

    @staticmethod
    def _has(asked: Mapping[int, list[_Bound]], route: Route, names: Sequence[str]) -> bool:
        return any(part.name in names for bound in asked[route.index] for part in bound.parts)

    def _verdict_of(self, route: Route, point: Array) -> Any:
        bound = self.emulators[route.index]._bind(route.names, None, None)
        return bound.query.verdict(route.table(point[None]))[0]

    def _code(self, index: int) -> Any:
        """The real code with the settings of one of the emulators."""
        from .real_code import RealCode

        if index not in self._real:
            fallback, version, options, cache = self._fallback_arguments
            self._real[index] = RealCode(fallback, self._members[index].core, version, options, cache)
        return self._real[index]

    def _predicted(self, params: Params, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        raise ArgumentError("an atlas predicts no errors: ask the one of `emulators` that answers")

    def error_model(self, *_: Any, **__: Any) -> Any:
        raise ArgumentError("an atlas predicts no errors: ask the one of `emulators` that answers")

    def jacobian(
        self,
        params: Params,
        outputs: Sequence[str] | None = None,
        axes: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        raise ArgumentError("an atlas has no Jacobian: ask the one of `emulators` that answers")

    def canonical(self, params: Params) -> dict[str, Any]:
        raise ArgumentError("an atlas has no canonical parameters: ask one of `emulators`")
