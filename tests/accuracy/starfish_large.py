# SPDX-License-Identifier: BSD-3-Clause
"""A whole library: 7,000 models with holes of 30,000 pixels, from a file to a validated emulator:
``python tests/accuracy/starfish_large.py FOLDER``.

Writes the library to FOLDER (840 MB) if it is not there, streams it, trains 15 components, validates
them on 100 spectra off the grid, and prints time, peak memory and what a prediction takes.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from zelos.errors import OutsideRegion
from zelos.starfish import Emulator, Grid

AXES = (
    np.linspace(4000.0, 7800.0, 20),
    np.linspace(2.0, 5.0, 12),
    np.linspace(-1.5, 0.5, 8),
    np.linspace(0.0, 0.4, 4),
)
NAMES = ["T", "logg", "Z", "alpha"]
POINTS, PIXELS, LINES = 7000, 30000, 60
WL = np.geomspace(5000.0, 5600.0, PIXELS)
RANDOM = np.random.default_rng(1)
CENTRES = RANDOM.uniform(5000, 5600, LINES)
STRENGTHS = RANDOM.uniform(-1.5, 1.0, LINES)
SLOPES = RANDOM.normal(size=(LINES, 4)) * [1.2, 0.25, 0.5, 0.3] + [-1.0, 0.1, 0.8, 0.2]
PROFILES = np.exp(-0.5 * ((WL - CENTRES[:, np.newaxis]) / 0.2) ** 2)


def spectra(points: Any) -> Any:
    """Saturating lines on a black body's slope."""
    u = (np.atleast_2d(points) - [5777.0, 4.4, 0.0, 0.0]) / [1000.0, 1.0, 1.0, 1.0]
    t = u[:, :1]
    eta = np.exp(STRENGTHS + u @ SLOPES.T - 0.3 * t**2) @ PROFILES
    return (1 + t / 5.777) ** 4 * np.exp(-0.3 * t * (WL / 5300.0 - 1)) * (1 - 0.9 * eta / (1 + eta))


def grid_points() -> Any:
    """Without the coolest giants and the hottest dwarfs, and with models that failed here and there."""
    points = np.array(list(itertools.product(*AXES)))
    there = ~((points[:, 0] > 7000) & (points[:, 1] < 2.6)) & ~((points[:, 0] < 4300) & (points[:, 1] > 4.8))
    rows = np.flatnonzero(there)
    failed = np.random.default_rng(2).choice(rows, len(rows) - POINTS, replace=False)
    there[failed] = False
    return points[there]


def write(path: Path) -> None:
    points = grid_points()
    temporary = path.with_suffix(".tmp")
    with h5py.File(temporary, "w") as file:
        group = file.create_group("flux")
        key = group.attrs["key_name"] = "T{0:.0f}_g{1:.4f}_Z{2:.4f}_a{3:.4f}"
        file.create_dataset("wl", data=WL)
        file.create_dataset("grid_points", data=points).attrs["names"] = NAMES
        for first in range(0, len(points), 250):
            block = points[first : first + 250]
            for point, flux in zip(block, spectra(block), strict=True):
                group.create_dataset(key.format(*point), data=flux.astype(np.float32))
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int, help="that decide the hyperparameters")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "large.hdf5"
    if not path.exists():
        write(path)
        print(f"{path.stat().st_size / 1e6:.0f} MB written", flush=True)
    wall, processor = time.perf_counter(), time.process_time()

    def passed(what: str) -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{what}: {time.perf_counter() - wall:.0f} s, "
            f"of processor {time.process_time() - processor:.0f} s, peak {memory:.2f} GiB",
            flush=True,
        )

    emulator = Emulator.from_grid(path, n_components=15, whiten_pixels=False, memory=1e9)
    passed("components")
    training = emulator.train("independent", kernel="matern52", keep_ratios=True, points=options.points)
    passed(
        f"training on {training.settings['points']} points, {'' if training.converged else 'not '}converged"
    )
    found = emulator.held_out()
    print(f"left-out points of the library: error {found.error:.1e}, over predicted {found.z:.2f}")
    random = np.random.default_rng(3)
    tests = []
    while len(tests) < 100:
        point = random.uniform(emulator.min_params, emulator.max_params)
        try:
            emulator.require_inside(point[np.newaxis])
        except OutsideRegion:
            continue
        tests.append(point)
    unseen = Grid(WL, np.array(tests), NAMES, spectra(tests))
    result = emulator.validate(unseen)
    passed("validation")
    print(f"off the grid: error {result.error:.1e}, rms z {result.z:.2f}; left out by the components "
          f"{np.sqrt(emulator.residual_variance.mean()):.1e}")  # fmt: skip
    factor = emulator.calibrate()
    print(f"calibrated, standard deviations times {factor:.2f}: rms z {emulator.validate(unseen).z:.2f}")
    passed("calibration")
    began = time.process_time()
    for point in tests:
        emulator.process.predict(point)
    print(f"prediction with covariance: {1e3 * (time.process_time() - began) / len(tests):.2f} ms")
    missing = next(p for p in itertools.product(*AXES) if emulator._region.why_outside(np.array(p)))
    print(f"at {missing}: {emulator._region.why_outside(np.array(missing))}")


if __name__ == "__main__":
    main()
