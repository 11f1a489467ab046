# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from zelos.build.design import Design
from zelos.errors import SpecError

LOWER, UPPER = np.array([0.018, 50.0, 2.7]), np.array([0.027, 90.0, 3.4])


def test_sobol_is_scipys_sequence_over_the_widened_box() -> None:
    pad = 0.04
    expected = (qmc.Sobol(3, seed=2024).random(4096) * (1 + 2 * pad) - pad) * (UPPER - LOWER) + LOWER
    points = Design("sobol", LOWER, UPPER, 2024, 1600, pad).points(1600)
    np.testing.assert_array_equal(points, expected[:1600])


def test_first_points_do_not_depend_on_how_many_are_asked_for() -> None:
    design = Design("sobol", LOWER, UPPER, 7, 10)
    np.testing.assert_array_equal(design.points(10), design.points(77)[:10])


def test_latin_hypercube_has_one_point_in_each_slice_and_goes_on() -> None:
    design = Design("latin_hypercube", LOWER, UPPER, 7, 20)
    unit = (design.points(20) - LOWER) / (UPPER - LOWER)
    for column in unit.T:
        assert sorted((20 * column).astype(int)) == list(range(20))
    np.testing.assert_array_equal(design.points(20), design.points(25)[:20])
    assert len(np.unique(design.points(25), axis=0)) == 25


def test_ellipsoid_points_are_inside_it_and_fill_it() -> None:
    points = Design("sobol", LOWER, UPPER, 3, 500, hull="ellipsoid").points(500)
    radius = np.sqrt(np.sum((2 * (points - LOWER) / (UPPER - LOWER) - 1) ** 2, axis=1))
    assert radius.max() <= 1
    assert np.mean(radius < 0.5) == pytest.approx(1 / 8, abs=0.03)


def test_the_margin_ends_at_a_limit_of_zero() -> None:
    points = Design("sobol", np.array([0.0, -1.0]), np.array([0.6, 0.0]), 3, 500, 0.04).points(500)
    assert points[:, 0].min() >= 0 and points[:, 0].max() > 0.61
    assert points[:, 1].min() < -1.01 and points[:, 1].max() <= 0


def test_limits_are_kept_to_and_points_within_are_those_without() -> None:
    lower, upper = np.array([-1.6, -3.0]), np.array([0.2, 0.8])
    free = Design("sobol", lower, upper, 3, 100, 0.05).points(800)
    points = Design("sobol", lower, upper, 3, 100, 0.05, limits=[(np.ones(2), -3.0, -0.3)]).points(300)
    total = free.sum(axis=1)
    within = free[(total >= -3 - 0.05 * 2.7) & (total <= -0.3 + 0.05 * 2.7)]
    np.testing.assert_array_equal(points, within[:300])
    with pytest.raises(SpecError, match="limits"):
        Design("sobol", lower, upper, 3, 10, limits=[(np.ones(2), 5.0, 6.0)]).points(10)


def test_a_hull_without_a_design_is_refused() -> None:
    with pytest.raises(SpecError, match="convex"):
        Design("sobol", LOWER, UPPER, 3, 500, hull="convex")
