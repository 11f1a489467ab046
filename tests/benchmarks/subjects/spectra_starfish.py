# SPDX-License-Identifier: BSD-3-Clause
"""Starfish."""

from __future__ import annotations

import time
from importlib import metadata
from typing import Any

import numpy as np
from Starfish import Spectrum
from Starfish.emulator import Emulator
from Starfish.models import SpectrumModel

from . import spectra

TITLE = "Starfish"
NOTE = ""
FACTS: dict[str, Any] = {}


def versions() -> dict[str, str]:
    return {"astrostarfish": metadata.version("astrostarfish"), "numpy": np.__version__}


def cases(options: dict[str, Any]) -> spectra.Cases:
    shared = spectra.Shared(Emulator, Spectrum, SpectrumModel, options)

    def make() -> dict[str, float]:
        """The emulator of both packages, in Starfish's layout."""
        grid = spectra.library(spectra.SMALL, 4096, 5300.0)
        emulator = spectra.prepared(Emulator.from_grid(grid, n_components=spectra.COMPONENTS))
        emulator.save(str(shared.folder / "starfish.hdf5"))
        return {}

    def training(seconds: float) -> dict[str, float]:
        """Its own training, as it comes, but that it ends after some processor time; the best that it had."""
        grid = spectra.library(spectra.SMALL, 4096, 5300.0)
        emulator = Emulator.from_grid(grid, n_components=spectra.COMPONENTS)
        began, best = time.process_time(), [float(emulator.log_likelihood())]

        class Enough(Exception):
            pass

        def watch(x: Any) -> None:
            emulator.set_param_vector(x)
            best.append(float(emulator.log_likelihood()))
            if time.process_time() - began > seconds:
                raise Enough

        ended = True
        try:
            emulator.train(callback=watch)
        except Enough:
            ended = False
        return {"training": time.process_time() - began, "converged": float(ended), "optimum": max(best)}

    FACTS.update(make=make, training=training, values=shared.values, memory=shared.memory)
    known: spectra.Cases = {}
    for m in options["components"]:
        known[f"hyper {m}"] = shared.hyper(m), 1.0
        known[f"call {m}"] = shared.call(m), 1.0
    for pixels in options["sizes"]:
        for name in spectra.MODELS:
            if pixels <= options["peer_pixels"]:
                known[f"likelihood {pixels} {name}"] = shared.likelihood("starfish.hdf5", pixels, name), 1.0
    return known
