# SPDX-License-Identifier: BSD-3-Clause
"""Emulators of 700 spectra against Starfish 0.4.2 in one run: ``python tests/benchmarks/starfish_emulator.py
--peer PYTHON``.

PYTHON is an interpreter that has Starfish. For 1 to 7 components: the likelihood of the hyperparameters
(by Starfish, by PyTorch where it is installed, and ours, with its gradient), a call, training to
convergence, peak memory. Processor time on one thread, the least of several. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import timing

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
AXES = (np.linspace(4800, 6600, 10), np.linspace(3, 5, 10), np.linspace(-1, 0.5, 7))
PIXELS = 1000


def library() -> dict[str, Any]:
    """10 x 10 x 7 spectra of saturating lines."""
    random = np.random.default_rng(1)
    wl = np.geomspace(5100.0, 5200.0, PIXELS)
    points = np.stack(np.meshgrid(*AXES, indexing="ij"), axis=-1).reshape(-1, 3)
    t, g, z = ((points - [5700.0, 4.0, -0.25]) / [900.0, 1.0, 0.75]).T
    eta = np.zeros((len(points), PIXELS))
    for centre in random.uniform(5098, 5202, 150):
        a, b, c, d = random.normal(size=4) * [0.8, 0.7, 0.3, 0.4] + [-0.5, -0.8, 0.1, 0.6]
        line = np.exp(-0.5 * ((wl - centre) / 0.12) ** 2)
        eta += np.exp(a + b * t + c * g + d * z - 0.3 * t * t)[:, np.newaxis] * line
    return {
        "wl": wl,
        "grid_points": points,
        "fluxes": 1 - 0.9 * eta / (1 + eta),
        "param_names": ["T", "logg", "Z"],
    }


def prepared(emulator: Any) -> Any:
    emulator.lambda_xi = 1e3
    emulator.variances = 10 * (emulator.weights**2).mean(axis=0)
    emulator.lengthscales = np.tile([1200.0, 1.8, 1.3], (emulator.ncomps, 1))
    emulator.set_param_dict({})
    emulator._trained = True
    return emulator


def least(call: Callable[[], object], seconds: float) -> float:
    return min(processor for _, processor in timing.samples(call, seconds))


def measure(package: str, m: int, seconds: float) -> dict[str, float]:
    if package == "starfish":
        from Starfish.emulator import Emulator
    else:
        from zelos.starfish import Emulator
    emulator = prepared(Emulator.from_grid(SimpleNamespace(**library()), n_components=m))
    vector, steps = emulator.get_param_vector(), iter(range(10**9))
    found: dict[str, float] = {"value": float(emulator.log_likelihood())}

    def change() -> None:  # nothing can be kept from the call before
        emulator.set_param_vector(vector + 1e-9 * next(steps))

    def likelihood() -> object:
        change()
        return emulator.log_likelihood()

    def gradient() -> object:
        change()
        return emulator.log_likelihood_gradient()

    def call() -> object:
        return emulator([5333.0 + 1e-3 * (next(steps) % 1000), 4.1, -0.3])

    found["call"] = least(call, seconds)
    found["likelihood"] = least(likelihood, seconds)
    if package == "zelos":
        found["gradient"] = least(gradient, seconds)
        if m == 6:
            fresh = Emulator.from_grid(SimpleNamespace(**library()), n_components=m)
            before = timing.clocks()[1]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                training = fresh.train("joint", threads=1)
            found |= {
                "training": timing.clocks()[1] - before,
                "evaluations": training.evaluations,
                "converged": float(training.converged),
                "optimum": fresh.log_likelihood(),
            }
        found |= by_torch(emulator, seconds)
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def by_torch(emulator: Any, seconds: float) -> dict[str, float]:
    """The likelihood in blocks, with its gradient, as the authors of Starfish tried it."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    points = torch.tensor(emulator.grid_points)
    weights = torch.tensor(emulator.weights.T.copy())

    def run() -> object:
        theta = torch.tensor(emulator.get_param_vector(), requires_grad=True)
        m = emulator.ncomps
        noise, v, scale = theta[0], theta[1 : m + 1], theta[m + 1 :].reshape(m, 1, -1)
        u = points / torch.exp(scale)
        square = ((u[:, :, None] - u[:, None]) ** 2).sum(-1)
        c = torch.exp(v)[:, None, None] * torch.exp(-0.5 * square)
        c = c + torch.exp(-noise) * torch.eye(len(points), dtype=c.dtype)
        factor = torch.linalg.cholesky(c)
        white = torch.linalg.solve_triangular(factor, weights[:, :, None], upper=False)
        value = -torch.log(torch.diagonal(factor, dim1=1, dim2=2)).sum() - 0.5 * (white**2).sum()
        value.backward()
        return float(value)

    return {"torch": least(run, seconds)}


def ask(python: str, package: str, m: int, seconds: float) -> dict[str, float]:
    command = [python, __file__, "--worker", package, "--components", str(m), "--seconds", str(seconds)]
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{package}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.3g} ms"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has Starfish")
    parser.add_argument("--components", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6, 7])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--worker", choices=("zelos", "starfish"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker, options.components[0], options.seconds)))
        return
    rows = []
    for m in options.components:
        ours = ask(sys.executable, "zelos", m, options.seconds)
        theirs = ask(options.peer, "starfish", m, options.seconds) if options.peer else {}
        rows.append((m, ours, theirs))
        if theirs and abs(ours["value"] - theirs["value"]) > 1e-9 * abs(theirs["value"]):
            print(f"the likelihoods differ: {ours['value']!r}, {theirs['value']!r}", file=sys.stderr)
    if not any("torch" in ours for _, ours, _ in rows):
        print("PyTorch is not installed: its column is empty", file=sys.stderr)
    head = ("components", "Starfish", "PyTorch, with gradient", "zelos", "zelos, with gradient", "ratio")
    print("| " + " | ".join((*head, "call: Starfish", "zelos", "ratio")) + " |")
    print("| ---: " * 9 + "|")
    for m, ours, theirs in rows:
        value, call = theirs.get("likelihood"), theirs.get("call")
        ratio = "" if value is None else f"{value / ours['gradient']:,.0f}"
        call_ratio = "" if call is None else f"{call / ours['call']:,.0f}"
        cells = [
            str(m),
            *map(ms, (value, ours.get("torch"), ours["likelihood"], ours["gradient"])),
            ratio,
            *map(ms, (call, ours["call"])),
            call_ratio,
        ]
        print("| " + " | ".join(cells) + " |")
    for _, ours, theirs in rows:
        if "training" in ours:
            print(
                f"\nTraining six components from nothing: {ours['training']:.2g} s, "
                f"{ours['evaluations']:.0f} evaluations, "
                f"{'' if ours['converged'] else 'not '}converged, log likelihood {ours['optimum']:.1f}. "
                f"Peak memory {ours['memory']:.0f} MiB"
                + (f", Starfish {theirs['memory']:.0f} MiB." if theirs else ".")
            )


if __name__ == "__main__":
    main()
