# SPDX-License-Identifier: BSD-3-Clause
"""The folder of an emulator that a run learns, and the process that trains it. The code is the toy's."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import toy_driver

import zelos
from zelos.build import learn, validate
from zelos.errors import Error, FormatError
from zelos.learning import Learning, attempts, count_answers

from .conftest import TOY, toy_environment

Ask = Callable[[int], None]
GATED = "\naccuracy: {delta_chi2.p95: 0.05}\n"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", toy_environment()["PYTHONPATH"])


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text((TOY / "toy.yaml").read_text() + GATED)
    return path


@pytest.fixture
def learning(tmp_path: Path, spec: Path) -> Learning:
    learning = Learning(tmp_path / "learn")
    learning.begin(spec)
    return learning


def answer(learning: Learning, n: int, seed: int = 1, mean: float = 1.5) -> None:
    """n answers of the code."""
    emulator = zelos.get_emulator(learning.folder / "unlearnt.h5", fallback="toy", cache=learning.answers)
    for a, tilt in np.random.default_rng(seed).normal([mean, 0.95], [0.1, 0.02], (n, 2)):
        emulator.evaluate({"A": a, "n": tilt}, ["Cl.tt"])


def train(learning: Learning, **options: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "zelos.build.learn", "train", str(learning.folder), str(learning.answers)
    ]  # fmt: skip
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=toy_environment(options))


def finish(process: subprocess.Popen[bytes], status: int = 0) -> None:
    assert process.wait(timeout=300) == status
    assert process.stdin is not None
    process.stdin.close()


def test_begins_with_a_handful_of_runs_and_answers_nearly_nowhere(learning: Learning, spec: Path) -> None:
    unlearnt = zelos.get_emulator(learning.folder / "unlearnt.h5")
    assert unlearnt.info["provenance"]["training_set"]["n"] == 4
    assert unlearnt.outputs == ("Pk.linear", "Cl.tt", "Cl.te", "Cl.ee", "derived")
    assert unlearnt.verdict([1.5, 0.95]) and not unlearnt.verdict([1.51, 0.95])
    before = (learning.folder / "unlearnt.h5").read_bytes()
    Learning(learning.folder).begin(spec)
    assert (learning.folder / "unlearnt.h5").read_bytes() == before
    spec.write_text(spec.read_text().replace("n: 24", "n: 30"))
    with pytest.raises(Error, match=r"learnt from something else.*copy \S+/answers into it"):
        Learning(learning.folder).begin(spec)


def test_new_targets_judge_anew_the_answers_that_there_are(learning: Learning, spec: Path) -> None:
    answer(learning, 40)
    spec.write_text(spec.read_text().replace("delta_chi2.p95: 0.05", "delta_chi2.p95: 1e-30"))
    Learning(learning.folder).begin(spec)
    finish(train(learning))
    (missed,) = attempts(learning.folder)
    assert not missed.accepted and "1e-30 is asked for" in missed.reason
    spec.write_text(spec.read_text().replace("delta_chi2.p95: 1e-30", "delta_chi2.p95: 0.05"))
    again = Learning(learning.folder)
    again.begin(spec)
    assert attempts(learning.folder) == []
    finish(train(again))
    assert [attempt.accepted for attempt in attempts(learning.folder)] == [True]
    again.begin(spec)
    assert again.learnt.is_file() and count_answers(again.answers) == 40
    spec.write_text(spec.read_text().replace("delta_chi2.p95: 0.05", "delta_chi2.p95: 0.01"))
    again.begin(spec)
    assert not again.learnt.exists() and count_answers(again.answers) == 40


def test_what_is_good_enough_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(Error, match="accuracy targets in the spec"):
        Learning(tmp_path / "learn").begin(TOY / "toy.yaml")


def test_a_target_that_can_not_be_measured_is_refused_at_the_beginning(tmp_path: Path, spec: Path) -> None:
    spec.write_text(spec.read_text().replace("Cl.te: {ell: [2, 120]}", "Cl.te: {ell: [2, 100]}"))
    with pytest.raises(Error, match=r"accuracy\.delta_chi2\.p95: expected one of"):
        Learning(tmp_path / "learn").begin(spec)
    assert not (tmp_path / "learn" / "learn.json").exists()


def test_a_target_that_was_not_measured_is_missed() -> None:
    summary = {"inside": 9, "held_out": 9, "outputs": {}, "derived": {}}
    targets = validate.check_targets({"delta_chi2.p95": 0.05}, summary)
    candidate: Any = SimpleNamespace(accuracy=validate.Accuracy(summary), targets=targets)
    attempt = learn._judge(30, "1.0.1", candidate, None)
    assert not attempt.accepted
    assert attempt.reason == "target missed: delta_chi2.p95 can't be measured, 0.05 is asked for"


def test_answers_outside_the_ranges_of_the_spec_are_counted(learning: Learning) -> None:
    emulator = zelos.get_emulator(learning.folder / "unlearnt.h5", fallback="toy", cache=learning.answers)
    ranges = learn.make_plan(json.loads((learning.folder / "learn.json").read_text())["label"])
    low, high = ranges.lower[0], ranges.upper[0]
    for a in (low - 0.01, high + 0.01, high + 0.02):
        emulator.evaluate({"A": a, "n": 0.95}, ["Cl.tt"])
    said = f"3 of 3 answers lie outside the spec's ranges (A below {low:g}: 1, A above {high:g}: 2)"
    finish(train(learning))
    answer(learning, 30)
    finish(train(learning))
    few, first = attempts(learning.folder)
    assert few.reason == f"too few answers to learn from (0); {said}"
    assert first.accepted and first.reason == f"the first version; {said.replace('of 3', 'of 33')}"


def test_versions_grow_with_the_answers(learning: Learning) -> None:
    answer(learning, 30)
    assert count_answers(learning.answers) == 30
    finish(train(learning))
    first = zelos.get_emulator(learning.learnt)
    assert first.verdict([1.5, 0.95]) and not first.verdict([2.2, 0.95])
    answer(learning, 40, seed=2, mean=1.8)
    finish(train(learning))
    second = zelos.get_emulator(learning.learnt)
    assert second.version == "1.0.2" and second.info["provenance"]["parent"]["id"] == first.id
    assert second.verdict([2.0, 0.95]) and not first.verdict([2.0, 0.95])
    truth = toy_driver.spectrum("tt", 1.9, 0.96, np.arange(2.0, 121))
    np.testing.assert_allclose(second.evaluate({"A": 1.9, "n": 0.96}, ["Cl.tt"])["Cl.tt"], truth, rtol=1e-3)
    done = attempts(learning.folder)
    assert [a.accepted for a in done] == [True, True] and [a.answers for a in done] == [30, 70]
    assert not (learning.folder / "work").exists()


def test_beyond_a_step_it_answers_when_enough_is_known_there(tmp_path: Path, spec: Path) -> None:
    text = spec.read_text().replace("outputs:", "features: {far: {step: 1.65, of: [A]}}\noutputs:")
    tt = "Cl.tt: {ell: [2, 120], transforms: [log]"
    spec.write_text(text.replace(tt, f"{tt}, features: [A, n, far]"))
    learning = Learning(tmp_path / "learn")
    learning.begin(spec)
    answer(learning, 40)
    finish(train(learning))
    first = zelos.get_emulator(learning.learnt)
    assert first.verdict([1.64, 0.95]) and not first.verdict([1.66, 0.95])
    answer(learning, 60, seed=5, mean=1.7)
    finish(train(learning))
    second = zelos.get_emulator(learning.learnt)
    for a in (1.6, 1.7):
        spectra = second({"A": a, "n": 0.95})
        truth = toy_driver.spectrum("tt", a, 0.95, spectra["ell"])
        np.testing.assert_allclose(spectra["tt"], truth, rtol=1e-4)


def test_a_version_that_misses_its_target_is_not_used(learning: Learning, spec: Path, tmp_path: Path) -> None:
    spec.write_text(spec.read_text().replace("delta_chi2.p95: 0.05", "delta_chi2.p95: 1e-30"))
    strict = Learning(tmp_path / "strict")
    strict.begin(spec)
    answer(strict, 30)
    finish(train(strict))
    assert not strict.learnt.exists() and strict.open() is None
    (attempt,) = attempts(strict.folder)
    assert not attempt.accepted and attempt.reason.startswith("target missed: delta_chi2.p95")


def test_no_better_no_new_version(learning: Learning) -> None:
    answer(learning, 30)
    finish(train(learning))
    before = learning.learnt.read_bytes()
    finish(train(learning))
    assert learning.learnt.read_bytes() == before
    assert attempts(learning.folder)[-1].reason == "not better than the version before it"


def test_a_trainer_that_is_killed_leaves_no_trace(learning: Learning) -> None:
    """The lock goes with it, the next one does all the work."""
    answer(learning, 30)
    process = train(learning)
    lock = learning.folder / "trainer.lock"
    while not _is_locked(lock):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    finish(process, -signal.SIGKILL)
    assert not learning.learnt.exists() and not attempts(learning.folder) and not _is_locked(lock)
    finish(train(learning))
    assert zelos.get_emulator(learning.learnt).verdict([1.5, 0.95])


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_trainer_ends_with_its_host(learning: Learning, tmp_path: Path) -> None:
    answer(learning, 30)
    script = (
        "import sys, os, signal, time\nfrom zelos.learning import Learning\n"
        f"learning = Learning({str(learning.folder)!r})\nlearning._start()\n"
        "print(learning._trainer.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    host = subprocess.run(
        [sys.executable, "-c", script], env=toy_environment(), capture_output=True, text=True
    )
    pid = int(host.stdout)
    deadline = time.monotonic() + 60
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not learning.learnt.exists()


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_trainer_that_fails_is_reported_and_tried_again_with_more_answers(learning: Learning) -> None:
    answer(learning, 30)
    (learning.folder / "learn.json").write_text("{")
    learning._first = 20
    learning.answered()
    assert learning._trainer is not None
    learning._trainer.wait()
    with pytest.raises(Error, match=r"ended with status 1: .*JSON.*trainer\.log"):
        learning.answered()
    assert learning._trainer is None
    learning.answered()
    assert learning._trainer is None  # not before there are 38
    answer(learning, 10, seed=7)
    learning.answered()
    assert learning._trainer is not None
    learning.close()


def test_of_two_processes_one_trains(learning: Learning) -> None:
    answer(learning, 30)
    processes = [train(learning), train(learning)]
    for process in processes:
        finish(process)
    done = attempts(learning.folder)
    assert done[0].accepted and len(done) - sum(a.accepted for a in done) <= 1
    assert zelos.get_emulator(learning.learnt).version == "1.0.1"


def test_while_one_trains_another_does_not_wait(learning: Learning) -> None:
    answer(learning, 30)
    with (learning.folder / "trainer.lock").open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        finish(train(learning))
    assert not attempts(learning.folder) and not learning.learnt.exists()


def test_processes_that_begin_together_make_one_beginning(tmp_path: Path, spec: Path) -> None:
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "zelos.build.learn", "prepare", str(spec), str(tmp_path / "learn")]
    (tmp_path / "learn").mkdir()
    processes = [
        subprocess.Popen(command, env=toy_environment({"TOY_RUNS": str(runs)})) for _ in range(3)
    ]  # fmt: skip
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(runs.read_text().splitlines()) == 4


def test_a_new_version_is_seen_once_and_a_damaged_one_not_used(learning: Learning) -> None:
    assert learning.open() is None
    answer(learning, 30)
    finish(train(learning))
    learning._looked -= 2
    assert learning.changed()
    assert learning.open() is not None
    learning._looked -= 2
    assert not learning.changed()
    content = bytearray(learning.learnt.read_bytes())
    content[len(content) // 2] ^= 1
    temporary = learning.folder / "damaged"
    temporary.write_bytes(content)
    temporary.replace(learning.learnt)
    learning._looked -= 2
    assert learning.changed()
    with pytest.raises(FormatError):
        learning.open()
    learning._looked -= 2
    assert not learning.changed()  # it is looked at once
    answer(learning, 10, seed=9)
    finish(train(learning))  # and replaced by the next
    assert learning.changed() or learning.open() is not None


def test_beside_an_emulator(
    toy_artifact: Path, tmp_path: Path, spec: Path, build: Callable[..., object]
) -> None:
    gated = tmp_path / "gated"
    build(spec, "-o", gated, "-j1", "--stage", "validate")
    parent = zelos.get_emulator(gated / "toy.build" / "artifact" / "toy.h5")
    learning = Learning(tmp_path / "beside")
    learning.begin_beside(parent.core)
    outside = zelos.get_emulator(
        gated / "toy.build" / "artifact" / "toy.h5", fallback="toy", cache=learning.answers
    )
    for a, tilt in np.random.default_rng(1).normal([2.3, 0.95], [0.05, 0.01], (60, 2)):
        outside.evaluate({"A": a, "n": tilt}, ["Cl.tt"])
    finish(train(learning))
    learnt = zelos.get_emulator(learning.learnt)
    assert learnt.name == "toy_learnt" and learnt.verdict([2.3, 0.95]) and not parent.verdict([2.3, 0.95])
    assert learnt.info["provenance"]["parent"]["id"] == parent.id
    with pytest.raises(Error, match="accuracy targets"):
        Learning(tmp_path / "other").begin_beside(zelos.get_emulator(toy_artifact).core)
    record = json.loads((learning.folder / "learn.json").read_text())
    assert record["parameters"] == 2
