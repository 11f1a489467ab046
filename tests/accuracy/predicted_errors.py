# SPDX-License-Identifier: BSD-3-Clause
"""Whether predicted errors are as large as the true ones, on real CAMB runs.

    predicted_errors.py RUNS.npz [FAMILY ...]

Each family is trained on some of the runs, which calibrates its quantiles too, and the share of the
others whose error is below the 95 % quantile is counted: the table of docs/predicted-errors.md. RUNS.npz:
spectra of CAMB over the box of CAMB_lcdm (the tests' camb_lcdm_runs.npz).
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import zelos
from zelos import _core
from zelos.build import validate

Array = np.ndarray[Any, np.dtype[np.float64]]

SPEC = """
name: study
config: {code: camb}
parameters: {ombh2: [0.018, 0.027], omch2: [0.09, 0.15], H0: [50, 90], tau: [0.02, 0.12], logA: [2.7, 3.4],
             ns: [0.9, 1.04]}
features:
  log_ombh2: {log: true, of: [ombh2]}
  log_omch2: {log: true, of: [omch2]}
  log_H0: {log: true, of: [H0]}
  ommh2: {coefficients: [1, 1], of: [ombh2, omch2]}
  log_ommh2: {log: true, of: [ommh2]}
  amplitude: {coefficients: [1, -2], of: [logA, tau]}
  half_logA: {coefficients: [0.5], of: [logA]}
  theta: {emulated: thetastar, of: [log_ombh2, log_ommh2, log_H0], params: {degree: 6}}
  sigma8_now: {emulated: sigma8, of: [log_ombh2, log_omch2, log_H0, ns], params: {degree: 6},
               amplitude: half_logA}
outputs:
  Cl.tt: {transforms: [log, amplitude: {feature: amplitude},
                       pca: {weights: 40, whiten: cosmic_variance}]}
  Cl.ee: {transforms: [log, amplitude: {feature: amplitude},
                       pca: {weights: 50, whiten: cosmic_variance}]}
  Cl.te: {transforms: [correlation: {with: [Cl.tt, Cl.ee]},
                       pca: {weights: 50, whiten: cosmic_variance}]}
  Cl.pp: {transforms: [log, amplitude: {feature: logA}, pca: {weights: 20, whiten: cosmic_variance}]}
derived: [thetastar]
"""
FEATURES = "[log_ombh2, log_omch2, theta, tau, sigma8_now, ns]"
#: Runs that a family learns from, and its block of the spec. Of the network's, a quarter is kept out.
FAMILIES = {
    "gaussian_process": (320, "{type: gaussian_process, params: {kernel: squared_exponential, groups: 8}}"),
    "polynomial": (320, "{type: polynomial, params: {degree: 4}}"),
    "neural_network": (400, "{type: neural_network, params: {validation_fraction: 0.25, layer_size: 48}}"),
}
SPECTRA = ("Cl.tt", "Cl.te", "Cl.ee", "Cl.pp")


def load(file: Path, step: int = 1) -> tuple[Array, Array, dict[str, Array], list[str], Array]:
    """Parameters, multipoles (every `step`-th), C_ell in muK^2 (pp: without unit), names and values of
    scalars."""
    runs = np.load(file)
    ell = runs["ell"].astype(float)
    chosen = np.flatnonzero(ell <= 2500)[::step]
    spectra = {f"Cl.{key}": runs[f"Dl_{key}"][:, chosen].astype(float) for key in ("tt", "te", "ee", "pp")}
    ell = ell[chosen]
    for name in SPECTRA:
        spectra[name] *= 2 * np.pi / (ell * (ell + 1)) / (ell * (ell + 1) if name == "Cl.pp" else 1)
    return (
        runs["params"].astype(float),
        ell,
        spectra,
        runs["derived_names"].tolist(),
        runs["derived"].astype(float),
    )


def train(
    file: Path, rows: Any, family: str, data: Any, threads: int = 1, spec: str = SPEC
) -> zelos.Emulator:
    """An emulator from some of the runs."""
    points, ell, spectra, names, scalars = data
    text = spec + f"emulator_fn: {FAMILIES[family][1]}\n"
    for name in SPECTRA:
        text = text.replace(f"{name}: {{", f"{name}: {{ell: [2, 2500], features: {FEATURES}, ")
    entry: dict[str, Any] = {"axis_units": [""], "labels": [], "label_units": []}
    outputs = [
        {
            **entry,
            "name": name,
            "unit": "",
            "axis_names": ["ell"],
            "axes": [ell.tolist()],
            "values": spectra[name][rows],
        }
        for name in SPECTRA
    ]
    outputs.append(
        {
            "name": "derived", "unit": "", "axis_names": ["name"], "axis_units": [""], "axes": [[float(i)
            for i in range(len(names))]], "labels": names, "label_units": [""] * len(names), "values":
            np.ascontiguousarray(scalars[rows]),
        }
    )  # fmt: skip
    _core.train(
        _core.parse_spec(text, "study.yaml"),
        np.ascontiguousarray(points[rows]),
        outputs,
        str(file),
        n_threads=threads,
    )
    return zelos.get_emulator(file)


def coverage(emulator: zelos.Emulator, rows: Any, data: Any) -> dict[str, dict[str, Any]]:
    """As `error_quantile` of a build's report, at these runs."""
    points, _, spectra, _, _ = data
    inside = np.array(rows)[[bool(verdict) for verdict in emulator.verdict(points[rows])]]
    found = emulator.evaluate(points[inside], SPECTRA)
    pairs = {name: (spectra[name][inside], found[name]) for name in SPECTRA}
    return validate.error_quantile(emulator, points[inside], pairs)


def main(arguments: list[str]) -> None:
    data = load(Path(arguments[0]))
    n = len(data[0])
    print(
        "| family | output | below the 95 % quantile | 95 % confidence | median error / expected | "
        "calibration | runs |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for family in arguments[1:] or FAMILIES:
        size = FAMILIES[family][0]
        rows = np.random.default_rng(7).permutation(n)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            emulator = train(Path(folder) / "study.h5", rows[:size], family, data)
            spent = time.perf_counter() - begin
            for name, entry in coverage(emulator, rows[size:], data).items():
                print(
                    f"| {family} | {name} | {100 * entry['covered']:.1f} % | {100 * entry['low']:.1f} to "
                    f"{100 * entry['high']:.1f} % | {entry['ratio']:.2f} | {entry['calibration']:.2f} | "
                    f"{entry['n']} |",
                    flush=True,
                )
        print(f"{family}: trained on {size} runs in {spent:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
