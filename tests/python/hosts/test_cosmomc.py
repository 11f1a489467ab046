# SPDX-License-Identifier: BSD-3-Clause
"""The CosmoMC calculator on a minimal host with CAMB's Fortran behind it: every field that it keeps, when
CAMB answers instead, and that nothing of another point is left."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import zelos

from ..conftest import hosts_folder
from .conftest import HERE, HOSTS, LINK, NAMES, ROOT, TOLERANCE, Reference, need, run

POISON = -12345.0
POINT = dict(zip(NAMES, (0.0224, 0.12, 67.4, 0.054, 3.045, 0.965), strict=True))
Z_DERIVED = np.array([0.15, 0.38, 0.51, 0.61, 2.33])
Z_POWER = np.array([0.0, 0.5, 1.0, 2.0])
THERMO = (
    *("age", "zstar", "rstar", "thetastar", "DAstar", "zdrag", "rdrag", "kd"),
    *("thetad", "zeq", "keq", "thetaeq", "thetarseq"),
)
#: As CosmoMC is compiled.
FLAGS = ["-O3", "-ffast-math", "-cpp", "-ffree-line-length-none", "-fopenmp"]
SOURCES = [
    HOSTS / "fortran/zelos_c.f90",
    HOSTS / "fortran/zelos.f90",
    HOSTS / "cosmomc/zelos_cosmomc.f90",
    HERE / "cosmomc/host.f90",
    HOSTS / "cosmomc/Calculator_Zelos.f90",
    HERE / "cosmomc/drive.f90",
]

#: Lines of one name without a point's.
TABLES = ("theta_curved", "zre_outside", "zre_sterile", "zre_YHe", "bisection", "transfers")

Fields = dict[str, np.ndarray]


class Program(NamedTuple):
    path: Path
    folder: Path
    modules: list[str]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    need("gfortran")
    camb = hosts_folder() / "camb-1.3.5"
    libraries = [camb / "fortran/Release/libcamb.a", camb / "forutils/Release/libforutils.a"]
    if not all(library.is_file() for library in libraries):
        pytest.skip(f"needs CAMB's Fortran in {camb}: .ci/hosts camb")
    folder = tmp_path_factory.mktemp("cosmomc")
    modules = [f"-I{library.parent}" for library in libraries]
    path = folder / "drive"
    run(["gfortran", *FLAGS, *modules, *SOURCES, *libraries, *LINK, "-o", path], folder)
    template = "HighLExtrapTemplate_lenspotentialCls.dat"
    (folder / template).write_bytes((camb / "fortran" / template).read_bytes())
    return Program(path, folder, modules)


def drive(
    program: Program, artifact: Path, mode: str, points: object = "", **options: object
) -> tuple[int, str]:
    lines = (ROOT / "configs/examples/cosmomc/zelos.ini").read_text().splitlines()
    example = dict(line.split(" = ") for line in lines if line and not line.startswith("#"))
    settings = {
        **example,
        "zelos_emulator": artifact,
        "zelos_fallback_version": "exact",
        "file_root": f"root_{mode}",
        **options,
    }
    ini = program.folder / f"{mode}.ini"
    ini.write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
    done = subprocess.run(
        [program.path, ini, str(points), mode],
        cwd=program.folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout + done.stderr


def fields(text: str) -> tuple[Fields, list[list[float]]]:
    """name -> numbers; the lines of tables (theta, zre) apart."""
    found: Fields = {}
    for line in text.splitlines():
        name, *numbers = line.split()
        if "." in name or name in TABLES:
            found[name] = np.array([float(number) for number in numbers])
    rows = [line.split() for line in text.splitlines() if line.startswith(("theta ", "zre "))]
    return found, [[float(number) for number in row[1:]] for row in rows]


@pytest.fixture(scope="module")
def rejecting(program: Program, artifact: Path) -> tuple[Fields, list[list[float]], str]:
    status, text = drive(program, artifact, "reject", zelos_fallback="reject")
    assert status == 0, text
    return *fields(text), text


@pytest.fixture(scope="module")
def falling_back(program: Program, artifact: Path) -> tuple[Fields, str]:
    status, text = drive(program, artifact, "fallback", zelos_fallback_version="any")
    assert status == 0, text
    return fields(text)[0], text


def d_ell(spectrum: np.ndarray, ell: np.ndarray, name: str) -> np.ndarray:
    return spectrum * (ell * (ell + 1)) ** (2 if name == "pp" else 1) / (2 * np.pi)


def check_fields(
    found: Fields, name: str, emulator: zelos.Emulator, point: dict[str, float], lmax: int
) -> None:
    """Every field of one point, by the Python package."""
    ell = np.arange(2.0, lmax + 1)
    axes = {"ell": ell, "z": Z_POWER}
    answer = emulator.evaluate(point, None, None)
    spectra = emulator(point, ell)
    for key in ("tt", "te", "ee", "bb", "pp"):
        expected = d_ell(spectra[key], ell, key)
        np.testing.assert_allclose(found[f"{name}.{key}"][1:lmax], expected, rtol=TOLERANCE, err_msg=key)
        assert found[f"{name}.{key}"][0] == 0
    derived = emulator.derived(point)
    assert found[f"{name}.sigma8"][0] == derived["sigma8"]
    if lmax >= 2000:
        x = np.arange(2.0, 2001)
        pp = d_ell(spectra["pp"], ell, "pp")[:1999]
        rms = np.sqrt(np.sum(pp * (x + 0.5) / (x * (x + 1)))) * 180 * 60 / np.pi
        np.testing.assert_allclose(found[f"{name}.rms"], rms, rtol=TOLERANCE)
    assert not found[f"{name}.tensors"].any()
    assert found[f"{name}.numderived"][0] == 23
    thermo = [derived[label] * (100 if label == "thetastar" else 1) for label in THERMO]
    background = emulator.evaluate(point, ["Hubble", "comoving_radial_distance"], {"z": Z_DERIVED})
    rest = np.ravel(np.column_stack([background["Hubble"], background["comoving_radial_distance"]]))
    np.testing.assert_allclose(found[f"{name}.derived"][:23], [*thermo, *rest], rtol=TOLERANCE)
    assert not found[f"{name}.derived"][23:].any()
    growth = emulator.evaluate(point, ["fsigma8", "sigma8_z"], {"z": Z_POWER})
    np.testing.assert_array_equal(found[f"{name}.growth_x"], Z_POWER)
    np.testing.assert_allclose(found[f"{name}.growth"], growth["fsigma8"], rtol=TOLERANCE)
    np.testing.assert_allclose(found[f"{name}.sigma8_z"], growth["sigma8_z"], rtol=TOLERANCE)
    h = point["H0"] / 100
    np.testing.assert_array_equal(found[f"{name}.z"], Z_POWER)
    for key, output in (("power", "Pk.linear"), ("power_nl", "Pk.nonlinear")):
        k = emulator.axes(output)["k"]
        expected = h**3 * emulator.evaluate(point, [output], {"z": axes["z"]})[output]
        table = found[f"{name}.{key}"].reshape(4, len(k) + 1).T
        np.testing.assert_allclose(found[f"{name}.k"], [*(k / h), 700], rtol=TOLERANCE)
        np.testing.assert_allclose(table[:-1], expected, rtol=TOLERANCE)
        slope = np.log(table[-2] / table[-3]) / np.log(k[-1] / k[-2])
        np.testing.assert_allclose(table[-1], table[-2] * (700 / (k[-1] / h)) ** slope, rtol=1e-9)
    assert set(answer) >= {"Cl.tt", "derived"}


def test_every_field_is_the_emulators(
    rejecting: tuple[Fields, list[list[float]], str], artifact: Path
) -> None:
    """Trap 1: Theory was poisoned before. Trap 6: CMB%BaseParams(3), theta, was nonsense."""
    check_fields(rejecting[0], "good", zelos.get_emulator(artifact), POINT, 2500)
    for name, values in rejecting[0].items():
        assert POISON not in values, name


def test_same_points(program: Program, artifact: Path, reference: Reference) -> None:
    points = reference.folder / "points.bin"
    status, text = drive(program, artifact, "same", points, zelos_fallback="reject")
    assert status == 0, text
    found, _ = fields(text)
    emulator = zelos.get_emulator(artifact)
    ell = np.arange(2.0, 2501)
    for i, (point, values) in enumerate(zip(reference.points, reference.values, strict=True)):
        name = f"p{i + 1:02d}"
        assert found[f"{name}.error"][0] == 0
        for block, key in enumerate(("tt", "te", "ee", "bb", "pp")):
            expected = d_ell(values[2499 * block : 2499 * (block + 1)], ell, key)
            np.testing.assert_allclose(found[f"{name}.{key}"][1:], expected, rtol=TOLERANCE, err_msg=key)
        if i < 3:
            check_fields(found, name, emulator, dict(zip(NAMES, point, strict=True)), 2500)


def test_physics_that_was_not_trained_is_not_emulated(
    rejecting: tuple[Fields, list[list[float]], str],
) -> None:
    """Traps 2 and 7: with zelos_fallback = reject such a point is an error, and CAMB computed nothing."""
    found, _, text = rejecting
    refused = {name[4:] for name, value in found.items() if name.startswith("try.") and value[0] == 1}
    assert refused == {
        *("zre_delta", "ALens", "ALensf", "nnu", "mnu", "sterile", "omk", "w", "wa", "YHe", "fdm"),
        *("isocurvature", "nrun", "nrunrun", "r", "Aphiphi", "nan", "nan_H0", "nan_omk", "nan_mnu"),
        *("nan_zre_delta", "nan_YHe", "nan_r", "YHe_by_hand"),
    }
    for name in ("good", "good_again", "good_too", "good_other_table"):
        assert found[f"try.{name}"][0] == 0
    assert found["transfers"][0] == 0
    for reason, count in (
        ("nnu not as in training", 1),
        ("nrun is not emulated", 1),
        ("YHe not from BBN", 3),
        ("ombh2 is not finite", 1),
        ("omk is not finite", 1),
    ):
        assert f"  {reason}: {count}" in text
    assert re.search(r"points: \d+ emulated, \d+ rejected \(", text)


def test_theta_and_reionisation_are_those_of_the_host(
    rejecting: tuple[Fields, list[list[float]], str],
) -> None:
    """The bisection for H0 ends at the same of its 16384 steps, with one call of CAMB, whose
    own integrals are good to 2e-7 where H0 = 40 leaves no dark energy; with curvature CAMB
    answers each."""
    found, rows, _ = rejecting
    thetas, redshifts = rows[:28], rows[28:]
    assert len(redshifts) == 5
    for _, mine, by_camb, calls in thetas:
        assert mine == pytest.approx(by_camb, rel=2e-7) and calls == 1
    for _, mine, by_camb in redshifts:
        assert mine == pytest.approx(by_camb, rel=1e-4)
    low, high = found["bisection"]
    assert low == high
    first, second, calls = found["theta_curved"]
    assert first == second and calls == 2
    assert found["zre_outside"][0] == 0
    for name in ("zre_sterile", "zre_YHe"):
        mine, by_camb = found[name]
        assert mine == by_camb, name


def test_steps_of_a_chain(falling_back: tuple[Fields, str], artifact: Path) -> None:
    found, _ = falling_back
    # Traps 3 and 4: a cache of its own, with the background of this point and not of the bisection.
    assert found["inside.fresh"][0] == 1
    assert found["inside.H0"][0] == pytest.approx(67.4, rel=1e-9)
    # Trap 9: outside is no error. A fast step of CAMB's point needs no new transfer functions.
    for name in ("inside", "outside", "late", "importance"):
        assert found[f"{name}.error"][0] == 0
    assert found["outside.transfers"][0] == found["outside_fast.transfers"][0] == 1
    # Trap 5: from the emulated point logA leaves: transfer functions of that point, not of the rejected one.
    assert found["late.transfers"][0] == 2
    assert found["importance_outside.error"][0] == 77
    # redo_cls, redo_pk: C_l, PP, rms deflection; sigma8, growth; derived parameters.
    assert found["only_spectra.kept"].tolist() == [0, 0, 0, 1, 1, 0]
    assert found["only_power.kept"].tolist() == [1, 1, 1, 0, 0, 0]
    assert found["only_background.kept"].tolist() == [1, 1, 1, 1, 1, 0]
    emulator = zelos.get_emulator(artifact)
    for name in ("inside", "importance"):
        check_fields(found, name, emulator, POINT, 800)
        assert all(POISON not in values for key, values in found.items() if key.startswith(name))
        # Beyond what is computed, the template (host.f90), continuous in TT.
        ell = np.arange(801, 1001)
        for key, factor in (("tt", 1.0), ("ee", 0.1), ("bb", 0.01), ("te", -0.2)):
            expected = found[f"{name}.tt"][799] * factor * (800 / ell) ** 2
            np.testing.assert_allclose(found[f"{name}.{key}"][800:], expected, rtol=1e-10)
        assert not found[f"{name}.pp"][800:].any()


@pytest.mark.camb
def test_emulated_and_late_points_against_camb(falling_back: tuple[Fields, str]) -> None:
    """Two versions of CAMB with cheap settings, an emulator with expensive ones: the cheap ones' accuracy."""
    camb = pytest.importorskip("camb")
    found, _ = falling_back
    names = ("ombh2", "omch2", "H0", "tau", "ns")
    for name, logA in (("inside", 3.045), ("late", 3.6)):
        parameters = camb.set_params(
            **{key: POINT[key] for key in names}, As=1e-10 * np.exp(logA), mnu=0.06, nnu=3.044,
            lmax=1000, lens_potential_accuracy=1, halofit_version="mead2016", WantTransfer=True,
        )  # fmt: skip
        results = camb.get_results(parameters)
        total = results.get_total_cls(800, CMB_unit="muK")[2:]
        # Lensing of BB comes from beyond the cheap lmax: 3 %, at the high logA 10 %.
        for column, key, tolerance in ((0, "tt", 1e-2), (1, "ee", 1e-2), (2, "bb", 0.15)):
            np.testing.assert_allclose(
                found[f"{name}.{key}"][1:800], total[:, column], rtol=tolerance, err_msg=f"{name} {key}"
            )
        error = found[f"{name}.te"][1:800] - total[:, 3]
        assert np.max(np.abs(error) / np.sqrt(total[:, 0] * total[:, 1])) < 5e-3
        pp = results.get_lens_potential_cls(800)[2:, 0]
        np.testing.assert_allclose(found[f"{name}.pp"][8:400], pp[7:399], rtol=2e-2)
        assert found[f"{name}.sigma8"][0] == pytest.approx(results.get_sigma8_0(), rel=2e-3)
        derived = results.get_derived_params()
        expected = [derived[label] for label in THERMO]
        np.testing.assert_allclose(found[f"{name}.derived"][:13], expected, rtol=3e-4)


def test_the_end_of_a_run_says_who_answered(falling_back: tuple[Fields, str], program: Program) -> None:
    """Also in a file, which is written while the run goes on: CosmoMC ends by MPI_Abort, which lets nobody
    speak."""
    _, text = falling_back
    lines = (
        "9 points: 5 emulated, 4 by CAMB (44.4 %)",
        *("  tau outside its range: 3", "  logA outside its range: 1"),
        "  1 of them after an emulated slow step",
    )
    written = (program.folder / "root_fallback.zelos").read_text()
    for line in lines:
        assert f"zelos (rank 0): {line}\n" in text and f"{line}\n" in written


def test_another_camb_than_the_trainings_is_refused(program: Program, artifact: Path) -> None:
    status, text = drive(program, artifact, "reject")
    assert status != 0 and "CAMB 1.3.5 here, 2.0.5 in training" in text and "halofit" not in text


@pytest.mark.parametrize(
    ("mode", "options", "difference"),
    [
        ("hierarchy", {}, "massive neutrinos (0: a hierarchy) 0 here, 1 in training"),
        ("neutrinos", {}, "massive neutrinos (0: a hierarchy) 3 here, 1 in training"),
        ("pivot", {}, "pivot 0.00200 here, 0.05 in training"),
        ("halofit", {"halofit_version": 4}, "halofit_version takahashi here, mead2016 in training"),
    ],
)
def test_other_settings_than_the_trainings_are_refused(
    program: Program, artifact: Path, mode: str, options: dict[str, int], difference: str
) -> None:
    status, text = drive(program, artifact, mode, **options)
    assert status != 0 and difference in text
    status, text = drive(program, artifact, mode, zelos_fallback_version="any", **options)
    assert status == 0 and "the likelihood may jump" in text and difference in text


@pytest.mark.parametrize(
    ("mode", "options", "difference"),
    [
        ("hierarchy", {}, "massive neutrinos (0: a hierarchy) 0 here, 1 in training"),
        ("halofit", {"halofit_version": 4}, "halofit_version takahashi here, mead2016 in training"),
        ("pivot", {}, "pivot 0.00200 here, 0.05 in training"),
        ("pivot", {"zelos_fallback_version": "any"}, "pivot 0.00200 here, 0.05 in training"),
    ],
)
def test_other_settings_are_refused_where_camb_answers_nothing(
    program: Program, artifact: Path, mode: str, options: dict[str, object], difference: str
) -> None:
    """They are the physics of the emulated points; only CAMB's version is none of theirs."""
    status, text = drive(program, artifact, mode, zelos_fallback="reject", **options)
    assert status != 0 and difference in text and "CAMB 1.3.5" not in text


@pytest.mark.parametrize(
    ("mode", "lacking"),
    [
        ("tensors", "compute_tensors = T"),
        ("no_CMB", "a run without CMB"),
        ("no_lensing", "CMB_lensing = F"),
        ("linear_lensing", "use_nonlinear_lensing = F"),
        ("sigma_R", "sigma_R"),
        ("Weyl", "the power spectrum of the Weyl potential"),
        ("TB", "a cross-spectrum other than TE"),
        ("multipoles", "Cl.tt"),
        ("pivot", "pivot 0.00200 here, 0.05 in training"),
        ("small_scales", "P(k, z) is wanted beyond the k of the emulator"),
    ],
)
def test_settings_that_are_not_emulated(program: Program, artifact: Path, mode: str, lacking: str) -> None:
    """CAMB answers everything from the start, and the first lines say why."""
    status, text = drive(program, artifact, mode, zelos_fallback_version="any")
    said = re.search("CAMB answers everything, for the emulator does not have: (.*)", text)
    assert status == 0 and said and lacking in said[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zelos_emulator": ""}, "needs zelos_emulator = FILE.h5"),
        ({"zelos_emulator": "/no/such/file.h5"}, "/no/such/file.h5"),
        ({"zelos_fallback": "clas"}, "expected camb, reject or error"),
        ({"zelos_fallback_version": "some"}, "expected exact or any"),
        ({"zelos_fallback": "reject"}, "not emulated: compute_tensors = T"),
    ],
)
def test_wrong_settings_stop(program: Program, artifact: Path, options: dict[str, str], message: str) -> None:
    status, text = drive(program, artifact, "tensors", **options)
    assert status != 0 and message in text


def test_a_tolerance_is_kept(program: Program, artifact: Path, reference: Reference) -> None:
    """Of the quantile of delta chi^2 of all spectra, as in Cobaya: those points are refused."""
    spectra = [f"Cl.{name}" for name in ("tt", "ee", "bb", "te", "pp")]
    quantiles = zelos.get_emulator(artifact).error_model(spectra)(reference.points).quantile
    tolerance = 0.5 * sum(np.sort(quantiles)[9:11])
    points = reference.folder / "points.bin"
    options = {"zelos_fallback": "reject", "zelos_tolerance": f"{tolerance:.17g}"}
    _, text = drive(program, artifact, "same", points, **options)
    found, _ = fields(text)
    refused = [found[f"p{i + 1:02d}.error"][0] != 0 for i in range(20)]
    assert refused == (quantiles > tolerance).tolist()
    assert "  predicted error above the tolerance: " in text


def test_a_tolerance_is_a_delta_chi2(program: Program, artifact: Path) -> None:
    status, text = drive(program, artifact, "same", zelos_tolerance=-1)
    assert status != 0 and "zelos_tolerance is 0 or a delta chi^2 > 0" in text


def test_the_template_goes_with_tt_that_no_data_need(
    program: Program, artifact: Path, reference: Reference
) -> None:
    """800 multipoles are computed, 600 of TT are kept, 1000 of the others."""
    status, text = drive(
        program, artifact, "short_TT", reference.folder / "points.bin", zelos_fallback="reject"
    )
    assert status == 0, text
    found, _ = fields(text)
    ell, tail = np.arange(2.0, 801), np.arange(801, 1001)
    tt, ee = (d_ell(reference.values[0, n : n + 799], ell, "tt") for n in (0, 2 * 2499))
    np.testing.assert_allclose(found["p01.tt"][1:], tt[:599], rtol=TOLERANCE)
    np.testing.assert_allclose(found["p01.ee"][1:800], ee, rtol=TOLERANCE)
    for key, factor in (("ee", 0.1), ("bb", 0.01), ("te", -0.2)):
        np.testing.assert_allclose(found[f"p01.{key}"][800:], tt[-1] * factor * (800 / tail) ** 2, rtol=1e-10)


def test_the_hook_that_needs_no_change_compiles(program: Program, tmp_path: Path) -> None:
    """Five files in one, as docs/cosmomc.md says."""
    parts = [
        *(HOSTS / "fortran/zelos_c.f90", HOSTS / "fortran/zelos.f90", HOSTS / "cosmomc/zelos_cosmomc.f90"),
        *(HOSTS / "cosmomc/Calculator_Zelos.f90", HOSTS / "cosmomc/Calculator_PICO.f90"),
    ]
    (tmp_path / "fpico_interface.f90").write_text("".join(part.read_text() for part in parts))
    host = HERE / "cosmomc/host.f90"
    run(["gfortran", *FLAGS[2:], *program.modules, "-c", host, tmp_path / "fpico_interface.f90"], tmp_path)
