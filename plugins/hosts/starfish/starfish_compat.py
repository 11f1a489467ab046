# SPDX-License-Identifier: BSD-3-Clause
"""The likelihood as Starfish 0.4.2 has it, defects included. For comparison alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .grid import Array
from .observed import LN_MAGNITUDE
from .transforms import chebyshev_basis

if TYPE_CHECKING:
    from .model import SpectrumModel

#: What Starfish adds to the variance of each pixel, whatever its unit.
JITTER = 1e-10


def order_parts(model: SpectrumModel, order: int) -> tuple[float, Array, Any]:
    """Scale, flux and covariance (zelos/spectrum.hpp: PixelCovariance): the inverse of Sigma_w where Sigma_w
    should stand; extinction, series (of wave / wave.max()) and broadening on both factors of X; Rv
    ignored."""
    pixels, emulator = model.pixels[order], model.emulator
    m = emulator.ncomps
    source = model.starfish_source
    rows = source.sample(model._value("vz", order, 0.0), model.params.get("vsini", 0.0), pixels.log_wave).T
    if "Av" in model.params:
        a, b = pixels.extinction()
        rows = rows * np.exp(-LN_MAGNITUDE * model.params["Av"] * (a + b / 3.1))
    series = model._series(model._key("cheb", order))
    if series.size:
        rows = rows * (1.0 + series @ chebyshev_basis(pixels.wave, len(series), starfish=True))
    mean, weights = emulator(model.grid_params)
    x = rows[:m] * rows[m + 1]
    flux = mean @ x + rows[m]
    log_scale = model._value("log_scale", order)
    if log_scale is None:
        w = pixels.integral_weights()
        scale = float(w @ pixels.flux / (w @ flux))
    else:
        scale = float(np.exp(log_scale)) * (emulator.norm_factor(model.grid_params) if model.norm else 1.0)
    # X^T Sigma_w^-1 X = (X^T L^-T) (X^T L^-T)^T
    factors = scale * np.linalg.solve(np.linalg.cholesky(weights), x).T
    return (
        scale,
        scale * flux,
        _core.spectrum.PixelCovariance(factors, np.zeros(0), *model._kernels(order)),
    )
