# SPDX-License-Identifier: BSD-3-Clause
"""What classy's `Class` answers after compute(), of one point of an emulator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

import zelos
from zelos.fallback import cosmology
from zelos.one_point import OnePoint

from .errors import NotEmulated
from .inputs import T_CMB, Inputs

Array = np.ndarray[Any, np.dtype[np.float64]]

C_KM_S = 299792.458
_L_MAX = 2500
"""CLASS's default of l_max_scalars."""

#: CLASS's derived parameters -> label of the emulator.
_DERIVED = {
    "Omega_m": "omegam",
    "Omega_Lambda": "omegal",
    "sigma8": "sigma8",
    "S8": "S8",
    "age": "age",
    "rs_d": "rdrag",
    "z_d": "zdrag",
    "z_reio": "zrei",
    "YHe": "YHe",
    "z_eq": "zeq",
    "k_eq": "keq",
}
#: CLASS's _rec are of the maximum of the visibility, its _star of an optical depth that has reionisation,
#: and its da_star is not comoving.
_OF_RECOMBINATION = ("_rec", "_star")


class Emulated:
    """CLASS's names and units: lengths in Mpc, k and H in 1/Mpc, P in Mpc^3, C_ell without unit and without a
    factor of ell. z and k may be arrays where CLASS's may. What is not emulated raises NotEmulated."""

    def __init__(self, point: OnePoint, inputs: Inputs, pars: dict[str, Any]) -> None:
        self._point = point
        self._inputs = inputs
        self._pars = dict(pars)

    # --- spectra

    def lensed_cl(self, lmax: int = -1, nofail: bool = False) -> dict[str, Array]:
        """Lensed C_ell from ell = 0, and the lensing potential's: tt, ee, te, bb, pp, tp, ep, ell. As in
        CLASS only with lensing = yes, and by a linear power unless ``non linear`` is set: NotEmulated where
        that is not the training's."""
        if str(self._pars.get("lensing", "no")).strip().lower() not in ("yes", "y"):
            raise NotEmulated("lensed_cl: lensing = yes is not set, and CLASS's default is no")
        trained = self._inputs.training.nonlinear
        if bool(trained) != bool(self._inputs.nonlinear):
            found = self._inputs.nonlinear or "none"
            default = "" if self._pars.keys() & {"non linear", "non_linear"} else " (CLASS's default)"
            raise NotEmulated(
                f"lensed_cl: non linear = {found}{default} is not emulated, the training's lensing is "
                + (f"non-linear: give {self._inputs.training.how_to_ask}" if trained else "linear")
            )
        spectra = [name for name in self._point.values if name.startswith("Cl.")]
        if not spectra:
            raise NotEmulated("C_ell are not emulated")
        last = int(min(self._point.axis(name, "ell")[-1] for name in spectra))
        if lmax == -1:
            lmax = min(last, int(float(self._pars.get("l_max_scalars", _L_MAX))))
        if lmax > last:
            raise NotEmulated(f"lensed_cl: lmax = {lmax}; the emulator has C_ell to ell = {last}")
        out: dict[str, Array] = {}
        for name in spectra:
            kind = name[3:]
            spectrum = np.zeros(lmax + 1)
            spectrum[2:] = self._point.values[name][: lmax - 1] / (1e6 * T_CMB) ** (2 - kind.count("p"))
            out[{"pt": "tp", "pe": "ep"}.get(kind, kind)] = spectrum
        out["ell"] = np.arange(lmax + 1)  # type: ignore[assignment]
        return out

    def pk(self, k: float, z: float) -> float:
        """Non-linear if ``non linear`` is set, else linear."""
        return float(self._power(self._kind(), k, z))

    def pk_lin(self, k: float, z: float) -> float:
        return float(self._power("Pk.linear", k, z))

    def get_pk(self, k: Array, z: Array, k_size: int, z_size: int, mu_size: int) -> Array:
        """k[k_size, z_size, mu_size], as MontePython's likelihoods hand it over."""
        return np.asarray(self._power(self._kind(), k, np.asarray(z, float)[:, np.newaxis]))

    def get_pk_lin(self, k: Array, z: Array, k_size: int, z_size: int, mu_size: int) -> Array:
        return np.asarray(self._power("Pk.linear", k, np.asarray(z, float)[:, np.newaxis]))

    def get_pk_array(self, k: Array, z: Array, k_size: int, z_size: int, nonlinear: bool) -> Array:
        """Of k[k_size] and z[z_size]: P[index_z * k_size + index_k]."""
        k, z = np.asarray(k, float)[:k_size], np.asarray(z, float)[:z_size, np.newaxis]
        return np.asarray(self._power(self._kind(nonlinear), k, z)).ravel()

    def get_pk_and_k_and_z(
        self, nonlinear: bool = True, only_clustering_species: bool = False, h_units: bool = False
    ) -> tuple[Array, Array, Array]:
        """P[k, z], k, z with z descending, as in CLASS; with h_units k in h/Mpc and P in (Mpc/h)^3."""
        if only_clustering_species:
            raise NotEmulated("P(k) of the clustering species alone is not emulated")
        output = self._kind(nonlinear)
        h = self.h() if h_units else 1.0
        power = self._point.output(output)[:, ::-1] * h**3
        return power, self._point.axis(output, "k") / h, self._point.axis(output, "z")[::-1].copy()

    @property
    def nonlinear_method(self) -> int:
        """0: linear; 1: halofit; 2: HMcode."""
        return ("", "halofit", "hmcode").index(self._inputs.nonlinear.partition(" ")[0])

    def sigma(self, R: float, z: float, h_units: bool = False) -> float:
        """Fluctuation of the linear matter density in spheres of R Mpc. One number."""
        radius = float(R) / self.h() if h_units else float(R)
        k, power = self._point.axis("Pk.linear", "k"), self._point.at_z("Pk.linear", float(z))
        if radius * k[-1] < 20:
            raise NotEmulated(f"sigma: R = {radius:g} Mpc needs P(k) beyond the emulator's k = {k[-1]:g}")
        # The integrand oscillates in ln k with a period that falls as 1/(kR): finer than P(k) itself.
        ln_k = np.linspace(np.log(k[0]), np.log(k[-1]), 6000)
        smooth = np.exp(CubicSpline(np.log(k), np.log(power))(ln_k))
        return float(cosmology.sigma(radius, ln_k, smooth))

    def sigma8(self) -> float:
        return self._label("sigma8")

    def effective_f_sigma8(self, z: Any, z_step: float = 0.1) -> Any:
        """d sigma_8 / d ln a as CLASS has it: the difference of sigma_8 at z + z_step and z - z_step; below
        z_step that at 0 and 2 z, below z_step / 10 a one-sided one of that step. The emulated f sigma_8 is
        another quantity: CAMB's, of velocity and density, is 0.4 % higher with neutrinos of 0.06 eV."""
        z = np.asarray(z, float)
        least = z_step / 10
        step = np.where(z >= least, np.minimum(z, z_step), least)
        before = np.where(z >= least, z - step, z)
        width = z + step - before
        sigma8 = self._point.at_z("sigma8_z", np.stack([before, z + step]))
        found = (sigma8[0] - sigma8[1]) / width * (1 + z)
        return found if found.ndim else float(found)

    def scale_independent_growth_factor(self, z: Any) -> Any:
        """D(z)/D(0) of sigma_8: with massive neutrinos growth depends on scale a little; CLASS's is that of
        cold matter."""
        return self._point.at_z("sigma8_z", z) / self._point.at_z("sigma8_z", 0.0)

    def scale_independent_growth_factor_f(self, z: Any) -> Any:
        """d ln sigma_8 / d ln a."""
        return self.effective_f_sigma8(z) / self._point.at_z("sigma8_z", z)

    # --- background

    def Hubble(self, z: Any) -> Any:
        """1/Mpc."""
        return self._point.at_z("Hubble", z) / C_KM_S

    def angular_distance(self, z: Any) -> Any:
        return self._point.at_z("angular_diameter_distance", z)

    def comoving_distance(self, z: Any) -> Any:
        return self._point.at_z("comoving_radial_distance", z)

    def luminosity_distance(self, z: Any) -> Any:
        return self.angular_distance(z) * (1 + np.asarray(z, float)) ** 2

    def z_of_r(self, z_array: Any) -> tuple[Any, Any]:
        """Comoving distance and H (1/Mpc) at each redshift, as in CLASS."""
        return self.comoving_distance(z_array), self.Hubble(z_array)

    def h(self) -> float:
        return self._inputs.H0 / 100

    def rs_drag(self) -> float:
        return self._label("rdrag")

    def age(self) -> float:
        return self._label("age")

    def Omega_m(self) -> float:
        return self._label("omegam")

    def Omega0_m(self) -> float:
        return self.Omega_m()

    def Omega_Lambda(self) -> float:
        return self._label("omegal")

    def Omega_b(self) -> float:
        return self._inputs.omega_b / self.h() ** 2

    def omega_b(self) -> float:
        return self._inputs.omega_b

    def Omega0_cdm(self) -> float:
        return self._inputs.omega_cdm / self.h() ** 2

    @property
    def Omega_nu(self) -> float:
        return self._label("omnuh2") / self.h() ** 2

    def n_s(self) -> float:
        return self._inputs.n_s

    def tau_reio(self) -> float:
        if self._inputs.tau_reio is None:
            raise NotEmulated("tau_reio is not given, and CLASS's default z_reio is not emulated")
        return self._inputs.tau_reio

    def z_reio(self) -> float:
        return self._label("zrei")

    def T_cmb(self) -> float:
        return T_CMB

    def Neff(self) -> float:
        return self._inputs.neff

    def get_current_derived_parameters(self, names: Iterable[str]) -> dict[str, float]:
        """CLASS's names. One that is not emulated is NotEmulated."""
        log_amplitude = self._inputs.logA
        amplitudes = {
            "A_s": 1e-10 * float(np.exp(log_amplitude)),
            "10^9A_s": 0.1 * float(np.exp(log_amplitude)),
            **dict.fromkeys(("ln10^{10}A_s", "ln_A_s_1e10", "logA"), log_amplitude),
        }
        out = {}
        for name in names:
            if name in amplitudes:
                out[name] = amplitudes[name]
            elif name in ("h", "tau_reio", "n_s", "omega_b", "Omega_b", "Neff"):
                out[name] = float(getattr(self, name)())
            elif name == "H0":
                out[name] = self._inputs.H0
            elif name in _DERIVED:
                out[name] = self._label(_DERIVED[name])
            elif name.endswith(_OF_RECOMBINATION):
                raise NotEmulated(f"derived parameter '{name}' is not emulated: it is CLASS's own")
            else:
                raise NotEmulated(f"derived parameter '{name}' is not emulated")
        return out

    # --- how

    def _kind(self, nonlinear: bool = True) -> str:
        return "Pk.nonlinear" if nonlinear and self._inputs.nonlinear else "Pk.linear"

    def _label(self, label: str) -> float:
        if label not in self._point.derived:
            raise NotEmulated(f"'{label}' is not emulated")
        return self._point.derived[label]

    def _power(self, output: str, k: Any, z: Any) -> Any:
        try:
            return self._point.power(output, k, z)
        except zelos.ArgumentError as error:
            raise NotEmulated(str(error)) from error
