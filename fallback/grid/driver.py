# SPDX-License-Identifier: BSD-3-Clause
"""A library of runs of a code on a grid of parameters, interpolated in the code's place.

An HDF5 file (read with h5py):

    /                        attributes: zelos_grid = 1; code, code_version, library_sha256 of what made the
                             runs; settings (the code's own text) at the parameters settings_at (JSON object)
    /parameters/NAME         (n_i) ascending; attributes: position (0, 1, ...: the dimension of the values
                             that belongs to it), spacing (linear or log: in which it is interpolated)
    /valid                   (n_0, ..., n_d-1), optional: 0 where there is no run
    /outputs/NAME/values     (n_0, ..., n_d-1, axes...); attributes: unit; transform (none, or log: the
                             logarithm is interpolated); a run that is not finite counts as none
    /outputs/NAME/axes/AXIS  ascending; attributes: position, unit
    /derived/values          (n_0, ..., n_d-1, names); attributes: names, units

Between the runs the values are multilinear in the parameters: the 2^d runs around a point answer it, and the
point is refused if one of them is missing. So is one outside the grid. The axes of an output are not
interpolated. `Library.error` says how good that is, from the curvature between the runs.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...errors import ArgumentError, FormatError
from ..driver import AxisRequest, Driver, Kind
from ..linear_error import error_of_lines, second_difference

Array = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]
LAYOUT = 1
_TRANSFORMS = ("none", "log")
_SPACINGS = ("linear", "log")


class Library:
    """A driver (see driver.py) whose runs are interpolated; `open_library` makes the class of a file."""

    code: ClassVar[str]
    kinds: ClassVar[Mapping[str, Kind]]
    derived: ClassVar[Mapping[str, str]]
    synonyms: ClassVar[Mapping[str, str]]
    path: ClassVar[Path]
    code_version: ClassVar[str]
    sha256: ClassVar[str]
    settings_text: ClassVar[str]
    settings_at: ClassVar[Mapping[str, float]]
    spacing: ClassVar[Mapping[str, str]]
    grid: ClassVar[Mapping[str, Array]]
    stored_axes: ClassVar[Mapping[str, Mapping[str, Array]]]

    def __init__(self, config: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]) -> None:
        import h5py

        self.config = dict(config)
        self.outputs = {
            name: {a: np.asarray(v, float) for a, v in axes.items()} for name, axes in outputs.items()
        }
        self._where: dict[str, list[Indices]] = {}
        for name, axes in self.outputs.items():
            have = self.stored_axes.get(name, {})
            self._where[name] = [_places(self.path, name, a, have[a], values) for a, values in axes.items()]
        self._file = h5py.File(self.path, "r")

    @staticmethod
    def default_axis(output: str, axis: str, request: AxisRequest | None) -> Array:
        raise ArgumentError(f"outputs.{output}.{axis}: a grid has the values that its file has")

    @property
    def parameters(self) -> Mapping[str, float | None]:
        return {**self.config, **dict.fromkeys(self.grid)}

    @property
    def version(self) -> str:
        return self.code_version

    def library_hash(self) -> str:
        return self.sha256

    def settings(self, params: Mapping[str, float]) -> str:
        if dict(params) == dict(self.settings_at):
            return self.settings_text
        return f"settings of the grid {self.path.name}, which holds them for other parameters"

    def run(self, params: Mapping[str, float]) -> dict[str, Array]:
        corners = self._corners(params)
        return {name: self._interpolate(name, corners) for name in self.outputs}

    def _corners(self, params: Mapping[str, float]) -> list[tuple[tuple[int, ...], float]]:
        """The runs around a point and their weights, without those of weight 0."""
        for name, value in params.items():
            if name not in self.parameters:
                raise ArgumentError(
                    f"the grid {self.path.name} does not vary {name}, nor does the config have it"
                )
            # What the grid does not vary has to be as it was when its runs were made.
            if name not in self.grid and self.config.get(name) != value:
                raise ValueError(f"the grid {self.path.name} does not vary {name}: {name} = {value:g}")
        corners = []
        sides = [side for side, _ in self._places_of(params)]
        for combination in itertools.product(*sides):
            weight = float(np.prod([w for _, w in combination]))
            if weight > 0:
                corners.append((tuple(i for i, _ in combination), weight))
        if "valid" in self._file:
            for index, _ in corners:
                if not self._file["valid"][index]:
                    raise self._hole(index)
        return corners

    def _places_of(self, params: Mapping[str, float]) -> list[tuple[list[tuple[int, float]], float]]:
        """On each axis of the grid: the two nodes around the point with their weights, and the point, in the
        axis' spacing."""
        places = []
        for name, nodes in self.grid.items():
            if name not in params:
                raise ArgumentError(f"the grid {self.path.name} needs {name}")
            value = params[name]
            if not nodes[0] <= value <= nodes[-1]:
                raise ValueError(
                    f"{name} = {value:g} is outside the grid {self.path.name}, [{nodes[0]:g}, {nodes[-1]:g}]"
                )
            right = int(np.clip(np.searchsorted(nodes, value), 1, len(nodes) - 1))
            left = right - 1
            low, high, x = (self._spaced(name, np.asarray(v)) for v in (nodes[left], nodes[right], value))
            part = float((x - low) / (high - low))
            places.append(([(left, 1 - part), (right, part)], float(x)))
        return places

    def _spaced(self, name: str, values: Array) -> Array:
        return np.log(values) if self.spacing[name] == "log" else values

    def error(self, params: Mapping[str, float], answer: Mapping[str, Array]) -> dict[str, Array]:
        """One standard deviation of each value of an answer of `run` at this point (linear_error.py), with
        the curvatures to the left and to the right. Infinite where an axis has no third run to tell one
        from."""
        places = self._places_of(params)
        found: dict[str, Array] = {}
        for name in self.outputs:
            lines = []
            for k, (axis, (side, x)) in enumerate(zip(self.grid, places, strict=True)):
                nodes = self._spaced(axis, self.grid[axis])
                left, right = side[0][0], side[1][0]
                reach = float((x - nodes[left]) * (nodes[right] - x))
                if reach == 0:
                    continue
                others = [s if i != k else [] for i, (s, _) in enumerate(places)]
                curvatures = [
                    self._curvature(name, k, nodes, start, others)
                    for start in (left - 1, left)
                    if start >= 0 and start + 2 < len(nodes)
                ]
                lines.append((reach, [c for c in curvatures if c is not None]))
            sigma = error_of_lines(lines)
            factor = np.abs(answer[name]) if self._is_log(name) else 1.0
            chosen = sigma[np.ix_(*self._where[name])] if self._where[name] and np.ndim(sigma) else sigma
            found[name] = np.broadcast_to(chosen * factor, np.shape(answer[name])).copy()
        return found

    def _curvature(
        self, name: str, k: int, nodes: Array, start: int, others: Sequence[Sequence[tuple[int, float]]]
    ) -> Array | None:
        """Half the second derivative along axis k, from three nodes on, at the point; None at a hole."""
        sides = [*others]
        sides[k] = [(start + i, w) for i, w in enumerate(second_difference(nodes[start : start + 3]))]
        total: Any = 0.0
        for combination in itertools.product(*sides):
            weight = float(np.prod([w for _, w in combination]))
            index = tuple(i for i, _ in combination)
            if weight == 0:
                continue
            values = self._values(name, index)
            if not np.isfinite(values).all() or ("valid" in self._file and not self._file["valid"][index]):
                return None
            total = total + weight * values
        return np.asarray(total)

    def _interpolate(self, name: str, corners: Sequence[tuple[tuple[int, ...], float]]) -> Array:
        total: Any = 0.0
        for index, weight in corners:
            values = self._values(name, index)
            if not np.isfinite(values).all():
                raise self._hole(index)
            total = total + weight * values
        result = np.exp(total) if self._is_log(name) else total
        return np.ascontiguousarray(result[np.ix_(*self._where[name])] if self._where[name] else result)

    def _values(self, name: str, index: tuple[int, ...]) -> Array:
        """Those of one run, or their logarithms."""
        values = np.asarray(self._data(name)[index], float)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(values) if self._is_log(name) else values

    def _is_log(self, name: str) -> bool:
        return bool(self._data(name).attrs.get("transform", "none") == "log")

    def _data(self, name: str) -> Any:
        return self._file["derived/values" if name == "derived" else f"outputs/{name}/values"]

    def _hole(self, index: tuple[int, ...]) -> ValueError:
        at = ", ".join(f"{n} = {nodes[i]:g}" for (n, nodes), i in zip(self.grid.items(), index, strict=True))
        return ValueError(f"the grid {self.path.name} has no run at {at}, which this point needs")


def _places(path: Path, output: str, axis: str, have: Array, wanted: Array) -> Indices:
    index = np.clip(np.searchsorted(have, wanted * (1 - 1e-12)), 0, len(have) - 1)
    if not np.allclose(have[index], wanted, rtol=1e-11, atol=0):
        raise ArgumentError(
            f"{output}: the grid {path.name} does not have all values of {axis} that are wanted"
        )
    return index


def open_library(path: str | Path) -> type[Driver]:
    """The driver's class for a file. Raises FormatError (not such a file), ImportError (no h5py)."""
    import h5py

    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"grid '{path}': {error}") from error


def _read(path: Path, file: Any) -> type[Driver]:
    layout = file.attrs.get("zelos_grid")
    if layout != LAYOUT:
        raise FormatError(f"grid '{path}': expected the attribute zelos_grid = {LAYOUT}, found {layout}")
    parameters = sorted(file["parameters"].values(), key=lambda item: int(item.attrs["position"]))
    grid = {item.name.rpartition("/")[2]: np.asarray(item, float) for item in parameters}
    spacing = {name: str(file["parameters"][name].attrs.get("spacing", "linear")) for name in grid}
    shape = tuple(len(nodes) for nodes in grid.values())
    for name, nodes in grid.items():
        if len(nodes) < 2 or np.any(np.diff(nodes) <= 0):
            raise FormatError(f"grid '{path}', parameters/{name}: expected two or more ascending values")
        if spacing[name] not in _SPACINGS or (spacing[name] == "log" and nodes[0] <= 0):
            raise FormatError(f"grid '{path}', parameters/{name}: spacing '{spacing[name]}' is not possible")
    kinds, axes = {}, {}
    for name, group in file.get("outputs", {}).items():
        items = sorted(group["axes"].values(), key=lambda item: int(item.attrs["position"]))
        axes[name] = {item.name.rpartition("/")[2]: np.asarray(item, float) for item in items}
        units = tuple((item.name.rpartition("/")[2], str(item.attrs.get("unit", ""))) for item in items)
        kinds[name] = Kind(str(group["values"].attrs.get("unit", "")), units)
        _check(path, f"outputs/{name}/values", group["values"], shape + tuple(map(len, axes[name].values())))
        if group["values"].attrs.get("transform", "none") not in _TRANSFORMS:
            raise FormatError(f"grid '{path}', outputs/{name}: expected the transform none or log")
    derived: dict[str, str] = {}
    if "derived" in file:
        data = file["derived/values"]
        names = [str(name) for name in data.attrs["names"]]
        derived = dict(zip(names, map(str, data.attrs["units"]), strict=True))
        _check(path, "derived/values", data, (*shape, len(names)))
    if "valid" in file:
        _check(path, "valid", file["valid"], shape)
    members = {
        "code": str(file.attrs["code"]),
        "code_version": str(file.attrs["code_version"]),
        "sha256": str(file.attrs.get("library_sha256", "")),
        "settings_text": str(file.attrs.get("settings", "")),
        "settings_at": json.loads(file.attrs.get("settings_at", "{}")),
        "kinds": kinds,
        "derived": derived,
        "synonyms": {},
        "path": path,
        "grid": grid,
        "spacing": spacing,
        "stored_axes": axes,
    }
    return type("Driver", (Library,), members)


def _check(path: Path, name: str, data: Any, shape: tuple[int, ...]) -> None:
    if data.shape != shape:
        raise FormatError(f"grid '{path}', {name}: expected the shape {shape}, found {data.shape}")


def write_library(
    path: str | Path,
    driver: Driver,
    grid: Mapping[str, Sequence[float]],
    settings_at: Mapping[str, float],
    transforms: Mapping[str, str] | None = None,
) -> int:
    """Runs a configured driver at every point of a grid and writes the file; what the code fails at becomes
    a hole. Returns the number of holes.

    settings_at:  the point whose settings are compared with those of an emulator's training: `settings_at`
                  of its provenance.
    transforms:   output -> log, where its values are positive.
    """
    import h5py

    nodes = {name: np.asarray(values, float) for name, values in grid.items()}
    shape = tuple(map(len, nodes.values()))
    values: dict[str, Array] = {}
    valid = np.zeros(shape, bool)
    for index in np.ndindex(shape):
        point = {name: float(n[i]) for (name, n), i in zip(nodes.items(), index, strict=True)}
        try:
            answer = driver.run(point)
        except Exception:  # whatever the code raises: there is no run here
            continue
        valid[index] = all(np.isfinite(array).all() for array in answer.values())
        for name, array in answer.items():
            values.setdefault(name, np.full((*shape, *np.shape(array)), np.nan))[index] = array
    with h5py.File(path, "w") as file:
        file.attrs["zelos_grid"] = LAYOUT
        file.attrs["code"] = driver.code
        file.attrs["code_version"] = driver.version
        file.attrs["library_sha256"] = driver.library_hash()
        file.attrs["settings"] = driver.settings(settings_at)
        file.attrs["settings_at"] = json.dumps(dict(settings_at))
        for position, (name, axis) in enumerate(nodes.items()):
            file[f"parameters/{name}"] = axis
            file[f"parameters/{name}"].attrs["position"] = position
        file["valid"] = valid
        for name, array in values.items():
            if name == "derived":
                file["derived/values"] = array
                file["derived/values"].attrs["names"] = list(driver.derived)
                file["derived/values"].attrs["units"] = list(driver.derived.values())
                continue
            kind = driver.kinds[name]
            file[f"outputs/{name}/values"] = array
            file[f"outputs/{name}/values"].attrs["unit"] = kind.unit
            file[f"outputs/{name}/values"].attrs["transform"] = (transforms or {}).get(name, "none")
            for position, (axis_name, unit) in enumerate(kind.axes):
                file[f"outputs/{name}/axes/{axis_name}"] = driver.outputs[name][axis_name]
                file[f"outputs/{name}/axes/{axis_name}"].attrs.update({"position": position, "unit": unit})
    return int(valid.size - valid.sum())
