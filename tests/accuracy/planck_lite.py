# SPDX-License-Identifier: BSD-3-Clause
"""The emulator in Cobaya against CAMB with real data: Planck 2018 TTTEEE lite, DESI DR2 BAO, a prior on tau.

    planck_lite.py --packages COBAYA_PACKAGES --output FOLDER STAGE

with STAGE, in this order,
    bestfit   at Planck's best fit
    chain     a converged chain with the emulator; resumable
    camb      CAMB at --points of the chain; resumable; --shard i/N shares the work
    report    what the two differ by; exit status 1 if that is too much
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

#: The minimum of base_plikHM_TTTEEE_lowl_lowE that Planck distributes, and what CAMB gives there.
BEST_FIT = {
    "ombh2": 0.02237737,
    "omch2": 0.1201035,
    "theta_MC_100": 1.040920,
    "tau": 0.05430138,
    "logA": 3.044726,
    "ns": 0.9658923,
    "A_planck": 1.000610,
}
PLANCK, DESI = "planck_2018_highl_plik.TTTEEE_lite_native", "bao.desi_dr2"
#: With CAMB's default settings, and the difference from CAMB with the training's settings that is allowed.
REFERENCE = {PLANCK: (584.04, 0.05), DESI: (31.35, 0.02)}
SAMPLED = ["ombh2", "omch2", "theta_MC_100", "tau", "logA", "ns", "A_planck"]
DERIVED = ["H0", "omegam", "sigma8", "rdrag", "age", "zrei", "YHe", "thetastar", "rstar", "zstar", "DAstar"]
LARGEST_SHIFT = 0.02  # sigma
DERIVED_TOLERANCE = 1e-4


def normal(loc: float, scale: float) -> dict[str, Any]:
    return {"dist": "norm", "loc": loc, "scale": scale}


def cosmology() -> dict[str, Any]:
    """Cobaya's usual block for LCDM; reference points and proposals near Planck's posterior."""
    return {
        "logA": {
            "prior": {"min": 2.6, "max": 3.5},
            "ref": normal(3.045, 0.01),
            "proposal": 0.01,
            "drop": True,
        },
        "As": {"value": "lambda logA: 1e-10*np.exp(logA)"},
        "ns": {"prior": {"min": 0.8, "max": 1.2}, "ref": normal(0.966, 0.003), "proposal": 0.003},
        "theta_MC_100": {
            "prior": {"min": 0.5, "max": 10},
            "ref": normal(1.0409, 0.0003),
            "proposal": 0.0003,
            "drop": True,
        },
        "cosmomc_theta": {"value": "lambda theta_MC_100: 1.e-2*theta_MC_100", "derived": False},
        "ombh2": {"prior": {"min": 0.005, "max": 0.1}, "ref": normal(0.0224, 0.0001), "proposal": 0.0001},
        "omch2": {"prior": {"min": 0.001, "max": 0.99}, "ref": normal(0.12, 0.001), "proposal": 0.001},
        "tau": {"prior": normal(0.0544, 0.0073), "ref": normal(0.055, 0.005), "proposal": 0.005},
        "mnu": 0.06,
        **dict.fromkeys(DERIVED),
    }


def likelihoods() -> dict[str, Any]:
    return {PLANCK: None, "bao.desi_dr2.desi_bao_all": None}


def emulated(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "theory": {"zelos.cobaya.Zelos": {"emulator": options.emulator, "fallback": "camb"}},
        "likelihood": likelihoods(),
        "params": cosmology(),
        "packages_path": options.packages,
    }


def camb_model(options: argparse.Namespace) -> Any:
    """The same with CAMB, set as for the training: settings and grid of P(k, z)."""
    from cobaya.model import get_model

    import zelos
    from zelos.cobaya.products import training_grid

    emulator = zelos.get_emulator(options.emulator)
    settings = {k: v for k, v in emulator.info["provenance"]["config"].items() if k not in cosmology()}
    info = {**emulated(options), "theory": {"camb": {"extra_args": settings, "stop_at_error": True}}}
    model = get_model(info)
    model.add_requirements({"Pk_grid": training_grid(emulator.core.outputs)})
    return model


def evaluate(model: Any, point: dict[str, float]) -> dict[str, float]:
    """chi2 of each likelihood and the derived parameters."""
    result = model.logposterior(point, cached=False)
    names = list(model.parameterization.derived_params())
    values = dict(zip(names, map(float, result.derived), strict=True))
    values |= {
        f"chi2 {name}": -2 * float(v) for name, v in zip(model.likelihood, result.loglikes, strict=True)
    }
    values["chi2"] = sum(values[f"chi2 {name}"] for name in model.likelihood)
    return values


def relative(a: float, b: float) -> float:
    return abs(a / b - 1)


def best_fit(options: argparse.Namespace) -> bool:
    from cobaya.model import get_model

    mine = evaluate(get_model(emulated(options)), BEST_FIT)
    camb = evaluate(camb_model(options), BEST_FIT)
    good = True
    print(f"{'at the best fit':<50}{'zelos':>14}{'CAMB':>14}{'difference':>14}")
    for name in [*(k for k in mine if k.startswith("chi2")), *DERIVED]:
        print(f"{name:<50}{mine[name]:14.6g}{camb[name]:14.6g}{mine[name] - camb[name]:14.2e}")
    for name, (usual, tolerance) in REFERENCE.items():
        value, reference = (
            next(v for k, v in values.items() if k.startswith(f"chi2 {name}")) for values in (mine, camb)
        )
        good &= abs(value - reference) <= tolerance
        print(f"chi2 of {name}: {value:.3f}, wanted {reference:.3f} within {tolerance} (defaults: {usual})")
    for name in ("sigma8", "rdrag"):
        good &= relative(mine[name], camb[name]) <= DERIVED_TOLERANCE
    return good


def chain(options: argparse.Namespace) -> bool:
    from cobaya.run import run

    info = emulated(options)
    info["sampler"] = {"mcmc": {"Rminus1_stop": 0.01, "Rminus1_cl_stop": 0.1, "seed": options.seed}}
    run(info, output=str(options.output / "chain"), resume=True)
    return True


def thinned(options: argparse.Namespace) -> list[dict[str, float]]:
    """Points of the chain, drawn with its weights and without repetition: the same ones at every call."""
    from cobaya.output import load_samples

    data = load_samples(str(options.output / "chain"), skip=0.3, combined=True).data
    weights = data["weight"].to_numpy(float)
    order = np.random.default_rng(options.seed).choice(len(data), len(data), p=weights / weights.sum())
    rows = list(dict.fromkeys(order))[: options.points]
    if len(rows) < options.points:
        raise SystemExit(f"the chain has {len(rows)} points, {options.points} are wanted: run it longer")
    columns = [*SAMPLED, *DERIVED, "chi2"]
    return [{name: float(data[name].to_numpy()[row]) for name in columns} for row in rows]


def camb_runs(options: argparse.Namespace) -> dict[int, dict[str, float]]:
    runs: dict[int, dict[str, float]] = {}
    for path in sorted(options.output.glob("camb_*.jsonl")):
        for line in path.read_text().splitlines():
            if line.endswith("}"):
                record = json.loads(line)
                runs[record.pop("index")] = record
    return runs


def run_camb(options: argparse.Namespace) -> bool:
    shard, shards = map(int, options.shard.split("/"))
    points = thinned(options)
    done = camb_runs(options)
    model = camb_model(options)
    path = options.output / f"camb_{shard}_{shards}.jsonl"
    with path.open("a") as file:
        for index in range(shard, len(points), shards):
            if index in done:
                continue
            record = evaluate(model, {name: points[index][name] for name in SAMPLED})
            file.write(json.dumps({"index": index, **record}) + "\n")
            file.flush()
            os.fsync(file.fileno())
            print(f"point {index}: chi2 {points[index]['chi2'] - record['chi2']:+.4f}", flush=True)
    return True


def report(options: argparse.Namespace) -> bool:
    points, runs = thinned(options), camb_runs(options)
    indices = [i for i in range(len(points)) if i in runs]
    if len(indices) < 2:
        raise SystemExit("no points of CAMB yet: run 'camb'")
    difference = np.array([points[i]["chi2"] - runs[i]["chi2"] for i in indices])
    print(
        f"{len(indices)} points of the posterior. chi2(zelos) - chi2(CAMB): mean {difference.mean():+.4f}, ",
        end="",
    )
    print(f"standard deviation {difference.std():.4f}, largest {np.abs(difference).max():.4f}")
    weights = np.exp(0.5 * (difference - difference.mean()))
    weights /= weights.sum()
    print(f"importance weights: effective number of points {1 / np.sum(weights**2):.0f}")
    print(
        f"{'parameter':<16}{'mean zelos':>14}{'sigma':>12}{'mean CAMB':>14}{'shift/sigma':>14}{'error':>12}"
    )
    worst = 0.0
    for name in [*SAMPLED, *DERIVED]:
        mine = np.array([points[i][name] for i in indices])
        camb = np.array([runs[i].get(name, points[i][name]) for i in indices])
        sigma, mean = mine.std(), np.dot(weights, camb)
        shift = (mean - mine.mean()) / sigma
        worst = max(worst, abs(shift))
        error = np.max(np.abs(mine / camb - 1)) if name in DERIVED else 0.0
        print(f"{name:<16}{mine.mean():14.6g}{sigma:12.2e}{mean:14.6g}{shift:14.4f}{error:12.1e}")
    print(f"largest shift: {worst:.4f} sigma (wanted: {LARGEST_SHIFT})")
    return worst <= LARGEST_SHIFT


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["bestfit", "chain", "camb", "report"])
    parser.add_argument("--packages", required=True, help="Cobaya's folder of packages, with the data")
    parser.add_argument("--output", type=Path, default=Path("planck_lite"))
    parser.add_argument("--emulator", default="hub:CAMB_lcdm")
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--shard", default="0/1", help="i/N: the points that this call computes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    stages = {"bestfit": best_fit, "chain": chain, "camb": run_camb, "report": report}
    return 0 if stages[options.stage](options) else 1


if __name__ == "__main__":
    sys.exit(main())
