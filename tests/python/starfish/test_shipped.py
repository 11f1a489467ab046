# SPDX-License-Identifier: BSD-3-Clause
"""MARCS_mgb, which ships, against spectra of Turbospectrum."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import zelos

SHARED = Path(os.environ.get("ZELOS_SHARED", Path(__file__).parents[4] / "shared"))
#: Of one spectrum, relative to the flux; on the held-out runs at most 4.3e-4.
RMS, WORST = 6e-4, 6e-3


@pytest.fixture(scope="module")
def shipped() -> zelos.Emulator:
    return zelos.get_emulator("hub:MARCS_mgb")


def check(found: np.ndarray, expected: np.ndarray, more: float = 0.0) -> None:
    relative = found / expected - 1
    assert np.sqrt(np.mean(relative**2)) < RMS + more
    assert np.abs(relative).max() < WORST + 10 * more


def test_it_is_what_turbospectrum_gives(shipped: zelos.Emulator) -> None:
    """At three points that it was not trained on; every eighth pixel is stored."""
    assert "MARCS_mgb" in zelos.list_emulators()
    stored = np.load(Path(__file__).parent / "reference/marcs_mgb.npz")
    names = ("T_eff", "log_g", "[M/H]")
    for point, flux, mean in zip(stored["points"], stored["flux"], stored["mean_flux"], strict=True):
        params = dict(zip(names, point, strict=True))
        answer = shipped.evaluate(params)
        np.testing.assert_allclose(shipped.axes("flux")["wavelength"][::8], stored["wavelength"], rtol=1e-12)
        check(answer["flux"][::8], flux)
        assert shipped.derived(params)["mean_flux"] == pytest.approx(mean, rel=3e-4)
        predicted = shipped.error(params)["flux"]
        assert 1e-5 < predicted < 1e-3


def test_it_is_what_an_older_library_has_at_nodes_of_marcs(shipped: zelos.Emulator) -> None:
    path = SHARED / "data/spectra/turbo_marcs_mgb_raw.npz"
    if not path.is_file():
        pytest.skip(f"needs {path.name} in {SHARED.name}/data/spectra (ZELOS_SHARED)")
    stored = np.load(path)
    wl = shipped.axes("flux")["wavelength"]
    inside = (wl > 5125.5) & (wl < 5244.5)
    sigma = 1 / 55000 / (2 * np.sqrt(2 * np.log(2)))
    x = np.log(stored["wave"] / wl[inside, None]) / sigma
    profile = np.exp(-0.5 * x**2)
    profile /= profile.sum(axis=1, keepdims=True)
    chosen = [i for i, (_, logg, _) in enumerate(stored["params"]) if logg >= 4][::11]
    for i in chosen:
        found = shipped.evaluate(dict(zip(shipped.parameters, stored["params"][i], strict=True)))["flux"]
        # It was not told what lies beyond its window, and its edges are those of the emulator's box.
        check(found[inside], profile @ stored["flux"][i], more=4e-4)
