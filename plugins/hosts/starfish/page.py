# SPDX-License-Identifier: BSD-3-Clause
"""All that there is to see of an emulator, as one HTML page."""

from __future__ import annotations

import html
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic_file import write_file
from ..pages import image, page, table
from .grid import Array
from .optional import need

if TYPE_CHECKING:
    from .emulator import Emulator

#: Components whose weights are drawn, and eigenspectra that are.
_WEIGHTS, _EIGENSPECTRA = 4, 8


def write_page(emulator: Emulator, filename: str | os.PathLike[str]) -> None:
    matplotlib = need("matplotlib", "a page")
    pyplot = need("matplotlib.pyplot", "a page")
    before = matplotlib.get_backend()
    pyplot.switch_backend("Agg")
    try:
        text = page(f"{emulator.name or 'Emulator'}: spectral emulator", "\n".join(_body(emulator)))
    finally:
        pyplot.switch_backend(before)
    write_file(Path(filename), text)


def _body(emulator: Emulator) -> list[str]:
    parts = ["<h2>What it is</h2>", table(("", ""), _summary(emulator))]
    parts += [
        "<h2>Parameters</h2>",
        table(("parameter", "from", "to", "values", "scale"), _parameters(emulator)),
    ]
    if not emulator.trained:
        parts.append("<p class=bad>It is not trained: there are no predictions yet.</p>")
        return [*parts, "<h2>Eigenspectra</h2>", _drawn(_eigenspectra(emulator), "eigenspectra")]
    if emulator.gram.size == 0:
        found = emulator.held_out()
        parts += [
            "<h2>Error on what was left out</h2>",
            "<p>Inner nodes of an axis are left out in turn, and predicted from the others: twice the "
            "spacing at which the emulator is used. Errors of the flux, rms over pixels; what the components "
            "leave out is not part of them.</p>",
            table(
                ("left out", "relative error", "error / predicted"),
                [("everything", found.error, found.z), *((n, e, z) for n, (e, z) in found.by_axis.items())],
            ),
            _drawn(emulator.plot_errors(), "errors by component"),
            _drawn(emulator.plot_z_scores(), "errors over predicted errors"),
        ]
    parts += ["<h2>A spectrum</h2>", _drawn(emulator.plot_reconstruction(), "spectrum at the middle")]
    parts.append("<h2>Weights</h2>")
    for component in range(min(_WEIGHTS, emulator.ncomps)):
        parts.append(_drawn(emulator.plot_weights(component), f"weight {component} along each axis"))
    parts += ["<h2>Eigenspectra</h2>", _drawn(_eigenspectra(emulator), "eigenspectra")]
    parts.append("<h2>Training</h2>")
    if emulator.training is not None:
        t = emulator.training
        rows: list[tuple[str, Any]] = [
            ("converged", "yes" if t.converged else "no"),
            ("largest component of the gradient", t.gradient_norm),
            ("log posterior", t.log_posterior),
            ("evaluations", t.evaluations),
            ("seconds", t.seconds),
            *t.settings.items(),
        ]
        parts += [table(("", ""), rows), _drawn(emulator.plot_training(), "training")]
    names = [f"length of {name}" for name in emulator.param_names]
    hyper = [
        (str(i), v, n, *lengths)
        for i, (v, n, lengths) in enumerate(
            zip(emulator.variances, emulator.nuggets, emulator.lengthscales, strict=True)
        )
    ]
    parts += ["<h2>Hyperparameters</h2>", table(("component", "variance", "nugget", *names), hyper)]
    provenance = html.escape(json.dumps(emulator.provenance, indent=1))
    return [*parts, f"<h2>Provenance</h2><pre>{provenance}</pre>"]


def _summary(emulator: Emulator) -> list[tuple[str, Any]]:
    return [
        ("spectra", len(emulator.grid_points)),
        (
            "points",
            "a complete grid" if emulator.on_grid else "scattered" if emulator.scattered else "a grid",
        ),
        ("wavelengths", _range(emulator.wl)),
        *([("truncated from", _range(emulator.whole_wl))] if emulator.truncated else []),
        ("components", emulator.ncomps),
        ("of", "the logarithm of the flux" if emulator.log_flux else "the flux"),
        ("left out by the components, rms", float(np.sqrt(np.mean(emulator.residual_variance)))),
        ("kernel", emulator.kernel.replace("_", " ")),
        ("polynomial mean", "none" if emulator.mean_degree < 0 else f"of degree {emulator.mean_degree}"),
        ("predictions from", f"{emulator.neighbours} neighbours" if emulator.neighbours else "all spectra"),
    ]


def _range(wl: Array) -> str:
    return f"{len(wl)} from {wl[0]:g} to {wl[-1]:g}"


def _parameters(emulator: Emulator) -> list[tuple[Any, ...]]:
    return [
        (
            name,
            float(column.min()),
            float(column.max()),
            len(np.unique(column)),
            emulator.scales.get(name, "linear"),
        )
        for name, column in zip(emulator.param_names, emulator.grid_points.T, strict=True)
    ]


def _eigenspectra(emulator: Emulator) -> Any:
    from . import plots

    return plots.eigenspectra(emulator, _EIGENSPECTRA)


def _drawn(figure: Any, alt: str) -> str:
    text = image(figure, alt)
    need("matplotlib.pyplot", "a page").close(figure)
    return text
