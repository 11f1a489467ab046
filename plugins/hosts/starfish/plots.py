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


def eigenspectra(emulator: Emulator) -> Any:
    """Mean, then each component times the scatter of the pixels and of its weight."""
    rows = np.vstack(
        [
            emulator.flux_mean,
            emulator.eigenspectra * emulator.flux_std * emulator.weights.std(axis=0)[:, np.newaxis],
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


def model(fit: SpectrumModel, order: int, axes: Any) -> Any:
    flux, std = fit.flux_and_std(order)
    data = fit.spectrum[order]
    if axes is None:
        _, axes = _pyplot().subplots(2, 1, sharex=True, figsize=(9, 5), height_ratios=(2, 1))
    axes[0].plot(data.wave, data.flux, lw=0.7, label="Data")
    axes[0].plot(data.wave, flux, lw=0.7, label="Model")
    axes[0].set_ylabel(r"$f_\lambda$")
    axes[0].set_title(fit.data_name)
    axes[0].legend()
    axes[1].plot(data.wave, data.flux - flux, color="k", lw=0.4)
    for k, alpha in ((1, 0.6), (2, 0.4), (3, 0.2)):
        axes[1].fill_between(
            data.wave, -k * std, k * std, color="C2", alpha=alpha, lw=0, label=rf"{k} $\sigma$"
        )
    axes[1].set_xlabel(r"$\lambda$ [$\AA$]")
    axes[1].set_ylabel(r"$\Delta f_\lambda$")
    axes[1].legend(loc="upper right", ncol=3, fontsize="small")
    return axes
