# SPDX-License-Identifier: BSD-3-Clause
"""Several emulators that answer as one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from .emulator import _MAX_BOUND, Array, Emulator, Params, _Bound, _common, _reorder
from .errors import ArgumentError, FallbackError, OutsideRegion
from .member import Member
from .selection import Route, Selection, check, not_installed, select


class Atlas(Emulator):
    """Several emulators that answer as one; made by `zelos.get_emulator` of a list. Each point is answered by
    one of them as the rule of `zelos.selection` says, with the names that are given as the parameters that
    vary.

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
