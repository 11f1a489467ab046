# SPDX-License-Identifier: BSD-3-Clause
"""The likelihood of the hyperparameters in PyTorch, in blocks and with its gradient, as the authors of
Starfish tried it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

import torch

from zelos.starfish import Emulator

from . import spectra

TITLE = "PyTorch"
NOTE = "in blocks, with gradient"


def versions() -> dict[str, str]:
    return {"torch": metadata.version("torch")}


def cases(options: dict[str, Any]) -> spectra.Cases:
    torch.set_num_threads(1)
    shared = spectra.Shared(Emulator, None, None, options)
    return {f"gradient {m}": (gradient(shared, m), 1.0) for m in options["components"]}


def gradient(shared: spectra.Shared, m: int) -> Callable[[], object]:
    def run() -> object:
        emulator, vector = shared.large(m)
        points, weights = torch.tensor(emulator.grid_points), torch.tensor(emulator.weights.T.copy())
        theta = torch.tensor(vector, requires_grad=True)
        noise, v, scale = theta[0], theta[1 : m + 1], theta[m + 1 :].reshape(m, 1, -1)
        u = points / torch.exp(scale)
        square = ((u[:, :, None] - u[:, None]) ** 2).sum(-1)
        c = torch.exp(v)[:, None, None] * torch.exp(-0.5 * square)
        c = c + torch.exp(-noise) * torch.eye(len(points), dtype=c.dtype)
        factor = torch.linalg.cholesky(c)
        white = torch.linalg.solve_triangular(factor, weights[:, :, None], upper=False)
        value = -torch.log(torch.diagonal(factor, dim1=1, dim2=2)).sum() - 0.5 * (white**2).sum()
        value.backward()
        return float(value)

    return run
