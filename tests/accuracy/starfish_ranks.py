# SPDX-License-Identifier: BSD-3-Clause
"""Injection and recovery with a spectral emulator: ``python tests/accuracy/starfish_ranks.py``.

Spectra of the closed form of tests/python/starfish/library.py, between the points of the library that the
emulator is made of, with noise. Truths are drawn from the prior, so that with the right posterior the rank
of each truth among draws of its posterior is uniform (Talts et al. 2018, arXiv:1804.06788). The same spectra
are fitted with `starfish_compat`, which has Starfish's covariance. Writes a table, and starfish_ranks.png and
starfish_posterior.png in docs/images. What is done is kept in --folder: run it again to go on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from zelos.starfish import Emulator, Grid, Spectrum, SpectrumModel

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tests.python.starfish import library  # noqa: E402

NAMES = ("T", "logg", "Z", "vz", "log_scale")
LOW = np.array([5050.0, 3.55, -0.95, -3.0, -0.03])
HIGH = np.array([6450.0, 4.95, 0.45, 3.0, 0.03])
NOISE = 5e-3
MODELS = {"zelos": {}, "Starfish's covariance": {"starfish_compat": True}}


def make_emulator(folder: Path) -> Emulator:
    path = folder / "emulator.h5"
    if not path.exists():
        grid = Grid(library.WL, library.points(), library.NAMES, library.fluxes())
        emulator = Emulator.from_grid(grid, n_components=20, whiten_pixels=False)
        emulator.train("independent", mean_degree=2)
        emulator.save(path)
    return Emulator.load(path)


def observe(index: int) -> tuple[Any, Spectrum]:
    """Truth and spectrum: the closed form itself, shifted by moving its wavelengths."""
    random = np.random.default_rng([7, index])
    truth = random.uniform(LOW, HIGH)
    rest = library.spectrum(truth[:3])
    factor = np.sqrt((299792.458 + truth[3]) / (299792.458 - truth[3]))
    wave = library.WL * factor  # where the star's pixels are seen
    flux = np.exp(truth[4]) * rest / rest.mean() + NOISE * random.normal(size=len(wave))
    inside = slice(40, -40)
    return truth, Spectrum(wave[inside], flux[inside], np.full(len(wave[inside]), NOISE))


def draws(model: SpectrumModel, truth: Any, steps: int, random: Any) -> Any:
    """Posterior draws by an ensemble of walkers, the first half of whose steps is thrown away."""
    import emcee

    walkers = 20

    def log_probability(x: Any) -> float:
        if np.any(x < LOW) or np.any(x > HIGH):
            return -np.inf
        model.set_param_dict(dict(zip(NAMES, x, strict=True)))
        return model.log_likelihood()

    width = (HIGH - LOW) * (0.02 if not model.starfish_compat else 0.15)
    # The truth is a draw of the posterior; walkers around it forget it within the part that is thrown away.
    start = np.clip(truth + width * random.normal(size=(walkers, len(truth))), LOW, HIGH)
    start = np.clip(start, LOW + 1e-6 * (HIGH - LOW), HIGH - 1e-6 * (HIGH - LOW))
    moves = [(emcee.moves.DEMove(), 0.7), (emcee.moves.StretchMove(), 0.3)]
    sampler = emcee.EnsembleSampler(walkers, len(truth), log_probability, moves=moves)
    sampler.random_state = np.random.RandomState(random.integers(2**31)).get_state()
    sampler.run_mcmc(start, steps)
    return sampler.get_chain(discard=steps // 2, thin=5, flat=True)


def run(folder: Path, count: int, steps: int) -> dict[str, list[dict[str, Any]]]:
    emulator = make_emulator(folder)
    path = folder / "ranks.json"
    done: dict[str, list[dict[str, Any]]] = (
        json.loads(path.read_text()) if path.exists() else {name: [] for name in MODELS}
    )
    for index in range(count):
        truth, data = observe(index)
        for name, options in MODELS.items():
            if len(done[name]) > index:
                continue
            began = time.process_time()
            parameters = {"vz": 0.0, "log_scale": 0.0, **options}
            model = SpectrumModel(emulator, data, truth[:3], outside="reject", **parameters)
            chain = draws(model, truth, steps, np.random.default_rng([8, index]))
            done[name].append(
                {
                    "truth": truth.tolist(),
                    "rank": (chain < truth).mean(axis=0).tolist(),
                    "mean": chain.mean(axis=0).tolist(),
                    "sigma": chain.std(axis=0).tolist(),
                    "seconds": time.process_time() - began,
                }
            )
        if index % 10 == 9 or index == count - 1:
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(done))
            temporary.replace(path)
            print(index + 1, flush=True)
    return done


def table(done: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["| | " + " | ".join(NAMES) + " |", "| --- |" + " ---: |" * len(NAMES)]
    for name, cases in done.items():
        ranks, sigma = (np.array([case[key] for case in cases]) for key in ("rank", "sigma"))
        truth, mean = (np.array([case[key] for case in cases]) for key in ("truth", "mean"))
        p = [stats.kstest(column, "uniform").pvalue for column in ranks.T]
        lines.append(f"| {name}: KS p | " + " | ".join(f"{x:.2g}" for x in p) + " |")
        inside = np.mean(np.abs(ranks - 0.5) < 0.3413, axis=0)
        lines.append(
            "| truth within the central 68 % | " + " | ".join(f"{100 * x:.0f} %" for x in inside) + " |"
        )
        lines.append("| median sigma | " + " | ".join(f"{x:.2g}" for x in np.median(sigma, axis=0)) + " |")
        rms = np.sqrt(np.mean((mean - truth) ** 2, axis=0))
        lines.append("| rms error | " + " | ".join(f"{x:.2g}" for x in rms) + " |")
    return "\n".join(lines)


def figures(done: dict[str, list[dict[str, Any]]], folder: Path, images: Path, steps: int) -> None:
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
    truth, data = observe(index)
    emulator = make_emulator(folder)
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
        chain = draws(model, truth, 4 * steps, np.random.default_rng(1))
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
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("ranks"))
    parser.add_argument("--images", type=Path, default=ROOT / "docs/images")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    done = run(options.folder, options.count, options.steps)
    print(table(done))
    figures(done, options.folder, options.images, options.steps)


if __name__ == "__main__":
    main()
