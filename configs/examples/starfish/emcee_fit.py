# SPDX-License-Identifier: BSD-3-Clause
"""A star's parameters from its spectrum, sampled by emcee: ``python emcee_fit.py library.h5 star.hdf5``.

library.h5 is of `Emulator.save`, star.hdf5 of `Spectrum.save`. The chain starts at the largest posterior.
"""

from __future__ import annotations

import argparse
from typing import Any

import emcee
import numpy as np

from zelos.starfish import Emulator, SpectrumModel


def main(arguments: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("emulator")
    parser.add_argument("data")
    parser.add_argument("--start", type=float, nargs="+", help="the emulator's parameters (its middle)")
    parser.add_argument("--walkers", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args(arguments)

    emulator = Emulator.load(options.emulator)
    start = options.start or (emulator.min_params + emulator.max_params) / 2
    model = SpectrumModel(emulator, options.data, start, vz=0.0, log_scale=0.0, cheb=[0.0])
    best = model.train().x
    model.outside = "reject"

    def log_probability(x: Any) -> float:
        model.set_param_vector(x)
        return model.log_likelihood()

    # As wide as the posterior: the Fisher information, from differences of the gradient.
    model.set_param_vector(best)
    hessian = np.empty((len(best), len(best)))
    for i in range(len(best)):
        step = 1e-4 * max(abs(best[i]), 1.0) * (np.arange(len(best)) == i)
        slopes = []
        for x in (best + step, best - step):
            model.set_param_vector(x)
            slopes.append(model.log_likelihood_gradient()[1])
        hessian[i] = (slopes[0] - slopes[1]) / (2 * step[i])
    covariance = np.linalg.inv(-0.5 * (hessian + hessian.T))
    start = np.random.default_rng(1).multivariate_normal(best, covariance, size=options.walkers)
    sampler = emcee.EnsembleSampler(options.walkers, len(best), log_probability)
    sampler.run_mcmc(start, options.steps)
    chain = sampler.get_chain(discard=options.steps // 4, flat=True)
    for label, mean, sigma in zip(model.labels, chain.mean(axis=0), chain.std(axis=0), strict=True):
        print(f"{label:>12} {mean:10.4f} +- {sigma:.4f}")
    print("answered by:", model.answered)
    return dict(zip(model.labels, chain.T, strict=True))


if __name__ == "__main__":
    main()
