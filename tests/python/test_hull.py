# SPDX-License-Identifier: BSD-3-Clause
"""The region's hulls, against SciPy: a linear programme, a triangulation, a look-up of cells."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import zelos
from zelos import _core

from .conftest import Command

scipy_optimize = pytest.importorskip("scipy.optimize")
scipy_spatial = pytest.importorskip("scipy.spatial")

BOX = (-1.0, 1.0)


def names_of(points: np.ndarray) -> list[str]:
    return [f"p{j}" for j in range(points.shape[1])]


def emulator_of(points: np.ndarray, region: str, path: Path) -> zelos.Emulator:
    """Of a function that does not matter, trained on these points."""
    names = names_of(points)
    spec = (
        f"name: hull\nconfig: {{code: toy}}\nparameters: {{{', '.join(f'{n}: [-1, 1]' for n in names)}}}\n"
        "outputs: {y: {transforms: [{pca: {rotate: false}}]}}\n"
        f"emulator_fn: {{type: polynomial, params: {{degree: 1}}}}\nregion: {region}\n"
    )
    x = np.arange(2.0)
    output = {
        "name": "y",
        "unit": "",
        "axis_names": ["x"],
        "axis_units": [""],
        "axes": [x.tolist()],
        "labels": [],
        "label_units": [],
        "values": np.ascontiguousarray(points[:, :1] + 0.1 * points[:, 1:2] * x),
    }
    _core.train(_core.parse_spec(spec, "hull.yaml"), np.ascontiguousarray(points), [output], str(path))
    return zelos.get_emulator(path)


def inside(emulator: zelos.Emulator, asked: np.ndarray) -> np.ndarray:
    verdicts = emulator.verdict(asked)
    assert {v.reason for v in verdicts} <= {"inside", "hull"}
    for verdict in verdicts:
        assert (verdict.excess > 0) == (verdict.parameter in emulator.parameters) == (not verdict)
    return np.array([bool(v) for v in verdicts])


def in_hull_by_linear_programme(points: np.ndarray, x: np.ndarray) -> bool:
    """Are there weights >= 0 of sum 1 with sum w p = x?"""
    equal = np.vstack([points.T, np.ones(len(points))])
    found = scipy_optimize.linprog(
        np.zeros(len(points)), A_eq=equal, b_eq=[*x, 1.0], bounds=(0, None), method="highs"
    )
    return bool(found.status == 0)


@pytest.mark.parametrize(("dimensions", "n"), [(2, 40), (3, 200), (6, 300)])
def test_a_convex_hull_is_that_of_a_linear_programme(dimensions: int, n: int, tmp_path: Path) -> None:
    random = np.random.default_rng(dimensions)
    points = random.uniform(*BOX, (n, dimensions))
    emulator = emulator_of(points, "{hull: convex}", tmp_path / "a.h5")
    asked = random.uniform(*BOX, (60, dimensions)) * random.uniform(0.6, 1, (60, 1))
    expected = np.array([in_hull_by_linear_programme(points, x) for x in asked])
    assert 0 < expected.sum() < 60
    np.testing.assert_array_equal(inside(emulator, asked), expected)


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_a_convex_hull_is_that_of_a_triangulation(dimensions: int, tmp_path: Path) -> None:
    random = np.random.default_rng(10 + dimensions)
    points = np.clip(random.normal(0, 0.4, (150, dimensions)), *BOX)
    emulator = emulator_of(points, "{hull: convex}", tmp_path / "a.h5")
    asked = np.clip(random.normal(0, 0.7, (4000, dimensions)), *BOX)
    expected = scipy_spatial.Delaunay(points).find_simplex(asked) >= 0
    assert 500 < expected.sum() < 3900
    np.testing.assert_array_equal(inside(emulator, asked), expected)
    assert inside(emulator, points).all()


def test_points_that_repeat_or_lie_on_a_grid_make_the_same_hull(tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    grid = np.array(list(itertools.product(np.linspace(-0.6, 0.6, 4), repeat=3)))
    cut = grid[grid.sum(axis=1) < 0.5]  # many points on each face, many on one line
    points = np.concatenate([cut, cut, cut[:20] + 1e-14])[random.permutation(2 * len(cut) + 20)]
    emulator = emulator_of(points, "{hull: convex}", tmp_path / "a.h5")
    asked = np.concatenate(
        [random.uniform(-0.7, 0.7, (500, 3)), 0.5 * (cut[random.permutation(len(cut))] + cut)]
    )
    expected = scipy_spatial.Delaunay(cut).find_simplex(asked, tol=1e-12) >= 0
    expected[500:] = True  # between two points
    assert 100 < expected[:500].sum() < 400
    np.testing.assert_array_equal(inside(emulator, asked), expected)


def test_points_in_a_plane_have_no_hull(tmp_path: Path) -> None:
    points = np.random.default_rng(1).uniform(*BOX, (50, 3))
    points[:, 2] = 0.3 * points[:, 0] - 0.2 * points[:, 1]
    with pytest.raises(zelos.ArgumentError, match="plane"):
        emulator_of(points, "{hull: convex}", tmp_path / "a.h5")


@pytest.mark.parametrize("sigmas", [1e-6, 1, 5, 20])
def test_outside_the_convex_hull_at_every_distance(sigmas: float, tmp_path: Path) -> None:
    """Beyond the farthest point of the training in any direction: nobody answers."""
    random = np.random.default_rng(2)
    points = 0.01 * random.standard_normal((400, 6))
    emulator = emulator_of(points, "{hull: convex}", tmp_path / "a.h5")
    directions = random.standard_normal((200, 6))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    farthest = points[np.argmax(points @ directions.T, axis=0)]
    asked = farthest + 0.01 * sigmas * directions
    assert not inside(emulator, asked).any()
    assert inside(emulator, farthest).all()
    with pytest.raises(
        zelos.OutsideRegion, match=r"convex hull of the training points.*parameter 'p\d'"
    ) as caught:
        emulator.evaluate(dict(zip(emulator.parameters, asked[0], strict=True)))
    assert caught.value.parameter in emulator.parameters


def test_where_the_code_refuses_runs_the_convex_region_ends(
    toy_spec: Path, build: Command, tmp_path: Path
) -> None:
    toy_spec.write_text(
        toy_spec.read_text()
        .replace("  seed: 11", "  seed: 11\n  hull: convex")
        .replace("  version: 1.2.0\n", "  version: 1.2.0\n  extra_args: {fail_above: 1.7}\n")
    )
    done = build(toy_spec, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    emulator = zelos.get_emulator(tmp_path / "toy.build" / "artifact" / "toy.h5")
    refused = {"A": np.linspace(1.7001, 2, 20), "n": np.linspace(0.92, 0.98, 20)}
    assert {v.reason for v in emulator.verdict(refused)} == {"hull"}
    assert {v.parameter for v in emulator.verdict(refused)} == {"A"}
    assert emulator.verdict({"A": 1.4, "n": 0.95})


def test_how_far_out_is_how_often_the_hull_has_to_be_taken(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    points = random.uniform(-0.5, 0.5, (200, 3))
    emulator = emulator_of(points, "{hull: convex, margin: 0.1}", tmp_path / "a.h5")
    hull = scipy_spatial.ConvexHull(points)
    centre = points.mean(axis=0)
    # A facet: normal . x + offset <= 0 inside; it is reached from the centre at 1 / gauge.
    normals, offsets = hull.equations[:, :-1], hull.equations[:, -1]
    for x in random.uniform(*BOX, (200, 3)):
        gauge = np.max(normals @ (x - centre) / -(offsets + normals @ centre))
        verdict = emulator.verdict(dict(zip(emulator.parameters, x, strict=True)))
        assert bool(verdict) == (gauge <= 1.1)
        if not verdict:
            assert verdict.value == pytest.approx(gauge, rel=1e-9)
            assert verdict.upper == pytest.approx(1.1)
            assert verdict.excess == pytest.approx(gauge / 1.1 - 1, rel=1e-6)


def test_cells_with_holes(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    axes = [np.array([-1, -0.2, 0.3, 1]), np.array([-1, 0.1, 0.4, 1])]
    nodes = np.array(list(itertools.product(range(4), range(4))))
    there = [tuple(node) for node in nodes[random.permutation(16)[:13]]]
    points = np.array([[axes[j][node[j]] for j in range(2)] for node in there])
    emulator = emulator_of(points, "{hull: cells}", tmp_path / "a.h5")
    asked = random.uniform(*BOX, (500, 2))
    cell = np.stack([np.searchsorted(axes[j], asked[:, j]) - 1 for j in range(2)], axis=1)
    expected = [all((a + i, b + j) in there for i in (0, 1) for j in (0, 1)) for a, b in cell]
    assert 0 < sum(expected) < 500
    np.testing.assert_array_equal(inside(emulator, asked), expected)
    with pytest.raises(zelos.ArgumentError, match="grid"):
        emulator_of(random.uniform(*BOX, (30, 2)), "{hull: cells}", tmp_path / "b.h5")


def test_a_box_that_the_convex_hull_holds(tmp_path: Path) -> None:
    """The hull is that of the points and of the corners of the box."""
    generator = np.random.default_rng(8)
    points = generator.uniform([0.5, -0.2, -0.2], [0.9, 0.2, 0.2], (40, 3))
    names = names_of(points)
    held = ", ".join(f"{name}: [-0.5, 0.5]" for name in names)
    emulator = emulator_of(points, f"{{hull: convex, box: {{{held}}}}}", tmp_path / "held.h5")
    corners = np.array(list(itertools.product([-0.5, 0.5], repeat=3)))
    asked = generator.uniform(-1, 1, (400, 3))
    expected = [in_hull_by_linear_programme(np.vstack([points, corners]), x) for x in asked]
    np.testing.assert_array_equal(inside(emulator, asked), expected)
    assert inside(emulator, 0.999 * corners).all() and 20 < sum(expected) < 380


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("{hull: ellipsoid, box: {A: [1, 2], n: [0.9, 1.0]}}", "hull: convex only"),
        ("{hull: convex, box: {A: [1, 2]}}", "region.box"),
        ("{hull: convex, box: {A: [0, 2], n: [0.9, 1.0]}}", r"within the range .*, \[1.0, 2.0\]"),
        ("{hull: convex, box: {A: [1, 2], B: [0, 1]}}", "'B'|unknown"),
    ],
)
def test_a_box_that_no_hull_can_hold(region: str, message: str) -> None:
    text = f"""
name: held
config: {{code: toy}}
parameters: {{A: [1, 2], n: [0.9, 1.0]}}
outputs: {{Cl.tt: {{ell: [2, 40]}}}}
emulator_fn: {{type: polynomial}}
region: {region}
"""
    with pytest.raises(zelos.SpecError, match=message):
        _core.parse_spec(text, "held.yaml")
