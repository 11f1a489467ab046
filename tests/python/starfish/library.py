# SPDX-License-Identifier: BSD-3-Clause
"""A small library of spectra in closed form, in numpy alone: Starfish's Python and ours make the same one."""

from __future__ import annotations

import itertools

import numpy as np

NAMES = ["T", "logg", "Z"]
AXES = (np.linspace(5000.0, 6500.0, 6), np.linspace(3.5, 5.0, 4), np.linspace(-1.0, 0.5, 4))
WL = np.geomspace(5100.0, 5150.0, 512)  # 5.7 km/s a pixel


def lines(seed):
    """Centres, strengths and slopes of the lines of a library."""
    random = np.random.default_rng(seed)
    centres, strengths = random.uniform(5098.0, 5152.0, 70), random.uniform(-1.5, 1.0, 70)
    return centres, strengths, random.normal(size=(70, 3)) * [1.2, 0.25, 0.5] + [-1.0, 0.1, 0.8]


LINES = lines(1)


def spectrum(point, of=LINES):
    """Flux of saturating Gaussian lines on a black body's slope at WL; point is (T, logg, Z)."""
    t, g, z = (np.asarray(point) - [5777.0, 4.4, 0.0]) / [1000.0, 1.0, 1.0]
    eta = np.zeros_like(WL)
    for centre, strength, slope in zip(*of):  # noqa: B905  (Starfish's Python)
        depth = np.exp(strength + slope @ [t, g, z] - 0.3 * t * t)
        width = 0.17 * (1 + 0.1 * t)
        eta += depth * np.exp(-0.5 * ((WL - centre) / width) ** 2)
    continuum = (1 + t / 5.777) ** 4 * np.exp(-0.3 * t * (WL / 5125.0 - 1))
    return continuum * (1 - 0.9 * eta / (1 + eta))


def points():
    return np.array(list(itertools.product(*AXES)))


def fluxes(of=LINES):
    return np.array([spectrum(point, of) for point in points()])


TRUTH = (5680.0, 4.21, -0.17)


def observed():
    """wave, flux, sigma: pixels of the library's own grid with noise of one percent."""
    wave = WL[40:-40].copy()
    flux = spectrum(TRUTH)[40:-40] / spectrum(TRUTH).mean()
    sigma = np.full_like(wave, 0.01)
    return wave, flux + sigma * np.random.default_rng(2).normal(size=len(wave)), sigma
