# SPDX-License-Identifier: BSD-3-Clause
"""Training of an emulator: settings, checkpoints, starts from another emulator."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from .grid import Array

if TYPE_CHECKING:
    from .emulator import Emulator

Progress = Callable[[int, float], bool | None]

#: scipy's methods, which scripts written for Starfish may name.
_SCIPY_METHODS = {"nelder-mead", "powell", "cg", "bfgs", "l-bfgs-b", "tnc", "cobyla", "slsqp", "trust-constr"}

#: Of joint training of an emulator that has no hyperparameters to begin with.
STARTS = 4

#: Libraries of more points that are no complete grid are trained on this many of them.
LARGEST_TRAINING = 1200


@dataclass
class Training:
    """How the hyperparameters came about.

    converged:      the largest component of the gradient is at most the tolerance, or rounding leaves
                    no more to gain.
    gradient_norm:  that component, of the log posterior by the logarithms of the hyperparameters.
    start_values:   log posterior that each start reached, if it ended; the sum of what components reached,
                    where they are tried by themselves.
    history:        (evaluations, log posterior) as it rose.
    """

    converged: bool
    gradient_norm: float
    log_posterior: float
    evaluations: int
    seconds: float
    start_values: list[float]
    settings: dict[str, Any]
    history: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """Arguments of `Emulator.train`, which documents them."""

    method: str | None
    kernel: str | None
    mean_degree: int | None
    scales: Mapping[str, str] | None
    keep_ratios: bool
    points: int | None
    max_iter: int
    n_starts: int | None
    tolerance: float
    lengthscale_priors: Sequence[tuple[float, float]] | None
    lambda_xi_prior: tuple[float, float] | str | None
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: int
    resume: bool
    progress: Progress | None
    seed: int
    threads: int | None


def train(emulator: Emulator, s: Settings) -> Training:
    """`Emulator.train`, which says what is left of a training that an exception ends."""
    before = emulator.state
    best = _Best()
    try:
        return _train(emulator, s, best)
    except BaseException as error:
        if before.trained or not isinstance(error, KeyboardInterrupt) or best.vector is None:
            emulator.state = before
        raise


class _Best:
    """Hyperparameters of the largest log posterior so far."""

    vector: Array | None = None


def _train(emulator: Emulator, s: Settings, best: _Best) -> Training:
    method = s.method
    if method is not None and method.lower() in _SCIPY_METHODS:
        warnings.warn(f"method '{method}' is ignored: training is by L-BFGS-B", stacklevel=4)
        method = None
    if method not in (None, "joint", "independent"):
        raise ArgumentError(f"method: expected joint or independent, found '{method}'")
    emulator.set_kind(
        emulator.independent if method is None else method == "independent",
        emulator.kernel if s.kernel is None else s.kernel,
        emulator.mean_degree if s.mean_degree is None else s.mean_degree,
        emulator.scales if s.scales is None else s.scales,
    )
    if s.n_starts is None:
        fresh = s.resume or not emulator.started
        s = replace(s, n_starts=STARTS if fresh and not emulator.independent else 1)
    checkpoint = None if s.checkpoint is None else Path(s.checkpoint)
    if s.resume and checkpoint is None:
        raise ArgumentError("resume: which checkpoint?")
    if s.resume and checkpoint is not None and checkpoint.exists():
        emulator.load_hyperparameters(checkpoint)
    elif not emulator.started:
        emulator.set_param_dict(first_guess(emulator))
    _start_inside_the_prior(emulator, s.lambda_xi_prior)
    model = emulator.weight_model(_training_points(emulator, s.points))
    history: list[tuple[int, float]] = []
    began = time.monotonic()
    emulator.trained = False
    emulator.started = True

    def keep(values: Any) -> None:
        emulator.set_param_vector(values)
        if checkpoint is not None:
            emulator.save_hyperparameters(checkpoint)

    def report(evaluations: int, value: float, vector: Array) -> bool:
        best.vector = vector
        # Independent components have a sum when the last one has begun.
        if np.isfinite(value) and (not history or value > history[-1][1]):
            history.append((evaluations, value))
        if checkpoint is not None and evaluations % s.checkpoint_every == 0:
            keep(vector)
        return s.progress is None or s.progress(evaluations, value) is not False

    try:
        optimum = model.train(
            emulator.get_param_vector(),
            [tuple(p) for p in s.lengthscale_priors or ()],
            _noise_prior(emulator, s.lambda_xi_prior),
            s.keep_ratios,
            s.n_starts,
            s.max_iter,
            s.tolerance,
            s.seed,
            threads(s.threads),
            report,
        )
    except KeyboardInterrupt:
        if best.vector is not None:
            keep(best.vector)
        raise
    emulator.trained = True
    keep(optimum["hyperparameters"])
    if not optimum["converged"]:
        warnings.warn(
            f"the training has not converged: the largest component of the gradient is "
            f"{optimum['gradient_norm']:.3g}, the tolerance {s.tolerance:g}; train again or raise max_iter",
            stacklevel=4,
        )
    return Training(
        converged=optimum["converged"],
        gradient_norm=optimum["gradient_norm"],
        log_posterior=optimum["log_posterior"],
        evaluations=optimum["evaluations"],
        seconds=time.monotonic() - began,
        start_values=[v for v in optimum["start_values"] if np.isfinite(v)],
        settings={
            "method": "independent" if emulator.independent else "joint",
            "kernel": emulator.kernel,
            "mean_degree": emulator.mean_degree,
            "scales": dict(emulator.scales),
            "keep_ratios": s.keep_ratios,
            "points": model_points(emulator, s.points),
            "max_iter": s.max_iter,
            "n_starts": s.n_starts,
            "tolerance": s.tolerance,
            "seed": s.seed,
        },
        history=history,
    )


def model_points(emulator: Emulator, points: int | None) -> int:
    chosen = _training_points(emulator, points)
    return len(emulator.grid_points) if chosen is None else len(chosen)


def _training_points(emulator: Emulator, points: int | None) -> Any:
    """Well spread rows of the library, or None for all."""
    total = len(emulator.grid_points)
    if points is None:
        points = total if total <= LARGEST_TRAINING or emulator.on_grid else LARGEST_TRAINING
    if points >= total:
        return None
    u = emulator.on_scales(emulator.grid_points)
    u = (u - u.min(axis=0)) / np.where(np.ptp(u, axis=0) > 0, np.ptp(u, axis=0), 1.0)
    return spread(u, points)


def spread(points: Array, count: int) -> Any:
    """Rows, each the farthest from those before it; the first is the nearest to the middle."""
    chosen = [int(np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1)))]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(np.argmax(distance)))
    return np.sort(chosen)


def first_guess(emulator: Emulator) -> dict[str, float]:
    """Where the training of a fresh emulator starts: the scatter of the weights, the range of the
    parameters."""
    power = np.maximum((emulator.weights**2).mean(axis=0), 1e-300)
    span = emulator.spans
    guess = {f"log_variance:{i}": float(np.log(10 * p)) for i, p in enumerate(power)}
    if emulator.independent:
        guess |= {f"log_nugget:{i}": float(np.log(1e-6 * p)) for i, p in enumerate(power)}
    else:
        guess["log_lambda_xi"] = float(np.log(1e4 / power[0]))
    for i in range(emulator.ncomps):
        guess |= {f"log_lengthscale:{i}:{j}": float(np.log(0.7 * x)) for j, x in enumerate(span)}
    return guess


def start_from(emulator: Emulator, other: Emulator) -> None:
    if not other.trained:
        raise ArgumentError("start_from: the other emulator has not been trained")
    if emulator.param_names != other.param_names:
        raise ArgumentError(f"expected an emulator of {emulator.param_names}, found {other.param_names}")
    _, mine, theirs = np.intersect1d(np.round(emulator.wl, 6), np.round(other.wl, 6), return_indices=True)
    if len(mine) < 6:
        raise ArgumentError("the emulators have fewer than six wavelengths in common")
    # In flux, since the two scale their pixels differently.
    a = emulator.eigenspectra[:, mine] * emulator.flux_std[mine]
    b = other.eigenspectra[:, theirs] * other.flux_std[theirs]
    size = np.linalg.norm(a, axis=1)[:, np.newaxis] * np.linalg.norm(b, axis=1)
    nearest = np.argmax(np.abs(a @ b.T) / size, axis=1)
    emulator.set_kind(other.independent, other.kernel, other.mean_degree, other.scales)
    ratio = (emulator.weights**2).mean(axis=0) / (other.weights**2).mean(axis=0)[nearest]
    emulator.variances = other.variances[nearest] * ratio
    emulator.lengthscales = other.lengthscales[nearest]
    if emulator.independent:
        emulator.nuggets = other.nuggets[nearest] * ratio
    else:
        emulator.lambda_xi = other.lambda_xi
    emulator.trained = False
    emulator.started = True


def _noise_prior(emulator: Emulator, given: Any) -> Any:
    prior = emulator.altered_prior() if given == "altered" else given
    if isinstance(prior, str):
        raise ArgumentError(f"lambda_xi_prior: expected (shape, rate) or 'altered', found '{prior}'")
    return prior


def _start_inside_the_prior(emulator: Emulator, given: Any) -> None:
    """A start far out in the prior's exponential tail would never come back."""
    prior = _noise_prior(emulator, given)
    if prior is None or prior[1] <= 0:
        return
    mean = prior[0] / prior[1]
    if emulator.independent:
        emulator.nuggets = np.full(emulator.ncomps, 1 / mean)
    else:
        emulator.lambda_xi = mean


def threads(given: int | None) -> int:
    return given if given is not None else len(os.sched_getaffinity(0))
