# SPDX-License-Identifier: BSD-3-Clause
"""A simulated CMB experiment with Planck's noise, beam and sky, and the likelihood of its spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cobaya.likelihood import Likelihood
from cobaya.log import LoggedError

LMAX = 2500
L_LENSING = (8, 400)
F_SKY = 0.57
NOISE_T, NOISE_P = 33.0, 70.0  # muK arcmin
BEAM = 7.0  # arcmin, full width at half maximum
NOISE_DEFLECTION = 5e-11  # L(L+1) N_L of the reconstructed lensing potential
ARCMIN = np.pi / 180 / 60

Spectra = dict[str, np.ndarray]


def noise() -> Spectra:
    """Noise of tt, ee (muK^2, beam divided out) and pp from ell = 0, without factors of ell."""
    ell = np.arange(LMAX + 1.0)
    beam = np.exp(ell * (ell + 1) * (BEAM * ARCMIN) ** 2 / (8 * np.log(2)))
    deflection = NOISE_DEFLECTION / np.maximum(ell * (ell + 1), 1)
    return {"tt": (NOISE_T * ARCMIN) ** 2 * beam, "ee": (NOISE_P * ARCMIN) ** 2 * beam, "pp": deflection}


def expected(fiducial: Spectra) -> Spectra:
    """Signal plus noise: the mean of all skies."""
    n = noise()
    return {name: fiducial[name][: LMAX + 1] + n.get(name, 0.0) for name in ("tt", "te", "ee", "pp")}


def observe(fiducial: Spectra, seed: int) -> Spectra:
    """Spectra of one noisy sky: a Wishart variate with f_sky (2 ell + 1) degrees of freedom at each ell."""
    generator = np.random.default_rng(seed)
    dof = F_SKY * (2 * np.arange(LMAX + 1.0) + 1)
    tt, te, ee, pp = expected(fiducial).values()
    # Bartlett: C = L A A^T L^T / dof, with C = L L^T.
    a11 = np.sqrt(generator.chisquare(dof))
    a22 = np.sqrt(generator.chisquare(np.maximum(dof - 1, 0.1)))
    a21 = generator.standard_normal(LMAX + 1)
    l11 = np.sqrt(tt)
    l21 = te / l11
    l22 = np.sqrt(ee - l21**2)
    row_t, row_e = l11 * a11, (l21 * a11 + l22 * a21, l22 * a22)
    return {
        "tt": row_t**2 / dof,
        "te": row_t * row_e[0] / dof,
        "ee": (row_e[0] ** 2 + row_e[1] ** 2) / dof,
        "pp": pp * generator.chisquare(dof) / dof,
    }


class PlanckLike(Likelihood):
    """-2 ln L = f_sky sum (2 ell + 1) [tr(D C^-1) - ln det(D C^-1) - n], over T and E (ell to 2500) and
    the lensing potential (L = 8 to 400); D: observed spectra, C: those of the model, both with noise.

    data: .npz with tt, te, ee, pp as `expected` or `observe` give them.
    """

    data: str
    speed: float = 2000

    def initialize(self) -> None:
        if not Path(self.data).is_file():
            raise LoggedError(self.log, "data: there is no file '%s'; run.py simulates it.", self.data)
        with np.load(self.data) as observed:
            self._observed: Spectra = {name: observed[name] for name in ("tt", "te", "ee", "pp")}
        self._noise = noise()
        ell = np.arange(LMAX + 1.0)
        self._weight = F_SKY * (2 * ell + 1)
        self._weight[:2] = 0
        self._lensing = slice(L_LENSING[0], L_LENSING[1] + 1)

    def get_requirements(self) -> dict[str, Any]:
        return {"Cl": {"tt": LMAX, "te": LMAX, "ee": LMAX, "pp": L_LENSING[1]}}

    def logp(self, **_: float) -> float:
        return self.log_likelihood(self.provider.get_Cl(ell_factor=False, units="FIRASmuK2"))

    def log_likelihood(self, cl: Spectra) -> float:
        """ln L of spectra from ell = 0, without factors of ell."""
        d = {name: values[2 : LMAX + 1] for name, values in self._observed.items()}
        tt = cl["tt"][2 : LMAX + 1] + self._noise["tt"][2:]
        ee = cl["ee"][2 : LMAX + 1] + self._noise["ee"][2:]
        te = cl["te"][2 : LMAX + 1]
        det = tt * ee - te**2
        trace = (d["tt"] * ee + d["ee"] * tt - 2 * d["te"] * te) / det
        observed = d["tt"] * d["ee"] - d["te"] ** 2
        chi2 = np.dot(self._weight[2:], trace - np.log(observed / det) - 2)
        lensing = self._lensing
        ratio = self._observed["pp"][lensing] / (cl["pp"][lensing] + self._noise["pp"][lensing])
        chi2 += np.dot(self._weight[lensing], ratio - np.log(ratio) - 1)
        return float(-0.5 * chi2)
