# SPDX-License-Identifier: BSD-3-Clause
"""Reference numbers and files of Starfish 0.4.2: run in its own environment (Python 3.9, `pip install
astrostarfish==0.4.2`), in this folder. Writes reference.json, emulator.hdf5, spectrum.hdf5 and model.toml."""

import json
import platform
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import extinction
import numpy as np
import scipy
import Starfish
from Starfish import Spectrum
from Starfish.emulator import Emulator
from Starfish.models import SpectrumModel

sys.path.insert(0, str(Path(__file__).parents[1]))
import library

warnings.simplefilter("ignore")

MODELS = {
    "plain": {},
    "log_scale": {"log_scale": 0.02},
    "shifted": {"vz": 4.0, "log_scale": 0.0},
    "rotating": {"vsini": 15.0, "log_scale": 0.0},
    "dust": {"Av": 0.4, "log_scale": 0.3},
    "series": {"cheb": [0.1, -0.03], "log_scale": -0.05},
    "global": {"log_scale": 0.0, "global_cov": {"log_amp": -9.0, "log_ls": 1.8}},
    "local": {"log_scale": 0.0, "local_cov": [{"mu": 5120.0, "log_amp": -8.0, "log_sigma": 4.0}]},
}

grid = SimpleNamespace(
    grid_points=library.points(), param_names=library.NAMES, wl=library.WL, fluxes=library.fluxes()
)
emulator = Emulator.from_grid(grid, n_components=4)
out = {
    "versions": {
        "Starfish": Starfish.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    },
    "untrained_log_likelihood": emulator.log_likelihood(),
    "flux_mean": emulator.flux_mean[::37].tolist(),
    "flux_std": emulator.flux_std[::37].tolist(),
    "factors": emulator.factors[::7].tolist(),
    "weights": np.abs(emulator.weights[::7]).tolist(),
}
emulator.lambda_xi = 50.0
emulator.variances = [3e3, 8e2, 2e2, 60.0]
emulator.lengthscales = [[1500.0, 2.0, 1.5], [1300.0, 2.2, 1.4], [1200.0, 1.8, 1.3], [1000.0, 1.5, 1.1]]
emulator.set_param_dict({})
emulator._trained = True
emulator.name = "reference"
out["log_likelihood"] = emulator.log_likelihood()
out["repr"] = repr(emulator)
point = list(library.TRUTH)
mu, cov = emulator(point)
out["mu"], out["cov"] = mu.tolist(), cov.tolist()
pair = [point, [6111.0, 3.9, 0.1]]
mu, cov = emulator(pair)
out["pair_mu"], out["pair_cov"] = mu.tolist(), cov.tolist()
mu, var = emulator(pair, full_cov=False, reinterpret_batch=True)
out["batch_mu"], out["batch_var"] = mu.tolist(), var.tolist()
out["norm_factor"] = float(emulator.norm_factor(point))
emulator.save("emulator.hdf5")
data = Spectrum(*library.observed(), name="observed")
data.save("spectrum.hdf5")
out["models"] = {}
for name, params in MODELS.items():
    model = SpectrumModel(emulator, data, grid_params=point, **params)
    flux, cov = model()
    out["models"][name] = {
        "params": params,
        "log_likelihood": model.log_likelihood(),
        "flux": flux[::29].tolist(),
        "variance": cov.diagonal()[::29].tolist(),
        "covariance_row": cov[200, ::29].tolist(),
    }
wave = np.geomspace(1050.0, 32000.0, 40)
out["extinction"] = {"wave": wave.tolist()}
for law in ("ccm89", "odonnell94"):
    for rv in (2.5, 3.1):
        out["extinction"][f"{law} {rv}"] = getattr(extinction, law)(wave, 1.0, rv).tolist()
everything = {key: value for params in MODELS.values() for key, value in params.items()}
model = SpectrumModel(emulator, data, grid_params=point, **everything)
model.freeze(["vz", "global_cov"])
model.save("model.toml")
model.log_likelihood()
out["labels"] = list(model.labels)
Path("reference.json").write_text(json.dumps(out, indent=1) + "\n")
