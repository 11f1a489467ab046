# SPDX-License-Identifier: BSD-3-Clause
"""The command zelos_build from outside, on the toy code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import zelos
from zelos.archive import read_artifact, read_members
from zelos.build import validate
from zelos.build.plan import make_plan
from zelos.build.runs import RunStore, load_set, point_hash, select, set_hash
from zelos.build.training import shapes

from .conftest import TOY, Command, toy_environment


def runs_folder(out: Path) -> Path:
    (folder,) = (out / "toy.build" / "runs").iterdir()
    return folder


def edit(spec: Path, *pairs: tuple[str, str]) -> Path:
    text = spec.read_text()
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    spec.write_text(text)
    return spec


def test_a_build_looks_as_the_design_shows(toy_build: Path) -> None:
    lines = (toy_build / "stdout.txt").read_text().splitlines()
    for step in ("Checking toy 1.2.0", "Building training set", "Training model", "Evaluating accuracy"):
        assert any(line.startswith(f">>> {step} ..") and line.endswith("..[done]") for line in lines), step
    assert "Report:" in lines
    assert any(line.startswith("Trained emulator for toy.yaml in ") for line in lines)
    assert any(line.startswith("Maximum relative error: ") for line in lines)
    assert lines[-1] == f"Exporting emulator to {toy_build / 'toy.tar.gz'}"


def test_the_archive_holds_artifact_spec_and_report(toy_build: Path, toy_artifact: Path) -> None:
    members = read_members(toy_build / "toy.tar.gz")
    assert sorted(members) == ["report.html", "report.json", "toy.h5", "toy.yaml"]
    assert members["toy.h5"] == toy_artifact.read_bytes()
    assert members["toy.yaml"] == (TOY / "toy.yaml").read_bytes()
    page = members["report.html"].decode()
    assert page.count("data:image/png;base64,") >= 6
    assert "http" not in page.replace("http-equiv", "")
    report = json.loads(members["report.json"])
    assert report["learning_curve"]
    assert set(report["profiles"]["Pk.linear"]["relative"]) == {"k", "z"}


def test_accuracy_in_the_artifact_is_that_of_fresh_runs(toy_artifact: Path) -> None:
    import toy_driver

    emulator = zelos.get_emulator(toy_artifact)
    stored = emulator.info["accuracy"]
    assert stored["held_out"] == stored["inside"] == 8
    plan = make_plan(str(TOY / "toy.yaml"))
    points = plan.design("validation").points(8)
    axes = emulator.axes("Pk.linear")
    k, z = axes["k"][:, None], axes["z"]
    worst = max(
        np.abs(emulator.evaluate(x, ["Pk.linear"])["Pk.linear"] / toy_driver.power(*x, k, z) - 1).max()
        for x in points
    )
    assert stored["outputs"]["Pk.linear"]["worst"]["max"] == pytest.approx(worst, rel=1e-6)
    assert worst < 1e-3


def test_provenance_names_everything(toy_artifact: Path, toy_build: Path) -> None:
    record = zelos.get_emulator(toy_artifact).info["provenance"]
    assert record["code"] == "toy"
    assert record["code_version"] == "1.2.0"
    assert record["settings"].startswith("tilt = 0")
    assert record["date"] == "2023-11-14T22:13:20Z"
    plan = make_plan(str(TOY / "toy.yaml"))
    store = RunStore(runs_folder(toy_build))
    points, arrays, chosen, _ = load_set(plan.design("training"), 24, store, shapes(plan))
    assert record["training_set"] == {
        "n": 24,
        "validation": 8,
        "sha256": set_hash(points, arrays),
        "failed": [],
    }
    assert not chosen.failed
    assert record["zelos"] == zelos.__version__
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?|unknown", record["zelos_commit"])


def test_the_same_spec_gives_the_same_bytes(toy_build: Path, build: Command, tmp_path: Path) -> None:
    done = build(TOY / "toy.yaml", "-o", tmp_path, "-j1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "toy.tar.gz").read_bytes() == (toy_build / "toy.tar.gz").read_bytes()


def test_killed_in_the_middle_it_continues_to_the_same_artifact(
    toy_build: Path, build: Command, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "zelos.build.cli",
        str(TOY / "toy.yaml"),
        "-o",
        str(tmp_path),
        "-j2",
        "-q",
    ]
    process = subprocess.Popen(command, env=toy_environment({"TOY_WAIT": "0.2"}), start_new_session=True)
    deadline = time.monotonic() + 600
    while len(list((tmp_path / "toy.build").glob("runs/*/*.npz"))) < 6:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    store = RunStore(runs_folder(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in store.folder.glob("*.npz")}
    assert 6 <= len(before) < 32
    for path in before:
        store.read(path.stem)
    done = build(TOY / "toy.yaml", "-o", tmp_path, "-j2")
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(store.done()) == 32
    assert (tmp_path / "toy.tar.gz").read_bytes() == (toy_build / "toy.tar.gz").read_bytes()


def test_killed_in_training_it_continues_to_the_same_artifact(
    toy_build: Path, toy_spec: Path, build: Command, tmp_path: Path
) -> None:
    edit(toy_spec, ("  type: polynomial", "  type: neural_network\n  params: {epochs: 150}"))
    train = ("--stage", "train", "-j1", "-q")
    artifacts = []
    for name in ("whole", "killed"):
        folder = tmp_path / name
        shutil.copytree(toy_build / "toy.build" / "runs", folder / "toy.build" / "runs")
        if name == "killed":
            command = [sys.executable, "-m", "zelos.build.cli", str(toy_spec), "-o", str(folder), *train]
            process = subprocess.Popen(command, env=toy_environment(), start_new_session=True)
            while not list(folder.glob("toy.build/train/*/checkpoints/*.h5")):
                assert process.poll() is None
                time.sleep(0.005)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert not list(folder.glob("toy.build/train/*/toy.h5"))
        done = build(toy_spec, "-o", folder, *train)
        assert done.returncode == 0, done.stderr
        (artifact,) = folder.glob("toy.build/train/*/toy.h5")
        artifacts.append(artifact.read_bytes())
        assert [path.name for path in artifact.parent.iterdir()] == ["toy.h5"]
    assert artifacts[0] == artifacts[1]


def test_interrupted_it_says_how_to_continue(toy_spec: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zelos.build.cli", str(toy_spec), "-o", str(tmp_path), "-j1"]
    process = subprocess.Popen(
        command,
        env=toy_environment({"TOY_WAIT": "0.3"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job, such as a CI's, begins with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list((tmp_path / "toy.build").glob("runs/*/*.npz")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "run the same command to continue" in errors


def test_failed_runs_are_recorded_and_replaced(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    spec = edit(toy_spec, ("  version: 1.2.0\n", "  version: 1.2.0\n  extra_args: {fail_above: 1.9}\n"))
    done = build(spec, "-o", tmp_path, "-j2")
    assert done.returncode == 0, done.stderr
    plan = make_plan(str(spec))
    store = RunStore(runs_folder(tmp_path))
    failed = store.failed()
    assert failed
    for key, record in failed.items():
        assert record["parameters"]["A"] > 1.9
        assert record["reason"].startswith("RuntimeError: no convergence for A = ")
        assert key not in store.done()
    points = plan.design("training").points(200)
    good = points[points[:, 0] <= 1.9][:24]
    chosen = select(plan.design("training"), 24, store)
    np.testing.assert_array_equal(chosen.points, good)
    artifact = zelos.get_emulator(tmp_path / "toy.build" / "artifact" / "toy.h5")
    recorded = artifact.info["provenance"]["training_set"]["failed"]
    assert {r["hash"] for r in recorded} == {r["hash"] for r in chosen.failed} <= set(failed)
    assert "failed and replaced" in done.stdout


def test_a_code_that_always_fails_stops_the_build(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    spec = edit(toy_spec, ("  version: 1.2.0\n", "  version: 1.2.0\n  extra_args: {fail_above: 0.1}\n"))
    done = build(spec, "-o", tmp_path)
    assert done.returncode == 4
    assert "no convergence" in done.stderr


def test_a_dead_worker_does_not_cost_the_point(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    mark = tmp_path / "died"
    spec = edit(toy_spec, ("  version: 1.2.0\n", f"  version: 1.2.0\n  extra_args: {{die_once: {mark}}}\n"))
    done = build(spec, "-o", tmp_path, "--stage", "runs")
    assert done.returncode == 0, done.stderr
    assert mark.exists()
    store = RunStore(runs_folder(tmp_path))
    assert len(store.done()) == 32
    assert not store.failed()


def test_editing_training_does_not_run_the_code_again(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    assert build(toy_spec, "-o", tmp_path, "--stage", "train").returncode == 0
    before = {path: path.stat().st_mtime_ns for path in runs_folder(tmp_path).glob("*.npz")}
    edit(toy_spec, ("  type: polynomial", "  type: polynomial\n  params: {degree: 3}"))
    assert build(toy_spec, "-o", tmp_path, "--stage", "train").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in runs_folder(tmp_path).glob("*.npz")} == before
    assert len(list((tmp_path / "toy.build" / "train").iterdir())) == 2


def test_more_runs_add_to_those_that_are_there(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    assert build(toy_spec, "-o", tmp_path, "--stage", "runs", "--set", "training.n=10").returncode == 0
    store = RunStore(runs_folder(tmp_path))
    few = store.done()
    assert len(few) == 18
    assert build(toy_spec, "-o", tmp_path, "--stage", "runs", "--set", "training.n=20").returncode == 0
    assert few < store.done()
    assert len(store.done()) == 28


def test_runs_of_other_settings_are_not_gone_on_with(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    assert build(toy_spec, "-o", tmp_path / "out", "--stage", "runs").returncode == 0
    before = set(RunStore(runs_folder(tmp_path / "out")).done())
    edit(toy_spec, ("validation: 8", "validation: 12"))
    done = build(toy_spec, "-o", tmp_path / "out", "--stage", "runs", env={"TOY_TILT": "0.5"})
    assert done.returncode == 4
    assert "other settings of toy: 'tilt = 0' then, 'tilt = 0.5' now" in done.stderr
    assert set(RunStore(runs_folder(tmp_path / "out")).done()) == before
    # Another range, another centre: the same settings.
    edit(toy_spec, ("A: [1, 2]", "A: [1, 3]"))
    assert build(toy_spec, "-o", tmp_path / "out", "--stage", "runs").returncode == 0


def test_shards_make_all_runs_together(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    first = build(toy_spec, "-o", tmp_path, "--shard", "1/2")
    assert first.returncode == 0, first.stderr
    assert "16 runs are left to others" in first.stdout
    second = build(toy_spec, "-o", tmp_path, "--shard", "2/2")
    assert "all runs are there" in second.stdout


def test_missed_target_is_exit_code_2_and_marked(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    done = build(toy_spec, "-o", tmp_path, "--set", "accuracy={Pk.linear.p99: 1e-30}", "--no-learning-curve")
    assert done.returncode == 2, done.stderr
    assert "Target missed: Pk.linear.p99" in done.stdout
    data, _ = read_artifact(tmp_path / "toy.tar.gz")
    (tmp_path / "x.h5").write_bytes(data)
    accuracy = zelos.get_emulator(tmp_path / "x.h5").info["accuracy"]
    assert accuracy["target_missed"] is True
    assert accuracy["targets"]["Pk.linear.p99"]["met"] is False


def test_unknown_target_is_refused_before_anything_runs(
    toy_spec: Path, build: Command, tmp_path: Path
) -> None:
    done = build(toy_spec, "-o", tmp_path, "--set", "accuracy={Pk.linear.p98: 1e-3}")
    assert done.returncode == 1
    assert "accuracy.Pk.linear.p98" in done.stderr
    assert not (tmp_path / "toy.build").exists()


@pytest.mark.parametrize("change", ["version=1.0.0", "outputs.Cl.te.ell=[2,100]"])
def test_targets_that_may_be_named_are_those_that_are_measured(
    change: str, toy_spec: Path, build: Command, tmp_path: Path
) -> None:
    plan = make_plan(str(toy_spec), [change])
    done = build(toy_spec, "-o", tmp_path, "-j1", "--stage", "validate", "--set", change)
    assert done.returncode == 0, done.stderr
    stored = zelos.get_emulator(tmp_path / "toy.build/artifact/toy.h5").info["accuracy"]
    assert set(validate.metrics(stored)) == set(validate.metric_names(plan))
    assert ("delta_chi2.p95" in validate.metric_names(plan)) == (change == "version=1.0.0")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("emulator_fn:", "emulator_fm:", r"toy\.yaml:\d+:\d+: .*emulator_fm.*emulator_fn"),
        ("A: [1, 2]", "A: [2, 1]", r"toy\.yaml:7:\d+: parameters\.A"),
        ("code: toy", "code: toyy", r"toy\.yaml:4: config\.code: .*did you mean 'toy'"),
        ("Cl.ee:", "Cl.eee:", r"toy\.yaml:\d+: outputs: .*Cl\.eee.*did you mean 'Cl\.ee'"),
        ("polynomial", "polynomal", r"toy\.yaml:\d+: .*emulator_fn\.type: .*did you mean 'polynomial'"),
        ("type: polynomial", "type: polynomial\n  params: {degre: 2}", r"toy.*yaml:\d+: .*'degre'"),
        ("[log]}", "[lgo]}", r"toy\.yaml:\d+: output Cl\.tt: unknown transform 'lgo'.*did you mean 'log'"),
        ("Cl.te: {ell: [2, 120]}", "Cl.te: {ell: [2, 120], features: [B]}", r"toy\.yaml:\d+: .*Cl\.te.*'B'"),
        (
            "training:",
            "accuracy: {Pk.linear.p96: 1}\ntraining:",
            r"toy\.yaml:\d+: accuracy\.Pk\.linear\.p96: .*did you mean 'Pk\.linear\.p9",
        ),
        ("[amplitude, age]", "[amplitude, agee]", r"toy\.yaml:\d+: derived: .*agee.*did you mean 'age'"),
        ("Cl.tt: {ell", "Cl.tt: {k", r"toy\.yaml:\d+: outputs: .*Cl\.tt.*ell.*'k'"),
        ("  A: [1, 2]", "  B: [1, 2]", r"toy\.yaml: toy refuses.*B"),
    ],
)  # fmt: skip
def test_spec_errors_are_exit_code_1_with_the_place(
    before: str, after: str, message: str, toy_spec: Path, build: Command, tmp_path: Path
) -> None:
    done = build(edit(toy_spec, (before, after)), "-o", tmp_path)
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_spec_is_exit_code_1(build: Command, tmp_path: Path) -> None:
    done = build(tmp_path / "nowhere.yaml")
    assert done.returncode == 1
    assert "nowhere.yaml" in done.stderr


def test_version_mismatch_is_exit_code_3_and_names_both(
    toy_spec: Path, build: Command, tmp_path: Path
) -> None:
    env = {"TOY_VERSION": "1.3.0"}
    done = build(toy_spec, "-o", tmp_path, env=env)
    assert done.returncode == 3
    assert "1.2.0" in done.stderr
    assert "1.3.0" in done.stderr
    allowed = build(toy_spec, "-o", tmp_path, "--allow-version-mismatch", "--no-learning-curve", env=env)
    assert allowed.returncode == 0, allowed.stderr
    record = zelos.get_emulator(tmp_path / "toy.tar.gz").info["provenance"]
    assert "1.2.0" in record["version_mismatch"]
    assert "class=bad" in (tmp_path / "toy.build" / "artifact" / "report.html").read_text()


def test_dry_run_estimates_and_leaves_nothing(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    done = build(toy_spec, "-o", tmp_path / "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    for line in (
        "Parameters: 2 (A, n)",
        "Output Pk.linear: 24 k x 7 z",
        "Runs: 24 training, 8 held out; 0 are there already",
        "CPU hours",
        "Disk: ",
    ):
        assert line in done.stdout
    assert not (tmp_path / "out").exists()


def test_set_overrides_and_is_recorded(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    done = build(
        toy_spec, "-o", tmp_path, "--no-learning-curve", "--set", "training.n=12", "--set", "name=other"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    emulator = zelos.get_emulator(tmp_path / "other.tar.gz")
    assert emulator.name == "other"
    assert emulator.info["provenance"]["training_set"]["n"] == 12
    assert emulator.info["provenance"]["overrides"] == ["training.n=12", "name=other"]
    packed = read_members(tmp_path / "other.tar.gz", wanted=".yaml")["other.yaml"].decode()
    assert packed == toy_spec.read_text() + "# --set training.n=12\n# --set name=other\n"
    assert emulator.info["spec"] == packed


def test_an_edited_spec_is_the_one_in_the_artifact(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    for author in ("tests", "somebody else"):
        toy_spec.write_text(toy_spec.read_text().replace("author: tests", f"author: {author}"))
        done = build(toy_spec, "-o", tmp_path, "--no-learning-curve")
        assert done.returncode == 0, done.stderr
        info = zelos.get_emulator(tmp_path / "toy.tar.gz").info
        assert (info["author"], info["spec"]) == (author, toy_spec.read_text())
    assert len(list((tmp_path / "toy.build" / "runs").iterdir())) == 1


def test_quiet_says_nothing(toy_spec: Path, build: Command, tmp_path: Path) -> None:
    done = build(toy_spec, "-o", tmp_path, "-q", "--no-learning-curve")
    assert (done.returncode, done.stdout) == (0, "")


def test_keys_of_the_stages(toy_spec: Path) -> None:
    base = make_plan(str(toy_spec))
    for override, same_runs, same_train in (
        ("training.n=30", True, False),
        ("emulator_fn.params={degree: 3}", True, False),
        ("parameters.A=[1, 3]", True, False),
        ("config.extra_args={tilt: 0.1}", False, False),
        ("outputs.Cl.tt.ell=[2, 100]", False, False),
        ("author=somebody else", True, False),
    ):
        other = make_plan(str(toy_spec), [override])
        assert (other.runs_key("1") == base.runs_key("1")) is same_runs, override
        assert (other.train_key("1", "x") == base.train_key("1", "x")) is same_train, override
    assert base.runs_key("1") != base.runs_key("2")
    reordered = make_plan(str(toy_spec))
    reordered.names.reverse()
    assert reordered.runs_key("1") != base.runs_key("1")
    moved = make_plan(str(toy_spec))
    axis = next(iter(moved.outputs[0].axes.values()))
    axis[0] = np.nextafter(axis[0], 0)
    assert moved.runs_key("1") != base.runs_key("1")
    text = toy_spec.read_text()
    for edited, same_train in (
        (text.replace("threads: 1", "threads: 2") + "# a comment\n", True),
        (text.replace("author: tests", "author: somebody else"), False),
        (text + "version: 1.0.1\n", False),
        (text + "description: other words\n", False),
        (text + "accuracy: {Pk.linear.p99: 1}\n", False),
    ):
        toy_spec.write_text(edited)
        other = make_plan(str(toy_spec))
        assert other.runs_key("1") == base.runs_key("1"), edited
        assert (other.train_key("1", "x") == base.train_key("1", "x")) is same_train, edited


def test_the_store_skips_a_torn_record_and_names_a_damaged_run(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.create({})
    point = np.array([1.0, 2.0])
    store.record_failure(point, ["a", "b"], "reason")
    with (tmp_path / "failed.jsonl").open("a") as handle:
        handle.write('{"hash": "123", "para')
    assert list(store.failed()) == [point_hash(point)]
    (tmp_path / "abc.npz").write_bytes(b"PK damaged")
    with pytest.raises(zelos.Error, match=r"abc\.npz"):
        store.read("abc")
