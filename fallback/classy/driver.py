# SPDX-License-Identifier: BSD-3-Clause
"""Driver for CLASS (http://class-code.net) through its Python module classy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import cosmology
from ..driver import Kind
from . import module

Array = np.ndarray[Any, np.dtype[np.float64]]

#: Scalars, with their units -> name and factor in `get_current_derived_parameters`. CLASS's z_star, rs_star
#: and 100*theta_star are not CAMB's zstar, rstar and thetastar: their optical depth includes reionisation,
#: z_star is lower by 5. Those of the maximum of the visibility have names of their own.
_SCALARS = {
    "H0": ("km/s/Mpc", "H0", 1.0),
    "theta_s_100": ("", "100*theta_s", 1.0),
    "omegam": ("", "Omega_m", 1.0),
    "omegal": ("", "Omega_Lambda", 1.0),
    "sigma8": ("", "sigma8", 1.0),
    "rdrag": ("Mpc", "rs_d", 1.0),
    "zdrag": ("", "z_d", 1.0),
    "rs_rec": ("Mpc", "rs_rec", 1.0),
    "z_rec": ("", "z_rec", 1.0),
    "age": ("Gyr", "age", 1.0),
    "zrei": ("", "z_reio", 1.0),
    "YHe": ("", "YHe", 1.0),
}

#: Parameters under their common names -> CLASS's.
_RENAME = {
    "ombh2": "omega_b",
    "omch2": "omega_cdm",
    "omk": "Omega_k",
    "tau": "tau_reio",
    "logA": "ln10^{10}A_s",
    "As": "A_s",
    "ns": "n_s",
    "w0": "w0_fld",
    "w": "w0_fld",
    "wa": "wa_fld",
}
#: Parameters of other codes that CLASS can not begin with: its own 100*theta_s is another angle.
_REFUSED = ("thetastar", "cosmomc_theta")
#: Lensed spectra draw on multipoles beyond their own: without them BB at ell = 2 is low by half.
_LENSING_MARGIN = 1500
_SPEED_OF_LIGHT = 299792.458  # km/s
_MATTER = ("Pk.linear", "Pk.nonlinear", "sigma8_z", "fsigma8")


class Driver:
    """One configured CLASS.

    config:   CLASS's own settings that stay fixed (``N_ur``, ``m_ncdm``, precision parameters);
              ``ini``: path of a CLASS settings file to begin with.
    outputs:  as for every driver.
    """

    code: ClassVar[str] = "classy"
    kinds: ClassVar[Mapping[str, Kind]] = {
        name: kind for name, kind in cosmology.KINDS.items() if name not in ("Cl.pt", "Cl.pe")
    }
    derived: ClassVar[Mapping[str, str]] = {
        **{name: unit for name, (unit, _, _) in _SCALARS.items()},
        "S8": "",
    }
    synonyms: ClassVar[Mapping[str, str]] = cosmology.SYNONYMS
    neutral: ClassVar[Mapping[str, float]] = cosmology.NEUTRAL
    default_axis = staticmethod(cosmology.default_axis)

    def __init__(self, config: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]) -> None:
        self._classy = module.module()
        self.config = dict(config)
        self.outputs = {
            name: {a: np.asarray(v, float) for a, v in axes.items()} for name, axes in outputs.items()
        }

    @property
    def version(self) -> str:
        return str(self._classy.__version__).removeprefix("v")

    def library_hash(self) -> str:
        """SHA-256 of the extension module, which CLASS is linked into."""
        return hashlib.sha256(Path(self._classy.__file__).read_bytes()).hexdigest()

    def settings(self, params: Mapping[str, float]) -> str:
        """What CLASS is given here, one ``name = value`` a line; it reports no settings of its own."""
        return "\n".join(f"{name} = {value}" for name, value in sorted(self._input(params).items()))

    def _input(self, params: Mapping[str, float]) -> dict[str, Any]:
        for name in _REFUSED:
            if name in params:
                raise ValueError(f"CLASS can not begin with {name}: give H0")
        settings: dict[str, Any] = {}
        config = dict(self.config)
        if "ini" in config:
            settings.update(_read_ini(Path(str(config.pop("ini")))))
        given = cosmology.settings_of(config, params, _RENAME)
        settings.update({name: value for name, (_, value) in given.items()})
        if "w0_fld" in settings:
            settings.setdefault("Omega_Lambda", 0.0)
        wanted = []
        ells = [axes["ell"][-1] for axes in self.outputs.values() if "ell" in axes]
        if ells:
            wanted += ["tCl", "pCl", "lCl"]
            l_max = max(int(max(ells)) + _LENSING_MARGIN, int(settings.get("l_max_scalars", 0)))
            settings.update({"l_max_scalars": l_max, "lensing": "yes"})
        matter = [self.outputs[name] for name in _MATTER if name in self.outputs]
        if matter or "derived" in self.outputs:
            wanted.append("mPk")
            last = [float(axes["k"][-1]) for axes in matter if "k" in axes]
            k_max = max([cosmology.least_k_max(self.outputs), *last])
            settings["P_k_max_1/Mpc"] = 1.02 * k_max
            settings["z_max_pk"] = max([float(axes["z"][-1]) for axes in matter], default=0.0)
        settings["output"] = ",".join(wanted)
        if "Pk.nonlinear" in self.outputs:
            settings.setdefault("non linear", "hmcode")
        return settings

    def run(self, params: Mapping[str, float]) -> dict[str, Array]:
        """All outputs at one point; arrays in the order of the output's axes. Raises what classy raises."""
        code = module.new()
        try:
            code.set(self._input(params))
            code.compute()
            return {name: self._output(code, name, axes) for name, axes in self.outputs.items()}
        finally:
            code.struct_cleanup()
            code.empty()

    def _output(self, code: Any, name: str, axes: Mapping[str, Array]) -> Array:
        if name.startswith("Cl."):
            lmax = int(axes["ell"][-1])
            raw = code.lensed_cl(lmax)[name[3:]][cosmology.multipoles(axes["ell"])]
            return np.asarray(raw * (1.0 if name == "Cl.pp" else (1e6 * code.T_cmb()) ** 2))
        if name in ("Pk.linear", "Pk.nonlinear"):
            power = code.pk_lin if name == "Pk.linear" else code.pk
            return np.array([[power(k, z) for z in axes["z"]] for k in axes["k"]])
        if name == "derived":
            return self._derived(code)
        z = axes["z"]
        if name == "sigma8_z":
            return np.array([code.sigma(8.0 / code.h(), value) for value in z])
        if name == "fsigma8":
            return np.array([code.effective_f_sigma8(value) for value in z])
        if name == "Hubble":
            return np.array([code.Hubble(value) * _SPEED_OF_LIGHT for value in z])
        distance = np.array([code.angular_distance(value) if value > 0 else 0.0 for value in z])
        if name == "angular_diameter_distance":
            return distance
        return np.array([code.comoving_distance(value) if value > 0 else 0.0 for value in z])

    def _derived(self, code: Any) -> Array:
        found = code.get_current_derived_parameters([source for _, source, _ in _SCALARS.values()])
        values = {name: factor * float(found[source]) for name, (_, source, factor) in _SCALARS.items()}
        values["S8"] = values["sigma8"] * float(np.sqrt(values["omegam"] / 0.3))
        return np.array([values[name] for name in self.derived])


def _read_ini(path: Path) -> dict[str, str]:
    """``name = value`` lines; ``#`` begins a comment."""
    settings = {}
    for line in path.read_text().splitlines():
        name, separator, value = line.partition("#")[0].partition("=")
        if separator:
            settings[name.strip()] = value.strip()
    return settings
