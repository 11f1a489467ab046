# SPDX-License-Identifier: BSD-3-Clause
"""The worker process that runs real codes for the plugin "python", spoken to as the plugin does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import toy_driver

from zelos.fallback.worker import Channel

from .conftest import toy_environment

POWER = {
    "name": "Pk.linear",
    "unit": "Mpc^3",
    "axes": [{"name": "k", "size": 2}, {"name": "z", "size": 3}],
    "labels": None,
    "label_units": None,
}
DERIVED = {
    "name": "derived",
    "unit": "",
    "axes": [{"name": "name", "size": 1}],
    "labels": ["t0"],
    "label_units": ["Gyr"],
}
AXES = np.array([0.1, 0.2, 0.0, 0.5, 1.0])
POINT = np.array([1.5, 0.95])


class Started:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "zelos.fallback.worker"]
        self.process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, env=toy_environment())
        theirs.close()
        self.socket = ours
        self.channel = Channel(ours)
        hello = self.channel.receive()
        assert hello is not None
        assert hello[0]["hello"] == "zelos.fallback.worker"

    def ask(self, message: dict[str, Any], values: Any = None) -> tuple[dict[str, Any], np.ndarray]:
        self.channel.send(message, values)
        reply = self.channel.receive()
        assert reply is not None
        return reply

    def open(self, outputs: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        message = {
            "op": "open",
            "id": "a",
            "code": "toy",
            "config": {},
            "ini": None,
            "outputs": outputs,
            **more,
        }
        return self.ask(message, AXES if outputs[0]["labels"] is None else None)[0]


@pytest.fixture
def worker() -> Iterator[Started]:
    started = Started()
    yield started
    started.socket.close()
    assert started.process.stdout is not None
    started.process.stdout.close()
    started.process.wait(60)


def test_it_runs_a_driver(worker: Started) -> None:
    opened = worker.open([POWER, DERIVED])
    assert opened["ok"], opened
    assert (opened["code"], opened["version"], opened["library_sha256"]) == ("toy", "1.2.0", "0" * 64)
    assert opened["kinds"]["Pk.linear"] == {"unit": "Mpc^3", "axes": ["k", "z"]}
    assert opened["scalars"] == ["amplitude", "age"]
    reply, values = worker.ask({"op": "run", "id": "a", "names": ["A", "n"]}, POINT)
    assert reply["ok"]
    truth = toy_driver.power(1.5, 0.95, AXES[:2, None], AXES[2:])
    np.testing.assert_array_equal(values, [*truth.ravel(), 13.95])
    settings, _ = worker.ask({"op": "settings", "id": "a", "names": ["A", "n"]}, POINT)
    assert settings["settings"] == "tilt = 0\nA = 1.5\nn = 0.95"


def test_what_is_wrong_is_said_and_the_worker_lives_on(worker: Started) -> None:
    def refused(kind: str, part: str, outputs: list[dict[str, Any]], **more: Any) -> None:
        reply = worker.open(outputs, **more)
        assert not reply["ok"]
        assert reply["kind"] == kind
        assert part in reply["error"], reply["error"]

    refused("missing", "no driver for the code 'camp': expected one of", [POWER], code="camp")
    refused("argument", "unknown output 'Pk.linaer'", [{**POWER, "name": "Pk.linaer"}])
    refused("argument", "wanted in the unit 'h', toy gives it in 'Mpc^3'", [{**POWER, "unit": "h"}])
    refused(
        "argument",
        "'t0': wanted in the unit 'yr', toy gives it in 'Gyr'",
        [{**DERIVED, "label_units": ["yr"]}],
    )
    refused("argument", "unknown derived parameter 'sigma8'", [{**DERIVED, "labels": ["sigma8"]}])
    refused("argument", "has the axes (k, z)", [{**POWER, "axes": POWER["axes"][::-1]}])
    ell = {
        "name": "Cl.tt",
        "unit": "muK^2",
        "axes": [{"name": "ell", "size": 2}],
        "labels": None,
        "label_units": None,
    }
    refused("argument", "whole multipoles", [ell])
    assert worker.open([POWER], config={"fail_above": 1.0})["ok"]
    reply, values = worker.ask({"op": "run", "id": "a", "names": ["A", "n"]}, POINT)
    assert reply == {"ok": False, "kind": "code", "error": "RuntimeError: no convergence for A = 1.500"}
    assert not len(values)
    assert worker.open([POWER])["ok"]


def test_what_the_code_prints_is_not_in_the_way(worker: Started) -> None:
    assert worker.open([POWER], config={"print": "to standard output"})["ok"]
    reply, _ = worker.ask({"op": "run", "id": "a", "names": ["A", "n"]}, POINT)
    assert reply["ok"]
    assert worker.process.stdout is not None
    assert worker.process.stdout.readline() == b"to standard output\n"


def test_it_ends_with_its_peer_in_the_middle_of_a_run(worker: Started) -> None:
    assert worker.open([POWER], config={"wait": 600})["ok"]
    worker.channel.send({"op": "run", "id": "a", "names": ["A", "n"]}, POINT)
    worker.process.send_signal(signal.SIGINT)  # not for it
    with pytest.raises(subprocess.TimeoutExpired):
        worker.process.wait(0.2)
    worker.socket.close()
    assert worker.process.wait(60) == 0


def test_what_is_no_frame_ends_it(worker: Started) -> None:
    worker.socket.sendall(os.urandom(24))
    assert worker.process.wait(60) != 0
