# SPDX-License-Identifier: BSD-3-Clause
"""The rows of docs/reliability.md that Python shows: points that the emulator may not answer, and real codes
that misbehave. The code is the toy's, in worker processes; its formulas are the truth."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import toy_driver

import zelos
from zelos.real_code import read_cache

from .conftest import toy_environment

K, Z = 0.1, 0.5
OUTSIDE = {"A": 2.5, "n": 0.95}
INSIDE = {"A": 1.4, "n": 0.95}
#: Of the toy's parameters, and of a Planck-like posterior.
SIGMA = {"A": 0.1, "n": 0.01}
SIGMA_CAMB = {"ombh2": 1.4e-4, "omch2": 1.1e-3, "H0": 0.5, "tau": 7e-3, "logA": 0.014, "ns": 4e-3}


def truth(point: dict[str, float]) -> float:
    return float(toy_driver.power(point["A"], point["n"], K, Z))


def points_outside(
    ranges: dict[str, tuple[float, float]], sigma: dict[str, float], n_sigma: float
) -> list[dict[str, float]]:
    """Every combination of below, inside and above its range for each parameter, but that of inside alone."""
    points = []
    for direction in itertools.product((-1, 0, 1), repeat=len(ranges)):
        point = {}
        for sign, (name, (low, high)) in zip(direction, ranges.items(), strict=True):
            step = n_sigma * sigma[name]
            point[name] = {-1: low - step, 0: 0.5 * (low + high), 1: high + step}[sign]
        if any(direction):
            points.append(point)
    return points


@pytest.mark.parametrize("n_sigma", [1, 5, 20])
def test_outside_in_every_direction_the_real_code_answers(toy_artifact: Path, n_sigma: float) -> None:
    emulator = zelos.get_emulator(toy_artifact, fallback="toy")
    points = points_outside(emulator.ranges, SIGMA, n_sigma)
    assert len(points) == 8
    for point in points:
        assert not emulator.verdict(point)
        assert emulator(point, K, Z) == pytest.approx(truth(point), rel=1e-13)
        assert emulator.last_source == "fallback"
    assert (emulator.statistics["emulated"], emulator.statistics["fallback"]) == (0, 8)


@pytest.mark.parametrize("n_sigma", [1, 5, 20])
def test_outside_in_every_direction_nobody_answers_without_a_real_code(n_sigma: float) -> None:
    emulator = zelos.get_emulator("hub:CAMB_lcdm")
    points = points_outside(emulator.ranges, SIGMA_CAMB, n_sigma)
    assert len(points) == 3**6 - 1
    table = {name: np.array([point[name] for point in points]) for name in emulator.parameters}
    assert not any(emulator.verdict(table))
    for point in points[::100]:
        with pytest.raises(zelos.OutsideRegion):
            emulator(point)
    assert emulator.statistics["emulated"] == 0


def test_on_the_boundary_the_emulator_answers_and_a_step_beyond_the_real_code(toy_artifact: Path) -> None:
    emulator = zelos.get_emulator(toy_artifact, fallback="toy")
    for name, (low, high) in emulator.ranges.items():
        for edge, beyond in ((low, -np.inf), (high, np.inf)):
            assert emulator.verdict({**INSIDE, name: edge})
            emulator({**INSIDE, name: edge}, K, Z)
            assert emulator.last_source == "emulator"
            step = {**INSIDE, name: float(np.nextafter(edge, beyond))}
            assert not emulator.verdict(step)
            assert emulator(step, K, Z) == pytest.approx(truth(step), rel=1e-13)
            assert emulator.last_source == "fallback"


def test_what_is_no_number_or_not_given_is_answered_by_nobody(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_RUNS", str(tmp_path / "runs"))
    emulator = zelos.get_emulator(toy_artifact, fallback="toy")
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(zelos.OutsideRegion, match="'A'"):
            emulator({"A": value, "n": 0.95}, K, Z)
        with pytest.raises(zelos.OutsideRegion, match="'A'"):
            emulator({"A": [1.4, value], "n": 0.95}, K, Z)
    with pytest.raises(zelos.ParameterError, match="needs A"):
        emulator({"n": 0.95}, K, Z)
    with pytest.raises(zelos.ParameterError, match="'mnu'"):
        emulator({**INSIDE, "mnu": 0.06}, K, Z)
    assert not (tmp_path / "runs").exists()


FAULTS = {
    "die": "the worker process died",
    "hang": "the worker had no answer within 1 s",
    "garble": "the worker did not keep to the protocol",
    "nan": "output 'Pk.linear', value 0 is nan",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_that_fails_once_costs_a_second_try(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("TOY_FAULT", fault)
    monkeypatch.setenv("TOY_FAULT_ONCE", str(tmp_path / "happened"))
    timeout = 1 if fault == "hang" else 60
    emulator = zelos.get_emulator(toy_artifact, fallback="toy", fallback_options={"timeout": timeout})
    assert emulator(OUTSIDE, K, Z) == pytest.approx(truth(OUTSIDE), rel=1e-13)
    assert (tmp_path / "happened").exists()
    assert emulator.statistics["fallback"] == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_that_always_fails_costs_the_point_and_not_the_run(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("TOY_FAULT", fault)
    monkeypatch.setenv("TOY_RUNS", str(tmp_path / "runs"))
    options = {"timeout": 1 if fault == "hang" else 60, "retries": 0}
    emulator = zelos.get_emulator(toy_artifact, fallback="toy", fallback_options=options)
    for _ in range(2):
        with pytest.raises(zelos.FallbackError, match=FAULTS[fault]) as caught:
            emulator(OUTSIDE, K, Z)
        assert "A=2.5" in str(caught.value)
    assert len((tmp_path / "runs").read_text().splitlines()) == 2
    assert emulator(INSIDE, K, Z) == pytest.approx(truth(INSIDE), rel=2e-3)
    assert emulator.last_source == "emulator"
    assert emulator.statistics["emulated"] == 1
    assert emulator.fallback is not None
    assert emulator.fallback.statistics["failed"] == 2


def test_what_the_code_says_of_a_point_is_not_asked_again(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAULT", "raise")
    monkeypatch.setenv("TOY_RUNS", str(tmp_path / "runs"))
    emulator = zelos.get_emulator(toy_artifact, fallback="toy")
    with pytest.raises(zelos.FallbackError, match=r"RuntimeError: no convergence at A=2\.5, n=0\.95"):
        emulator(OUTSIDE, K, Z)
    assert len((tmp_path / "runs").read_text().splitlines()) == 1


def test_a_failed_point_is_not_kept(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAULT", "nan")
    emulator = zelos.get_emulator(
        toy_artifact, fallback="toy", fallback_options={"retries": 0}, cache=tmp_path
    )
    with pytest.raises(zelos.FallbackError):
        emulator(OUTSIDE, K, Z)
    assert read_cache(tmp_path) == []


def test_a_fork_does_not_take_the_answers_of_its_parent(toy_artifact: Path) -> None:
    program = f"""
import os, numpy as np, zelos
emulator = zelos.get_emulator({str(toy_artifact)!r}, fallback="toy")
emulator({OUTSIDE}, {K}, {Z})
child = os.fork()
for i in range(10):
    amplitude = 3 + i + (0.5 if child == 0 else 0)
    value = emulator({{"A": amplitude, "n": 0.95}}, {K}, {Z})
    assert abs(value / emulator({OUTSIDE}, {K}, {Z}) - amplitude / 2.5) < 1e-12, amplitude
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("both")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=toy_environment(), capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "both\n", done.stderr


def workers_of(process: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process and fields[0] != "Z":
                found.append(int(folder.name))
    return found


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_a_host_that_is_killed(toy_artifact: Path) -> None:
    program = f"""
import zelos
emulator = zelos.get_emulator({str(toy_artifact)!r}, fallback="toy")
print("ready", flush=True)
emulator({OUTSIDE}, {K}, {Z})
"""
    environment = toy_environment({"TOY_WAIT": "600"})
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        workers = workers_of(host.pid)
        assert len(workers) == 1
        host.send_signal(signal.SIGKILL)
    for _ in range(600):
        if not is_running(workers[0]):
            return
        time.sleep(0.1)
    os.kill(workers[0], signal.SIGKILL)
    pytest.fail("the worker outlived its host")


def test_processes_share_a_cache_and_one_may_be_killed(toy_artifact: Path, tmp_path: Path) -> None:
    program = f"""
import sys, zelos
emulator = zelos.get_emulator({str(toy_artifact)!r}, fallback="toy", cache={str(tmp_path / "cache")!r})
print("ready", flush=True)
for i in range(int(sys.argv[1]), int(sys.argv[2])):
    emulator({{"A": 2.5 + 0.01 * i, "n": 0.95}}, {K}, {Z})
    print(i, flush=True)
"""
    jobs = [(0, 100000), (0, 20), (10, 30), (20, 40)]
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(first), str(last)],
            env=toy_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for first, last in jobs
    ]
    assert hosts[0].stdout is not None
    while hosts[0].stdout.readline() not in ("3\n", ""):
        pass
    hosts[0].kill()
    assert [host.wait(300) for host in hosts] == [-signal.SIGKILL, 0, 0, 0]
    for host in hosts:
        assert host.stdout is not None
        host.stdout.close()
    kept = {answer.parameters["A"]: answer.outputs["Pk.linear"] for answer in read_cache(tmp_path / "cache")}
    assert {2.5 + 0.01 * i for i in range(40)} <= set(kept)
    for amplitude, power in kept.items():
        expected = toy_driver.power(amplitude, 0.95, power.axes["k"][:, None], power.axes["z"])
        np.testing.assert_allclose(power.values, expected, rtol=1e-13)
