# SPDX-License-Identifier: BSD-3-Clause
"""jaxcapse, Capse.jl in JAX: the shape of its LCDM networks, random weights (only the shape sets latency)."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxace import init_emulator
from jaxace.core import FlaxEmulator
from jaxcapse import MLP

from . import common

TITLE = "jaxcapse"
NOTE = "published shape (5 layers of 64), ell to 2508, random weights, jit"
LAYERS, NEURONS = 5, 64
FIRST = """
import sys
sys.path.insert(0, sys.argv[1])
from subjects import common, jaxcapse_random
jaxcapse_random.network(0).get_Cl(common.CENTRE).block_until_ready()
"""


def versions() -> dict[str, str]:
    return common.version("jaxcapse", "jax", "numpy")


def network(seed: int) -> MLP:
    n_in, n_out = len(common.CENTRE), len(common.ELL)
    sizes = [n_in, *[NEURONS] * LAYERS, n_out]
    n_weights = sum(a * b + b for a, b in itertools.pairwise(sizes))
    layer = {"n_neurons": NEURONS, "activation_function": "tanh"}
    description = {
        "n_input_features": n_in,
        "n_output_features": n_out,
        "n_hidden_layers": LAYERS,
        "layers": {f"layer_{i + 1}": layer for i in range(LAYERS)},
        "emulator_description": {},
    }
    weights = np.random.default_rng(seed).normal(0, 0.1, n_weights)
    ends = np.array([common.CENTRE - 5 * common.WIDTH, common.CENTRE + 5 * common.WIDTH]).T
    return MLP(
        emulator=init_emulator(description, weights, FlaxEmulator),
        in_MinMax=ends,
        out_MinMax=np.tile([0.0, 1.0], (n_out, 1)),
        postprocessing=lambda x, y: y * jnp.exp(x[4] - 3),
        emulator_description={},
        training_ell_grid=common.ELL,
    )


def cases(options: dict[str, Any]) -> common.Cases:
    networks = [network(i) for i in range(4)]
    points = [jnp.asarray(row) for row in common.points(64)]
    batch = jnp.asarray(common.points(common.BATCH))

    def four(x: Any) -> Any:
        return jnp.stack([n.get_Cl(x) for n in networks])

    one, spectra = networks[0].get_Cl, jax.jit(four)
    many, slope = jax.jit(jax.vmap(four)), jax.jit(lambda x: (four(x), jax.jacfwd(four)(x)))
    first = common.process(FIRST, str(common.FOLDER))
    return {
        "one spectrum": (common.in_turn(lambda x: np.asarray(one(x)), points), 1),
        "spectra": (common.in_turn(lambda x: np.asarray(spectra(x)), points), 1),
        "batch": (lambda: np.asarray(many(batch)), common.BATCH),
        "Jacobian": (common.in_turn(lambda x: jax.block_until_ready(slope(x)), points), 1),
        "process start to first spectrum": (first, 1),
    }
