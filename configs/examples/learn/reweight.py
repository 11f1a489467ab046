# SPDX-License-Identifier: BSD-3-Clause
"""Compares a chain that was made with an emulator with CAMB: points of the chain, drawn at random, get the
weight exp(ln L of CAMB - ln L of the chain), and the means with and without these weights differ by what
the emulator did.

    python reweight.py learn.yaml chains/learn planck_lcdm.learn/learnt.h5 --points 200

What was computed is kept in PREFIX.reweight.jsonl: the same command continues, several at once share the
work.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np


def camb_model(info: dict[str, Any], artifact: str) -> Any:
    """The same input with Cobaya's CAMB, set as for the training of the emulator."""
    from cobaya.model import get_model

    import zelos
    from zelos.cobaya.products import training_grid

    emulator = zelos.get_emulator(artifact)
    config = emulator.info["provenance"]["config"]
    settings = {name: value for name, value in config.items() if name not in info["params"]}
    keys = ("likelihood", "params", "packages_path")
    model = get_model(
        {"theory": {"camb": {"extra_args": settings}}, **{k: info[k] for k in keys if k in info}}
    )
    model.add_requirements(
        {"Pk_grid": {**training_grid(emulator.core.outputs), "vars_pairs": [["delta_tot"] * 2]}}
    )
    return model


def draw(prefix: str, points: int, skip: float) -> tuple[Any, np.ndarray]:
    """The chain and the rows of it that are compared, by weight."""
    from cobaya.output import load_samples

    chain = load_samples(prefix, combined=True, skip=skip).data.reset_index(drop=True)
    weights = chain["weight"].to_numpy(float)
    cumulative = np.cumsum(weights) / weights.sum()
    grid = (np.arange(points) + np.random.default_rng(1).random()) / points
    return chain, np.random.default_rng(2).permutation(np.searchsorted(cumulative, grid))


def compute(
    info: dict[str, Any], artifact: str, chain: Any, rows: np.ndarray, store: Path, part: str
) -> None:
    index, count = (int(number) for number in part.split("/"))
    known = {entry["row"] for entry in read(store)}
    todo = [int(row) for row in rows[index - 1 :: count] if int(row) not in known]
    model = camb_model(info, artifact) if todo else None
    for row in todo:
        point = {name: float(chain[name][row]) for name in model.parameterization.sampled_params()}
        log_likelihood = float(model.loglikes(point, return_derived=False).sum())
        with store.open("a") as handle:
            handle.write(json.dumps({"row": row, "camb": log_likelihood}) + "\n")


def read(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in store.read_text().splitlines()] if store.is_file() else []


def compare(chain: Any, rows: np.ndarray, entries: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Shift of each mean and change of each width, in standard deviations of the chain."""
    camb = {entry["row"]: entry["camb"] for entry in entries}
    rows = np.array([row for row in rows if row in camb])
    difference = np.array([camb[row] for row in rows]) + 0.5 * chain["chi2"].to_numpy(float)[rows]
    weights = np.exp(difference - difference.max())
    weights /= weights.sum()
    result: dict[str, Any] = {
        "points": len(rows),
        "effective": float(1 / np.sum(weights**2)),
        "delta_chi2_mean": float(np.mean(-2 * difference)),
        "delta_chi2_std": float(np.std(-2 * difference)),
        "delta_chi2_max": float(np.max(np.abs(2 * difference))),
        "parameters": {},
    }
    total = chain["weight"].to_numpy(float)
    for name in names:
        all_x = chain[name].to_numpy(float)
        sigma = float(np.sqrt(np.cov(all_x, aweights=total)))
        x = all_x[rows]
        mean = float(weights @ x)
        width = float(np.sqrt(weights @ (x - mean) ** 2) / np.std(x))
        result["parameters"][name] = {
            "mean": float(np.average(all_x, weights=total)),
            "sigma": sigma,
            "shift": (mean - float(x.mean())) / sigma,
            "width": width,
        }
    return result


def main() -> None:
    from cobaya.yaml import yaml_load_file

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", help="of the chain, or its updated.yaml")
    parser.add_argument("prefix", help="of the chain's files")
    parser.add_argument("artifact", help="whose settings of CAMB are taken")
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--skip", type=float, default=0.3, help="fraction of the chain that is burn-in")
    parser.add_argument("--part", default="1/1", help="I/N: every Nth point, from the Ith")
    options = parser.parse_args()
    info = yaml_load_file(options.input)
    chain, rows = draw(options.prefix, options.points, options.skip)
    store = Path(f"{options.prefix}.reweight.jsonl")
    compute(info, options.artifact, chain, rows, store, options.part)
    names = [name for name, p in info["params"].items() if isinstance(p, dict) and "prior" in p]
    names += [name for name in ("H0", "omegam", "sigma8") if name in chain]
    result = compare(chain, rows, read(store), names)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
