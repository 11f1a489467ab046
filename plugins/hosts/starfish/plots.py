# SPDX-License-Identifier: BSD-3-Clause
"""Pictures; matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .optional import need

if TYPE_CHECKING:
    from .emulator import Emulator
    from .model import SpectrumModel
    from .spectrum import Spectrum


def _pyplot() -> Any:
    return need("matplotlib.pyplot", "a plot")


def eigenspectra(emulator: Emulator, largest: int | None = None) -> Any:
    """Mean, then each component (the first ones, if `largest` is given) times the scatter of the pixels
    and of its weight."""
    rows = np.vstack(
        [
            emulator.flux_mean,
            (emulator.eigenspectra * emulator.flux_std * emulator.weights.std(axis=0)[:, np.newaxis])[
                :largest
            ],
        ]
    )
    figure, axes = _pyplot().subplots(
        len(rows), 1, sharex=True, figsize=(9, 1.2 * len(rows) + 1), squeeze=False
    )
    for i, (ax, row) in enumerate(zip(axes[:, 0], rows, strict=True)):
        ax.plot(emulator.wl, row, lw=0.5, color="k")
        ax.set_ylabel("mean" if i == 0 else f"$\\sigma_w X_{i - 1}$")
    axes[-1, 0].set_xlabel(r"$\lambda$ [$\AA$]")
    return figure


def weights(emulator: Emulator, component: int) -> Any:
    """Along each axis through the grid point that is nearest to the middle, with bands of 2 sigma."""
    points = emulator.grid_points
    centre = points[emulator.get_index((emulator.min_params + emulator.max_params) / 2)]
    names = emulator.param_names
    figure, axes = _pyplot().subplots(
        1, len(names), figsize=(4 * len(names), 3.2), squeeze=False, sharey=True
    )
    for d, (ax, name) in enumerate(zip(axes[0], names, strict=True)):
        line = np.linspace(emulator.min_params[d], emulator.max_params[d], 101)
        mean, variance = [], []
        inside = []
        for x in line:
            point = centre.copy()
            point[d] = x
            if emulator._region.why_outside(point):
                continue
            mu, cov = emulator(point, full_cov=False)
            inside.append(x)
            mean.append(mu[component])
            variance.append(cov[component])
        m, s = np.array(mean), 2 * np.sqrt(variance)
        ax.plot(inside, m, color="C0")
        ax.fill_between(inside, m - s, m + s, color="C0", alpha=0.3, label=r"2 $\sigma$")
        others = np.delete(np.arange(len(names)), d)
        on_line = np.all(points[:, others] == centre[others], axis=1)
        ax.plot(points[on_line, d], emulator.weights[on_line, component], "k.", label="library")
        ax.set_xlabel(name)
    axes[0, 0].set_ylabel(f"$w_{component}$")
    axes[0, 0].legend()
    figure.tight_layout()
    return figure


def training(emulator: Emulator) -> Any:
    """How far each evaluation was from the best log posterior."""
    figure, ax = _pyplot().subplots(figsize=(6, 3.5))
    history = emulator.training.history if emulator.training is not None else []
    if history:
        evaluations, values = zip(*history, strict=True)
        gap = values[-1] - np.array(values)
        ax.semilogy(evaluations[:-1], np.maximum(gap[:-1], 1e-6), "k.-", lw=0.7)
    ax.set_xlabel("evaluations")
    ax.set_ylabel("best log posterior - log posterior")
    figure.tight_layout()
    return figure


def errors(emulator: Emulator) -> Any:
    found = emulator.held_out()
    scale = np.sqrt(np.mean((emulator.eigenspectra * emulator.flux_std) ** 2, axis=1))
    components = np.arange(emulator.ncomps)
    figure, ax = _pyplot().subplots(figsize=(8, 3.5))
    ax.semilogy(components, emulator.weights.std(axis=0) * scale, "k.-", lw=0.7, label="size of the weight")
    ax.semilogy(
        components, np.sqrt(np.mean(found.errors**2, axis=0)) * scale, "o-", ms=3, lw=0.7, label="error"
    )
    ax.semilogy(
        components,
        np.sqrt(np.mean(found.sigmas**2, axis=0)) * scale,
        "--",
        lw=1,
        label="predicted error",
    )
    left = float(np.sqrt(np.mean(emulator.residual_variance)))
    if left > 0:
        ax.axhline(left, color="0.5", lw=0.8, ls=":", label="left out by the components")
    ax.set_xlabel("component")
    ax.set_ylabel("rms in flux" if not emulator.log_flux else "rms in ln(flux)")
    ax.legend(fontsize="small", ncol=2)
    figure.tight_layout()
    return figure


def z_scores(emulator: Emulator) -> Any:
    found = emulator.held_out()
    z = found.errors / found.sigmas
    figure, (left, right) = _pyplot().subplots(1, 2, figsize=(10, 3.2), width_ratios=(1, 2))
    at = np.linspace(-5, 5, 201)
    left.hist(np.clip(z, -5, 5).ravel(), bins=40, density=True, color="C0", alpha=0.6)
    left.plot(at, np.exp(-0.5 * at**2) / np.sqrt(2 * np.pi), "k-", lw=0.8)
    left.set_xlabel("error / predicted error")
    right.bar(np.arange(emulator.ncomps), np.sqrt(np.mean(z**2, axis=0)), color="C0")
    right.axhline(1, color="k", lw=0.8)
    right.set_xlabel("component")
    right.set_ylabel("rms")
    figure.tight_layout()
    return figure


def reconstruction(emulator: Emulator, params: Any, truth: Any) -> Any:
    points = emulator.grid_points
    point = (
        points[emulator.get_index((emulator.min_params + emulator.max_params) / 2)]
        if params is None
        else np.asarray(params, dtype=np.float64)
    )
    flux, sigma = emulator.load_flux(point), np.sqrt(emulator.flux_variance(point))
    rows = 1 if truth is None else 2
    figure, axes = _pyplot().subplots(rows, 1, sharex=True, figsize=(9, 2.6 * rows), squeeze=False)
    ax = axes[0, 0]
    ax.plot(emulator.wl, flux, lw=0.6, color="C0", label="emulator")
    ax.fill_between(emulator.wl, flux - 2 * sigma, flux + 2 * sigma, color="C0", alpha=0.4, lw=0)
    ax.set_ylabel("flux / mean")
    ax.set_title(", ".join(f"{n} = {x:g}" for n, x in zip(emulator.param_names, point, strict=True)))
    if truth is not None:
        ax.plot(emulator.wl, truth, lw=0.4, color="k", label="library")
        axes[1, 0].plot(emulator.wl, truth - flux, lw=0.4, color="k")
        axes[1, 0].fill_between(
            emulator.wl, -2 * sigma, 2 * sigma, color="C0", alpha=0.4, lw=0, label=r"2 $\sigma$"
        )
        axes[1, 0].set_ylabel("difference")
        axes[1, 0].legend(fontsize="small")
    ax.legend(fontsize="small")
    axes[-1, 0].set_xlabel(r"$\lambda$ [$\AA$]")
    figure.tight_layout()
    return figure


def spectrum(data: Spectrum, ax: Any, options: dict[str, Any]) -> Any:
    if ax is None:
        _, ax = _pyplot().subplots()
    for i, order in enumerate(data):
        ax.plot(order._wave, order._flux, label=f"Order: {i}", **{"lw": 0.5, **options})
        ax.fill_between(
            order._wave, 0, 1, transform=ax.get_xaxis_transform(), color="k", alpha=0.1, where=~order.mask
        )
    ax.set_xlabel(r"$\lambda$ [$\AA$]")
    ax.set_ylabel(r"$f_\lambda$")
    ax.legend()
    if data.name is not None:
        ax.set_title(data.name)
    return ax


def model(
    fit: SpectrumModel, axes: Any, plot_options: dict[str, Any], residual_options: dict[str, Any], order: int
) -> Any:
    data = fit.spectrum[order]
    wave, observed = data._wave, np.where(data.mask, data._flux, np.nan)
    flux, std = np.full((2, len(data)), np.nan)  # lines end at what is masked
    flux[data.mask], std[data.mask] = fit.flux_and_std(order)
    if axes is None:
        _, axes = _pyplot().subplots(3, 1, sharex=True, figsize=(9, 6.5), height_ratios=(2, 1, 1))
    lines, thin = {"lw": 0.7, **plot_options}, {"color": "k", "lw": 0.4, **residual_options}
    axes[0].plot(wave, observed, label="Data", **lines)
    axes[0].plot(wave, flux, label="Model", **lines)
    axes[0].set_ylabel(r"$f_\lambda$")
    axes[0].set_title(fit.data_name)
    axes[0].legend()
    axes[1].plot(wave, observed - flux, **thin)
    for k, alpha in ((1, 0.6), (2, 0.4), (3, 0.2)):
        axes[1].fill_between(wave, -k * std, k * std, color="C2", alpha=alpha, lw=0, label=rf"{k} $\sigma$")
    axes[1].set_ylabel(r"$\Delta f_\lambda$")
    axes[1].legend(loc="upper right", ncol=3, fontsize="small")
    if len(axes) > 2:
        axes[2].plot(wave, (observed - flux) / observed, **thin)
        axes[2].set_ylabel(r"$\Delta f_\lambda / f_\lambda$")
    axes[min(len(axes), 3) - 1].set_xlabel(r"$\lambda$ [$\AA$]")
    return axes
