# SPDX-License-Identifier: BSD-3-Clause
"""CosmoPower-JAX with the networks in its wheel: the call of its README, and jit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cosmopower_jax.cosmopower_jax import CosmoPowerJAX

from . import common

TITLE = "CosmoPower-JAX"
NOTE = "networks of its wheel (ell to 2508), jit"
FIRST = """
import sys
sys.path.insert(0, sys.argv[1])
import jax
from subjects import common, cosmopower_jax_shipped as subject
network = subject.CosmoPowerJAX(probe="cmb_tt", verbose=False)
jax.jit(network.predict)(subject.inputs(1)[0]).block_until_ready()
"""


def versions() -> dict[str, str]:
    return common.version("cosmopower-jax", "jax", "numpy")


def inputs(n: int) -> Any:
    """Its order: omega_b, omega_cdm, h, tau, n_s, ln10^10 A_s."""
    table = common.points(n)[:, [0, 1, 2, 3, 5, 4]]
    table[:, 2] /= 100
    return jnp.asarray(table, jnp.float32)


def cases(options: dict[str, Any]) -> common.Cases:
    networks = [CosmoPowerJAX(probe=f"cmb_{name}", verbose=False) for name in ("tt", "te", "ee", "pp")]
    points = list(inputs(64))
    batch = inputs(common.BATCH)

    def four(x: Any) -> Any:
        return tuple(network.predict(x) for network in networks)

    one, spectra = jax.jit(networks[0].predict), jax.jit(four)
    slope = jax.jit(lambda x: (four(x), jax.jacfwd(four)(x)))
    power = CosmoPowerJAX(probe="mpk_lin", verbose=False)
    wanted = jax.jit(power.predict)
    with_z = [jnp.concatenate([x[jnp.array([0, 1, 2, 4, 5])], jnp.zeros(1)]) for x in points]
    return {
        "one spectrum": (common.in_turn(lambda x: np.asarray(one(x)), points), 1),
        "spectra": (common.in_turn(lambda x: [np.asarray(y) for y in spectra(x)], points), 1),
        "batch": (lambda: [np.asarray(y) for y in spectra(batch)], common.BATCH),
        "Jacobian": (common.in_turn(lambda x: jax.block_until_ready(slope(x)), points), 1),
        "P(k), one z": (common.in_turn(lambda x: np.asarray(wanted(x)), with_z), 1),
        "process start to first spectrum": (common.process(FIRST, str(common.FOLDER)), 1),
    }
