# SPDX-License-Identifier: BSD-3-Clause
"""The likelihood of the planck_like example against its definition."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "configs" / "examples" / "planck_like"))
planck_like = pytest.importorskip("planck_like")

pytestmark = pytest.mark.cobaya


@pytest.fixture
def spectra():
    ell = np.arange(planck_like.LMAX + 1.0)
    tt = 6000 / np.maximum(ell * (ell + 1), 1) * np.exp(-ell / 800)
    ee = 0.02 * tt
    return {
        "tt": tt,
        "ee": ee,
        "te": 0.4 * np.sqrt(tt * ee) * np.cos(ell / 100),
        "pp": 1e-7 / (1 + ell) ** 3.5,
    }


@pytest.fixture
def likelihood(tmp_path, spectra):
    path = tmp_path / "data.npz"
    np.savez(path, **planck_like.observe(spectra, seed=3))
    return planck_like.PlanckLike({"data": str(path)})


def test_agrees_with_the_matrix_formula(likelihood, spectra):
    noise, observed = planck_like.noise(), likelihood._observed
    chi2 = 0.0
    for ell in range(2, planck_like.LMAX + 1):
        c = np.array([[spectra["tt"][ell] + noise["tt"][ell], spectra["te"][ell]],
                      [spectra["te"][ell], spectra["ee"][ell] + noise["ee"][ell]]])  # fmt: skip
        d = np.array([[observed["tt"][ell], observed["te"][ell]], [observed["te"][ell], observed["ee"][ell]]])
        m = d @ np.linalg.inv(c)
        chi2 += planck_like.F_SKY * (2 * ell + 1) * (np.trace(m) - np.linalg.slogdet(m)[1] - 2)
    for ell in range(8, 401):
        r = observed["pp"][ell] / (spectra["pp"][ell] + noise["pp"][ell])
        chi2 += planck_like.F_SKY * (2 * ell + 1) * (r - np.log(r) - 1)
    assert -2 * likelihood.log_likelihood(spectra) == pytest.approx(chi2, rel=1e-9)


def test_simulated_sky_scatters_about_the_fiducial_one(spectra):
    noise = planck_like.noise()
    skies = [planck_like.observe(spectra, seed) for seed in range(200)]
    ell = np.arange(planck_like.LMAX + 1)
    dof = planck_like.F_SKY * (2 * ell + 1)
    for a, b in ("tt", "te", "ee"):  # two letters each
        mean = np.mean([sky[a + b] for sky in skies], axis=0)
        auto = [spectra[x + x] + noise[x + x] for x in (a, b)]
        cross = spectra[a + b] + (noise[a + b] if a == b else 0)
        np.testing.assert_array_equal(planck_like.expected(spectra)[a + b], cross)
        sigma = np.sqrt((auto[0] * auto[1] + cross**2) / dof / len(skies))
        assert np.std(((mean - cross) / sigma)[30:]) == pytest.approx(1, abs=0.06)
        scatter = np.std([sky[a + b] for sky in skies], axis=0) / (sigma * np.sqrt(len(skies)))
        assert np.mean(scatter[30:]) == pytest.approx(1, abs=0.02)


def test_truth_is_likelier_than_a_shifted_spectrum(likelihood, spectra):
    best = likelihood.log_likelihood(spectra)
    for name in spectra:
        assert likelihood.log_likelihood({**spectra, name: 1.05 * spectra[name]}) < best - 5


def test_missing_data_are_named():
    with pytest.raises(planck_like.LoggedError, match=r"nowhere\.npz"):
        planck_like.PlanckLike({"data": "nowhere.npz"})
