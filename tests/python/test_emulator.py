# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_driver

import zelos
from zelos import cli
from zelos.one_point import OnePoint
from zelos.real_code import read_cache

POINT = {"A": 1.4, "n": 0.95}


@pytest.fixture(scope="module")
def emulator(toy_artifact: Path) -> zelos.Emulator:
    return zelos.get_emulator(toy_artifact)


def test_import_is_light() -> None:
    heavy = ("numpy", "scipy", "camb", "matplotlib", "cobaya")
    code = f"import sys, zelos; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_power_has_the_shape_of_k_and_z(emulator: zelos.Emulator) -> None:
    k, z = np.geomspace(0.02, 0.9, 7), np.array([1.5, 0.1, 0.6])
    pk = emulator(POINT, k, z)
    assert pk.shape == (7, 3)
    np.testing.assert_allclose(pk, toy_driver.power(1.4, 0.95, k[:, None], z), rtol=2e-3)
    assert emulator(POINT, 0.1, z).shape == (3,)
    assert emulator(POINT, k, 0.5).shape == (7,)
    assert emulator(POINT, 0.1, 0.5).shape == ()
    np.testing.assert_array_equal(emulator(POINT, k[::-1].reshape(7, 1), z), pk[::-1].reshape(7, 1, 3))
    np.testing.assert_array_equal(emulator(POINT, np.r_[k, k[2]], z), np.r_[pk, pk[2:3]])
    np.testing.assert_array_equal(emulator(POINT, k, z, output="linear_matter_power"), pk)


def test_spectra_come_as_a_mapping(emulator: zelos.Emulator) -> None:
    spectra = emulator(POINT)
    assert list(spectra) == ["ell", "tt", "te", "ee"]
    np.testing.assert_array_equal(spectra["ell"], np.arange(2, 121))
    for name in ("tt", "te", "ee"):
        truth = toy_driver.spectrum(name, 1.4, 0.95, spectra["ell"])
        np.testing.assert_allclose(spectra[name], truth, atol=5e-3 * np.abs(truth).max())
    some = emulator(POINT, np.array([100, 3, 50]))
    np.testing.assert_allclose(some["tt"], spectra["tt"][[98, 1, 48]], rtol=1e-9)
    np.testing.assert_allclose(emulator(POINT, np.array([3, 4]), output="tt"), spectra["tt"][1:3], rtol=1e-9)


def test_a_batch_comes_first(emulator: zelos.Emulator) -> None:
    batch = {"A": np.array([1.1, 1.4, 1.9]), "n": 0.95}
    k, z = np.geomspace(0.02, 0.9, 5), np.array([0.0, 1.0])
    pk = emulator(batch, k, z)
    assert pk.shape == (3, 5, 2)
    np.testing.assert_allclose(pk[1], emulator(POINT, k, z), rtol=1e-13)
    np.testing.assert_array_equal(emulator(np.array([[1.1, 0.95], [1.4, 0.95]]), k, z), pk[:2])
    np.testing.assert_array_equal(emulator([1.1, 0.95], k, z), pk[0])
    assert emulator(batch)["tt"].shape == (3, 119)
    assert emulator.derived(batch)["age"].shape == (3,)
    assert [bool(v) for v in emulator.verdict(batch)] == [True] * 3
    assert emulator.error(batch)["Pk.linear"].shape == (3,)


def test_derived_parameters_are_numbers_with_units(emulator: zelos.Emulator) -> None:
    derived = emulator.derived(POINT)
    assert derived == pytest.approx({"amplitude": 1.96, "age": 13.95}, rel=1e-3)
    assert emulator.labels() == ("amplitude", "age")
    assert emulator.units["age"] == "Gyr"


def test_jacobian_against_finite_differences(emulator: zelos.Emulator) -> None:
    axes = {"k": np.geomspace(0.02, 0.9, 5), "z": np.array([1.0, 0.3])}
    values, slopes = emulator.jacobian(POINT, ["Pk.linear", "derived"], axes)
    assert slopes["Pk.linear"].shape == (5, 2, 2)
    np.testing.assert_array_equal(
        values["Pk.linear"], emulator.evaluate(POINT, ["Pk.linear"], axes)["Pk.linear"]
    )
    step = 1e-5
    for i, name in enumerate(POINT):
        up, down = ({**POINT, name: POINT[name] + sign * step} for sign in (1, -1))
        for output in ("Pk.linear", "derived"):
            used = axes if output == "Pk.linear" else None
            difference = (
                emulator.evaluate(up, [output], used)[output]
                - emulator.evaluate(down, [output], used)[output]
            )
            np.testing.assert_allclose(slopes[output][..., i], difference / (2 * step), rtol=1e-5, atol=1e-5)


def test_outside_names_parameter_value_and_range(emulator: zelos.Emulator) -> None:
    with pytest.raises(zelos.OutsideRegion, match=r"A.*2\.5.*\[1, 2\]") as caught:
        emulator({"A": 2.5, "n": 0.95})
    assert isinstance(caught.value, ValueError)
    assert caught.value.parameter == "A"
    verdict = caught.value.verdict
    assert verdict is not None
    assert (verdict.reason, verdict.value, verdict.lower, verdict.upper) == ("box", 2.5, 1, 2)
    assert not emulator.verdict({"A": 2.5, "n": 0.95})
    with pytest.raises(zelos.OutsideRegion, match=r"row 1 of 2: .*'A' is 0\.5") as caught:
        emulator({"A": [1.5, 0.5], "n": 0.95})
    assert caught.value.row == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"A": 1.4}, "n"),
        ({"A": 1.4, "n": 0.95, "Alens": 1.0}, "Alens"),
        ({"A": "x", "n": 0.95}, "'A'.*'x'"),
        ({"A": [1.1, 1.2], "n": [0.95] * 3}, "different lengths: A 2, n 3"),
        ([1.0, 2.0, 3.0], "A, n"),
    ],
)
def test_wrong_parameters_are_named(emulator: zelos.Emulator, params, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(zelos.ParameterError, match=message):
        emulator(params)


def test_wrong_requests_are_named(emulator: zelos.Emulator) -> None:
    with pytest.raises(zelos.ArgumentError, match=r"did you mean 'Pk\.linear'"):
        emulator.evaluate(POINT, ["Pk.linaer"])
    with pytest.raises(zelos.ArgumentError, match="k"):
        emulator(POINT, np.array([5.0]), 0.5)
    with pytest.raises(zelos.ArgumentError, match="axis 'R'"):
        emulator.evaluate(POINT, ["Pk.linear"], {"R": [1.0]})
    with pytest.raises(zelos.ArgumentError, match=r"axes \(k, z\)"):
        emulator(POINT, 0.1, output="Pk.linear")


def test_the_fallback_answers_outside(toy_artifact: Path) -> None:
    emulator = zelos.get_emulator(toy_artifact, fallback="toy")
    k, z = np.array([0.031, 0.2]), np.array([1.7, 0.1])
    emulator(POINT, k, z)
    assert emulator.last_source == "emulator"
    np.testing.assert_allclose(
        emulator({"A": 2.5, "n": 0.95}, k, z), toy_driver.power(2.5, 0.95, k[:, None], z), rtol=1e-13
    )
    assert emulator.last_source == "fallback"
    assert emulator.derived({"A": 2.5, "n": 0.95}) == pytest.approx(
        {"amplitude": 6.25, "age": 13.95}, rel=1e-12
    )
    mixed = emulator({"A": [1.4, 2.5], "n": 0.95})
    assert emulator.last_source == "mixed"
    np.testing.assert_allclose(mixed["tt"][1], toy_driver.spectrum("tt", 2.5, 0.95, mixed["ell"]), rtol=1e-13)
    assert emulator.statistics["emulated"] == 2
    assert emulator.statistics["fallback"] == 3
    assert emulator.statistics["left"] == {"A": 3}


def test_one_run_of_the_fallback_answers_all_questions_at_a_point(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setenv("TOY_RUNS", str(runs))
    emulator = zelos.get_emulator(toy_artifact, fallback="toy")
    outside = {"A": 2.5, "n": 0.95}
    native = emulator(outside)
    emulator.derived(outside)
    assert len(emulator(outside, np.array([7, 3]))["tt"]) == 2
    assert len(runs.read_text().splitlines()) == 1
    emulator(outside, 0.123, 0.1)
    assert len(runs.read_text().splitlines()) == 2
    np.testing.assert_array_equal(emulator(outside)["ee"], native["ee"])
    emulator({"A": 2.6, "n": 0.95})
    assert len(runs.read_text().splitlines()) == 3
    assert emulator.fallback is not None
    assert emulator.fallback.statistics["runs"] == 3
    assert emulator.fallback.statistics["reasons"] == {"A": 6}


def test_a_fallback_of_another_version_or_code_is_refused(
    toy_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(zelos.FallbackError, match="trained on 'toy'"):
        zelos.get_emulator(toy_artifact, fallback="camb")
    monkeypatch.setenv("TOY_VERSION", "1.3.0")
    with pytest.raises(
        zelos.FallbackError, match=r"1\.3\.0 here, 1\.2\.0 in training.*fallback_version='any'"
    ):
        zelos.get_emulator(toy_artifact, fallback="toy")
    loose = zelos.get_emulator(toy_artifact, fallback="toy", fallback_version="any")
    assert loose({"A": 2.5, "n": 0.95}, 0.1, 0.5) > 0
    assert loose.fallback is not None
    assert loose.fallback.differences == ["version 1.3.0 here, 1.2.0 in training"]


def test_a_fallback_with_other_settings_is_refused(
    toy_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_TILT", "0.5")
    with pytest.raises(zelos.FallbackError, match=r"'tilt = 0\.5' here, 'tilt = 0' in training"):
        zelos.get_emulator(toy_artifact, fallback="toy")


def test_options_of_a_fallback_are_checked(toy_artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(zelos.ArgumentError, match="need a fallback"):
        zelos.get_emulator(toy_artifact, cache=tmp_path)
    with pytest.raises(zelos.FallbackError, match="unknown option 'wrokers'"):
        zelos.get_emulator(toy_artifact, fallback="toy", fallback_options={"wrokers": 2})
    with pytest.raises(zelos.ArgumentError, match="'some': expected None or 'any'"):
        zelos.get_emulator(toy_artifact, fallback="toy", fallback_version="some")


def test_several_workers_share_a_batch(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setenv("TOY_RUNS", str(runs))
    emulator = zelos.get_emulator(toy_artifact, fallback="toy", fallback_options={"workers": 3})
    amplitudes = np.linspace(2.1, 4, 12)
    values = emulator({"A": amplitudes, "n": 0.95}, 0.1, 0.5)
    np.testing.assert_allclose(values, toy_driver.power(amplitudes, 0.95, 0.1, 0.5), rtol=1e-13)
    assert len(runs.read_text().splitlines()) == 12


def test_answers_are_kept_in_a_cache(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setenv("TOY_RUNS", str(runs))
    answers = []
    for _ in range(2):
        emulator = zelos.get_emulator(toy_artifact, fallback="toy", cache=tmp_path / "cache")
        answers.append(emulator({"A": [2.5, 2.6], "n": 0.95})["tt"])
    np.testing.assert_array_equal(answers[0], answers[1])
    assert len(runs.read_text().splitlines()) == 2
    kept = sorted(read_cache(tmp_path / "cache"), key=lambda answer: answer.parameters["A"])
    assert [answer.parameters for answer in kept] == [{"A": 2.5, "n": 0.95}, {"A": 2.6, "n": 0.95}]
    assert (kept[0].code, kept[0].version) == ("toy", "1.2.0")
    tt = kept[0].outputs["Cl.tt"]
    np.testing.assert_allclose(tt.values, toy_driver.spectrum("tt", 2.5, 0.95, tt.axes["ell"]), rtol=1e-13)
    assert kept[0].outputs["derived"].labels == {"name": ["amplitude", "age"]}
    with pytest.raises(zelos.FileError, match="absent"):
        read_cache(tmp_path / "absent")


def test_the_hub_finds_shared_folders_first(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(toy_artifact, tmp_path / "shared.h5")
    monkeypatch.setenv("ZELOS_PATH", str(tmp_path))
    assert zelos.get_emulator("hub:shared").name == "toy"
    assert "shared" in zelos.list_emulators()
    with pytest.raises(zelos.FileError, match="did you mean 'hub:shared'"):
        zelos.get_emulator("hub:sharde")
    with pytest.raises(zelos.FileError, match="did you mean 'hub:shared'"):
        zelos.get_emulator("hub:SHARED")
    with pytest.raises(zelos.FileError, match=r"there are: .*shared"):
        zelos.get_emulator("hub:quite_another")
    with pytest.raises(zelos.FileError, match="did you mean 'hub:shared'"):
        zelos.get_emulator("shared")


def test_an_archive_opens_from_memory(toy_build: Path, emulator: zelos.Emulator) -> None:
    packed = zelos.get_emulator(toy_build / "toy.tar.gz")
    assert packed.id == emulator.id
    np.testing.assert_array_equal(packed(POINT)["tt"], emulator(POINT)["tt"])


def test_damaged_files_are_refused(toy_artifact: Path, tmp_path: Path) -> None:
    data = bytearray(toy_artifact.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.h5").write_bytes(data)
    with pytest.raises(zelos.FormatError, match=r"bad\.h5"):
        zelos.get_emulator(tmp_path / "bad.h5")


def test_many_threads_may_ask_at_once(emulator: zelos.Emulator) -> None:
    expected = emulator(POINT)["tt"]
    wrong = []

    def ask() -> None:
        for _ in range(200):
            if not np.array_equal(emulator(POINT)["tt"], expected):
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(("amplitude", "source"), [(1.4, "emulator"), (2.5, "fallback")])
def test_one_point_knows_who_answered_it_whoever_asks_meanwhile(
    toy_artifact: Path, amplitude: float, source: str
) -> None:
    class Shared(zelos.Emulator):
        """Another thread's point is always the last."""

        last_source = property(  # type: ignore[assignment]
            lambda _: "emulator" if source == "fallback" else "fallback", lambda *_: None
        )

    emulator = Shared(zelos.get_emulator(toy_artifact).core, fallback="toy")
    params = {"A": amplitude, "n": 0.95}
    point = OnePoint(emulator, params)
    assert point.source == source
    power = point.at_z("Pk.linear", 0.6)
    k = emulator.axes("Pk.linear")["k"]
    np.testing.assert_allclose(power, toy_driver.power(amplitude, 0.95, k, 0.6), rtol=1e-3)
    if source == "emulator":
        np.testing.assert_array_equal(power, emulator(params, k, 0.6))


def test_repr_says_what_it_is(emulator: zelos.Emulator) -> None:
    assert repr(emulator).startswith("<zelos emulator toy 1.0.0: A [1, 2], n [0.9, 1] -> Pk.linear, ")
    assert emulator.parameters == ("A", "n")
    assert emulator.ranges == {"A": (1.0, 2.0), "n": (0.9, 1.0)}


def test_info_prints_provenance_and_accuracy(toy_artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(toy_artifact)]) == 0
    text = capsys.readouterr().out
    for words in ("toy 1.0.0", "code_version: 1.2.0", "Pk.linear, relative", "A            [1, 2]", "sha256"):
        assert words in text
    for line in zelos.get_emulator(toy_artifact).info["provenance"]["settings"].splitlines():
        assert f"    {line}" in text
    assert cli.main(["info", "--spec", str(toy_artifact)]) == 0
    assert capsys.readouterr().out.startswith("name: toy\n")
    assert cli.main(["info", "nowhere.h5"]) == 1
    assert "nowhere.h5" in capsys.readouterr().err


def test_evaluate_and_plugins_print(toy_artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(toy_artifact), "A=1.4", "n=0.95"]) == 0
    derived = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert float(derived["age"]) == pytest.approx(13.95, rel=1e-3)
    assert cli.main(["evaluate", str(toy_artifact), "A=1.4", "n=0.95", "--output", "Pk.linear"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 24 * 7
    assert cli.main(["plugins"]) == 0
    assert "toy 1.2.0" in capsys.readouterr().out


POINT_CAMB = {"ombh2": 0.0224, "omch2": 0.12, "tau": 0.055, "logA": 3.05, "ns": 0.965}


class _Asked(Exception):
    """Stops the driver before a long run."""


@pytest.fixture(scope="module")
def shipped() -> zelos.Emulator:
    pytest.importorskip("camb")
    return zelos.get_emulator("hub:CAMB_lcdm")


@pytest.mark.camb
@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({"thetastar": 0.0104, "nnu": 3.5}, {"thetastar": 0.0104, "nnu": 3.5}),
        ({"100thetastar": 1.04, "mnu": 0.3}, {"thetastar": 0.0104, "mnu": 0.3}),
        ({"theta_MC_100": 1.041, "Neff": 2.5}, {"cosmomc_theta": 0.01041, "nnu": 2.5}),
        ({"thetastar": 0.0111}, {"thetastar": 0.0111}),  # H0 outside the box
        (
            {"H0": 67.0, "w0": -0.9, "N_eff": 3.5, "Omega_k": 0.01},
            {"H0": 67.0, "w": -0.9, "nnu": 3.5, "omk": 0.01},
        ),
        ({"h": 0.67, "mnu": 0.06, "wa": 0.2, "w0_fld": -0.9}, {"H0": 67.0, "wa": 0.2, "w": -0.9}),
    ],
)
def test_the_real_code_gets_the_physics_that_was_given(
    shipped: zelos.Emulator, given: dict[str, float], own: dict[str, float]
) -> None:
    import camb

    from zelos.fallback.camb.driver import Driver

    point = {**POINT_CAMB, **given}
    told = shipped.core.query(list(point), []).physics(np.array([list(point.values())]))[0]
    asked = Driver(shipped.info["provenance"]["config"], {"Cl.tt": {"ell": np.arange(2.0, 9.0)}})._params(
        told
    )
    plain = {name: value for name, value in POINT_CAMB.items() if name != "logA"}
    truth = camb.set_params(
        **{"mnu": 0.06, "nnu": 3.044, "num_massive_neutrinos": 1, **plain, **own}, As=1e-10 * np.exp(3.05)
    )
    for name in ("H0", "ombh2", "omch2", "omk", "omnuh2", "N_eff"):
        assert getattr(asked, name) == pytest.approx(getattr(truth, name), rel=1e-9), name
    assert (asked.DarkEnergy.w, asked.DarkEnergy.wa) == (truth.DarkEnergy.w, truth.DarkEnergy.wa)
    assert asked.InitPower.As == pytest.approx(truth.InitPower.As, rel=1e-12)


@pytest.mark.camb
def test_what_was_solved_for_outside_is_not_canonical(shipped: zelos.Emulator) -> None:
    inside = shipped.canonical({**POINT_CAMB, "thetastar": 0.0104})
    assert inside["H0"] == pytest.approx(66.99, abs=0.5)
    for other in ({"nnu": 3.5}, {"tau": 0.3}):
        with pytest.raises(zelos.OutsideRegion) as caught:
            shipped.canonical({**POINT_CAMB, "100thetastar": 1.04, **other})
        assert caught.value.parameter in other
    assert shipped.canonical({**POINT_CAMB, "h": 0.99})["H0"] == pytest.approx(99)


def test_of_no_output_the_names_are_checked_all_the_same(shipped: zelos.Emulator) -> None:
    assert shipped.evaluate(POINT_CAMB | {"H0": 67.0}, []) == {}
    with pytest.raises(zelos.ParameterError, match="does not know the parameter 'nonsense'"):
        shipped.evaluate(POINT_CAMB | {"H0": 67.0, "nonsense": 1.0}, [])


class _Table:
    """As a table of pandas: it has keys, but is no Mapping, and iterates over values."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._columns = columns

    def keys(self) -> list[str]:
        return list(self._columns)

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return np.array(list(self._columns.values()), float).T

    def __len__(self) -> int:
        return len(self._columns)


def test_what_has_keys_is_a_mapping(emulator: zelos.Emulator) -> None:
    np.testing.assert_array_equal(emulator(_Table({"n": 0.95, "A": 1.4}))["tt"], emulator(POINT)["tt"])
    table = {"n": np.array([0.95, 0.97]), "A": np.array([1.4, 1.6])}
    np.testing.assert_array_equal(emulator(_Table(table))["tt"], emulator(table)["tt"])


def test_the_real_code_runs_once_at_a_time(
    toy_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setenv("TOY_RUNS", str(runs))
    emulators = [zelos.get_emulator(toy_artifact, fallback="toy") for _ in range(2)]
    wrong = []

    def ask(i: int) -> None:
        for j in range(3):
            amplitude = 2.5 + i + 10 * j
            value = emulators[i % 2]({"A": amplitude, "n": 0.95}, 0.1, 0.5)
            if not np.isclose(value, toy_driver.power(amplitude, 0.95, 0.1, 0.5), rtol=1e-12):
                wrong.append(amplitude)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert [emulator.statistics["fallback"] for emulator in emulators] == [6, 6]
    processes = [line.split()[0] for line in runs.read_text().splitlines()]
    assert len(processes) == 12
    assert len(set(processes)) == 1  # a worker does one run at a time
