# SPDX-License-Identifier: BSD-3-Clause
"""Principal components of a library that is read from its file, block by block, in five passes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import ArgumentError
from .grid import Array, GridFile
from .pca import Components, correlation_length, folds

#: Directions carried beyond the components asked for, and how often the library is applied to them: of the
#: variance that the components could explain, less than 1e-4 is lost.
_MORE, _POWERS = 20, 2
#: Spectra whose residuals are kept for their correlation length.
_RESIDUALS = 100


def decompose_file(
    source: GridFile, n_components: float | int | None, whiten: bool, log_flux: bool
) -> Components:
    """As `decompose`. What the components leave out is measured on an eighth of the spectra, with components
    made from the others."""
    if not isinstance(n_components, (int, np.integer)) or not 1 <= n_components < len(source.grid_points):
        raise ArgumentError(
            f"n_components: of a library that is streamed (memory=...) an integer from 1 to "
            f"{len(source.grid_points) - 1} is expected, found {n_components!r}"
        )
    count, total = int(n_components), len(source.grid_points)
    mean, std, factors = _moments(source, whiten, log_flux)

    def blocks() -> Iterator[tuple[slice, Array]]:
        for rows, fluxes in source.blocks():
            z = fluxes / factors[rows, np.newaxis]
            if log_flux:
                np.log(z, out=z)
            z -= mean
            z /= std
            yield rows, z

    held = next(folds(total))
    masks = (np.ones(total, dtype=bool), ~held)  # of all spectra, and of those that are not held out
    random = np.random.default_rng(0).normal(size=(total, count + _MORE))
    sums = [np.zeros((count + _MORE, len(mean))) for _ in masks]
    power = 0.0
    for rows, z in blocks():
        power += float(np.einsum("ij,ij->", z, z))
        for mask, s in zip(masks, sums, strict=True):
            s += (random[rows] * mask[rows, np.newaxis]).T @ z
    bases = []
    for _ in range(_POWERS):
        bases = [np.linalg.qr(s.T)[0] for s in sums]
        sums = [np.zeros_like(s) for s in sums]
        for rows, z in blocks():
            for mask, q, s in zip(masks, bases, sums, strict=True):
                s += ((z @ q) * mask[rows, np.newaxis]).T @ z
    found = []
    for q, s in zip(bases, sums, strict=True):
        values, vectors = np.linalg.eigh(s @ q)  # Q^T Z^T Z Q
        found.append((values[::-1], (q @ vectors[:, ::-1][:, :count]).T))
    (values, eigenspectra), (_, of_others) = found
    eigenspectra *= np.sign(eigenspectra[np.arange(count), np.argmax(np.abs(eigenspectra), axis=1)])[
        :, np.newaxis
    ]
    weights = np.empty((total, count))
    squares = np.zeros_like(mean)
    kept: list[Array] = []
    for rows, z in blocks():
        weights[rows] = z @ eigenspectra.T
        left = z[held[rows]]
        rest = (left - (left @ of_others.T) @ of_others) * std
        squares += np.sum(rest**2, axis=0)
        kept.extend(rest[: max(0, _RESIDUALS - len(kept))])
    return Components(
        eigenspectra,
        weights,
        mean,
        std,
        factors,
        squares / np.count_nonzero(held),
        correlation_length(np.array(kept), source.wl),
        float(np.sum(values[:count]) / power),
    )


def _moments(source: GridFile, whiten: bool, log_flux: bool) -> tuple[Array, Array, Array]:
    """Mean and scatter of the pixels of spectra over their means, and those means."""
    factors = np.empty(len(source.grid_points))
    mean, square, seen = np.zeros(len(source.wl)), np.zeros(len(source.wl)), 0
    for rows, fluxes in source.blocks():
        factors[rows] = fluxes.mean(axis=1)
        scaled = fluxes / factors[rows, np.newaxis]
        if log_flux:
            if np.any(scaled <= 0):
                raise ArgumentError("log_flux: a flux of the library is not positive")
            scaled = np.log(scaled)
        # Of each block about its own mean (Chan et al.).
        block, n = scaled.mean(axis=0), len(scaled)
        step = block - mean
        square += np.sum((scaled - block) ** 2, axis=0) + step**2 * (seen * n / (seen + n))
        mean += step * (n / (seen + n))
        seen += n
    std = np.sqrt(square / seen)
    if not whiten:
        std = np.full_like(std, float(np.sqrt(np.mean(std**2))))
    elif np.any(std <= 0):
        raise ArgumentError(f"pixel {int(np.argmin(std))} is the same in all spectra of the library")
    return mean, std, factors
