# SPDX-License-Identifier: BSD-3-Clause
"""Injection and recovery with a spectral emulator: ``python tests/accuracy/starfish_ranks.py``.

Spectra of closed forms as in tests/python/starfish/library.py, between the points of the libraries that the
emulators are made of, with noise. Truths are drawn from the prior, so that with the right posterior the rank
of each truth among draws of its posterior is uniform (Talts et al. 2018, arXiv:1804.06788), if all that the
posterior is uncertain of is drawn anew. The emulator's error is part of that, and is the same for all stars
between the same points of a library: so the spectra are from many libraries, with other lines. The same
spectra are fitted with `starfish_compat`, which has Starfish's covariance. Writes a table, and
starfish_ranks.png and starfish_posterior.png in docs/images. What is done is kept in --folder: run it again
to go on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

from zelos.starfish import Emulator, Grid, Spectrum, SpectrumModel

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tests.python.starfish import library  # noqa: E402

NAMES = ("T", "logg", "Z", "vz", "log_scale")
LOW = np.array([5050.0, 3.55, -0.95, -3.0, -0.03])
HIGH = np.array([6450.0, 4.95, 0.45, 3.0, 0.03])
MODELS = {"zelos": {}, "Starfish's covariance": {"starfish_compat": True}}


@dataclass(frozen=True)
class Study:
    folder: Path
    libraries: int
    drawn: bool
    noise: float
    size: int

    def seed(self, index: int) -> int:
        """Of the library that a spectrum is from."""
        return 1 + index % self.libraries


def make_emulator(folder: Path, seed: int) -> Emulator:
    """Of the library whose lines have that seed."""
    path = folder / f"emulator_{seed}.h5"
    if not path.exists():
        fluxes = library.fluxes(library.lines(seed))
        grid = Grid(library.WL, library.points(), library.NAMES, fluxes)
        emulator = Emulator.from_grid(grid, n_components=20, whiten_pixels=False)
        emulator.train("independent", mean_degree=2, n_starts=1, threads=1)
        emulator.save(path)
    return Emulator.load(path)


def observe(index: int, s: Study) -> tuple[Any, Spectrum]:
    """Truth and spectrum: the closed form itself (or a draw of the emulator), shifted by moving its
    wavelengths."""
    random, noise = np.random.default_rng([7, index]), s.noise
    truth = random.uniform(LOW, HIGH)
    if s.drawn:
        rest = make_emulator(s.folder, s.seed(index)).load_flux(truth[:3], sample=True, seed=random)
    else:
        rest = library.spectrum(truth[:3], library.lines(s.seed(index)))
    factor = np.sqrt((299792.458 + truth[3]) / (299792.458 - truth[3]))
    wave = library.WL * factor  # where the star's pixels are seen
    scale = 1.0 if s.drawn else rest.mean()
    flux = np.exp(truth[4]) * rest / scale + noise * random.normal(size=len(wave))
    inside = slice(40, -40)
    return truth, Spectrum(wave[inside], flux[inside], np.full(len(wave[inside]), noise))


def draws(model: SpectrumModel, start: Any, count: int, random: Any) -> tuple[Any, Any]:
    """Points of the posterior and their weights: importance sampling of a Student t about its mode."""
    wide = HIGH - LOW

    def log_likelihood(x: Any) -> float:
        model.set_param_dict(dict(zip(NAMES, x, strict=True)))
        return model.log_likelihood()

    def negative(y: Any) -> float:
        return -log_likelihood(LOW + wide * np.clip(y, 0, 1))

    # In units of the prior; differences of 1e-5 of it are far above rounding.
    found = optimize.minimize(
        negative, (start - LOW) / wide, method="L-BFGS-B", bounds=[(0, 1)] * len(start), options={"eps": 1e-5}
    )
    mode = np.clip(LOW + wide * found.x, LOW + 2e-3 * wide, HIGH - 2e-3 * wide)
    n, middle = len(mode), log_likelihood(mode)
    steps = 1e-3 * wide
    for _ in range(2):  # of about one standard deviation
        curvature = np.array(
            [
                (2 * middle - log_likelihood(mode + e) - log_likelihood(mode - e)) / step**2
                for e, step in zip(np.diag(steps), steps, strict=True)
            ]
        )
        steps = np.minimum(1 / np.sqrt(np.maximum(curvature, 1 / wide**2)), 1.9e-3 * wide)
    information = np.diag(np.maximum(curvature, 1 / wide**2))
    for i in range(n):
        for k in range(i):
            a, b = steps[i] * np.eye(n)[i], steps[k] * np.eye(n)[k]
            mixed = sum(s * t * log_likelihood(mode + s * a + t * b) for s in (1, -1) for t in (1, -1))
            information[i, k] = information[k, i] = -mixed / (4 * steps[i] * steps[k])
    values, vectors = np.linalg.eigh(information * np.outer(wide, wide))
    root = wide[:, np.newaxis] * vectors / np.sqrt(np.clip(values, 1.0, None))
    student = stats.multivariate_t(np.zeros(n), np.eye(n), df=6, seed=random)
    points, weights = [], []
    for _ in range(100 * count):
        t = student.rvs()
        x = mode + 1.2 * root @ t
        if np.all((x >= LOW) & (x <= HIGH)):
            points.append(x)
            weights.append(log_likelihood(x) - student.logpdf(t))
            if len(points) == count:
                break
    weight = np.exp(np.array(weights) - np.max(weights))
    return np.array(points), weight / weight.sum()


def walk(model: SpectrumModel, start: Any, random: Any) -> tuple[Any, Any]:
    """The same for posteriors as wide as the prior, by an ensemble of walkers; the first third of their steps
    is thrown away."""
    import emcee

    walkers, steps = 14, 120

    def log_probability(x: Any) -> float:
        if np.any(x < LOW) or np.any(x > HIGH):
            return -np.inf
        model.set_param_dict(dict(zip(NAMES, x, strict=True)))
        return model.log_likelihood()

    width = (HIGH - LOW) * np.array([0.15, 0.25, 0.03, 0.003, 0.005])
    first = start + width * random.normal(size=(walkers, len(start)))
    first = np.clip(first, LOW + 1e-3 * width, HIGH - 1e-3 * width * random.uniform(1, 2, size=first.shape))
    moves = [(emcee.moves.DEMove(), 0.6), (emcee.moves.StretchMove(), 0.4)]
    sampler = emcee.EnsembleSampler(walkers, len(start), log_probability, moves=moves)
    sampler.random_state = np.random.RandomState(int(random.integers(2**31))).get_state()
    sampler.run_mcmc(first, steps)
    chain = sampler.get_chain(discard=steps // 3, flat=True)
    return chain, np.full(len(chain), 1 / len(chain))


def one(task: tuple[str, int, Study]) -> dict[str, Any]:
    """What became of one spectrum with one model."""
    name, index, s = task
    emulator = make_emulator(s.folder, s.seed(index))
    truth, data = observe(index, s)
    began = time.process_time()
    parameters = {"vz": 0.0, "log_scale": 0.0, **MODELS[name]}
    model = SpectrumModel(emulator, data, truth[:3], outside="reject", **parameters)
    random = np.random.default_rng([8, index])
    if model.starfish_compat:
        points, weights = walk(model, truth, random)
    else:
        points, weights = draws(model, truth, s.size, random)
    mean = weights @ points
    return {
        "truth": truth.tolist(),
        "rank": (weights @ (points < truth)).tolist(),
        "mean": mean.tolist(),
        "sigma": np.sqrt(weights @ (points - mean) ** 2).tolist(),
        "effective": float(1 / np.sum(weights**2)),
        "seconds": time.process_time() - began,
    }


def run(s: Study, counts: dict[str, int], processes: int) -> dict[str, list[dict[str, Any]]]:
    path = s.folder / "ranks.json"
    done: dict[str, list[dict[str, Any]]] = (
        json.loads(path.read_text()) if path.exists() else {name: [] for name in MODELS}
    )
    with multiprocessing.Pool(processes) as pool:
        pool.starmap(make_emulator, [(s.folder, 1 + i) for i in range(s.libraries)])
        for name, count in counts.items():
            tasks = [(name, index, s) for index in range(len(done[name]), count)]
            for case in pool.imap(one, tasks):
                done[name].append(case)
                if len(done[name]) % 5 == 0 or len(done[name]) == count:
                    temporary = path.with_suffix(".tmp")
                    temporary.write_text(json.dumps(done))
                    temporary.replace(path)
                    print(name, len(done[name]), flush=True)
    return {name: done[name][:count] for name, count in counts.items() if count}


def table(done: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["| | " + " | ".join(NAMES) + " |", "| --- |" + " ---: |" * len(NAMES)]
    for name, cases in done.items():
        ranks, sigma = (np.array([case[key] for case in cases]) for key in ("rank", "sigma"))
        truth, mean = (np.array([case[key] for case in cases]) for key in ("truth", "mean"))
        p = [stats.kstest(column, "uniform").pvalue for column in ranks.T]
        lines.append(f"| {name}, {len(cases)} spectra: KS p | " + " | ".join(f"{x:.2g}" for x in p) + " |")
        inside = np.mean(np.abs(ranks - 0.5) < 0.3413, axis=0)
        lines.append(
            "| truth within the central 68 % | " + " | ".join(f"{100 * x:.0f} %" for x in inside) + " |"
        )
        lines.append("| median sigma | " + " | ".join(f"{x:.2g}" for x in np.median(sigma, axis=0)) + " |")
        rms = np.sqrt(np.mean((mean - truth) ** 2, axis=0))
        lines.append("| rms error | " + " | ".join(f"{x:.2g}" for x in rms) + " |")
    return "\n".join(lines)


def figures(done: dict[str, list[dict[str, Any]]], s: Study, images: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(done), len(NAMES), figsize=(11, 4.2), sharex=True, sharey=True)
    for row, (name, cases) in zip(axes, done.items(), strict=True):
        ranks = np.array([case["rank"] for case in cases])
        low, high = stats.binom.interval(0.95, len(cases), 0.1)
        for ax, label, column in zip(row, NAMES, ranks.T, strict=True):
            ax.axhspan(low, high, color="0.85", lw=0)
            ax.hist(column, bins=10, range=(0, 1), histtype="step", color="C0" if "zelos" in name else "C3")
            ax.set_title(f"{label}, p = {stats.kstest(column, 'uniform').pvalue:.2g}", fontsize="small")
        row[0].set_ylabel(name)
    for ax in axes[-1]:
        ax.set_xlabel("rank of the truth")
    figure.tight_layout()
    figure.savefig(images / "starfish_ranks.png", dpi=110)

    index = 0
    truth, data = observe(index, s)
    emulator = make_emulator(s.folder, s.seed(index))
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.9))
    for name, options in MODELS.items():
        model = SpectrumModel(
            emulator,
            data,
            truth[:3],
            outside="reject",
            vz=0.0,
            log_scale=0.0,
            **options,  # type: ignore[arg-type]
        )
        random = np.random.default_rng(1)
        if model.starfish_compat:
            chain, _ = walk(model, truth, random)
        else:
            points, weights = draws(model, truth, 4 * s.size, random)
            chain = points[random.choice(len(points), 4 * s.size, p=weights)]
        for ax, label, column in zip(axes, NAMES, chain.T, strict=False):
            grid = np.linspace(column.min(), column.max(), 300)
            density = stats.gaussian_kde(column)(grid)
            sigma = f"{column.std():.2g}"
            ax.plot(
                grid,
                density / density.max(),
                color="C0" if "zelos" in name else "C3",
                label=f"{name}: {sigma}",
            )
            ax.set_xlabel(label)
    for ax, value in zip(axes, truth, strict=False):
        ax.axvline(value, color="k", lw=0.7, ls="--")
        ax.set_yticks([])
        ax.set_ylim(0, 1.55)
        ax.legend(loc="upper left", fontsize="x-small", title="standard deviation", title_fontsize="x-small")
    figure.tight_layout()
    figure.savefig(images / "starfish_posterior.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--compat-count", type=int, default=200, help="of fits with Starfish's covariance")
    parser.add_argument("--libraries", type=int, default=40, help="that the spectra are from in turn")
    parser.add_argument(
        "--drawn", action="store_true", help="spectra are draws of the emulators, not the closed form"
    )
    parser.add_argument("--noise", type=float, default=0.005, help="of a pixel, relative to the mean flux")
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=Path("ranks"))
    parser.add_argument("--images", type=Path, default=ROOT / "docs/images")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    counts = dict(zip(MODELS, (options.count, options.compat_count), strict=True))
    s = Study(options.folder, options.libraries, options.drawn, options.noise, options.size)
    done = run(s, counts, options.processes)
    print(table(done))
    effective = [case["effective"] for case in done["zelos"]]
    print(f"effective draws: {np.median(effective):.0f}, least {np.min(effective):.0f}")
    seconds = {name: round(sum(case["seconds"] for case in cases)) for name, cases in done.items()}
    print(f"processor time: {seconds}")
    if not s.drawn:
        figures(done, s, options.images)


if __name__ == "__main__":
    main()
