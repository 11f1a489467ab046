# SPDX-License-Identifier: BSD-3-Clause
"""HD 190406, a G0 dwarf, from its Keck/HIRES spectrum: ``python hd190406.py SPECTRUM``.

SPECTRUM is the star's FITS file of specmatch-emp (Keck Observatory Archive): extension 0 has the counts, 2
the wavelengths. The library is the emulator that ships, hub:MARCS_mgb, on a grid around the star. Needs
astropy, matplotlib, Cobaya and GetDist: ``pip install 'zelos[starfish,cobaya]' astropy``.

Writes hd190406.toml (the state of the fit) and, in --images, hd190406_residuals.png and hd190406_corner.png;
prints how many pixels are within 1, 2 and 3 standard deviations, and the parameters beside the literature's.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

import zelos
from zelos.starfish import Emulator, Grid, Spectrum, SpectrumModel, find_residual_peaks, local_kernels

C_KMS = 299792.458
#: Order of the file, and what is used of it (A). The library has atoms alone: blueward of 5165.3 A, where the
#: (0, 0) Swan band of C2 begins, its errors are others than redward, so that order is two. No pixel is used
#: twice.
RANGES = ((2, 5130.0, 5165.3), (2, 5165.3, 5205.0), (3, 5205.0, 5240.0))
#: Electrons for each count of the file (CCDGAIN = low); what neighbouring pixels of the continuum differ by
#: agrees.
GAIN = 2.0
#: Pixels of the file that are one of the fit: 5.3 km/s, a resolution element. What the library has wrong is
#: as smooth as the line profile, and a Matern 3/2 kernel is not: with finer pixels its shape there decides
#: its amplitude.
BIN = 4
#: Of a window in which the wavelengths have one velocity (A).
SEGMENT = 10.0
#: No residual is left that is larger, in standard deviations: lines beyond that get local kernels.
THRESHOLD = 3.0
#: Of a line, as a standard deviation (km/s): resolution, thermal motion and turbulence.
WIDTH = 6.0
#: Brewer et al. (2016), ApJS 225, 32, from HIRES; with the errors that it states.
LITERATURE = {"T": (5941.0, 25.0), "logg": (4.403, 0.028), "Z": (0.070, 0.010)}


def library() -> Grid:
    """hub:MARCS_mgb around the star. Its resolution is 55000, that of the spectrum (decker B1) about 67000:
    what it is broader by, 3 km/s, is less than the star's macroturbulence, which the model does not have."""
    stars = zelos.get_emulator("hub:MARCS_mgb")
    axes = np.linspace(5300, 6500, 7), np.linspace(3.6, 5.0, 5), np.linspace(-0.6, 0.5, 6)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return Grid(stars.axes("flux")["wavelength"], points, list(LITERATURE), stars.evaluate(points)["flux"])


def read(path: str) -> list[tuple[Any, Any, Any]]:
    """Wavelength, flux over its median and the photons' noise of each range: the file has no usable one."""
    ranges = []
    with fits.open(path) as file:
        for order, low, high in RANGES:
            wave, counts = (np.array(file[i].data[order], dtype=float) for i in (2, 0))
            inside = (wave >= low) & (wave < high)
            count = np.count_nonzero(inside) // BIN * BIN
            wave, counts = (a[inside][:count].reshape(-1, BIN).mean(axis=1) for a in (wave, counts))
            level = np.median(counts)
            ranges.append((wave, counts / level, np.sqrt(counts / GAIN / BIN) / level))
    return ranges


def straighten(emulator: Emulator, ranges: list[tuple[Any, Any, Any]]) -> list[tuple[Any, Any, Any]]:
    """The wavelengths of the file are stretched by some km/s across an order. Segments get a velocity of
    their own; a parabola through those of an order takes them out."""
    pieces, owner = [], []
    for (order, _, _), (wave, flux, sigma) in zip(RANGES, ranges, strict=True):
        edges = np.linspace(wave[0], wave[-1] + 1e-6, round((wave[-1] - wave[0]) / SEGMENT) + 1)
        for low, high in itertools.pairwise(edges):
            inside = (wave >= low) & (wave < high)
            pieces.append((wave[inside], flux[inside], sigma[inside]))
            owner.append(order)
    model = SpectrumModel(
        emulator,
        Spectrum(*(list(column) for column in zip(*pieces, strict=True))),
        [value for value, _ in LITERATURE.values()],
        orders=[{"vz": 20.0, "log_scale": 0.0, "cheb": [0.0]} for _ in pieces],
        global_cov={"log_amp": -7.0, "log_ls": 1.0},
    )
    model.train()
    straight = []
    for (order, _, _), (wave, flux, sigma) in zip(RANGES, ranges, strict=True):
        mine = [k for k, o in enumerate(owner) if o == order]
        centres = np.array([pieces[k][0].mean() for k in mine])
        velocities = np.array([model[f"orders:{k}:vz"] for k in mine])
        parabola = np.polynomial.Polynomial.fit(centres, velocities, 2)
        straight.append((wave / (1 + parabola(wave) / C_KMS), flux, sigma))
    return straight


class Normal:
    def __init__(self, mean: float, width: float) -> None:
        self.mean, self.width = mean, width

    def logpdf(self, x: Any) -> Any:
        return -0.5 * ((x - self.mean) / self.width) ** 2


def fit(emulator: Emulator, ranges: list[tuple[Any, Any, Any]], rounds: int) -> SpectrumModel:
    """Each range has its own continuum and its own noise: a global kernel, and local ones where lines are
    wrong. They are looked for until no residual is above the threshold (Czekala et al. 2015, section 3.3)."""
    data = Spectrum(*(list(column) for column in zip(*ranges, strict=True)), name="HD 190406")
    own = {"vz": 0.0, "log_scale": 0.0, "cheb": [0.0] * 3, "global_cov": {"log_amp": -7.0, "log_ls": 1.0}}
    model = SpectrumModel(
        emulator, data, [value for value, _ in LITERATURE.values()], vsini=3.0, orders=[own] * len(data)
    )
    model.train()
    report(model, "no local kernel")
    priors: dict[str, Normal] = {}
    for _ in range(rounds):
        added = 0
        for i in range(len(data)):
            key = f"orders:{i}:local_cov"
            old = list(model[key].nested().values()) if key in model.params else []
            new = [
                mu
                for mu in find_residual_peaks(model, threshold=THRESHOLD, buffer=0.8, order=i)
                if all(abs(mu - kernel["mu"]) > 0.2 for kernel in old)
            ]
            if new:
                more = local_kernels(model, new, width=WIDTH, order=i)
                for k, kernel in enumerate(more, start=len(old)):  # each is a line near where it was seen
                    priors[f"{key}:{k}:mu"] = Normal(kernel["mu"], 0.05)
                    priors[f"{key}:{k}:log_amp"] = Normal(kernel["log_amp"], 1.0)
                    priors[f"{key}:{k}:log_sigma"] = Normal(kernel["log_sigma"], 0.3)
                model[key] = [*old, *more]
                added += len(new)
        if not added:
            break
        model.train(priors)
        report(model, f"{added} more local kernels")
    return model


def scores(model: SpectrumModel) -> list[Any]:
    """Residuals over the standard deviations that the model has, for each range."""
    parts = []
    for i, order in enumerate(model.spectrum):
        flux, std = model.flux_and_std(i)
        parts.append((order.flux - flux) / std)
    return parts


def report(model: SpectrumModel, what: str) -> None:
    parts = scores(model)
    z = np.abs(np.concatenate(parts))
    shares = ", ".join(f"{100 * np.mean(z < k):.1f}" for k in (1, 2, 3))
    each = ", ".join(f"{100 * np.mean(np.abs(part) < 1):.1f}" for part in parts)
    values = ", ".join(f"{name} {model[name]:.4g}" for name in (*LITERATURE, "vsini"))
    print(
        f"{what}: {shares} % of {len(z)} pixels within 1, 2, 3 sigma (1 sigma by range: {each}), "
        f"largest {z.max():.1f}; rms {np.sqrt(np.mean(z**2)):.2f}; {values}",
        flush=True,
    )


def sample(model: SpectrumModel, error: float) -> Any:
    """A chain of all parameters but those of the local kernels, which stay at their best values, until
    Cobaya's R - 1 is `error`. Proposals are from the curvature at the best fit. Flat priors."""
    from cobaya.run import run

    model.freeze([key for key in model.params if ":local_cov:" in key])
    model.outside = "reject"
    labels, best = list(model.labels), model.get_param_vector()
    n = len(best)
    low = np.where(np.array(labels) == "vsini", 0.0, -np.inf)
    information = np.empty((n, n))
    for i in range(n):
        step = 1e-4 * max(abs(best[i]), 1.0) * (np.arange(n) == i)
        slopes = []
        for x in (best + step, best - step):
            model.set_param_vector(np.maximum(x, low))
            slopes.append(model.log_likelihood_gradient()[1])
        information[i] = (slopes[1] - slopes[0]) / (2 * step[i])
    values, vectors = np.linalg.eigh(0.5 * (information + information.T))
    covariance = vectors / np.maximum(values, 1e-9 * values.max()) @ vectors.T
    width = np.sqrt(np.diag(covariance))
    names = [label.replace(":", "_") for label in labels]

    def log_likelihood(**point: float) -> float:
        model.set_param_vector([point[name] for name in names])
        return model.log_likelihood()

    params = {
        name: {
            "prior": {"min": float(max(x - 30 * w, bound)), "max": float(x + 30 * w)},
            "ref": {"dist": "norm", "loc": float(x), "scale": float(0.3 * w)},
            "latex": {"T": r"T_\mathrm{eff}", "logg": r"\log g", "Z": "[M/H]", "vsini": r"v \sin i"}.get(
                name, name
            ),
        }
        for name, x, w, bound in zip(names, best, width, low, strict=True)
    }
    _, sampler = run(
        {
            "likelihood": {"star": {"external": log_likelihood, "input_params": names}},
            "params": params,
            "sampler": {
                "mcmc": {
                    "covmat": covariance,
                    "covmat_params": names,
                    "Rminus1_stop": error,
                    "Rminus1_cl_stop": 10 * error,
                    "seed": 1,
                }
            },
        }
    )
    model.set_param_vector(best)
    return sampler.products(skip_samples=0.2, to_getdist=True)["sample"]


def residuals_figure(model: SpectrumModel, path: Path) -> None:
    import matplotlib.pyplot as plt

    count = len(model.spectrum)
    figure, axes = plt.subplots(2 * count, 1, figsize=(9, 4.2 * count), height_ratios=[2, 1] * count)
    for i in range(count):
        model.plot(axes[2 * i : 2 * i + 2], order=i)
        axes[2 * i].sharex(axes[2 * i + 1])
        axes[2 * i].tick_params(labelbottom=False)
        if i:
            axes[2 * i].set_title("")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def corner_figure(chain: Any, path: Path) -> None:
    from getdist import plots

    plotter = plots.get_subplot_plotter(width_inch=6)
    plotter.triangle_plot(
        [chain], [*LITERATURE, "vsini"], filled=True,
        markers={name: value for name, (value, _) in LITERATURE.items()},
    )  # fmt: skip
    plotter.export(str(path))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spectrum")
    parser.add_argument("--components", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=12, help="of local kernels, at most")
    parser.add_argument("--error", type=float, default=0.1, help="R - 1 of the chain")
    parser.add_argument("--state", type=Path, default=Path("hd190406.toml"))
    parser.add_argument("--images", type=Path, default=Path())
    options = parser.parse_args(arguments)
    import matplotlib as mpl

    mpl.use("Agg")
    emulator = Emulator.from_grid(library(), options.components, whiten_pixels=False)
    emulator.train("independent", mean_degree=2)
    model = fit(emulator, straighten(emulator, read(options.spectrum)), options.rounds)
    model.save(options.state)
    residuals_figure(model, options.images / "hd190406_residuals.png")
    chain = sample(model, options.error)
    for name, (value, error) in LITERATURE.items():
        mean, sigma = chain.mean(name), chain.std(name)
        print(
            f"{name:>6} {mean:9.3f} +- {sigma:.3f}; literature {value:g} +- {error:g}, "
            f"difference {(mean - value) / np.hypot(sigma, error):+.1f} sigma"
        )
    corner_figure(chain, options.images / "hd190406_corner.png")


if __name__ == "__main__":
    main()
