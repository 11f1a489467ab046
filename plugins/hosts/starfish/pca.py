# SPDX-License-Identifier: BSD-3-Clause
"""Principal components of a library, and what leaving out the others costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from .grid import C_KMS, Array, Grid


class Components(NamedTuple):
    """spectrum / factor, or its logarithm, = mean + (weights @ eigenspectra) * std + residual; the
    eigenspectra are orthonormal."""

    eigenspectra: Array  # (m, P)
    weights: Array  # (M, m)
    mean: Array  # (P,)
    std: Array  # (P,)
    factors: Array  # (M,)
    residual_variance: Array  # (P,): of spectra that the components were not made from
    residual_length: float  # km/s: the correlation length of the residual
    explained: float  # fraction of the variance


def normalise(fluxes: Array, whiten: bool, log_flux: bool) -> tuple[Array, Array, Array, Array]:
    """Spectra over their means (with `log_flux` the logarithms of that), less the mean spectrum, over the
    scatter of each pixel (with `whiten`)."""
    factors = fluxes.mean(axis=1)
    scaled = fluxes / factors[:, np.newaxis]
    if log_flux:
        if np.any(scaled <= 0):
            raise ArgumentError("log_flux: a flux of the library is not positive")
        scaled = np.log(scaled)
    mean = scaled.mean(axis=0)
    scaled -= mean
    std = scaled.std(axis=0)
    if whiten:
        if np.any(std <= 0):
            raise ArgumentError(f"pixel {int(np.argmin(std))} is the same in all spectra of the library")
    else:
        std = np.full_like(std, float(np.sqrt(np.mean(std**2))))
    scaled /= std
    return scaled, factors, mean, std


def principal(z: Array, count: int | None = None, gram: Array | None = None) -> tuple[Array, Array]:
    """Variances in falling order and the first `count` components of rows that have no mean, through the
    smaller of the two Gram matrices (`gram`: z @ z.T, if it is known). The largest element of a component is
    positive."""
    wide = len(z) <= z.shape[1]
    if gram is None or not wide:
        gram = z @ z.T if wide else z.T @ z
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    rank = int(np.count_nonzero(values > 1e-14 * values[0]))
    chosen = rank if count is None else min(count, rank)
    rows = vectors[:, :chosen].T
    if wide:
        rows = rows @ z
        # Dividing by the root of an eigenvalue would lose the orthogonality of the last ones.
        rows = np.linalg.qr(rows.T)[0].T
    largest = np.argmax(np.abs(rows), axis=1)
    rows = rows * np.sign(rows[np.arange(chosen), largest])[:, np.newaxis]
    return values[:rank], rows


def folds(n: int, count: int = 8, seed: int = 0) -> Iterator[Any]:
    """Masks of the points left out in turn."""
    order = np.random.default_rng(seed).permutation(n) % min(count, n)
    for fold in range(min(count, n)):
        yield order == fold


def held_out_residuals(z: Array, numbers: list[int], out: int | None = None) -> tuple[Array, Array]:
    """What components made without them leave of spectra: mean squares (len(numbers), P), and the residuals
    with numbers[out] components (M, P)."""
    squares = np.zeros((len(numbers), z.shape[1]))
    kept = np.zeros_like(z) if out is not None else np.zeros((0, 0))
    gram = z @ z.T if len(z) <= z.shape[1] else None
    for left in folds(len(z)):
        inner = None if gram is None else gram[np.ix_(~left, ~left)]
        _, rows = principal(z[~left], max(numbers), inner)
        weights = z[left] @ rows.T
        for i, number in enumerate(numbers):
            rest = z[left] - weights[:, :number] @ rows[:number]
            squares[i] += np.sum(rest**2, axis=0)
            if i == out:
                kept[left] = rest
    return squares / len(z), kept


def correlation_length(residual: Array, wl: Array) -> float:
    """Length scale (km/s) of a Matern 3/2 kernel whose correlation falls to one half where the residual's
    does."""
    dv = C_KMS * float(np.median(np.diff(np.log(wl))))
    power = float(np.mean(residual**2))
    previous = 1.0
    for lag in range(1, residual.shape[1] // 2):
        now = float(np.mean(residual[:, lag:] * residual[:, :-lag])) / power if power > 0 else 0.0
        if now < 0.5:
            at = lag - 1 + (previous - 0.5) / (previous - now)
            # (1 + s) exp(-s) is one half at s = 1.678; s = sqrt(3) r / l and r = v / 4 (see GlobalKernel).
            return float(at * dv / 4 * np.sqrt(3) / 1.678)
        previous = now
    return float(dv * residual.shape[1] / 8)


def decompose(
    grid: Grid, n_components: float | int | None, whiten: bool, log_flux: bool = False
) -> Components:
    """`n_components`: their number; a fraction of the variance; None: all."""
    z, factors, mean, std = normalise(grid.fluxes, whiten, log_flux)
    gram = z @ z.T if len(z) <= z.shape[1] else z.T @ z
    values = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)
    values = values[values > 1e-14 * values[0]]
    fractions = np.cumsum(values) / values.sum()
    if n_components is None:
        number = len(values)
    elif isinstance(n_components, (int, np.integer)):
        number = int(n_components)
        if not 1 <= number <= len(values):
            raise ArgumentError(f"n_components: expected 1 to {len(values)}, found {number}")
    elif 0 < n_components < 1:
        number = min(int(np.searchsorted(fractions, n_components, side="right")) + 1, len(values))
    else:
        raise ArgumentError(
            f"n_components: expected an integer or a fraction of the variance, found {n_components!r}"
        )
    _, rows = principal(z, number, gram)
    squares, rest = held_out_residuals(z, [number], 0)
    rest *= std
    return Components(
        rows,
        z @ rows.T,
        mean,
        std,
        factors,
        squares[0] * std**2,
        correlation_length(rest, grid.wl),
        float(fractions[number - 1]),
    )
