# SPDX-License-Identifier: BSD-3-Clause
"""A star's parameters and the evidence, by nested sampling: ``python dynesty_fit.py library.h5 star.hdf5``.

library.h5 is of `Emulator.save`, star.hdf5 of `Spectrum.save`. Priors are uniform: in the library's box for
its parameters, in PRIORS for the others.
"""

from __future__ import annotations

import argparse
from typing import Any

import dynesty
import numpy as np

from zelos.starfish import Emulator, SpectrumModel

PRIORS = {"vz": (-50.0, 50.0), "log_scale": (-0.5, 0.5)}


def main(arguments: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("emulator")
    parser.add_argument("data")
    parser.add_argument("--live", type=int, default=500, help="live points")
    parser.add_argument("--dlogz", type=float, default=0.01, help="evidence that may be left")
    parser.add_argument("--walks", type=int, default=25, help="steps to a new live point")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    emulator = Emulator.load(options.emulator)
    middle = (emulator.min_params + emulator.max_params) / 2
    # A point of the box that the library does not surround has probability zero.
    model = SpectrumModel(emulator, options.data, middle, vz=0.0, log_scale=0.0, outside="reject")
    box = dict(
        zip(emulator.param_names, zip(emulator.min_params, emulator.max_params, strict=True), strict=True)
    )
    low, high = np.array([(PRIORS | box)[label] for label in model.labels]).T
    # The model's likelihood is without 2 pi, as Starfish's: a constant, but part of the evidence.
    constant = -0.5 * sum(len(order.wave) for order in model.spectrum) * np.log(2 * np.pi)

    def prior_transform(u: Any) -> Any:
        return low + u * (high - low)

    def log_likelihood(x: Any) -> float:
        model.set_param_vector(x)
        return model.log_likelihood() + constant

    sampler = dynesty.NestedSampler(
        log_likelihood,
        prior_transform,
        len(low),
        nlive=options.live,
        sample="rwalk",
        walks=options.walks,
        rstate=np.random.default_rng(options.seed),
    )
    sampler.run_nested(dlogz=options.dlogz, print_progress=False)
    found = sampler.results
    chain = found.samples_equal(rstate=np.random.default_rng(options.seed))
    for label, mean, sigma in zip(model.labels, chain.mean(axis=0), chain.std(axis=0), strict=True):
        print(f"{label:>12} {mean:10.4f} +- {sigma:.4f}")
    print(f"ln(evidence) {found.logz[-1]:.2f} +- {found.logzerr[-1]:.2f}, {sum(found.ncall)} likelihoods")
    print("answered by:", model.answered)
    return dict(zip(model.labels, chain.T, strict=True)), float(found.logz[-1]), float(found.logzerr[-1])


if __name__ == "__main__":
    main()
