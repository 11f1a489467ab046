# SPDX-License-Identifier: BSD-3-Clause
"""Libraries of spectra, and what is asked of emulators and models of them, by the names that zelos.starfish
and Starfish share. Runs in Starfish's Python too."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

Cases = dict[str, tuple[Callable[[], object], float]]

POINT = [5333.0, 4.1, -0.3]
#: The library of the likelihoods, and that of the hyperparameters.
SMALL, LARGE = (10, 6, 5), (10, 10, 7)
COMPONENTS = 5
MODELS = ("plain", "kernels")


def kernels(name: str, wave: Any) -> dict[str, Any]:
    """Parameters of a model's kernels: none, or a global one and two local ones."""
    if name == "plain":
        return {}
    local = [
        {"mu": float(wave[at]), "log_amp": -9.0, "log_sigma": 3.0} for at in (len(wave) // 4, len(wave) // 2)
    ]
    return {"global_cov": {"log_amp": -9.0, "log_ls": 3.0}, "local_cov": local}


def library(shape: tuple[int, int, int], pixels: int, high: float) -> SimpleNamespace:
    """Spectra of saturating lines from 5100 Angstrom on, 1.5 lines in each."""
    random = np.random.default_rng(1)
    wl = np.geomspace(5100.0, high, pixels)
    axes = [np.linspace(*ends, n) for ends, n in zip(((4800, 6600), (3, 5), (-1, 0.5)), shape)]  # noqa: B905
    points = np.array(list(itertools.product(*axes)))
    t, g, z = ((points - [5700.0, 4.0, -0.25]) / [900.0, 1.0, 0.75]).T
    eta = np.zeros((len(points), pixels))
    for centre in random.uniform(5098, high + 2, int(1.5 * (high - 5100))):
        a, b, c, d = random.normal(size=4) * [0.8, 0.7, 0.3, 0.4] + [-0.5, -0.8, 0.1, 0.6]
        near = slice(*np.searchsorted(wl, [centre - 1.2, centre + 1.2]))
        line = np.exp(-0.5 * ((wl[near] - centre) / 0.12) ** 2)
        eta[:, near] += np.exp(a + b * t + c * g + d * z - 0.3 * t * t)[:, np.newaxis] * line
    return SimpleNamespace(
        wl=wl, grid_points=points, fluxes=1 - 0.9 * eta / (1 + eta), param_names=["T", "logg", "Z"]
    )


def prepared(emulator: Any) -> Any:
    """With hyperparameters that all packages are given."""
    emulator.lambda_xi = 1e3
    emulator.variances = 10 * (emulator.weights**2).mean(axis=0)
    emulator.lengthscales = np.tile([1200.0, 1.8, 1.3], (emulator.ncomps, 1))
    emulator.set_param_dict({})
    emulator._trained = True
    return emulator


class Shared:
    """What is timed of a package. Parameters change from call to call: nothing can be kept from the one
    before. Emulators are made when they are first asked for."""

    def __init__(self, emulator: Any, spectrum: Any, model: Any, options: dict[str, Any]) -> None:
        self.emulator, self.spectrum, self.model = emulator, spectrum, model
        self.folder = Path(options["folder"])
        self._steps = itertools.count()
        self._made: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def large(self, components: int) -> Any:
        """Of 700 spectra, with the vector of its hyperparameters."""

        def make() -> Any:
            emulator = prepared(
                self.emulator.from_grid(library(LARGE, 1000, 5200.0), n_components=components)
            )
            return emulator, emulator.get_param_vector()

        return self.once(components, make)

    def hyper(self, components: int, gradient: bool = False) -> Callable[[], object]:
        def run() -> object:
            emulator, vector = self.large(components)
            emulator.set_param_vector(vector + 1e-9 * next(self._steps))
            return emulator.log_likelihood_gradient() if gradient else emulator.log_likelihood()

        return run

    def call(self, components: int) -> Callable[[], object]:
        def run() -> object:
            emulator, _ = self.large(components)
            return emulator([POINT[0] + 1e-3 * (next(self._steps) % 1000), *POINT[1:]])

        return run

    def likelihood(self, file: str, pixels: int, name: str, gradient: bool = False) -> Callable[[], object]:
        """Of a spectrum with the emulator of a file."""

        def make() -> Any:
            emulator = self.once(file, lambda: self.emulator.load(str(self.folder / file)))
            inside = slice((len(emulator.wl) - pixels) // 2, (len(emulator.wl) + pixels) // 2)
            wave = np.ascontiguousarray(emulator.wl[inside])
            flux = np.load(self.folder / f"{len(emulator.wl)}.npy")[inside]
            data = self.spectrum(wave, flux, np.full(pixels, 0.01))
            return self.model(
                emulator,
                data,
                POINT,
                vz=0.0,
                vsini=8.0,
                log_scale=0.0,
                cheb=[0.01, 0.01],
                **kernels(name, wave),
            )

        def run() -> object:
            model = self.once((file, pixels, name), make)
            change = next(self._steps) % 1000
            model.set_param_dict(
                {"T": POINT[0] + 1e-3 * change, "vsini": 8.0 + 1e-4 * change, "vz": 1e-4 * change}
            )
            return model.log_likelihood_gradient() if gradient else model.log_likelihood()

        return run

    def values(self, components: int) -> dict[str, float]:
        """For a comparison of the packages."""
        emulator, vector = self.large(components)
        emulator.set_param_vector(vector)
        return {"value": float(emulator.log_likelihood())}

    def memory(self, components: int) -> dict[str, float]:
        """Peak of this process, MiB, after one likelihood of the hyperparameters and one call."""
        self.hyper(components)()
        self.call(components)()
        return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
