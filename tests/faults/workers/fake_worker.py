#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""In the place of ``python -m zelos.fallback.worker``: keeps to its protocol but for the fault that FAULT
names.

The "code" gives 1, 2, 3, ... plus the sum of the parameters. FAULT_ONCE: a file; the fault happens only while
there is none. Standard library alone.
"""

import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

HEADER = struct.Struct("<4sIIIQ")
stream = socket.socket(fileno=os.dup(0))
fault = os.environ.get("FAULT", "")
once = os.environ.get("FAULT_ONCE", "")


def faulty(name: str) -> bool:
    if fault != name or (once and Path(once).exists()):
        return False
    if once:
        Path(once).touch()
    return True


def frame(message: dict, values=(), n=None, protocol=1) -> bytes:
    text = json.dumps(message).encode()
    count = len(values) if n is None else n
    return (
        HEADER.pack(b"ZWRK", protocol, len(text), 0, count) + text + struct.pack(f"<{len(values)}d", *values)
    )


def read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            sys.exit()
        data += part
    return data


if faulty("no_start"):
    print("Traceback: ModuleNotFoundError: No module named 'zelos'", file=sys.stderr)
    sys.exit(1)
if faulty("mute"):
    time.sleep(60)
if faulty("old_protocol"):
    stream.sendall(frame({"hello": "zelos.fallback.worker"}, protocol=7))
stream.sendall(frame({"hello": "something else" if faulty("wrong_hello") else "zelos.fallback.worker"}))
total = 0
while True:
    _, _, length, _, n = HEADER.unpack(read(HEADER.size))
    request = json.loads(read(length))
    values = struct.unpack(f"<{n}d", read(8 * n))
    if request["op"] == "open":
        total = 0
        for output in request["outputs"]:
            size = 1
            for axis in output["axes"]:
                size *= axis["size"]
            total += size
        version = request["config"].get("version", "1")
        if fault == "dies_for_another_version" and Path(once).exists():
            version += "-new"
        reply = {"ok": True, "code": request["code"], "version": version, "library_sha256": "", "kinds": {}}
        reply["scalars"] = []
        if faulty("bad_description"):
            del reply["scalars"]
        stream.sendall(frame(reply))
    elif request["op"] == "settings":
        stream.sendall(frame({"ok": True, "settings": "none"}))
    elif request["op"] == "close":
        stream.sendall(frame({"ok": True}))
    else:
        print("a line on standard output", flush=True)
        answer = [1.0 + i + sum(values) for i in range(total)]
        if faulty("dies") or faulty("dies_for_another_version"):
            print("out of memory", file=sys.stderr, flush=True)
            os.kill(os.getpid(), 9)
        elif faulty("exits"):
            os._exit(3)
        elif faulty("hangs"):
            time.sleep(60)
        elif faulty("garbage"):
            stream.sendall(b"Note: redshift out of range\n" * 10)
        elif faulty("not_json"):
            stream.sendall(HEADER.pack(b"ZWRK", 1, 4, 0, 0) + b"[1,2")
        elif faulty("partial"):
            stream.sendall(frame({"ok": True}, answer)[:-8])
            os._exit(0)
        elif faulty("short"):
            stream.sendall(frame({"ok": True}, answer[:-1]))
        elif faulty("no_values"):
            stream.sendall(frame({"ok": True}))
        elif faulty("huge"):
            stream.sendall(frame({"ok": True}, (), n=1 << 27))
        elif faulty("nan"):
            stream.sendall(frame({"ok": True}, [float("nan"), *answer[1:]]))
        elif faulty("fails"):
            stream.sendall(frame({"ok": False, "kind": "code", "error": "no convergence"}))
        elif faulty("talks_unasked"):
            stream.sendall(frame({"ok": True}, answer) * 2)
        else:
            stream.sendall(frame({"ok": True, "pid": os.getpid()}, answer))
