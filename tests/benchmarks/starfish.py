# SPDX-License-Identifier: BSD-3-Clause
"""zelos.starfish against Starfish 0.4.2 in one run: ``python tests/benchmarks/starfish.py --peer PYTHON``.

PYTHON is an interpreter that has Starfish (Python 3.9: `pip install astrostarfish==0.4.2`). Both hold the
same emulator (Starfish's own file, made by it from a library of 300 spectra) and answer in turn, on one
thread; what is compared is the least processor time of each. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timing

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
POINT = [5333.0, 4.1, -0.3]
KERNELS: dict[str, Any] = {
    "global_cov": {"log_amp": -9.0, "log_ls": 3.0},
    "local_cov": [
        {"mu": 5150.0, "log_amp": -9.0, "log_sigma": 3.0},
        {"mu": 5200.0, "log_amp": -9.0, "log_sigma": 3.0},
    ],
}
MODELS: dict[str, dict[str, Any]] = {"plain": {}, "global kernel and two local ones": KERNELS}


def library(pixels: int) -> dict[str, Any]:
    """10 x 6 x 5 spectra of saturating lines."""
    random = np.random.default_rng(1)
    wl = np.geomspace(5100.0, 5300.0, pixels)
    axes = np.linspace(4800, 6600, 10), np.linspace(3, 5, 6), np.linspace(-1, 0.5, 5)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    t, g, z = ((points - [5700.0, 4.0, -0.25]) / [900.0, 1.0, 0.75]).T
    eta = np.zeros((len(points), pixels))
    for centre in random.uniform(5098, 5302, 300):
        a, b, c, d = random.normal(size=4) * [0.8, 0.7, 0.3, 0.4] + [-0.5, -0.8, 0.1, 0.6]
        line = np.exp(-0.5 * ((wl - centre) / 0.12) ** 2)
        eta += np.exp(a + b * t + c * g + d * z - 0.3 * t * t)[:, np.newaxis] * line
    return {
        "wl": wl,
        "grid_points": points,
        "fluxes": 1 - 0.9 * eta / (1 + eta),
        "param_names": ["T", "logg", "Z"],
    }


def cases(package: str, folder: Path, sizes: list[int]) -> dict[str, Callable[[], object]]:
    """What is timed. Parameters change from call to call: nothing can be kept from the call before."""
    if package == "starfish":
        from Starfish import Spectrum
        from Starfish.emulator import Emulator
        from Starfish.models import SpectrumModel
    else:
        from zelos.starfish import Emulator, Spectrum, SpectrumModel
    emulator = Emulator.load(str(folder / "emulator.hdf5"))
    vector, steps = emulator.get_param_vector(), iter(range(10**9))
    made: dict[str, Callable[[], object]] = {}

    def likelihood_of_weights() -> float:
        emulator.set_param_vector(vector + 1e-9 * next(steps))
        return float(emulator.log_likelihood())

    def call() -> object:
        return emulator([POINT[0] + 1e-3 * (next(steps) % 1000), *POINT[1:]])

    def likelihood(model: Any, gradient: bool) -> Callable[[], object]:
        def run() -> object:
            change = next(steps) % 1000
            model.set_param_dict(
                {"T": POINT[0] + 1e-3 * change, "vsini": 8.0 + 1e-4 * change, "vz": 1e-4 * change}
            )
            return model.log_likelihood_gradient() if gradient else model.log_likelihood()

        return run

    made["call"] = call
    for size in sizes:
        pixels = slice((len(emulator.wl) - size) // 2, (len(emulator.wl) + size) // 2)
        wave = np.ascontiguousarray(emulator.wl[pixels])
        flux = np.load(folder / "flux.npy")[pixels]
        for name, kernels in MODELS.items():
            data = Spectrum(wave, flux, np.full(size, 0.01))
            model = SpectrumModel(
                emulator, data, POINT, vz=0.0, vsini=8.0, log_scale=0.0, cheb=[0.01, 0.01], **kernels
            )
            made[f"likelihood, {size} pixels, {name}"] = likelihood(model, False)
            if package == "zelos":
                made[f"with gradient, {size} pixels, {name}"] = likelihood(model, True)
    # Last of all: they change the emulator.
    made["Habib likelihood, 300 spectra, 5 components"] = likelihood_of_weights
    if package == "zelos":

        def with_gradient() -> object:
            emulator.set_param_vector(vector + 1e-9 * next(steps))
            return emulator.log_likelihood_gradient()

        made["with gradient (double precision), 300 spectra, 5 components"] = with_gradient
    return made


def worker(package: str, folder: Path, sizes: list[int]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    known = cases(package, folder, sizes)
    print(json.dumps(list(known)), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(
            json.dumps(timing.samples(known[request["case"]], request["seconds"])), file=answers, flush=True
        )


def make(folder: Path) -> None:
    """By Starfish, in its own interpreter."""
    from types import SimpleNamespace

    from Starfish.emulator import Emulator

    grid = library(4096)
    emulator = Emulator.from_grid(SimpleNamespace(**grid), n_components=5)
    emulator.lambda_xi = 1e3
    emulator.variances = 10 * (emulator.weights**2).mean(axis=0)
    emulator.lengthscales = np.tile([1200.0, 1.8, 1.3], (5, 1))
    emulator.set_param_dict({})
    emulator._trained = True
    emulator.save(str(folder / "emulator.hdf5"))
    flux = grid["fluxes"][137] / grid["fluxes"][137].mean()
    np.save(folder / "flux.npy", flux + 0.01 * np.random.default_rng(2).normal(size=len(flux)))


def start(python: str, package: str, folder: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    command = [
        python,
        __file__,
        "--worker",
        package,
        "--folder",
        str(folder),
        "--sizes",
        *map(str, options.sizes),
    ]
    environment = {**os.environ, **ONE_THREAD}
    if package == "starfish":
        environment.pop("PYTHONPATH", None)
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True, env=environment
    )


def ask(process: subprocess.Popen[str], request: dict[str, Any] | None) -> Any:
    assert process.stdin is not None and process.stdout is not None
    if request is not None:
        print(json.dumps(request), file=process.stdin, flush=True)
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a worker has ended: run it with --worker to see why")
    return json.loads(line)


def duration(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has Starfish")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each case and round")
    parser.add_argument("--worker", choices=("zelos", "starfish", "make"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker == "make":
        return make(options.folder)
    if options.worker:
        return worker(options.worker, options.folder, options.sizes)
    if options.peer is None:
        parser.error("--peer is the interpreter that has Starfish")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [options.peer, __file__, "--worker", "make", "--folder", name]
        subprocess.run(command, check=True, env={**os.environ, **ONE_THREAD, "PYTHONPATH": ""})
        processes = {
            package: start(python, package, folder, options)
            for package, python in (("zelos", sys.executable), ("starfish", options.peer))
        }
        known = {package: ask(process, None) for package, process in processes.items()}
        least: dict[tuple[str, str], float] = {}
        for turn in range(options.rounds):
            for case in known["zelos"]:
                for package, process in processes.items():
                    if case not in known[package] or (least.get((case, package), 0.0) > 1.0 and turn > 1):
                        continue
                    samples = ask(process, {"case": case, "seconds": options.seconds})
                    best = min(processor for _, processor in samples)
                    least[case, package] = min(best, least.get((case, package), best))
        for process in processes.values():
            process.communicate()
    print("| | zelos | Starfish 0.4.2 | ratio |\n| --- | ---: | ---: | ---: |")
    for case in known["zelos"]:
        ours, theirs = least[case, "zelos"], least.get((case, "starfish"))
        other = "" if theirs is None else duration(theirs)
        print(
            f"| {case} | {duration(ours)} | {other} | {'' if theirs is None else f'{theirs / ours:,.0f}'} |"
        )
    return None


if __name__ == "__main__":
    main()
