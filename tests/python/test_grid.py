# SPDX-License-Identifier: BSD-3-Clause
"""A library of the toy's runs as a fallback. SciPy interpolates the same runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import toy_driver
from scipy.interpolate import RegularGridInterpolator

import zelos

h5py = pytest.importorskip("h5py")

from zelos.fallback.driver import Kind  # noqa: E402
from zelos.fallback.grid.driver import open_library, write_library  # noqa: E402

GRID = {"A": np.linspace(1, 4, 7), "n": np.array([0.8, 0.9, 0.95, 1.0, 1.1])}


@pytest.fixture(scope="module")
def library(toy_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hole at A = 3.5, n = 1.1."""
    emulator = zelos.get_emulator(toy_artifact)
    outputs: dict[str, dict[str, Any]] = {name: emulator.axes(name) for name in emulator.outputs}
    path = tmp_path_factory.mktemp("grid") / "runs.h5"

    class WithHole(toy_driver.Driver):
        def run(self, params: Any) -> Any:
            if (params["A"], params["n"]) == (3.5, 1.1):
                raise RuntimeError("no convergence")
            return super().run(params)

    driver = WithHole({}, outputs)
    centre = emulator.info["provenance"]["settings_at"]
    assert write_library(path, driver, GRID, centre, {"Pk.linear": "log"}) == 1
    return path


def opened(artifact: Path, library: Path, **more: Any) -> zelos.Emulator:
    return zelos.get_emulator(artifact, fallback="toy", fallback_options={"grid": str(library)}, **more)


def test_it_answers_as_scipy_interpolates(toy_artifact: Path, library: Path) -> None:
    emulator = opened(toy_artifact, library)
    k, z = emulator.axes("Pk.linear").values()
    ell = emulator.axes("Cl.ee")["ell"]
    points = np.array([[2.0, 0.95], [2.3, 0.93], [3.9, 0.81], [1.0, 1.1], [4.0, 0.8]])
    nodes = np.array(np.meshgrid(*GRID.values(), indexing="ij"))
    power = np.array([[np.log(toy_driver.power(a, n, k[:, None], z)) for n in GRID["n"]] for a in GRID["A"]])
    spectrum = np.array([[toy_driver.spectrum("ee", a, n, ell) for n in GRID["n"]] for a in GRID["A"]])
    age = 13 + nodes[1]
    for point in points:
        given = dict(zip(GRID, point, strict=True))
        assert not emulator.verdict(given) or given == {"A": 2.0, "n": 0.95}
        if emulator.verdict(given):
            continue
        answer = emulator.evaluate(given)
        at = tuple(GRID.values())
        expected = np.exp(RegularGridInterpolator(at, power)(point)[0])
        np.testing.assert_allclose(answer["Pk.linear"], expected, rtol=1e-12)
        np.testing.assert_allclose(
            answer["Cl.ee"], RegularGridInterpolator(at, spectrum)(point)[0], rtol=1e-12
        )
        assert answer["derived"][1] == pytest.approx(RegularGridInterpolator(at, age)(point)[0], rel=1e-12)
        assert emulator.last_source == "fallback"
    # At a node it is the run.
    np.testing.assert_allclose(emulator({"A": 3.0, "n": 0.9}, k, z), toy_driver.power(3, 0.9, k[:, None], z))


def test_outside_the_grid_and_beside_holes_nobody_answers(toy_artifact: Path, library: Path) -> None:
    emulator = opened(toy_artifact, library)
    with pytest.raises(zelos.FallbackError, match=r"A = 4\.01 is outside the grid runs\.h5, \[1, 4\]"):
        emulator({"A": 4.01, "n": 0.95})
    with pytest.raises(zelos.FallbackError, match=r"n = 1\.2 is outside the grid"):
        emulator({"A": 3.0, "n": 1.2})
    for beside in ({"A": 3.4, "n": 1.05}, {"A": 3.6, "n": 1.05}, {"A": 3.5, "n": 1.1}):
        with pytest.raises(zelos.FallbackError, match=r"no run at A = 3\.5, n = 1\.1"):
            emulator(beside)
    assert emulator({"A": 3.4, "n": 1.0})["ell"].size  # the hole has no weight there
    assert emulator.statistics["emulated"] == 0


def test_what_it_was_made_with_is_held_against_the_training(
    toy_artifact: Path, library: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(library.read_bytes())
    with h5py.File(other, "a") as file:
        file.attrs["code_version"] = "9"
        file.attrs["settings"] = file.attrs["settings"].replace("tilt = 0", "tilt = 1")
    with pytest.raises(zelos.FallbackError, match=r"version 9 here, 1\.2\.0 in training.*'tilt = 1' here"):
        opened(toy_artifact, other)
    with h5py.File(other, "a") as file:
        file.attrs["code"] = "camb"
    with pytest.raises(zelos.FallbackError, match="its runs are of the code 'camb'"):
        opened(toy_artifact, other)
    emulator = opened(toy_artifact, library)
    with pytest.raises(zelos.FallbackError, match="does not have all values of k"):
        emulator({"A": 2.5, "n": 0.95}, 0.1234, 0.5)


def test_a_file_that_is_no_grid_is_named(toy_artifact: Path, library: Path, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    for wrong in (tmp_path / "text.h5", tmp_path / "absent.h5"):
        with pytest.raises(zelos.FallbackError, match=wrong.name):
            opened(toy_artifact, wrong)

    def changed(name: str, change: Any) -> Path:
        path = tmp_path / f"{name}.h5"
        path.write_bytes(library.read_bytes())
        with h5py.File(path, "a") as file:
            change(file)
        return path

    def shorten(file: Any) -> None:
        values = file["outputs/Cl.ee/values"][:-1]
        attributes = dict(file["outputs/Cl.ee/values"].attrs)
        del file["outputs/Cl.ee/values"]
        file["outputs/Cl.ee/values"] = values
        file["outputs/Cl.ee/values"].attrs.update(attributes)

    for name, change, message in (
        ("layout", lambda file: file.attrs.update({"zelos_grid": 2}), "zelos_grid = 1, found 2"),
        ("order", lambda file: file["parameters/A"].write_direct(GRID["A"][::-1].copy()), "ascending"),
        ("shape", shorten, r"outputs/Cl.ee/values: expected the shape"),
        ("spacing", lambda file: file["parameters/A"].attrs.update({"spacing": "cubic"}), "'cubic'"),
    ):
        with pytest.raises(zelos.FormatError, match=message):
            open_library(changed(name, change))


@pytest.mark.parametrize("transform", ["none", "log"])
def test_it_states_the_error_of_a_line(tmp_path: Path, transform: str) -> None:
    """Of a function with constant curvatures the stated error is the error; it is that of the other side
    beside a hole."""

    def truth(x: float, y: float) -> Any:
        value = np.array([1.0, 2.0, 3.0]) * (0.3 * x**2 + x)
        return np.exp(value + 0.4 * np.log(y)) if transform == "log" else value + 0.4 * y

    class Code(toy_driver.Driver):
        kinds: ClassVar = {"flux": Kind("", (("w", ""),))}
        derived: ClassVar = {}

        def run(self, params: Any) -> Any:
            if params["x"] == 0.0:
                raise RuntimeError("no convergence")
            return {"flux": truth(**params)}

        def settings(self, params: Any) -> str:
            return str(params)

    outputs = {"flux": {"w": np.arange(1.0, 4.0)}}
    grid = {"x": [0.0, 0.5, 1.2, 2.0, 3.0], "y": [1.0, 2.0, 4.0]}
    at = {"x": 2.0, "y": 2.0}
    assert write_library(tmp_path / "runs.h5", Code({}, outputs), grid, at, {"flux": transform}) == 3
    driver = open_library(tmp_path / "runs.h5")({}, outputs)
    for x, y in ((2.7, 2.0), (0.8, 2.0), (1.2, 4.0)):
        point = {"x": x, "y": y}
        answer = driver.run(point)
        sigma = driver.error(point, answer)["flux"]
        if transform == "none":
            np.testing.assert_allclose(sigma, np.abs(answer["flux"] - truth(x, y)), rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_allclose(
                sigma / answer["flux"], np.log(answer["flux"] / truth(x, y)), atol=1e-9
            )
    # With two axes the errors add in quadrature; an axis of two nodes has no curvature.
    both = driver.error({"x": 2.7, "y": 3.0}, driver.run({"x": 2.7, "y": 3.0}))["flux"]
    alone = driver.error({"x": 2.7, "y": 2.0}, driver.run({"x": 2.7, "y": 2.0}))["flux"]
    assert np.all(both >= alone * (1 - 1e-9)) if transform == "none" else np.all(both > alone)
    assert write_library(tmp_path / "two.h5", Code({}, outputs), {**grid, "y": [1.0, 2.0]}, at) == 2
    two = open_library(tmp_path / "two.h5")({}, outputs)
    assert np.all(np.isinf(two.error({"x": 2.0, "y": 1.5}, two.run({"x": 2.0, "y": 1.5}))["flux"]))


def test_what_is_interpolated_is_not_kept_as_the_codes_answer(
    toy_artifact: Path, library: Path, tmp_path: Path
) -> None:
    with pytest.raises(zelos.FallbackError, match=r"cache .*answers': .* interpolates between runs"):
        opened(toy_artifact, library, cache=tmp_path / "answers")
    assert not (tmp_path / "answers").exists()
