# SPDX-License-Identifier: BSD-3-Clause
"""Starfish's own tests against zelos.starfish: ``python tests/python/starfish/peer_tests.py CHECKOUT``.

CHECKOUT is a working copy of Starfish (https://github.com/Starfish-develop/Starfish) whose package can
be imported here, with pytest, astropy and scikit-learn. Its tests of emulators, of their kernels and
utilities and of grids in HDF5 run with ``Starfish.emulator.Emulator`` replaced by ours, on spectra of
our own making in the place of the PHOENIX files that they would download, and its SpectrumModel and our
emulator are put together. Prints what passed; ends with 1 if a test failed that is not among EXCEPTIONS.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

#: Tests that ask for what we mean to do otherwise, with the reason (docs/starfish.md has the same list).
EXCEPTIONS = {
    "test_call": "an untrained emulator is an error",
    "test_call_multiple": "an untrained emulator is an error",
    "test_reinterpret_dims": "an untrained emulator is an error",
    "test_std": "an untrained emulator is an error",
    "test_load_flux": "an untrained emulator is an error",
    "test_load_many_fluxes": "an untrained emulator is an error",
    "test_load_flux_norm": "an untrained emulator is an error",
    "test_load_many_fluxes_norm": "an untrained emulator is an error",
    "test_warns_before_trained": "an untrained emulator is an error",
    "test_no_par_truncation": "its ragged array is refused by NumPy 1.24; nothing of ours runs",
}
FILES = (
    "tests/test_emulator/test_emulator.py",
    "tests/test_emulator/test_kernels.py",
    "tests/test_emulator/test_utils.py",
    "tests/test_grid_tools/test_hdf5.py",
    "tests/test_models/test_models.py",
)
#: Pixels of PHOENIX's wavelength file.
PIXELS = 1_569_128
PARAMETERS = [
    *itertools.product((6000, 6100, 6200), (4.0, 4.5, 5.0), (0.0, -0.5, -1.0), (0.0,)),
    (6100, 4.5, 0.0, -0.2),
]

PLUGIN = """
import pytest
import Starfish.emulator, Starfish.models.spectrum_model
import zelos.starfish
TRAINED = {trained}

class Emulator(zelos.starfish.Emulator):
    @classmethod
    def from_grid(cls, *args, **kwargs):
        made = super().from_grid(*args, **kwargs)
        if TRAINED:
            made.train("joint", max_iter=200)
        return made
    def save(self, filename):
        self.save_starfish(filename)
    def load_flux(self, *args, **kwargs):
        return super().load_flux(*args, **kwargs)

Starfish.emulator.Emulator = Emulator
Starfish.models.spectrum_model.Emulator = Emulator
"""


def write_phoenix(folder: Path) -> None:
    """Files with the names and headers of PHOENIX-ACES: a black body with shallow lines."""
    from astropy.io import fits

    folder.mkdir(parents=True)
    wave = np.geomspace(3000.0, 54000.0, PIXELS)
    wave[0], wave[-1] = 500.0, 54999.0
    fits.PrimaryHDU(wave).writeto(folder / "WAVE_PHOENIX-ACES-AGSS-COND-2011.fits")
    random = np.random.default_rng(3)
    lines = random.uniform(1.9e4, 3.1e4, 400)
    slopes = random.normal(size=(400, 3)) * [1.0, 0.3, 0.4]
    for t, g, z, alpha in PARAMETERS:
        flux = 1e27 / wave**5 / np.expm1(1.438777e8 / (wave * t))
        for centre, slope in zip(lines, slopes, strict=True):
            near = slice(*np.searchsorted(wave, (centre - 15, centre + 15)))
            depth = 0.05 * np.exp(slope @ [(t - 6100) / 500, g - 4.5, z + alpha + 0.5])
            flux[near] *= 1 - depth * np.exp(-0.5 * ((wave[near] - centre) / 2.0) ** 2)
        metal = "-0.0" if z == 0 else f"{z:+.1f}"
        element = "" if alpha == 0 else f".Alpha={alpha:+.2f}"
        inner = folder / f"Z{metal}{element}"
        inner.mkdir(exist_ok=True)
        file = fits.PrimaryHDU(flux.astype(">f4"))
        for key, value in (("PHXTEFF", t), ("PHXLOGG", g), ("PHXM_H", z), ("PHXALPHA", alpha)):
            file.header[key] = float(value)
        file.writeto(inner / f"lte{t:05.0f}-{g:.2f}{metal}{element}.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits")


def run(checkout: Path, scratch: Path, trained: bool) -> dict[str, str]:
    """What became of each test."""
    tests = scratch / f"tests-{trained}"
    shutil.copytree(checkout / "tests", tests / "tests", ignore=shutil.ignore_patterns("data"))
    (tests / "tests/data").mkdir()
    (tests / "tests/data/phoenix").symlink_to(scratch / "phoenix")
    (tests / "ours.py").write_text(PLUGIN.format(trained=trained))
    environment = {**os.environ, "PYTHONPATH": f"{tests}:{checkout}:{os.environ.get('PYTHONPATH', '')}"}
    command = [
        sys.executable, "-m", "pytest", "-p", "ours", "-q", "-rA", "--no-header", "--tb=line",
        "-p", "no:cacheprovider",
        *(["--benchmark-skip"] if "benchmark" in checkout.joinpath("setup.py").read_text() else []), *FILES,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tests, env=environment, capture_output=True, text=True, check=False)
    found = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("PASSED", "FAILED", "ERROR", "SKIPPED"):
            found[rest.split(" - ")[0]] = word
    if not found:
        raise SystemExit(done.stdout + done.stderr)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="a working copy of Starfish")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_phoenix(scratch / "phoenix")
        bad = 0
        # The second time emulators are trained when they are made: what calls them passes then.
        for trained in (False, True):
            found = run(options.checkout.resolve(), scratch, trained)
            failed = {test for test, word in found.items() if word in ("FAILED", "ERROR")}
            meant = {
                test for test in failed if not trained and test.split("::")[-1].split("[")[0] in EXCEPTIONS
            }
            passed = sum(word == "PASSED" for word in found.values())
            print(
                f"{'trained' if trained else 'as they are'}: {passed} passed, {len(failed - meant)} failed, "
                f"{len(meant)} exceptions, {len(found) - passed - len(failed)} skipped"
            )
            for test in sorted(failed - meant):
                print(f"  failed: {test}")
            for test in sorted(meant):
                print(f"  exception: {test}: {EXCEPTIONS[test.split('::')[-1].split('[')[0]]}")
            bad += 0 if trained else len(failed - meant)
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
