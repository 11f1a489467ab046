# SPDX-License-Identifier: BSD-3-Clause
"""A process that runs real codes for another one: ``python -m zelos.fallback.worker``, started by the plugin
``python``.

Standard input is one end of a socket pair, used both ways; standard output and error are free for whatever
the code prints. A message is a frame:

    byte  size  content, little-endian
    0     4     "ZWRK"
    4     4     version of the protocol, 1
    8     4     length of a JSON object in bytes
    12    4     0
    16    8     number of float64 values
    24          the JSON object (UTF-8), then the values

The worker begins with ``{"hello": "zelos.fallback.worker", "zelos": VERSION, "python": VERSION}``. Then it
answers each request with one frame, ``{"ok": true, ...}`` or ``{"ok": false, "kind": KIND, "error": TEXT}``;
KIND is ``missing`` (the code or its driver is not installed), ``argument`` (a setting or an output that it
does not have) or ``code`` (the code failed at this point).

    {"op": "open", "id": ID, "code": NAME, "config": {...}, "ini": TEXT or null, "grid": PATH or null,
     "outputs": [OUTPUT, ...]}
        With "grid" the runs of this file (grid/driver.py) are interpolated in the code's place.
        OUTPUT: {"name", "unit", "axes": [{"name", "size"}, ...], "labels": [...] or null,
                 "label_units": [...] or null}
        values: the axes' values one after the other, none for a labelled axis.
        -> {"code", "version", "library_sha256", "kinds": {NAME: {"unit", "axes": [...]}}, "scalars": [...]}
    {"op": "settings", "id": ID, "names": [...]}, values: the parameters  ->  {"settings": TEXT}
    {"op": "run", "id": ID, "names": [...]}, values: the parameters
        -> {"seconds": S}, values: the outputs one after the other, in the order of "open"
    {"op": "close", "id": ID}  ->  {}

A worker ends when its peer does, also in the middle of a run. It ignores Ctrl-C, which is meant for its peer.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from ..errors import ArgumentError, Error, FormatError, MissingError
from . import driver as drivers
from .grid.driver import open_library
from .pool import describe

Array = np.ndarray[Any, np.dtype[np.float64]]

MAGIC = b"ZWRK"
PROTOCOL = 1
_HEADER = struct.Struct("<4sIIIQ")


class Channel:
    """Frames over a stream socket. Not thread-safe."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def send(self, message: Mapping[str, Any], values: Array | None = None) -> None:
        text = json.dumps(message).encode()
        body = b"" if values is None else np.ascontiguousarray(values, "<f8").tobytes()
        self._stream.sendall(_HEADER.pack(MAGIC, PROTOCOL, len(text), 0, len(body) // 8) + text + body)

    def receive(self) -> tuple[dict[str, Any], Array] | None:
        """None when the peer has gone. Raises ConnectionError if what comes is no frame."""
        header = self._read(_HEADER.size)
        if header is None:
            return None
        magic, protocol, length, _, n = _HEADER.unpack(header)
        if magic != MAGIC or protocol != PROTOCOL:
            raise ConnectionError(f"expected a frame of protocol {PROTOCOL}, found {header[:8]!r}")
        text, body = self._read(length), self._read(8 * n)
        if text is None or body is None:
            return None
        return json.loads(text), np.frombuffer(body, "<f8").astype(float)

    def _read(self, size: int) -> bytes | None:
        parts, left = [], size
        while left:
            part = self._stream.recv(min(left, 1 << 20))
            if not part:
                return None
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


class Code:
    """A driver that was opened, and how its answer is laid out. Raises what `load` and the driver raise."""

    def __init__(self, message: Mapping[str, Any], values: Array) -> None:
        if message.get("grid") is None:
            self._driver_class = drivers.load(message["code"])
        else:
            self._driver_class = open_library(message["grid"])
            if self._driver_class.code != message["code"]:
                raise ArgumentError(
                    f"grid '{message['grid']}': its runs are of the code '{self._driver_class.code}'"
                )
        config = dict(message["config"])
        self._ini: Any = None
        if message.get("ini") is not None:
            self._ini = tempfile.NamedTemporaryFile("w", suffix=".ini")  # noqa: SIM115 (lives as long as this)
            self._ini.write(message["ini"])
            self._ini.flush()
            config["ini"] = self._ini.name
        wanted: dict[str, dict[str, Array]] = {}
        self._layout: list[tuple[str, tuple[int, ...], list[int] | None]] = []
        at = 0
        for output in message["outputs"]:
            name = drivers.canonical_output(self._driver_class, output["name"])
            if name in wanted:
                raise ArgumentError(f"output '{output['name']}' is asked for twice")
            axes: dict[str, Array] = {}
            if output["labels"] is None:
                self._check_kind(output, name)
                for axis in output["axes"]:
                    points = values[at : at + axis["size"]]
                    if axis["name"] == "ell" and np.any(points != np.round(points)):
                        raise ArgumentError(f"{self._driver_class.code} answers at whole multipoles only")
                    axes[axis["name"]] = points
                    at += axis["size"]
                shape = tuple(axis["size"] for axis in output["axes"])
                self._layout.append((name, shape, None))
            else:
                labels = self._labels(output)
                self._layout.append((name, (len(self._driver_class.derived),), labels))
            wanted[name] = axes
        self._driver = self._driver_class(config, wanted)

    def describe(self) -> dict[str, Any]:
        cls = self._driver_class
        kinds = {name: {"unit": k.unit, "axes": [a for a, _ in k.axes]} for name, k in cls.kinds.items()}
        return {
            "code": cls.code,
            "version": self._driver.version,
            "library_sha256": self._driver.library_hash(),
            "kinds": kinds,
            "scalars": list(cls.derived),
        }

    def settings(self, params: Mapping[str, float]) -> str:
        return self._driver.settings(params)

    def run(self, params: Mapping[str, float]) -> Array:
        answer = self._driver.run(params)
        parts = []
        for name, shape, labels in self._layout:
            values = np.asarray(answer[name], float)
            if values.shape != shape:
                raise ValueError(f"{name}: expected an array of shape {shape}, found {values.shape}")
            parts.append(np.ravel(values if labels is None else values[labels]))
        return np.concatenate(parts)

    def close(self) -> None:
        if self._ini is not None:
            self._ini.close()

    def _check_kind(self, output: Mapping[str, Any], name: str) -> None:
        kind = self._driver_class.kinds.get(name)
        if kind is None:
            raise ArgumentError(f"output '{output['name']}': expected labels, it is a set of scalars")
        axes = [axis["name"] for axis in output["axes"]]
        expected = [axis for axis, _ in kind.axes]
        if axes != expected:
            raise ArgumentError(
                f"output '{output['name']}' has the axes ({', '.join(expected)}) in "
                f"{self._driver_class.code}: ({', '.join(axes)}) is wanted"
            )
        _same_unit(output["name"], output["unit"], kind.unit, self._driver_class.code)

    def _labels(self, output: Mapping[str, Any]) -> list[int]:
        cls = self._driver_class
        known = list(cls.derived)
        units = output["label_units"] or [None] * len(output["labels"])
        indices = []
        for label, unit in zip(output["labels"], units, strict=True):
            canonical = drivers.canonical_derived(cls, label)
            # Empty: without a unit, or of a driver that did not say one yet.
            if unit:
                _same_unit(label, unit, cls.derived[canonical], cls.code)
            indices.append(known.index(canonical))
        return indices


def _same_unit(name: str, wanted: str, given: str, code: str) -> None:
    if wanted != given:
        raise ArgumentError(f"'{name}': wanted in the unit '{wanted}', {code} gives it in '{given}'")


class Worker:
    """Answers requests until the peer goes."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._codes: dict[str, Code] = {}

    def serve(self) -> None:
        hello = {
            "hello": "zelos.fallback.worker",
            "zelos": _zelos_version(),
            "python": platform.python_version(),
        }
        self._channel.send(hello)
        while (request := self._channel.receive()) is not None:
            try:
                reply, values = self._answer(*request)
            except (ImportError, MissingError) as error:
                reply, values = _refusal("missing", error), None
            except (ArgumentError, FormatError) as error:
                reply, values = _refusal("argument", error), None
            except Exception as error:
                reply, values = _refusal("code", error), None
            self._channel.send(reply, values)

    def _answer(self, message: Mapping[str, Any], values: Array) -> tuple[dict[str, Any], Array | None]:
        operation, identity = message["op"], message["id"]
        if operation == "open":
            code = Code(message, values)
            self._codes[identity] = code
            return {"ok": True, **code.describe()}, None
        if operation == "close":
            if identity in self._codes:
                self._codes.pop(identity).close()
            return {"ok": True}, None
        code = self._codes[identity]
        params = dict(zip(message["names"], values.tolist(), strict=True))
        if operation == "settings":
            return {"ok": True, "settings": code.settings(params)}, None
        begin = time.perf_counter()
        answer = code.run(params)
        return {"ok": True, "seconds": time.perf_counter() - begin}, answer


def _refusal(kind: str, error: Exception) -> dict[str, Any]:
    text = " ".join(str(error).split()) if isinstance(error, Error) else describe(error)
    return {"ok": False, "kind": kind, "error": text[:800]}


def _zelos_version() -> str:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("zelos")
    return "unknown"


def _end_with_peer(stream: socket.socket) -> None:
    """The code may compute for minutes: the end of the peer is not waited for until it has finished."""

    def watch() -> None:
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # POLLHUP comes unasked
        poll.poll()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nothing but this module can write to the socket: descriptor 0 becomes empty for the code.
    stream = socket.socket(fileno=os.dup(0))
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    _end_with_peer(stream)
    Worker(Channel(stream)).serve()


if __name__ == "__main__":
    main()
