# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from zelos.build import report, validate


def test_wishart_against_dense_matrices() -> None:
    rng = np.random.default_rng(1)
    ell = np.arange(2.0, 12)

    def draw() -> np.ndarray:
        a = rng.normal(size=(len(ell), 2, 2))
        return a @ a.transpose(0, 2, 1) + 0.5 * np.eye(2)

    truth, model = draw(), draw()
    expected = 0.0
    for weight, d, c in zip(2 * ell + 1, truth, model, strict=True):
        ratio = np.linalg.solve(c, d)
        expected += weight * (np.trace(ratio) - np.linalg.slogdet(ratio)[1] - 2)

    def parts(m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return m[:, 0, 0], m[:, 0, 1], m[:, 1, 1]

    assert validate.wishart(parts(truth), parts(model), ell) == pytest.approx(expected, rel=1e-12)
    assert validate.wishart(parts(truth), parts(truth), ell) == pytest.approx(0, abs=1e-9)


def test_wishart_of_a_small_error_is_its_square_in_cosmic_variance() -> None:
    ell = np.arange(2.0, 2501)
    truth = 1e3 / ell**2
    sigma = truth * np.sqrt(2 / (2 * ell + 1))
    error = 1e-4 * np.sin(ell)
    expected = np.sum((error * truth / sigma) ** 2)
    assert validate.wishart_single(truth, truth * (1 + error), ell) == pytest.approx(expected, rel=1e-3)
    zero = np.zeros_like(truth)
    both = validate.wishart((truth, zero, truth), (truth * (1 + error), zero, truth), ell)
    assert both == pytest.approx(expected, rel=1e-3)


def test_percentiles_are_of_the_values_and_a_bad_value_is_infinite() -> None:
    values = np.arange(1.0, 101)
    assert validate.percentiles(values) == {"p50": 50, "p68": 68, "p95": 95, "p99": 99, "max": 100}
    values[3] = np.nan
    assert validate.percentiles(values)["max"] == np.inf


def test_worst_points_are_told_by_the_names_of_their_numbers() -> None:
    accuracy = validate.Accuracy(
        {}, parameters=np.array([[1.0, 20.0], [2.0, 10.0]]), figures={"P": np.array([0.1, 0.3])}
    )
    document = report.build_json(
        "toy", ["z", "a"], accuracy, {}, {"settings_at": {"a": 15.0, "z": 1.5}}, {}, []
    )
    assert document["worst_points"]["P"] == [
        {"value": 0.3, "parameters": {"z": 2.0, "a": 10.0}},
        {"value": 0.1, "parameters": {"z": 1.0, "a": 20.0}},
    ]


def test_targets_are_compared_with_what_was_reached() -> None:
    entry = {"p50": 1e-4, "p68": 2e-4, "p95": 3e-4, "p99": 5e-4, "max": 7e-4}
    summary = {
        "max_relative_error": 7e-4,
        "outputs": {"P": {"relative": entry, "worst": entry}},
        "derived": {},
    }
    found = validate.check_targets({"P.p99": 1e-3, "P.median": 1e-5}, summary)
    assert found["P.p99"] == {"target": 1e-3, "reached": 5e-4, "met": True}
    assert found["P.median"]["met"] is False


def test_a_zero_of_the_truth_is_measured_against_the_largest_value() -> None:
    truth = np.array([[0.0, 2.0, 4.0]])
    error = validate._relative(np.array([[0.04, 2.02, 4.0]]), truth)
    np.testing.assert_allclose(error, [[0.01, 0.01, 0.0]])


def test_learning_curves_of_many_outputs_fit_on_a_page() -> None:
    names = ("comoving_radial_distance", "angular_diameter_distance", "Hubble", "sigma8_z")
    row = {"p50": 1e-4, "p68": 2e-4, "p95": 5e-4, "p99": 1e-3}
    curve = [{"n": n, **dict.fromkeys(names, row)} for n in (10, 20, 40)]
    figure = report._learning_plot(curve, cast("validate.Accuracy", SimpleNamespace(summary={})))
    figure.canvas.draw()
    assert figure.get_figwidth() <= 10
    for panel in figure.axes[: len(names)]:
        assert panel.title.get_window_extent().width <= 1.2 * panel.bbox.width
        assert panel.yaxis.label.get_window_extent().height <= panel.bbox.height
