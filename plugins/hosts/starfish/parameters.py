# SPDX-License-Identifier: BSD-3-Clause
"""The parameters of a model of a spectrum: names, groups, what is frozen, their file; as in Starfish."""

from __future__ import annotations

import datetime
import operator
import os
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_file import write_file
from ..errors import ArgumentError, FormatError, did_you_mean
from .grid import Array
from .optional import need

_SCALARS = ("vz", "vsini", "Av", "Rv", "log_scale")
_GLOBAL = ("log_amp", "log_ls")
_LOCAL = ("mu", "log_amp", "log_sigma")
_GROUPS = ("cheb", "global_cov", "local_cov")
#: What an order may have of its own.
_PER_ORDER = ("vz", "log_scale", *_GROUPS)


#: Metadata of a file: the parameters in the order of `labels`, which the tables of TOML do not keep.
_ORDER = "parameter_order"


class Params(MutableMapping[str, float]):
    """Parameters by their flat names ("vz", "cheb:1", "global_cov:log_amp", "local_cov:0:mu"). A group is
    `in` it if any of its parameters is."""

    def __init__(self, values: Mapping[str, float] | None = None) -> None:
        self._values: dict[str, float] = dict(values or {})

    def __getitem__(self, key: str) -> Any:
        if key in self._values:
            return self._values[key]
        inner = {k[len(key) + 1 :]: v for k, v in self._values.items() if k.startswith(key + ":")}
        if not inner:
            raise KeyError(key)
        return Params(inner)

    def __setitem__(self, key: str, value: float) -> None:
        self._values[key] = _number(value)

    def __delitem__(self, key: str) -> None:
        doomed = [k for k in self._values if k == key or k.startswith(key + ":")]
        if not doomed:
            raise KeyError(key)
        for k in doomed:
            del self._values[k]

    def __contains__(self, key: object) -> bool:
        return key in self._values or any(map(operator.methodcaller("startswith", f"{key}:"), self._values))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self.as_dict())

    def under(self, group: str) -> dict[str, float]:
        """The parameters of a group, by the rest of their names."""
        start, length = group + ":", len(group) + 1
        return {key[length:]: value for key, value in self._values.items() if key.startswith(start)}

    def names(self, key: str) -> list[str]:
        """The flat names of a parameter, or of all of a group, a series in its order."""
        if key in self._values:
            return [key]
        inner = sorted(self.under(key), key=lambda name: int(name) if name.isdigit() else 0)
        return [f"{key}:{name}" for name in inner]

    def as_dict(self) -> dict[str, Any]:
        """Nested: groups are dictionaries, kernels and orders lists of them, empty where there is none of
        that number."""
        return {key: _lists(key, value) for key, value in self.nested().items()}

    def nested(self) -> dict[str, Any]:
        """Nested dictionaries alone."""
        tree: dict[str, Any] = {}
        for key, value in self._values.items():
            *path, last = key.split(":")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[last] = value
        return tree


def _lists(key: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {k: _lists(k, v) for k, v in value.items()}
    if key not in ("local_cov", "orders"):
        return inner
    numbered = {int(k): v for k, v in inner.items()}
    return [numbered.get(i, {}) for i in range(max(numbered) + 1)]


def _number(value: Any) -> float:
    """As it was given, for whoever prints it, but without a type of numpy's."""
    return value if type(value) in (int, float) else float(value)


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested parameters by their flat names; a list of numbers is a Chebyshev series without its constant."""
    flat: dict[str, float] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, (Mapping, Params)):
            flat |= flatten(value, name + ":")
        elif isinstance(value, (list, tuple, np.ndarray)):
            first = 1 if key == "cheb" else 0
            for i, item in enumerate(value):
                if isinstance(item, Mapping):
                    flat |= flatten(item, f"{name}:{i}:")
                else:
                    flat[f"{name}:{i + first}"] = _number(item)
        else:
            flat[name] = _number(value)
    return flat


class ModelParameters:
    """What a model knows by name.

    grid_names:  the emulator's parameters. n_orders: of the spectrum. params: nested or flat.
    """

    def __init__(
        self,
        grid_names: Sequence[str],
        n_orders: int,
        grid_params: Sequence[float],
        params: Mapping[str, Any],
    ) -> None:
        self._grid_names, self._n_orders = list(grid_names), n_orders
        self.n_grid_params = len(self._grid_names)
        self.frozen: list[str] = []
        for name in self._grid_names:
            if name in (*_SCALARS, *_GROUPS, "orders"):
                raise ArgumentError(
                    f"the emulator's parameter '{name}' has the name of one of the model: make the library "
                    "with another"
                )
        if len(grid_params) != self.n_grid_params:
            raise ArgumentError(
                f"grid_params: expected {self.n_grid_params} ({', '.join(self._grid_names)}), "
                f"found {len(grid_params)}"
            )
        self.params = Params()
        for key, value in flatten(params).items():
            self._check_key(key)
            self.params[key] = value
        self.grid_params = grid_params

    def _check_key(self, key: str) -> None:
        parts = key.split(":")
        if parts[0] == "orders":
            if len(parts) < 3 or not parts[1].isdigit() or int(parts[1]) >= self._n_orders:
                raise KeyError(f"{key} not recognized: there are {self._n_orders} orders")
            if parts[2] not in _PER_ORDER:
                raise KeyError(f"{key} not recognized: an order may have its own {', '.join(_PER_ORDER)}")
            parts = parts[2:]
        group, *rest = parts
        names = (*_SCALARS, *self._grid_names)
        good = (
            (not rest and group in names)
            or (group == "cheb" and len(rest) == 1 and rest[0].isdigit())
            or (group == "global_cov" and len(rest) == 1 and rest[0] in _GLOBAL)
            or (group == "local_cov" and len(rest) == 2 and rest[0].isdigit() and rest[1] in _LOCAL)
        )
        if not good:
            raise KeyError(f"{key} not recognized{did_you_mean(group, (*names, *_GROUPS, 'orders'))}")
        if group == "cheb" and rest[0] == "0":
            raise KeyError("cannot change constant Chebyshev term")

    @property
    def grid_params(self) -> Array:
        """The emulator's parameters. Setting leaves those that are frozen."""
        return np.array([self.params[key] for key in self._grid_names])

    @grid_params.setter
    def grid_params(self, values: Sequence[float]) -> None:
        for key, value in zip(self._grid_names, values, strict=True):
            if key not in self.frozen:
                self.params[key] = value

    @property
    def cheb(self) -> Array:
        """c1, c2, ..."""
        return self._series("cheb")

    @cheb.setter
    def cheb(self, values: Sequence[float]) -> None:
        if "cheb" in self.frozen:
            return
        for i, value in enumerate(values, start=1):
            if f"cheb:{i}" not in self.frozen:
                self.params[f"cheb:{i}"] = value

    def _series(self, group: str) -> Array:
        inner = self.params.under(group)
        if not inner:
            return np.zeros(0)
        coefficients = np.zeros(max(int(k) for k in inner))
        for key, value in inner.items():
            coefficients[int(key) - 1] = value
        return coefficients

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the parameters that are not frozen."""
        return tuple(key for key in self.params if key not in self.frozen)

    def __getitem__(self, key: str) -> Any:
        return self.cheb.tolist() if key == "cheb" else self.params[key]

    def __setitem__(self, key: str, value: Any) -> None:
        flat = flatten({key: value})
        if key in _GROUPS and key in self.params:
            del self.params[key]
        for name in flat:
            self._check_key(name)
        for name, number in flat.items():
            group, _, index = name.rpartition(":")
            if group.split(":")[-1] == "cheb":
                for i in range(1, int(index)):
                    self.params.setdefault(f"{group}:{i}", 0.0)
            self.params[name] = number

    def __delitem__(self, key: str) -> None:
        if key not in self.params:
            raise KeyError(f"{key} not in params")
        del self.params[key]
        self.frozen = [k for k in self.frozen if k != key and not k.startswith(key + ":")]

    def get_param_dict(self, flat: bool = False) -> dict[str, Any]:
        """The parameters that are not frozen, by flat names or nested."""
        thawed = Params({key: self.params[key] for key in self.labels})
        return dict(thawed) if flat else thawed.as_dict()

    def set_param_dict(self, params: Mapping[str, Any]) -> None:
        """Frozen ones stay as they are."""
        flat = flatten(params)
        for key in flat:
            self._check_key(key)
        for key, value in flat.items():
            if key not in self.frozen:
                self.params[key] = value

    def get_param_vector(self) -> Array:
        return np.array([self.params[key] for key in self.labels])

    def set_param_vector(self, params: Any) -> None:
        """In the order of `labels`."""
        labels = self.labels
        if len(params) != len(labels):
            raise ArgumentError(
                f"Param Vector does not match length of thawed parameters: expected {len(labels)}, "
                f"found {len(params)}"
            )
        for key, value in zip(labels, params, strict=True):
            self.params[key] = value

    def freeze(self, names: str | Sequence[str]) -> None:
        """Takes parameters or groups out of `labels`; "all" freezes everything. Unknown names are ignored, as
        in Starfish."""
        for name in np.atleast_1d(np.asarray(names, dtype=str)).tolist():
            if name == "all":
                self.frozen += [g for g in _GROUPS if g in self.params and g not in self.frozen]
                self.frozen += [key for key in self.params if key not in self.frozen]
            elif name in self.params:
                if name not in self.frozen:
                    self.frozen.append(name)
                self.frozen += [k for k in self.params if k.startswith(name + ":") and k not in self.frozen]

    def thaw(self, names: str | Sequence[str]) -> None:
        for name in np.atleast_1d(np.asarray(names, dtype=str)).tolist():
            if name == "all":
                self.frozen = []
            else:
                self.frozen = [k for k in self.frozen if k != name and not k.startswith(name + ":")]

    def _require_effect(self) -> None:
        """ArgumentError if a parameter that is not frozen changes nothing."""
        unused = {}
        if "Rv" in self.params and "Av" not in self.params:
            unused["Rv"] = "there is no Av"
        for name in _PER_ORDER:
            if name in self.params and all(
                self._key(name, i).startswith("orders:") for i in range(self._n_orders)
            ):
                unused[name] = "every order has its own"
        for label in self.labels:
            if (name := label.partition(":")[0]) in unused:
                raise ArgumentError(f"{label} has no effect: {unused[name]}. Leave it out or freeze it")

    def _require_whole_kernels(self) -> None:
        kernels: dict[str, set[str]] = {}
        for key in self.params:
            kernel, _, name = key.rpartition(":")
            if "global_cov" in kernel or "local_cov" in kernel:
                kernels.setdefault(kernel, set()).add(name)
        for kernel, found in kernels.items():
            expected = _GLOBAL if kernel.endswith("global_cov") else _LOCAL
            if missing := [name for name in expected if name not in found]:
                raise ArgumentError(f"{kernel}: expected {', '.join(expected)}, found no {missing[0]}")

    # --- what the model reads ---

    def _value(self, name: str, order: int, default: float | None = None) -> Any:
        own = self.params.get(f"orders:{order}:{name}")
        return self.params.get(name, default) if own is None else own

    def _key(self, name: str, order: int) -> str:
        own = f"orders:{order}:{name}"
        return own if own in self.params else name

    def _kernels(self, order: int) -> tuple[tuple[float, float] | None, list[tuple[float, float, float]]]:
        inner = self.params.under(self._key("global_cov", order))
        glob = (inner["log_amp"], inner["log_ls"]) if inner else None
        return glob, list(self._local_kernels(order).values())

    def _local_kernels(self, order: int) -> dict[str, tuple[float, float, float]]:
        """log_amp, mu and log_sigma of each, by the name of the kernel."""
        group = self._key("local_cov", order)
        numbers = sorted({int(name.partition(":")[0]) for name in self.params.under(group)})
        p = self.params
        names = [f"{group}:{number}" for number in numbers]
        return {name: (p[f"{name}:log_amp"], p[f"{name}:mu"], p[f"{name}:log_sigma"]) for name in names}

    # --- files ---

    def _save_parameters(self, filename: str | os.PathLike[str], metadata: Mapping[str, Any]) -> None:
        lines = [f"frozen = {_toml(self.frozen)}", ""]
        _write_table(lines, "parameters", self.params.as_dict())
        _write_table(lines, "metadata", {_ORDER: list(self.params), **metadata})
        write_file(Path(filename), "\n".join(lines) + "\n")

    def load(self, filename: str | os.PathLike[str]) -> None:
        """What `save` of this class or of Starfish wrote, for this emulator and data."""
        tomllib = need("tomllib" if sys.version_info >= (3, 11) else "tomli", "reading TOML")
        try:
            content = tomllib.loads(Path(filename).read_text("utf-8"))
            flat = flatten(content["parameters"])
            frozen = [str(name) for name in content["frozen"]]
            metadata = dict(content.get("metadata", {}))
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise FormatError(f"{filename}: not the state of a model: {error}") from error
        for key in flat:
            self._check_key(key)
        missing = [key for key in self._grid_names if key not in flat]
        if missing:
            raise FormatError(f"{filename}: without the emulator's parameter '{missing[0]}'")
        self._adopt(flat, metadata, str(filename))
        order = [key for key in metadata.get(_ORDER, ()) if key in flat]
        self.params = Params({key: flat[key] for key in (*order, *flat)})
        self.frozen = frozen

    def _adopt(self, flat: dict[str, float], metadata: Mapping[str, Any], filename: str) -> None:
        """Parameters of a file, before they become the model's."""

    def _parameter_lines(self) -> list[str]:
        lines = ["Parameters"]
        for key, value in self.get_param_dict().items():
            if key == "global_cov":
                lines += ["  global_cov:", *(f"    {k}: {v}" for k, v in value.items())]
            elif key in ("local_cov", "orders"):
                lines.append(f"  {key}:")
                lines += [
                    f"    {i}: " + ", ".join(f"{k}: {v}" for k, v in item.items())
                    for i, item in enumerate(value)
                    if item
                ]
            elif key == "cheb":
                lines.append(f"  cheb: {list(value.values())}")
            else:
                lines.append(f"  {key}: {value}")
        return lines

    def _frozen_lines(self) -> list[str]:
        frozen = [key for key in self.frozen if key not in ("global_cov", "local_cov")]
        return ["", "Frozen Parameters", *(f"  {key}: {self[key]}" for key in frozen)] if frozen else []


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, (list, tuple, np.ndarray)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    quoted = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{quoted}"'


def _write_table(lines: list[str], name: str, table: Mapping[str, Any], brackets: str = "[]") -> None:
    lines.append(f"{brackets[: len(brackets) // 2]}{name}{brackets[len(brackets) // 2 :]}")
    nested = {}
    for key, value in table.items():
        if isinstance(value, Mapping) or (
            isinstance(value, list) and value and isinstance(value[0], Mapping)
        ):
            nested[key] = value
        else:
            name_of = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)
            lines.append(f"{name_of} = {_toml(value)}")
    for key, value in nested.items():
        if isinstance(value, Mapping):
            _write_table(lines, f"{name}.{key}", value)
        else:
            for item in value:
                _write_table(lines, f"{name}.{key}", item, "[[]]")
    lines.append("")
