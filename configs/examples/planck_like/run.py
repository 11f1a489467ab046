# SPDX-License-Identifier: BSD-3-Clause
"""Simulates a Planck-like experiment, samples its posterior with the emulator, compares with CAMB, plots."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))

import numpy as np

HERE = Path(__file__).resolve().parent
#: The cosmology that is simulated.
TRUTH = {
    "logA": 3.045,
    "ns": 0.966,
    "theta_MC_100": 1.0409,
    "ombh2": 0.0224,
    "omch2": 0.12,
    "tau": 0.055,
}
PLOTTED = ["ombh2", "omch2", "ns", "logA", "tau", "H0", "omegam", "sigma8"]
COMPARED = ["H0", "omegam", "sigma8", "rdrag", "age", "zrei", "YHe"]


def read_input(emulator: str | None, data: Path) -> dict[str, Any]:
    from cobaya.yaml import yaml_load_file

    info = yaml_load_file(str(HERE / "planck_like.yaml"))
    info["likelihood"]["planck_like.PlanckLike"] = {"python_path": str(HERE), "data": str(data)}
    info["sampler"]["mcmc"]["covmat"] = str(HERE / "planck_like.covmat")
    if emulator:
        info["theory"]["zelos.cobaya.Zelos"]["emulator"] = emulator
    return info


def camb_model(info: dict[str, Any], likelihood: bool = True) -> Any:
    """The same input with CAMB, set as for the training of the emulator."""
    from cobaya.model import get_model

    import zelos
    from zelos.cobaya.products import training_grid

    emulator = zelos.get_emulator(info["theory"]["zelos.cobaya.Zelos"]["emulator"])
    settings = dict(emulator.info["provenance"]["config"])
    for name in info["params"]:
        settings.pop(name, None)
    info = {
        **info,
        "theory": {"camb": {"extra_args": settings, "stop_at_error": True}},
        "likelihood": info["likelihood"] if likelihood else {"one": None},
    }
    model = get_model({key: info[key] for key in ("theory", "likelihood", "params")})
    model.add_requirements({"Pk_grid": training_grid(emulator.core.outputs)})
    return model


def simulate(info: dict[str, Any], path: Path, seed: int | None) -> None:
    """Without a seed the data are the expected ones: then the posterior peaks where the truth is, and an
    error of the emulator would move it."""
    from planck_like import L_LENSING, LMAX, expected, observe

    model = camb_model(info, likelihood=False)
    model.add_requirements({"Cl": {"tt": LMAX, "te": LMAX, "ee": LMAX, "pp": max(L_LENSING[1], LMAX)}})
    model.logposterior(TRUTH)
    spectra = model.provider.get_Cl(ell_factor=False, units="FIRASmuK2")
    np.savez(path, **(expected(spectra) if seed is None else observe(spectra, seed)))


def sample(info: dict[str, Any], prefix: Path, stop: float) -> Any:
    from cobaya.run import run

    info["sampler"]["mcmc"]["Rminus1_stop"] = stop
    return run(info, output=str(prefix), force=True)[1]


def compare(info: dict[str, Any], chain: Any, n: int) -> list[dict[str, float]]:
    """chi2 and derived parameters of points of the chain, as the chain has them and as CAMB gives them."""
    model = camb_model(info)
    generator = np.random.default_rng(1)
    weights = chain["weight"].to_numpy(float)
    rows = np.sort(generator.choice(len(chain), n, replace=False, p=weights / weights.sum()))
    derived = list(model.parameterization.derived_params())
    table = []
    for row in rows:
        point = {name: float(chain[name][row]) for name in model.parameterization.sampled_params()}
        result = model.logposterior(point, cached=False)
        camb = dict(zip(derived, result.derived, strict=True))
        entry = {"chi2": float(chain["chi2"][row]), "chi2_camb": -2 * float(sum(result.loglikes))}
        entry |= {name: float(chain[name][row]) / camb[name] - 1 for name in COMPARED}
        table.append({**point, **entry})
    return table


def comparison_text(table: list[dict[str, float]]) -> str:
    head = ["ombh2", "omch2", "theta_MC_100", "tau", "logA", "ns"]
    lines = ["   " + "".join(f"{name:>13}" for name in [*head, "chi2 zelos", "chi2 CAMB", "difference"])]
    for i, row in enumerate(table, 1):
        values = "".join(f"{row[name]:13.5f}" for name in head)
        lines.append(
            f"{i:3d}{values}{row['chi2']:13.3f}{row['chi2_camb']:13.3f}{row['chi2'] - row['chi2_camb']:13.3f}"
        )
    lines.append("")
    lines.append("largest relative difference of derived parameters: ")
    lines[-1] += ", ".join(f"{name} {max(abs(row[name]) for row in table):.0e}" for name in COMPARED)
    return "\n".join(lines)


def posterior_text(samples: Any) -> str:
    lines = [f"{'parameter':<16}{'mean':>12}{'sigma':>12}{'simulated':>12}{'shift/sigma':>12}"]
    for name in [*TRUTH, "H0", "omegam", "sigma8", "S8", "rdrag", "age", "zrei", "YHe"]:
        mean, sigma = samples.mean(samples[name]), samples.std(samples[name])
        line = f"{name:<16}{mean:12.5f}{sigma:12.5f}"
        if name in TRUTH:
            line += f"{TRUTH[name]:12.5f}{(mean - TRUTH[name]) / sigma:12.2f}"
        lines.append(line)
    return "\n".join(lines)


def plot(samples: Any, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from getdist import plots

    plotter = plots.get_subplot_plotter(width_inch=9)
    plotter.triangle_plot(
        [samples], PLOTTED, filled=True, markers={k: v for k, v in TRUTH.items() if k in PLOTTED}
    )
    plotter.export(str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="planck_like", help="folder (default: %(default)s)")
    parser.add_argument(
        "--emulator", help="hub:NAME or the path of an artifact (default: that of planck_like.yaml)"
    )
    parser.add_argument("--points", type=int, default=12, help="compared with CAMB (default: %(default)s)")
    parser.add_argument("--stop", type=float, default=0.02, help="R-1 of convergence (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of a sky with scatter (default: the expected spectra)")
    options = parser.parse_args()
    begin = time.perf_counter()
    folder = Path(options.output).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(HERE))
    info = read_input(options.emulator, folder / "data.npz")

    def step(text: str) -> None:
        print(f"\n=== {text} [{time.perf_counter() - begin:.0f} s]", flush=True)

    step("Simulating the experiment: one run of CAMB")
    simulate(info, folder / "data.npz", options.seed)
    step("Sampling: a Cobaya chain that begins outside the region of the emulator")
    sampler = sample(info, folder / "chain", options.stop)
    statistics = sampler.model.theory["zelos.cobaya.Zelos"].statistics
    chain = sampler.products(skip_samples=0.3)["sample"].data.reset_index(drop=True)
    samples = sampler.products(skip_samples=0.3, to_getdist=True)["sample"]
    convergence = float(sampler.products()["progress"]["Rminus1"].iloc[-1])
    step(f"Comparing {options.points} points of the posterior with CAMB")
    table = compare(info, chain, options.points)
    step("Plotting")
    plot(samples, folder / "triangle.png")

    text = "\n".join(
        [
            f"Convergence: R-1 = {convergence:.4f} after {len(sampler.products()['sample'])} accepted points",
            "",
            statistics.report(),
            "",
            posterior_text(samples),
            "",
            comparison_text(table),
            "",
            f"Plot: {folder / 'triangle.png'}",
        ]
    )
    print(f"\n{text}")
    (folder / "summary.txt").write_text(text + "\n")
    record = {"Rminus1": convergence, "statistics": statistics.as_dict(), "comparison": table}
    (folder / "summary.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"\nDone in {time.perf_counter() - begin:.0f} s.")


if __name__ == "__main__":
    main()
