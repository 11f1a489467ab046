# SPDX-License-Identifier: BSD-3-Clause
"""zelos through its C API (zelos.h), called with ctypes, which adds about a microsecond to each call."""

from __future__ import annotations

import ctypes as c
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import zelos
from zelos import _core, hub
from zelos.archive import read_artifact

from . import common

TITLE = "zelos, C API"
NOTE = ""
Doubles = c.POINTER(c.c_double)


class Request(c.Structure):
    _fields_ = (
        ("struct_size", c.c_uint32),
        ("output", c.c_char_p),
        ("axis_sizes", c.POINTER(c.c_int64)),
        ("axis_values", c.POINTER(Doubles)),
    )


class Failure(c.Structure):
    _fields_ = (("struct_size", c.c_uint32), ("code", c.c_int32), ("message", c.c_char * 1016))


def versions() -> dict[str, str]:
    return common.version("zelos")


def pointer(array: np.ndarray[Any, Any]) -> Any:
    return array.ctypes.data_as(Doubles)


def request(output: str, axes: list[np.ndarray[Any, Any]]) -> Request:
    """Native axes where `axes` has an empty array."""
    sizes = (c.c_int64 * len(axes))(*map(len, axes))
    values = (Doubles * len(axes))(*map(pointer, axes))
    return Request(c.sizeof(Request), output.encode(), sizes, values)


def cases(options: dict[str, Any]) -> common.Cases:
    library = c.CDLL(str(next(Path(zelos.__file__).parent.glob("libzelos.so*"))))
    failure = Failure(c.sizeof(Failure))

    def check(status: int) -> None:
        if status:
            raise RuntimeError(failure.message.decode())

    path = hub.resolve(options["emulator"])
    data = path.read_bytes() if path.suffix == ".h5" else read_artifact(path)[0]
    emulator = c.c_void_p()
    check(
        library.zelos_emulator_open_memory(
            data, c.c_size_t(len(data)), path.name.encode(), None, c.byref(emulator), c.byref(failure)
        )
    )
    n_parameters = len(common.NAMES)
    names = (c.c_char_p * n_parameters)(*(name.encode() for name in common.NAMES))
    table = common.points(common.BATCH)
    rows = [pointer(row) for row in table[:64]]
    library.zelos_query_size.restype = c.c_int64
    outputs = zelos.get_emulator(options["emulator"]).outputs
    result: common.Cases = {}
    kept: list[Any] = [table]

    def ask(case: str, requests: list[Request], function: str = "zelos_evaluate") -> None:
        query, workspace = c.c_void_p(), c.c_void_p()
        array = (Request * len(requests))(*requests)
        check(
            library.zelos_query_create(
                emulator, n_parameters, names, len(requests), array, c.byref(query), c.byref(failure)
            )
        )
        check(library.zelos_workspace_create(query, c.byref(workspace), c.byref(failure)))
        size = library.zelos_query_size(query)
        kept.append(array)
        if function == "zelos_evaluate_batch":
            out = np.empty((common.BATCH, size))
            arguments = (query, c.c_int64(common.BATCH), pointer(table), pointer(out), None, workspace, None)
            result[case] = (lambda: check(library.zelos_evaluate_batch(*arguments)), common.BATCH)
        elif function == "zelos_jacobian":
            out = np.empty(size * (1 + n_parameters))
            value, slope = pointer(out[:size]), pointer(out[size:])
            call = library.zelos_jacobian
            result[case] = (
                common.in_turn(lambda x: check(call(query, x, value, slope, workspace, None, None)), rows),
                1,
            )
        elif function == "zelos_error_model_evaluate":
            model = c.c_void_p()
            check(library.zelos_error_model_create(query, None, c.byref(model), c.byref(failure)))
            out = np.empty(2)
            mean, quantile, call = pointer(out), pointer(out[1:]), library.zelos_error_model_evaluate
            result[case] = (
                common.in_turn(lambda x: check(call(model, x, mean, quantile, workspace, None)), rows),
                1,
            )
        elif function == "zelos_predicted_error":
            out = np.empty(len(requests))
            errors, call = pointer(out), library.zelos_predicted_error
            result[case] = (common.in_turn(lambda x: check(call(query, x, errors, workspace, None)), rows), 1)
        else:
            out = np.empty(size)
            value, call = pointer(out), library.zelos_evaluate
            result[case] = (
                common.in_turn(lambda x: check(call(query, x, value, workspace, None, None)), rows),
                1,
            )
        kept.append(out)

    native = np.empty(0)
    spectra = [request(name, [common.ELL]) for name in common.SPECTRA]
    ask("spectra", spectra)
    if "derived" in outputs:
        derived = request("derived", [native])
        ask("spectra and derived", [*spectra, derived])
        ask("derived", [derived])
    ask("one spectrum", spectra[:1])
    if "Pk.linear" in outputs:
        ask("P(k), one z", [request("Pk.linear", [native, np.zeros(1)])])
    ask("batch", spectra, "zelos_evaluate_batch")
    ask("Jacobian", spectra, "zelos_jacobian")
    ask("predicted error", spectra, "zelos_predicted_error")
    ask(
        "error quantile",
        [request(name, [native]) for name in ("Cl.tt", "Cl.te", "Cl.ee")],
        "zelos_error_model_evaluate",
    )
    result["convex hull"] = _convex_hull(library, kept, check, failure)
    return result


def _convex_hull(library: Any, kept: list[Any], check: Any, failure: Failure) -> tuple[Any, int]:
    """zelos_verdict_at where the inner box does not decide."""
    names = [f"p{i}" for i in range(6)]
    ranges = ", ".join(f"{name}: [-1, 1]" for name in names)
    spec = (
        f"name: hull\nconfig: {{code: toy}}\nparameters: {{{ranges}}}\n"
        "outputs: {y: {transforms: [{pca: {rotate: false}}]}}\n"
        "emulator_fn: {type: polynomial, params: {degree: 1}}\nregion: {hull: convex}\n"
    )
    random = np.random.default_rng(1)
    points = random.uniform(-1, 1, (2000, 6))
    output = {
        "name": "y", "unit": "", "axis_names": ["x"], "axis_units": [""], "axes": [[0.0]], "labels": [],
        "label_units": [], "values": np.ascontiguousarray(points[:, :1]),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hull.h5"
        _core.train(_core.parse_spec(spec, "hull.yaml"), points, [output], str(path))
        data = path.read_bytes()
        opened = zelos.get_emulator(path)
    emulator, query, workspace = c.c_void_p(), c.c_void_p(), c.c_void_p()
    check(
        library.zelos_emulator_open_memory(
            data, c.c_size_t(len(data)), b"hull", None, c.byref(emulator), c.byref(failure)
        )
    )
    bound = (c.c_char_p * 6)(*(name.encode() for name in names))
    requests = (Request * 1)(request("y", [np.empty(0)]))
    check(library.zelos_query_create(emulator, 6, bound, 1, requests, c.byref(query), c.byref(failure)))
    check(library.zelos_workspace_create(query, c.byref(workspace), c.byref(failure)))
    asked = random.uniform(-1, 1, (4096, 6))
    asked = asked[np.abs(asked).max(axis=1) > opened.info["region"]["inner"]]
    table = np.ascontiguousarray(asked[[bool(verdict) for verdict in opened.verdict(asked)]][:512])
    kept.extend([table, requests])
    call = library.zelos_verdict_at
    return common.in_turn(
        lambda x: check(call(query, x, workspace, None, None)), [pointer(row) for row in table]
    ), 1
