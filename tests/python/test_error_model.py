# SPDX-License-Identifier: BSD-3-Clause
"""Predicted errors against true ones on real CAMB runs: some of tests/accuracy/predicted_errors.py."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zelos
from zelos.build import validate

scipy_stats = pytest.importorskip("scipy.stats")

STUDY = Path(__file__).parents[1] / "accuracy" / "predicted_errors.py"
RUNS = Path(os.environ.get("ZELOS_SHARED", "/nowhere")) / "data" / "camb_lcdm_runs.npz"
SPECTRA = ("Cl.tt", "Cl.te", "Cl.ee")


@pytest.fixture(scope="module")
def study() -> Any:
    if not RUNS.exists():
        pytest.skip("no ZELOS_SHARED/data/camb_lcdm_runs.npz")
    spec = importlib.util.spec_from_file_location("predicted_errors", STUDY)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(study: Any) -> Any:
    return study.load(RUNS, step=25)


@pytest.fixture(scope="module")
def emulator(study: Any, data: Any, tmp_path_factory: pytest.TempPathFactory) -> zelos.Emulator:
    return study.train(tmp_path_factory.mktemp("study") / "study.h5", slice(0, 240), "polynomial", data)


def test_the_quantile_covers_what_it_says(study: Any, data: Any, emulator: zelos.Emulator) -> None:
    """Within what the draws of the points for the calibration and for the count allow, but 1 in 1000."""
    found = study.coverage(emulator, np.arange(240, len(data[0])), data)
    assert set(found) == {*SPECTRA, "Cl.pp", "TT+TE+EE"}
    for name, entry in found.items():
        assert entry["left_out"] == 240
        # The share below the k-th of n is beta(k, n + 1 - k): that of the calibration; then a binomial.
        n, m = 240, entry["n"]
        k = round(0.95 * (n + 1))
        limits = scipy_stats.betabinom(m, k, n + 1 - k).ppf([5e-4, 1 - 5e-4]) / m
        assert limits[0] <= entry["covered"] <= limits[1], (name, entry)
        assert 0.2 < entry["ratio"] < 1.2, (name, entry)


def test_a_quantile_that_is_too_small_is_seen(study: Any, data: Any, emulator: zelos.Emulator) -> None:
    points, _, spectra, _, _ = data
    rows = np.arange(240, len(points))
    pairs = {
        name: (spectra[name][rows], emulator.evaluate(points[rows], [name])[name]) for name in study.SPECTRA
    }
    worse = {
        name: (truth, truth * (model / truth) ** 1.5)
        for name, (truth, model) in pairs.items()
        if name != "Cl.te"
    }
    found = validate.error_quantile(emulator, points[rows], worse)
    assert found["Cl.tt"]["high"] < 0.93


def wishart_covariance(tt: Any, te: Any, ee: Any, ell: Any) -> Any:
    """Of the measured TT, TE, EE of a full sky, one after the other."""
    rows = [
        [2 * tt * tt, 2 * tt * te, 2 * te * te],
        [2 * tt * te, tt * ee + te * te, 2 * te * ee],
        [2 * te * te, 2 * te * ee, 2 * ee * ee],
    ]
    return np.block([[np.diag(entry / (2 * ell + 1)) for entry in row] for row in rows])


def test_the_ideal_experiment_is_that_of_its_covariance(data: Any, emulator: zelos.Emulator) -> None:
    points, ell, _, _, _ = data
    reference = points[300]
    model = emulator.evaluate(reference, SPECTRA)
    covariance = wishart_covariance(*(model[name] for name in SPECTRA), ell)
    ideal = emulator.error_model(SPECTRA, reference=reference)
    own = emulator.error_model(SPECTRA, covariance=covariance, reference=reference)
    for a, b in zip(ideal(points[300:320]), own(points[300:320]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert own.n_left_out == 240


def test_spectra_are_in_cosmic_variance_whatever_whitens_them(study: Any, data: Any, tmp_path: Path) -> None:
    points, ell, _, _, _ = data
    reference, at = points[300], points[300:320]
    spec = study.SPEC.replace("whiten: cosmic_variance", "whiten: standardise")
    emulator = study.train(tmp_path / "standard.h5", slice(0, 240), "polynomial", data, spec=spec)
    model = emulator.evaluate(reference, SPECTRA)
    wishart = wishart_covariance(*(model[name] for name in SPECTRA), ell)
    n = len(ell)
    covariances = {SPECTRA: wishart}
    covariances |= {
        (name,): wishart[i * n : (i + 1) * n, i * n : (i + 1) * n] for i, name in enumerate(SPECTRA)
    }
    for names, covariance in covariances.items():
        ideal = emulator.error_model(names, reference=reference)
        own = emulator.error_model(names, covariance=covariance, reference=reference)
        for a, b in zip(ideal(at), own(at), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    for quantile in (False, True):
        found = emulator.error(at, ["Cl.tt"], quantile=quantile)["Cl.tt"]
        np.testing.assert_array_equal(found, emulator.error_model(["Cl.tt"])(at)[int(quantile)])


def test_the_quantile_for_bands_of_the_user(data: Any, emulator: zelos.Emulator) -> None:
    """The true delta chi^2 of binned TT with noise is below the quantile as often as it says."""
    points, ell, spectra, _, _ = data
    rows = np.arange(240, len(points))
    windows = np.kron(np.eye(20), np.full(5, 0.2))
    spectrum = spectra["Cl.tt"][:240].mean(axis=0)
    variance = 2 / (2 * ell + 1) * (spectrum + 1e-5 * np.exp((ell / 1500) ** 2)) ** 2 / 0.4
    covariance = windows @ np.diag(variance) @ windows.T * (1 + 0.1 * np.ones((20, 20)) / 20)
    model = emulator.error_model(["Cl.tt"], covariance=covariance, matrix=windows)
    r = (emulator.evaluate(points[rows], ["Cl.tt"])["Cl.tt"] - spectra["Cl.tt"][rows]) @ windows.T
    true = np.einsum("ni,ni->n", r, np.linalg.solve(covariance, r.T).T)
    mean, quantile = model(points[rows])
    covered = np.mean(true <= quantile)
    assert 0.90 < covered < 0.99, covered
    assert 0.5 < np.mean(true) / np.mean(mean) < 2


def test_names_and_shapes(data: Any, emulator: zelos.Emulator) -> None:
    points = data[0][:3]
    model = emulator.error_model(["Cl.tt"])
    batch = model(points)
    assert batch.mean.shape == batch.quantile.shape == (3,)
    one = dict(zip(emulator.parameters, points[1], strict=True))
    renamed = {"omega_b" if name == "ombh2" else name: value for name, value in one.items()}
    assert model(one) == model(renamed) == (batch.mean[1], batch.quantile[1])
    assert emulator.error(one, ["tt"])["Cl.tt"] == pytest.approx(model(one).mean)
    assert emulator.error(one, ["tt"], quantile=True)["Cl.tt"] == model(one).quantile
    with pytest.raises(zelos.OutsideRegion, match="ns"):
        model({**one, "ns": np.nan})
    with pytest.raises(zelos.ArgumentError, match="covariance of the data"):
        emulator.error_model(["Cl.tt"], matrix=np.eye(2))
    with pytest.raises(zelos.ArgumentError, match="ascending"):
        emulator.error_model(["Cl.tt"], {"ell": [302.0, 102.0]}, np.eye(2))


def test_the_second_order_of_a_wishart_is_its_quadratic_form() -> None:
    ell = np.arange(2.0, 40)
    tt, ee = 1 / ell**2, 0.1 / ell**2
    te = 0.4 * np.sqrt(tt * ee)
    e = 1e-4 * np.random.default_rng(1).standard_normal((3, len(ell)))
    model = (tt * (1 + e[0]), te * (1 + e[1]), ee * (1 + e[2]))
    expected = validate.wishart((tt, te, ee), model, ell)
    assert np.sum(validate.quadratic((tt, te, ee), model, ell)) == pytest.approx(expected, rel=1e-2)


def test_of_other_physics_no_error_is_known() -> None:
    """However near the other parameters are."""
    emulator = zelos.get_emulator("hub:CAMB_lcdm")
    point = {p: 0.5 * (low + high) for p, (low, high) in emulator.ranges.items()}
    model = emulator.error_model(["Cl.tt"])
    inside = model(point)
    assert model({**point, "w": -1.0}) == inside
    for other in ({"w": -0.9}, {"mnu": 0.3}, {"omk": 0.01}):
        with pytest.raises(zelos.OutsideRegion, match=next(iter(other))):
            model({**point, **other})
        assert np.isnan(emulator.error({**point, **other}, ["Cl.tt"])["Cl.tt"])
    batch = {name: np.full(2, value) for name, value in point.items()}
    with pytest.raises(zelos.OutsideRegion) as raised:
        model({**batch, "w": np.array([-1.0, -0.9])})
    assert raised.value.row == 1
    with pytest.raises(zelos.ArgumentError, match="axes"):
        emulator.error_model(["Cl.tt"], {"ell": np.arange(2, 2000)})
    with pytest.raises(zelos.ArgumentError, match="outputs"):
        emulator.error_model([])
