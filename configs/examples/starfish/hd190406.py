# SPDX-License-Identifier: BSD-3-Clause
"""HD 190406, a G0 dwarf, from its Keck/HIRES spectrum: ``python hd190406.py SPECTRUM LIBRARY``.

SPECTRUM is the star's FITS file of specmatch-emp (Keck Observatory Archive): extension 0 has the counts, 2
the wavelengths. LIBRARY is a grid in Starfish's layout that covers 5130 to 5240 A (the Mg b triplet). Needs
astropy, emcee and matplotlib. Writes hd190406.toml (the state of the fit), hd190406_residuals_0.png, _1.png
and hd190406_corner.png.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from zelos.starfish import Emulator, Spectrum, SpectrumModel, find_residual_peaks, local_kernels

C_KMS = 299792.458
#: Order of the file -> what is used of it (A): the library's range, without the ends of the blaze.
RANGES = {2: (5130.0, 5207.0), 3: (5203.0, 5240.0)}
SEGMENT = 10.0
LITERATURE = {"T": 5930.0, "logg": 4.4, "Z": 0.03}


def read(path: str) -> list[tuple[Any, Any, Any]]:
    """Wavelength, flux over its median and the photons' noise of each order: the file has no usable one."""
    orders = []
    with fits.open(path) as file:
        for order, (low, high) in RANGES.items():
            wave, counts = (np.array(file[i].data[order], dtype=float) for i in (2, 0))
            inside = (wave > low) & (wave < high)
            wave, counts = wave[inside], counts[inside]
            level = np.median(counts)
            orders.append((wave, counts / level, np.sqrt(counts) / level))
    return orders


def straighten(emulator: Emulator, orders: list[tuple[Any, Any, Any]]) -> list[tuple[Any, Any, Any]]:
    """The wavelengths of the file are stretched by some km/s across an order. Segments get a velocity of
    their own; a parabola through those takes them out."""
    pieces, owner = [], []
    for i, (wave, flux, sigma) in enumerate(orders):
        edges = np.linspace(wave[0], wave[-1] + 1e-6, round((wave[-1] - wave[0]) / SEGMENT) + 1)
        for low, high in itertools.pairwise(edges):
            inside = (wave >= low) & (wave < high)
            pieces.append((wave[inside], flux[inside], sigma[inside]))
            owner.append(i)
    model = SpectrumModel(
        emulator,
        Spectrum(*(list(column) for column in zip(*pieces, strict=True))),
        list(LITERATURE.values()),
        orders=[{"vz": 20.0, "log_scale": 0.0, "cheb": [0.0]} for _ in pieces],
        global_cov={"log_amp": -7.0, "log_ls": 1.0},
    )
    model.train()
    straight = []
    for i, (wave, flux, sigma) in enumerate(orders):
        mine = [k for k, o in enumerate(owner) if o == i]
        centres = np.array([pieces[k][0].mean() for k in mine])
        velocities = np.array([model[f"orders:{k}:vz"] for k in mine])
        parabola = np.polynomial.Polynomial.fit(centres, velocities, 2)
        scatter = np.std(velocities - parabola(centres))
        print(f"order {i}: {velocities.min():.1f} to {velocities.max():.1f} km/s, scatter {scatter:.2f}")
        straight.append((wave / (1 + parabola(wave) / C_KMS), flux, sigma))
    return straight


def fit(emulator: Emulator, orders: list[tuple[Any, Any, Any]], rounds: int) -> SpectrumModel:
    data = Spectrum(*(list(column) for column in zip(*orders, strict=True)), name="HD 190406")
    own = [{"vz": 0.0, "log_scale": 0.0, "cheb": [0.0] * 3} for _ in data]
    model = SpectrumModel(
        emulator,
        data,
        list(LITERATURE.values()),
        vsini=3.0,
        orders=own,
        global_cov={"log_amp": -7.0, "log_ls": 1.0},
    )
    model.train()
    for _ in range(rounds):  # lines that the library has wrong
        for i in range(len(data)):
            key = f"orders:{i}:local_cov"
            old = model[key].nested().values() if key in model.params else []
            known = [kernel["mu"] for kernel in old]
            new = [
                mu
                for mu in find_residual_peaks(model, threshold=3.0, buffer=0.8, order=i)
                if all(abs(mu - other) > 0.8 for other in known)
            ]
            if new:
                model[key] = [*old, *local_kernels(model, new, width=10.0, order=i)]
        model.freeze([f"{key}" for key in model.params if key.endswith((":mu", ":log_sigma"))])
        model.train()
    return model


def scores(model: SpectrumModel) -> Any:
    """Residuals over the standard deviations that the model has."""
    all_scores = []
    for i, order in enumerate(model.spectrum):
        flux, std = model.flux_and_std(i)
        all_scores.append((order.flux - flux) / std)
    return np.concatenate(all_scores)


def sample(model: SpectrumModel, steps: int) -> tuple[list[str], Any]:
    """A chain of all parameters but those of the local kernels, which stay at their best values."""
    import emcee

    model.freeze([key for key in model.params if ":local_cov:" in key])
    model.outside = "reject"
    labels, best = list(model.labels), model.get_param_vector()
    n = len(best)
    low = np.where(np.array(labels) == "vsini", 0.0, -np.inf)

    def log_probability(x: Any) -> float:
        if np.any(x < low):
            return -np.inf
        model.set_param_vector(x)
        return model.log_likelihood()

    information = np.empty((n, n))
    for i in range(n):
        step = 1e-4 * max(abs(best[i]), 1.0) * (np.arange(n) == i)
        slopes = []
        for x in (best + step, best - step):
            model.set_param_vector(np.maximum(x, low))
            slopes.append(model.log_likelihood_gradient()[1])
        information[i] = (slopes[1] - slopes[0]) / (2 * step[i])
    values, vectors = np.linalg.eigh(0.5 * (information + information.T))
    root = vectors / np.sqrt(np.maximum(values, 1e-6 * values.max() / n))
    random = np.random.default_rng(1)
    start = np.maximum(best + random.normal(size=(max(2 * n + 2, 32), n)) @ root.T, low + 1e-6)
    moves = [(emcee.moves.DEMove(), 0.7), (emcee.moves.StretchMove(), 0.3)]
    sampler = emcee.EnsembleSampler(len(start), n, log_probability, moves=moves)
    sampler.run_mcmc(start, steps)
    model.set_param_vector(best)
    return labels, sampler.get_chain(discard=steps // 3, flat=True)


def corner(labels: list[str], chain: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    shown = [labels.index(name) for name in ("T", "logg", "Z", "vsini")]
    figure, axes = plt.subplots(len(shown), len(shown), figsize=(7, 7))
    for row, i in enumerate(shown):
        for column, k in enumerate(shown):
            ax = axes[row, column]
            if column > row:
                ax.axis("off")
                continue
            if column == row:
                ax.hist(chain[:, i], bins=30, histtype="step", color="C0", density=True)
                ax.set_title(f"{chain[:, i].mean():.4g} ± {chain[:, i].std():.2g}", fontsize="small")
                ax.set_yticks([])
            else:
                counts, x, y = np.histogram2d(chain[:, k], chain[:, i], bins=25)
                levels = np.sort(counts.ravel())[::-1]
                total = np.cumsum(levels) / levels.sum()
                edges = sorted({levels[np.searchsorted(total, p)] for p in (0.955, 0.683)})
                centres = 0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1])
                ax.contourf(*centres, counts.T, [*edges, counts.max() + 1], colors=["C0", "C0"], alpha=0.4)
                ax.contour(*centres, counts.T, edges, colors="C0", linewidths=0.8)
            if row == len(shown) - 1:
                ax.set_xlabel(labels[k])
                ax.tick_params(axis="x", rotation=45, labelsize="small")
            else:
                ax.set_xticklabels([])
            if column == 0 and row > 0:
                ax.set_ylabel(labels[i])
                ax.tick_params(axis="y", labelsize="small")
            elif column > 0:
                ax.set_yticklabels([])
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spectrum")
    parser.add_argument("library")
    parser.add_argument("--components", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3, help="of local kernels")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path())
    options = parser.parse_args()
    import matplotlib as mpl

    mpl.use("Agg")
    emulator = Emulator.from_grid(options.library, options.components, whiten_pixels=False)
    emulator.train("independent", mean_degree=2)
    model = fit(emulator, straighten(emulator, read(options.spectrum)), options.rounds)
    model.save(options.out / "hd190406.toml")
    z = np.abs(scores(model))
    shares = ", ".join(f"{100 * np.mean(z < k):.1f} % within {k} sigma" for k in (1, 2, 3))
    kernels = sum(key.endswith(":mu") for key in model.params)
    print(f"{len(z)} pixels, {kernels} local kernels; {shares}")
    for i in range(len(model.spectrum)):
        axes = model.plot(i)
        axes[0].figure.savefig(options.out / f"hd190406_residuals_{i}.png", dpi=110)
    labels, chain = sample(model, options.steps)
    for name, literature in LITERATURE.items():
        column = chain[:, labels.index(name)]
        print(f"{name:>6} {column.mean():9.3f} +- {column.std():.3f}   (literature {literature:g})")
    corner(labels, chain, options.out / "hd190406_corner.png")


if __name__ == "__main__":
    main()
