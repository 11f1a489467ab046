# SPDX-License-Identifier: BSD-3-Clause
"""CosmoPower: the shape of its published networks, random weights, on which latency does not depend."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from cosmopower import cosmopower_NN

from . import common

TITLE = "CosmoPower"
NOTE = "published shape (4 layers of 512), ell to 2508, random weights, the call of its README"
NAMES = ("omega_b", "omega_cdm", "h", "tau_reio", "ln10^{10}A_s", "n_s")
FIRST = """
import sys
sys.path.insert(0, sys.argv[1])
from subjects import cosmopower_random as subject
subject.network(0).predictions_np(subject.inputs(1)[0])
"""


def versions() -> dict[str, str]:
    return common.version("cosmopower", "tensorflow", "numpy")


def network(seed: int) -> Any:
    tf.random.set_seed(seed)
    random = cosmopower_NN(parameters=list(NAMES), modes=common.ELL, n_hidden=[512] * 4, verbose=False)
    random.update_emulator_parameters()  # from TensorFlow's variables to arrays
    return random


def inputs(n: int) -> list[dict[str, list[float]]]:
    return [
        {name: [value] for name, value in zip(NAMES, row.tolist(), strict=True)} for row in common.points(n)
    ]


def cases(options: dict[str, Any]) -> common.Cases:
    networks = [network(i) for i in range(4)]
    points = inputs(64)
    batch = dict(zip(NAMES, common.points(common.BATCH).T.tolist(), strict=True))
    return {
        "one spectrum": (common.in_turn(networks[0].predictions_np, points), 1),
        "spectra": (common.in_turn(lambda x: [n.predictions_np(x) for n in networks], points), 1),
        "batch": (lambda: [n.predictions_np(batch) for n in networks], common.BATCH),
        "process start to first spectrum": (common.process(FIRST, str(common.FOLDER)), 1),
    }
