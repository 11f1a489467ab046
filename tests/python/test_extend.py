# SPDX-License-Identifier: BSD-3-Clause
"""zelos extend: a new version from the answers of the real code, against the toy's formulas."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_driver

import zelos
from zelos.build.answers import as_runs, not_stray
from zelos.build.extend import next_version, source_of
from zelos.real_code import read_cache

from .conftest import TOY, toy_environment

ELL = np.arange(2.0, 121)
INSIDE = ((1.03, 0.91), (1.5, 0.95), (1.97, 0.99))


def extend(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zelos.cli", "extend", *map(str, arguments)]
    return subprocess.run(command, env=toy_environment(env), capture_output=True, text=True, timeout=600)


def points_outside(n: int = 60) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).normal([2.4, 0.95], [0.12, 0.02], (n, 2))


@pytest.fixture(scope="module")
def cache(toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run beyond the toy's box, A in [1, 2], left behind, and one point on its way there."""
    folder = tmp_path_factory.mktemp("run") / "cache"
    emulator = zelos.get_emulator(toy_artifact, fallback="toy", cache=folder)
    for a, n in [*points_outside().tolist(), [5.0, 0.7]]:
        emulator.evaluate({"A": a, "n": n}, ["Cl.tt"])
    assert emulator.statistics["fallback"] == 61
    return folder


def check_against_the_formulas(emulator: zelos.Emulator, a: float, n: float, tolerance: float) -> None:
    found = emulator.evaluate({"A": a, "n": n}, ["Cl.tt", "Cl.te", "derived"])
    for name in ("tt", "te"):
        truth = toy_driver.spectrum(name, a, n, ELL)
        assert np.abs(found[f"Cl.{name}"] - truth).max() < tolerance * np.abs(truth).max()
    np.testing.assert_allclose(found["derived"], [a**2, 13 + n], rtol=tolerance)


def test_with_the_runs_of_the_parent(toy_artifact: Path, cache: Path, tmp_path: Path) -> None:
    parent = zelos.get_emulator(toy_artifact)
    done = extend(toy_artifact, "--from", cache, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 answers are far from all others" in done.stdout
    new = zelos.get_emulator(tmp_path / "toy-1.0.1.tar.gz")
    assert (new.name, new.version) == ("toy", "1.0.1")
    provenance = new.info["provenance"]
    assert provenance["parent"] == {"name": "toy", "version": "1.0.0", "id": parent.id}
    assert provenance["design"]["runs"] == 24 and 40 < provenance["design"]["answers"] < 55
    assert provenance["training_set"]["n"] == 24 + provenance["design"]["answers"]
    # The whole box of the parent, and where the answers are; not the corners beyond, nor the stray point.
    for point in ([1, 0.9], [2, 0.9], [1, 1.0], [2, 1.0], [1.5, 0.95]):
        assert new.verdict(point)
    answers = [
        point for point in points_outside() if np.hypot((point[0] - 2.4) / 0.12, (point[1] - 0.95) / 0.02) < 1
    ]
    assert all(new.verdict(point) for point in answers) and not any(
        parent.verdict(point) for point in answers
    )
    for point in ([2.7, 0.9], [2.7, 1.0], [0.99, 0.95], [5.0, 0.7], [3.5, 0.85]):
        assert not new.verdict(point)
    for a, n in (*INSIDE, (2.2, 0.95), (2.5, 0.96)):
        # Polynomials of the same degree over a wider range: see the next test.
        check_against_the_formulas(new, a, n, 5e-3)
    table = [line for line in done.stdout.splitlines() if line.startswith("  inside the region")]
    before, after = (int(number) for number in table[0].split()[-2:])
    assert before < after
    shown = subprocess.run(
        [sys.executable, "-m", "zelos.cli", "info", str(tmp_path / "toy-1.0.1.tar.gz")],
        capture_output=True, text=True, env=toy_environment(), check=True,
    )  # fmt: skip
    assert f"parent: id {parent.id}, name toy, version 1.0.0" in shown.stdout


def test_inside_the_old_box_nothing_is_lost(tmp_path: Path, build: Callable[..., Any]) -> None:
    """With enough weights and processes, which know no degree, it is as good there as its parent."""
    spec = tmp_path / "toy.yaml"
    text = (TOY / "toy.yaml").read_text().replace("polynomial", "gaussian_process")
    spec.write_text(
        text.replace("Cl.te: {ell: [2, 120]}", "Cl.te: {ell: [2, 120], transforms: [pca: {weights: 5}]}")
    )
    build(spec, "-o", tmp_path, "-j1", "--stage", "validate")
    artifact = tmp_path / "toy.build" / "artifact" / "toy.h5"
    parent = zelos.get_emulator(artifact, fallback="toy", cache=tmp_path / "cache")
    for a, n in points_outside(40).tolist():
        parent.evaluate({"A": a, "n": n}, ["Cl.tt"])
    done = extend(artifact, "--from", tmp_path / "cache", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    new = zelos.get_emulator(tmp_path / "toy-1.0.1.tar.gz")
    for a, n in INSIDE:
        check_against_the_formulas(parent, a, n, 5e-5)
        check_against_the_formulas(new, a, n, 5e-5)


def test_with_the_artifact_alone(toy_artifact: Path, cache: Path, tmp_path: Path) -> None:
    artifact = tmp_path / "mine.h5"
    artifact.write_bytes(toy_artifact.read_bytes())
    done = extend(artifact, "--from", cache, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "training runs of toy are not here" in done.stdout and "--rerun" in done.stdout
    archive = tmp_path / "out" / "toy_learnt-1.0.1.tar.gz"
    assert f"[{artifact}, {archive}]" in done.stdout and "are needed" not in done.stderr
    learnt = zelos.get_emulator(archive)
    assert learnt.info["provenance"]["parent"]["id"] == zelos.get_emulator(artifact).id
    assert not learnt.verdict([1.5, 0.95]) and learnt.verdict([2.4, 0.95])
    both = zelos.get_emulator([artifact, archive])
    assert both.answering({"A": 1.5, "n": 0.95}) == "toy"
    assert both.answering({"A": 2.4, "n": 0.95}) == "toy_learnt"
    check_against_the_formulas(both, 2.45, 0.96, 5e-4)


def test_the_runs_made_again_and_killed_in_the_middle(
    toy_artifact: Path, cache: Path, tmp_path: Path
) -> None:
    """What is finished is found again, and the artifact is the same as that of an extension in one go."""
    artifact = tmp_path / "mine.h5"
    artifact.write_bytes(toy_artifact.read_bytes())
    arguments = [artifact, "--from", cache, "--rerun", "-o", tmp_path / "out"]
    command = [sys.executable, "-m", "zelos.cli", "extend", *map(str, arguments)]
    process = subprocess.Popen(command, env=toy_environment({"TOY_WAIT": "0.1"}), start_new_session=True)
    while len(made := list(tmp_path.glob("out/toy.extend/parent/runs/*/*.npz"))) < 6:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in made}
    done = extend(*arguments)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in made} == before
    whole = extend(toy_artifact, "--from", cache, "-o", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    ids = [zelos.get_emulator(tmp_path / f / "toy-1.0.1.tar.gz").id for f in ("out", "whole")]
    assert ids[0] == ids[1]


def test_answers_of_other_physics_are_left_out(toy_artifact: Path, cache: Path, tmp_path: Path) -> None:
    done = extend(toy_artifact, "--from", cache, "--from", tmp_path, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    emulator = zelos.get_emulator(toy_artifact)
    source = source_of(emulator, "toy")
    plan = source.plan()
    answers = read_cache(cache)
    assert len(as_runs(plan, answers, source.provenance)) == 61
    for change in ({"settings_sha256": "0" * 64}, {"code_version": "0.9"}, {"code": "other"}):
        none = as_runs(plan, answers, {**source.provenance, **change})
        assert len(none) == 0 and sum(none.left_out.values()) == 61
    (reason,) = as_runs(plan, answers, {**source.provenance, "code_version": "0.9"}).left_out
    assert reason == "version 1.2.0, not 0.9"


def test_answers_are_what_the_code_computed(toy_artifact: Path, cache: Path) -> None:
    source = source_of(zelos.get_emulator(toy_artifact), "toy")
    runs = as_runs(source.plan(), read_cache(cache), source.provenance)
    for (a, n), tt, derived in zip(runs.points, runs.arrays["Cl.tt"], runs.arrays["derived"], strict=True):
        np.testing.assert_allclose(tt, toy_driver.spectrum("tt", a, n, ELL), rtol=1e-13)
        np.testing.assert_allclose(derived, [a**2, 13 + n], rtol=1e-13)
    # Half of the answers and all of them: none changes sides between training and test.
    half = runs.take(np.arange(0, 61, 2))
    np.testing.assert_array_equal(half.is_held_out(), runs.is_held_out()[::2])


def test_too_few_held_out_answers_to_judge_by(toy_artifact: Path, tmp_path: Path) -> None:
    artifact, few = tmp_path / "mine.h5", tmp_path / "few"
    artifact.write_bytes(toy_artifact.read_bytes())
    emulator = zelos.get_emulator(toy_artifact, fallback="toy", cache=few)
    for a, n in points_outside(14):
        emulator.evaluate({"A": a, "n": n}, ["Cl.tt"])
    done = extend(artifact, "--from", few, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    summary = zelos.get_emulator(next((tmp_path / "out").glob("*.tar.gz"))).info["accuracy"]
    assert 0 < summary["inside"] < 4
    said = f"{summary['inside']} of {summary['held_out']} held-out answers inside the region, 4 are needed"
    assert said in done.stderr and "Use both" not in done.stdout


def test_refusals(toy_artifact: Path, cache: Path, tmp_path: Path) -> None:
    empty = extend(toy_artifact, "--from", tmp_path, "-o", tmp_path)
    assert empty.returncode == 1 and "no answers" in empty.stderr
    nowhere = extend(toy_artifact, "--from", cache, "--runs", tmp_path, "-o", tmp_path)
    assert nowhere.returncode == 1 and f"{tmp_path}: no runs of" in nowhere.stderr


def test_stray_points_are_those_on_the_way() -> None:
    generator = np.random.default_rng(5)
    bulk = generator.normal(size=(80, 6))
    way = np.outer(np.linspace(10, 40, 20), np.ones(6) / np.sqrt(6)) + 0.3 * generator.normal(size=(20, 6))
    kept = not_stray(np.concatenate([bulk, way]) * [1, 2, 3, 4, 5, 1e-5])
    assert kept[:80].all() and not kept[80:].any()
    assert not_stray(bulk).all()


def test_next_version() -> None:
    assert [next_version(v) for v in ("1.0.0", "2", "1.9", "beta")] == ["1.0.1", "3", "1.10", "beta.1"]


def test_a_second_extension_begins_where_the_first_ended(
    toy_artifact: Path, cache: Path, tmp_path: Path
) -> None:
    first = extend(toy_artifact, "--from", cache, "--alone", "-o", tmp_path)
    assert first.returncode == 0, first.stderr
    second = extend(tmp_path / "toy_learnt-1.0.1.tar.gz", "--from", cache, "--alone", "-o", tmp_path)
    assert second.returncode == 0, second.stderr
    new = zelos.get_emulator(tmp_path / "toy_learnt-1.0.2.tar.gz")
    parent = zelos.get_emulator(tmp_path / "toy_learnt-1.0.1.tar.gz")
    assert new.info["provenance"]["parent"] == {"name": "toy_learnt", "version": "1.0.1", "id": parent.id}
    assert new.ranges == parent.ranges
    json.dumps(new.info)
