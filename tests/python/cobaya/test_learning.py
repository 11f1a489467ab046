# SPDX-License-Identifier: BSD-3-Clause
"""`learn`: chains that begin on the real code and end on an emulator of it. The code is the toy's."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cobaya.likelihood import Likelihood
from cobaya.log import LoggedError
from cobaya.model import get_model
from cobaya.run import run

from zelos import learning
from zelos.learning import Learning, attempts, count_answers

from ..conftest import TOY, run_build, toy_environment

pytestmark = pytest.mark.cobaya

GATED = "\nregion: {hull: ellipsoid, margin: 0.2, tolerance: 0.05}\naccuracy: {delta_chi2.p95: 0.05}\n"
#: The predicted error counts all outputs: that of scalars, for which nobody asks here, must not rule.
DERIVED = (
    "outputs:\n",
    "outputs:\n  derived: {transforms: [pca: {rotate: false, whiten: {relative: 0.01}}]}\n",
)
DATA = {2: np.log(1e3 * 1.5) - 2.05 * np.log(2), 100: np.log(1e3 * 1.5) - 2.05 * np.log(100)}
SIGMA = 0.05


class Spectra(Likelihood):
    """Of ln C at two multipoles, for A = 1.5 and n = 0.95."""

    def get_requirements(self) -> dict[str, Any]:
        return {"Cl": {"tt": 100, "ee": 100}}

    def logp(self, **_: Any) -> float:
        tt = self.provider.get_Cl(units="muK2")["tt"]
        return float(-0.5 * sum(((np.log(tt[ell]) - y) / SIGMA) ** 2 for ell, y in DATA.items()))


def chi2_of_the_code(a: Any, n: Any) -> Any:
    return sum(((np.log(1e3 * a) + (n - 3) * np.log(ell) - y) / SIGMA) ** 2 for ell, y in DATA.items())


def truth() -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of (A, n) by quadrature."""
    a, n = np.linspace(0.9, 2.4, 601)[:, None], np.linspace(0.85, 1.05, 401)
    p = np.exp(-0.5 * chi2_of_the_code(a, n))
    p /= p.sum()
    mean = np.array([(p * a).sum(), (p * n).sum()])
    return mean, np.sqrt([(p * (a - mean[0]) ** 2).sum(), (p * (n - mean[1]) ** 2).sum()])


def info(output: Path | None = None, learn: Any = None, start: float = 1.5, **mcmc: Any) -> dict[str, Any]:
    return {
        "theory": {"zelos.cobaya.Zelos": {"learn": learn, "fallback": "toy"}},
        "likelihood": {"spectra": {"external": Spectra}},
        "params": {
            "A": {"prior": {"min": 0.5, "max": 4}, "ref": start, "proposal": 0.05},
            "n": {"prior": {"min": 0.6, "max": 1.3}, "ref": 0.95, "proposal": 0.01},
            "age": None,
        },
        "sampler": {"mcmc": {"seed": 4, "burn_in": 0, "measure_speeds": False, "max_tries": 10000, **mcmc}},
        "output": None if output is None else str(output),
    }


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(
        (TOY / "toy.yaml").read_text().replace(*DERIVED).replace("polynomial", "gaussian_process") + GATED
    )
    return path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", toy_environment()["PYTHONPATH"])
    monkeypatch.setenv("TOY_WAIT", "0.05")  # a code that is dearer than the rest
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def waits_for_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a chain comes to is not to depend on how fast the trainer is on this machine."""
    start = Learning._start

    def started(self: Any) -> None:
        start(self)
        self._trainer.wait()

    monkeypatch.setattr(Learning, "_start", started)
    monkeypatch.setattr(learning, "LOOK", 0)


def statistics(sampler: Any) -> dict[str, Any]:
    return sampler.model.theory["zelos.cobaya.Zelos"].statistics.as_dict()


@pytest.mark.usefixtures("waits_for_trainer")
def test_a_chain_begins_on_the_code_and_ends_on_the_emulator(spec: Path, tmp_path: Path, caplog: Any) -> None:
    """It starts 15 standard deviations away, and its posterior is that of the code."""
    spec.write_text(spec.read_text().replace("A: [1, 2]", "A: [0.5, 4]").replace("[0.9, 1.0]", "[0.7, 1.2]"))
    learn = {"spec": str(spec)}
    _, sampler = run(info(tmp_path / "chain", learn, start=3.0, Rminus1_stop=0.05, max_samples=1000))
    counts = statistics(sampler)
    # How many points the code answers before the first version is a matter of the trainer's speed.
    assert counts["versions"] and counts["emulated"] > 300
    assert 1 < counts["first_emulated"] < counts["last_outside"] < counts["points"]
    assert f"learnt: version {counts['versions'][0][1]} from point" in caplog.text
    chain = sampler.products(skip_samples=0.2)["sample"]
    exact = [chi2_of_the_code(a, n) for a, n in chain[["A", "n"]].to_numpy(float)]
    np.testing.assert_allclose(chain["chi2"].to_numpy(float), exact, atol=0.02)
    mean, sigma = truth()
    np.testing.assert_array_less(np.abs(chain.mean()[:2] - mean), 0.3 * sigma)
    np.testing.assert_allclose(np.sqrt(np.diag(chain.cov())[:2]), sigma, rtol=0.3)
    # The next chain has it from its first point on.
    _, after = run(info(tmp_path / "next", learn, max_samples=200))
    counts = statistics(after)
    assert counts["emulated"] > 150 and counts["first_emulated"] == 1
    assert counts["fallback"] < counts["emulated"] / 5  # the tails beyond what was learnt


def test_it_is_resumed(spec: Path, tmp_path: Path) -> None:
    learn = {"spec": str(spec), "folder": str(tmp_path / "folder")}
    _, first = run(info(tmp_path / "chain", learn, max_samples=150))
    n = count_answers(tmp_path / "folder" / "answers")
    longer = info(tmp_path / "chain", learn, max_samples=300)
    _, second = run(longer, resume=True)
    assert len(second.products()["sample"]) > len(first.products()["sample"])
    assert statistics(second)["emulated"] > 100
    assert count_answers(tmp_path / "folder" / "answers") >= n
    spec.write_text(spec.read_text().replace("delta_chi2.p95: 0.05", "delta_chi2.p95: 0.06"))
    with pytest.raises(LoggedError, match="not compatible"):
        run(longer, resume=True)


SCRIPT = """
import sys, json
sys.path.insert(0, sys.argv[1])
from tests.python.cobaya.test_learning import info, run, statistics
settings = info(None, {"spec": sys.argv[2], "folder": sys.argv[3]}, max_samples=400)
settings["sampler"]["mcmc"]["seed"] = int(sys.argv[4])
print("\\n" + json.dumps(statistics(run(settings)[1])))
"""


def test_ranks_share_one_trainer_and_its_versions(spec: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", SCRIPT, root, str(spec), str(folder)]
    ranks = [
        subprocess.Popen(
            [*command, str(seed)], env=toy_environment({"TOY_WAIT": "0.05"}), stdout=subprocess.PIPE
        )
        for seed in (1, 2)
    ]
    counts = [json.loads(rank.communicate(timeout=500)[0].splitlines()[-1]) for rank in ranks]
    assert all(count["emulated"] > 200 and count["versions"] for count in counts)
    done = attempts(folder)
    assert len({attempt.answers for attempt in done}) == len(done)
    answers = count_answers(folder / "answers")
    assert max(count["fallback"] for count in counts) < answers <= sum(count["fallback"] for count in counts)


def trained(tmp_path: Path, spec: Path) -> dict[str, Any]:
    """A folder with a learnt emulator about A = 1.5, made by a chain."""
    learn = {"spec": str(spec), "folder": str(tmp_path / "folder"), "first": 25}
    run(info(None, learn, max_samples=100))
    learning = Learning(tmp_path / "folder")
    if not learning.learnt.exists():  # the chain was faster than its trainer
        command = [
            sys.executable,
            "-m",
            "zelos.build.learn",
            "train",
            str(learning.folder),
            str(learning.answers),
        ]
        subprocess.run(command, check=True, stdin=subprocess.PIPE, env=toy_environment(), timeout=300)
    assert learning.learnt.exists()
    return learn


def test_a_damaged_version_is_told_and_not_used(spec: Path, tmp_path: Path, caplog: Any) -> None:
    learn = trained(tmp_path, spec)
    model = get_model(info(None, learn))
    theory = model.theory["zelos.cobaya.Zelos"]
    good = model.logposterior({"A": 1.5, "n": 0.95}).logpost
    assert theory.statistics.emulated == 1
    artifact = tmp_path / "folder" / "learnt.h5"
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    (tmp_path / "damaged").replace(artifact)
    theory._learnt._learning._looked -= 2
    assert model.logposterior({"A": 1.5001, "n": 0.95}).logpost == pytest.approx(good, abs=0.01)
    assert theory.statistics.emulated == 2  # by the version before it
    assert caplog.text.count("The new version of the learnt emulator is not used") == 1
    model.close()
    # Found damaged at the start, the code answers (as long as no trainer replaces it).
    with (tmp_path / "folder" / "trainer.lock").open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        model = get_model(info(None, learn))
        theory = model.theory["zelos.cobaya.Zelos"]
        assert np.isfinite(model.logposterior({"A": 1.52, "n": 0.95}).logpost)
        assert (theory.statistics.emulated, theory.statistics.fallen_back) == (0, 1)
        model.close()


def test_what_lies_outside_goes_to_the_code(spec: Path, tmp_path: Path) -> None:
    """Far away, and where no run of the code was near: the emulator is not asked."""
    model = get_model(info(None, trained(tmp_path, spec)))
    theory = model.theory["zelos.cobaya.Zelos"]
    for a, n in ((2.5, 0.95), (1.5, 1.1), (0.8, 0.8), (3.9, 1.29)):
        expected = -0.5 * chi2_of_the_code(a, n)
        assert model.loglikes({"A": a, "n": n}, return_derived=False)[0] == pytest.approx(expected, rel=1e-9)
    assert (theory.statistics.emulated, theory.statistics.fallen_back) == (0, 4)
    model.close()


@pytest.mark.usefixtures("waits_for_trainer")
def test_beside_an_emulator_it_learns_what_lies_outside(spec: Path, tmp_path: Path) -> None:
    """Half of the posterior is beyond the emulator's box."""
    narrow = tmp_path / "narrow.yaml"
    text = spec.read_text().replace("A: [1, 2]", "A: [0.5, 1.5]")
    narrow.write_text(text.replace("region: {hull: ellipsoid, margin: 0.2, tolerance: 0.05}\n", ""))
    done = run_build(narrow, "-o", tmp_path, "-j1", "--stage", "validate")
    assert done.returncode == 0, done.stderr
    settings = info(None, {"folder": str(tmp_path / "folder")}, Rminus1_stop=0.02)
    theory = settings["theory"]["zelos.cobaya.Zelos"]
    theory["emulator"] = str(tmp_path / "toy.build" / "artifact" / "toy.h5")
    _, sampler = run(settings)
    counts = statistics(sampler)
    assert counts["emulators"]["toy"] > 500 and counts["emulators"]["toy_learnt"] > 500
    assert counts["fallback"] < 400
    mean, sigma = truth()
    chain = sampler.products(skip_samples=0.2)["sample"]
    np.testing.assert_array_less(np.abs(chain.mean()[:2] - mean), 0.2 * sigma)


def test_refused_at_initialisation(spec: Path, tmp_path: Path) -> None:
    for learn, message in (
        ({"specs": "x"}, "'learn' is true or"),
        ({"spec": "nowhere.yaml"}, "can't read the spec 'nowhere.yaml'"),
    ):
        with pytest.raises(LoggedError, match=message):
            get_model(info(None, learn))
    settings = info(None, {"spec": str(spec)})
    settings["theory"]["zelos.cobaya.Zelos"]["outside"] = "reject"
    with pytest.raises(LoggedError, match="'outside' is 'reject'"):
        get_model(settings)
    spec.write_text((TOY / "toy.yaml").read_text())
    with pytest.raises(LoggedError, match="what is good enough"):
        get_model(info(None, {"spec": str(spec)}))
