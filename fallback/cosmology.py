# SPDX-License-Identifier: BSD-3-Clause
"""What the drivers of Boltzmann codes share: names and units of outputs, and axes that resolve what is on
them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError
from .driver import AxisRequest, Kind

Array = np.ndarray[Any, np.dtype[np.float64]]

_ELL = (("ell", ""),)
_Z = (("z", ""),)
_K_Z = (("k", "1/Mpc"), ("z", ""))

#: C_ell are raw (no factor of ell); temperature and polarisation in muK^2.
KINDS = {
    **{f"Cl.{name}": Kind("muK^2", _ELL) for name in ("tt", "te", "ee", "bb")},
    "Cl.pp": Kind("", _ELL),
    "Cl.pt": Kind("muK", _ELL),
    "Cl.pe": Kind("muK", _ELL),
    "Pk.linear": Kind("Mpc^3", _K_Z),
    "Pk.nonlinear": Kind("Mpc^3", _K_Z),
    "sigma8_z": Kind("", _Z),
    "fsigma8": Kind("", _Z),
    "Hubble": Kind("km/s/Mpc", _Z),
    "comoving_radial_distance": Kind("Mpc", _Z),
    "angular_diameter_distance": Kind("Mpc", _Z),
}

SYNONYMS = {
    "linear_matter_power": "Pk.linear",
    "nonlinear_matter_power": "Pk.nonlinear",
    "non_linear_matter_power": "Pk.nonlinear",
    **{name: f"Cl.{name}" for name in ("tt", "te", "ee", "bb", "pp", "pt", "pe")},
    "sigma8(z)": "sigma8_z",
    "fsigma8(z)": "fsigma8",
    "H": "Hubble",
    "D_A": "angular_diameter_distance",
    "chi": "comoving_radial_distance",
    "Omega_m": "omegam",
    "sigma_8": "sigma8",
    "r_drag": "rdrag",
    "rs_drag": "rdrag",
    "z_drag": "zdrag",
    "z_re": "zrei",
    "z_star": "zstar",
    "r_star": "rstar",
    "Y_He": "YHe",
    "D_A_star": "DAstar",
    "theta_star": "thetastar",
}

#: Parameters of extensions of LCDM -> their values in LCDM.
NEUTRAL = {"omk": 0.0, "w": -1.0, "wa": 0.0, "Alens": 1.0, "nrun": 0.0, "nrunrun": 0.0}


def least_k_max(outputs: Iterable[str]) -> float:
    """1/Mpc. sigma8 is an integral over P(k): at 5/Mpc it loses less than 1e-6, at 1/Mpc 3e-4, at 0.2/Mpc
    6 %. With spectra 1/Mpc has to do: more would change what lensing is made of."""
    return 1.0 if any(name.startswith("Cl.") for name in outputs) else 5.0


def sigma(radius: float, ln_k: Array, power: Array) -> Array:
    """Fluctuation of the density in spheres of a radius (Mpc), of P (Mpc^3, ``[..., k]``) at ln k equally
    spaced (k in 1/Mpc), fine enough for the window, which oscillates in k with a period of 2 pi / radius."""
    from scipy.integrate import simpson

    x = np.exp(ln_k) * radius
    small = x < 1e-2
    window = np.where(small, 1 - x**2 / 10, 3 * (np.sin(x) - x * np.cos(x)) / x**3)
    density = power * np.exp(3 * ln_k) * window**2 / (2 * np.pi**2)
    return np.asarray(np.sqrt(simpson(density, x=ln_k, axis=-1)))


# The acoustic oscillations of P(k) lie in this range of k (1/Mpc): 170 points on it keep a spline through
# them below 1e-5.
_BAO = (0.02, 0.5)
_N_BELOW_PER_DECADE = 44 / np.log10(200)
_N_BAO_PER_DECADE = 169 / np.log10(25)
_N_ABOVE_PER_DECADE = 54 / np.log10(20)


def default_axis(output: str, axis: str, request: AxisRequest | None) -> Array:
    """Default values of the axes ell, k and z.

    ell:  every multipole.
    k:    logarithmic in three pieces, dense where the acoustic oscillations are; `n` points if the spec
          says so.
    z:    of the background functions, 81 points equal in ln(1 + z); of power spectra, 33 points, denser at
          low z.
    """
    if request is None:
        raise ArgumentError(f"outputs.{output}.{axis}: expected a range, e.g. {axis}: [0, 10]")
    low, high = float(request.min), float(request.max)
    if axis == "ell":
        if request.n:
            raise ArgumentError(
                f"outputs.{output}.ell: every multipole is computed: leave n out, or give the multipoles"
            )
        return np.arange(np.ceil(low), np.floor(high) + 1)
    if axis == "k":
        if not low > 0:
            raise ArgumentError(f"outputs.{output}.k: expected values above 0, found {low:g}")
        return _k_axis(low, high, request.n)
    if output in ("Hubble", "comoving_radial_distance", "angular_diameter_distance"):
        values = np.expm1(np.linspace(np.log(1 + low), np.log(1 + high), request.n or 81))
        values[0], values[-1] = low, high
        return values
    return low + (high - low) * np.linspace(0, 1, request.n or 33) ** 1.5


def settings_of(
    config: Mapping[str, Any], params: Mapping[str, float], rename: Mapping[str, str]
) -> dict[str, tuple[str, Any]]:
    """A code's own name of each setting -> the name by which it was given, and its value; params take the
    place of a config of the same name. Raises ValueError where two names are the same quantity: one of them
    would be ignored."""
    found: dict[str, tuple[str, Any]] = {}
    for name, value in {**config, **{name: float(value) for name, value in params.items()}}.items():
        own = rename.get(name, name)
        if own in found:
            raise ValueError(f"{found[own][0]} and {name} are the same quantity: give one of them")
        found[own] = name, value
    return found


def multipoles(ell: Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """An axis of multipoles as indices. Raises ValueError if one is not whole."""
    whole = np.round(ell).astype(np.int64)
    if np.any(whole != ell):
        raise ValueError(f"ell = {ell[whole != ell][0]:g}: codes answer at whole multipoles only")
    return whole


def _k_axis(low: float, high: float, n: int) -> Array:
    begin, end = max(low, _BAO[0]), min(high, _BAO[1])
    if begin >= end or (0 < n < 32):
        decades = np.log10(high / low)
        return np.geomspace(low, high, n or max(8, round(_N_ABOVE_PER_DECADE * decades) + 1))
    pieces = [(begin, end, round(_N_BAO_PER_DECADE * np.log10(end / begin)) + 1)]
    if low < begin:
        pieces.insert(0, (low, begin, round(_N_BELOW_PER_DECADE * np.log10(begin / low)) + 1))
    if high > end:
        pieces.append((end, high, round(_N_ABOVE_PER_DECADE * np.log10(high / end)) + 1))
    if n:
        pieces = _scaled(pieces, n)
    return np.unique(np.concatenate([np.geomspace(*piece) for piece in pieces]))


def _scaled(pieces: list[tuple[float, float, int]], n: int) -> list[tuple[float, float, int]]:
    """Gives the last piece what is missing to n points; if too little is left for it, all shrink alike."""
    total = n + len(pieces) - 1
    rest = total - sum(piece[2] for piece in pieces[:-1])
    if len(pieces) > 1 and rest >= 8 and pieces[-1][0] == _BAO[1]:
        return [*pieces[:-1], (*pieces[-1][:2], rest)]
    scale = total / sum(piece[2] for piece in pieces)
    counts = [max(2, int(piece[2] * scale)) for piece in pieces]
    counts[int(np.argmax(counts))] += total - sum(counts)
    return [(*piece[:2], count) for piece, count in zip(pieces, counts, strict=True)]
