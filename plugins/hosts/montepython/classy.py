# SPDX-License-Identifier: BSD-3-Clause
"""`Class`, as CLASS's module `classy` has it, answered by an emulator.

A script for classy runs on by one changed import::

    from zelos.montepython import Class

MontePython imports `classy`: docs/hosts.md says how it finds this one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.integrate import trapezoid
from scipy.interpolate import CubicSpline, RectBivariateSpline

import zelos

__all__ = ["Class", "CosmoComputationError", "CosmoError", "CosmoSevereError"]

Array = np.ndarray[Any, np.dtype[np.float64]]

C_KM_S = 299792.458
T_CMB = 2.7255  # K
#: Effective number of one massive neutrino per T_ncdm^4: (11/4)^(4/3).
_NEUTRINO = (11 / 4) ** (4 / 3)
_T_NCDM = 0.71611
#: N_eff follows from T_ncdm, which inputs round: the same to this.
_NNU_ROUNDING = 1e-3

#: CLASS's parameters -> zelos's, where they are one to one.
_PHYSICS = {
    **dict.fromkeys(("omega_b", "omega_cdm", "H0", "h", "tau_reio", "n_s", "A_s", "ln10^{10}A_s")),
    "logA": "logA",
    "omega_c": "omega_cdm",
    "Omega_k": "omk",
    "w0_fld": "w",
    "wa_fld": "wa",
    "N_eff": "nnu",
}
#: Parameters that stand for a quantity which no emulator of another code knows.
_REFUSED = {
    "100*theta_s": "it is CLASS's own angle, at the maximum of the visibility: give H0 or h",
    "theta_s_100": "it is CLASS's own angle, at the maximum of the visibility: give H0 or h",
    "sigma8": "amplitudes are A_s, ln10^{10}A_s or logA",
    "z_reio": "give tau_reio",
}
#: What is taken note of and changes no number that is emulated: what to compute, and how precisely.
_IGNORED = frozenset(
    {
        *(
            "output",
            "lensing",
            "modes",
            "ic",
            "gauge",
            "k_pivot",
            "root",
            "headers",
            "format",
            "input_verbose",
        ),
        *("background_verbose", "thermodynamics_verbose", "perturbations_verbose", "transfer_verbose"),
        *("primordial_verbose", "harmonic_verbose", "fourier_verbose", "lensing_verbose", "output_verbose"),
        *("non linear", "non_linear", "hmcode_min_k_max", "accurate_lensing", "overwrite_root"),
        *("delta_l_max", "nonlinear_min_k_max", "k_per_decade_for_pk", "sBBN file", "T_cmb"),
    }
)
#: Words that have to be these.
_ONLY = {"modes": "s", "ic": "ad"}
_LIMITS = frozenset({"l_max_scalars", "P_k_max_1/Mpc", "P_k_max_h/Mpc", "z_max_pk", "z_pk"})
_NEUTRINOS = frozenset({"N_ur", "N_ncdm", "m_ncdm", "T_ncdm", "deg_ncdm"})

#: CLASS's derived parameters -> (label of the emulator, factor).
_DERIVED = {
    "H0": ("H0", 1.0),
    "h": ("H0", 0.01),
    "Omega_m": ("omegam", 1.0),
    "Omega_Lambda": ("omegal", 1.0),
    "sigma8": ("sigma8", 1.0),
    "S8": ("S8", 1.0),
    "age": ("age", 1.0),
    "rs_d": ("rdrag", 1.0),
    "z_d": ("zdrag", 1.0),
    "z_reio": ("zrei", 1.0),
    "YHe": ("YHe", 1.0),
    "z_eq": ("zeq", 1.0),
    "k_eq": ("keq", 1.0),
}
#: CLASS's _rec are of the maximum of the visibility, its _star of an optical depth that has reionisation,
#: and its da_star is not comoving.
_OF_RECOMBINATION = ("_rec", "_star")


def _numbers(text: Any) -> list[float]:
    """Of a list as CLASS's input has it: ``0.02, 0.02``."""
    return [float(word) for word in str(text).split(",") if word.strip()]


class CosmoError(Exception):
    """As in classy."""


class CosmoSevereError(CosmoError):
    """What was asked for can not be had: MontePython stops."""


class CosmoComputationError(CosmoError):
    """This point can not be computed: MontePython rejects it."""


class Class:
    """As `classy.Class`, with CLASS's names and units: lengths in Mpc, k and H in 1/Mpc, P in Mpc^3, C_ell
    without unit and without a factor of ell.

    emulator:  what `zelos.get_emulator` takes; default ``$ZELOS_EMULATOR``, else ``hub:CAMB_lcdm``.
    fallback:  the code that answers outside the region, ``"camb"`` or ``"classy"``: the one that the emulator
               was trained on; default ``$ZELOS_FALLBACK``; ``""``: such a point is a CosmoComputationError.

    Both may also be set, as ``zelos_emulator`` and ``zelos_fallback``, among the parameters. What is not
    emulated raises CosmoSevereError and says so. Thread rule: one object belongs to one thread.
    """

    def __init__(
        self,
        default: Mapping[str, Any] | None = None,
        emulator: str | None = None,
        fallback: str | None = None,
    ) -> None:
        self._reference = emulator or os.environ.get("ZELOS_EMULATOR", "hub:CAMB_lcdm")
        self._fallback = os.environ.get("ZELOS_FALLBACK") if fallback is None else fallback
        self._emulator: zelos.Emulator | None = None
        self._opened: tuple[str, str | None] | None = None
        self._pars: dict[str, Any] = {}
        self._point: dict[str, float] = {}
        self._values: dict[str, Array] = {}
        self._derived: dict[str, float] = {}
        self._splines: dict[str, Any] = {}
        self.computed = self.state = False
        self.ready = False
        if default:
            self.set(default)

    # --- what to compute

    @property
    def pars(self) -> dict[str, Any]:
        return self._pars

    def set(self, *pars: Mapping[str, Any], **kwargs: Any) -> bool:
        """Adds parameters, CLASS's names and values."""
        for mapping in (*pars, kwargs):
            self._pars.update(mapping)
        self.computed = self.state = False
        return True

    def set_default(self) -> None:
        self.set({"output": "tCl mPk", "lensing": "yes"})

    def empty(self) -> None:
        """Forgets the parameters."""
        self._pars = {}
        self.computed = self.state = False

    def struct_cleanup(self) -> None:
        """Forgets what was computed."""
        self._values, self._derived, self._splines = {}, {}, {}
        self.computed = self.state = False

    def compute(self, level: Iterable[str] | None = None) -> None:
        """Asks the emulator, outside its region the fallback, for everything at once. `level` is of CLASS's
        modules, and means nothing here."""
        self.struct_cleanup()
        emulator = self._open()
        self._point = self._physics()
        self._check_limits(emulator)
        try:
            self._values = emulator.evaluate(self._point)
            canonical = self._canonical(emulator)
        except zelos.OutsideRegion as error:
            raise CosmoComputationError(str(error)) from error
        except zelos.ArgumentError as error:
            raise CosmoSevereError(str(error)) from error
        except zelos.FallbackError as error:
            raise CosmoComputationError(str(error)) from error
        labels = emulator.labels()
        self._derived = dict(zip(labels, self._values["derived"].tolist(), strict=True)) if labels else {}
        self._derived.update(canonical)
        self._splines = {}
        self.computed = self.state = self.ready = True

    def _open(self) -> zelos.Emulator:
        reference = str(self._pars.get("zelos_emulator", self._reference))
        fallback = self._pars.get("zelos_fallback", self._fallback) or None
        if self._emulator is None or self._opened != (reference, fallback):
            try:
                self._emulator = zelos.get_emulator(reference, fallback=fallback)
            except zelos.Error as error:
                raise CosmoSevereError(str(error)) from error
            self._opened = (reference, fallback)
        return self._emulator

    def _physics(self) -> dict[str, float]:
        point: dict[str, float] = {}
        for name, value in self._pars.items():
            if name in _REFUSED:
                raise CosmoSevereError(f"parameter '{name}' is not emulated: {_REFUSED[name]}")
            if name in _PHYSICS:
                point[_PHYSICS[name] or name] = float(value)
            elif name == "T_cmb" and float(value) != T_CMB:
                raise CosmoSevereError(f"T_cmb = {value} is not emulated: expected {T_CMB}")
            elif name == "k_pivot" and float(value) != 0.05:
                raise CosmoSevereError(f"k_pivot = {value} is not emulated: expected 0.05")
            elif name in _ONLY and str(value).strip() != _ONLY[name]:
                raise CosmoSevereError(f"{name} = {value} is not emulated: expected {_ONLY[name]}")
            elif name not in _IGNORED | _LIMITS | _NEUTRINOS | {"zelos_emulator", "zelos_fallback"}:
                raise CosmoSevereError(f"parameter '{name}' is not emulated")
        if self._pars.keys() & _NEUTRINOS:
            point.update(self._neutrinos())
        return point

    def _neutrinos(self) -> dict[str, float]:
        """mnu and nnu of CLASS's species; a value that is the training's up to rounding is that."""
        if "N_eff" in self._pars:
            raise CosmoSevereError("N_eff beside N_ur or N_ncdm is not emulated: expected N_ur")
        masses = _numbers(self._pars.get("m_ncdm", ""))
        species = int(float(self._pars.get("N_ncdm", 0)))
        copies = _numbers(self._pars.get("deg_ncdm", "")) or [1.0] * species
        if len(masses) != species or len(copies) != species:
            raise CosmoSevereError(f"neutrinos: expected {species} (N_ncdm) of m_ncdm, of deg_ncdm if given")
        count, trained_count = sum(copies), self._massive_in_training()
        if count and (count != trained_count or len(set(masses)) > 1):
            raise CosmoSevereError(
                f"neutrinos: expected {trained_count:g} of equal mass, as in training; "
                f"found {count:g}, m_ncdm = {self._pars['m_ncdm']}"
            )
        n_ur = float(self._pars.get("N_ur", 3.044))
        temperature = float(self._pars.get("T_ncdm", _T_NCDM))
        nnu = n_ur + count * _NEUTRINO * temperature**4
        assert self._emulator is not None
        trained = self._emulator.fixed.get("nnu", nnu)
        mnu = sum(mass * n for mass, n in zip(masses, copies, strict=True))
        return {"mnu": mnu, "nnu": trained if abs(nnu - trained) < _NNU_ROUNDING else nnu}

    def _massive_in_training(self) -> float:
        """How many neutrinos with mass, by CAMB's or CLASS's settings."""
        assert self._emulator is not None
        trained = self._emulator.info.get("provenance", {}).get("config", {})
        if "N_ncdm" in trained:
            return sum(_numbers(trained.get("deg_ncdm", ""))) or float(trained["N_ncdm"])
        return float(trained.get("num_massive_neutrinos", 1))

    def _check_limits(self, emulator: zelos.Emulator) -> None:
        def need(parameter: str, value: float, output: str, axis: str) -> None:
            if output in emulator.outputs and value > emulator.axes(output)[axis][-1] * (1 + 1e-9):
                raise CosmoSevereError(
                    f"{parameter} = {self._pars[parameter]}: the emulator has {output} up to {axis} = "
                    f"{emulator.axes(output)[axis][-1]:g}"
                )

        method = self._nonlinear()
        trained = str(emulator.info.get("provenance", {}).get("config", {}).get("halofit_version", ""))
        if method and trained and (method == "hmcode") != trained.startswith("mead"):
            raise CosmoSevereError(f"non linear = {method}: the emulator was trained with {trained}")
        if "l_max_scalars" in self._pars:
            need("l_max_scalars", float(self._pars["l_max_scalars"]), "Cl.tt", "ell")
        if "P_k_max_1/Mpc" in self._pars:
            need("P_k_max_1/Mpc", float(self._pars["P_k_max_1/Mpc"]), "Pk.linear", "k")
        if "z_max_pk" in self._pars:
            need("z_max_pk", float(self._pars["z_max_pk"]), "Pk.linear", "z")

    def _canonical(self, emulator: zelos.Emulator) -> dict[str, float]:
        """The inputs under the emulator's names."""
        given = {name for name in self._point if name not in emulator.fixed}
        try:
            return emulator.canonical({name: self._point[name] for name in self._point if name in given})
        except zelos.OutsideRegion:
            return {}

    # --- spectra

    def lensed_cl(self, lmax: int = -1, nofail: bool = False) -> dict[str, Array]:
        """Lensed C_ell from ell = 0, and the lensing potential's: tt, ee, te, bb, pp, tp, ep, ell. Lensing is
        that of the training; a CosmoSevereError if that is non-linear and ``non linear = none``."""
        linear = self._pars.keys() & {"non linear", "non_linear"} and not self._nonlinear()
        if linear and self._lensing_is_nonlinear():
            raise CosmoSevereError("lensed_cl: non linear = none is not emulated: lensing is non-linear")
        spectra = {name[3:]: self._value(name) for name in self._require().outputs if name.startswith("Cl.")}
        if not spectra:
            raise CosmoSevereError("C_ell are not emulated")
        axes = {name: self._require().axes(f"Cl.{name}")["ell"] for name in spectra}
        last = int(min(axis[-1] for axis in axes.values()))
        if lmax == -1:
            lmax = min(last, int(float(self._pars.get("l_max_scalars", last))))
        if lmax > last:
            raise CosmoSevereError(f"lensed_cl: lmax = {lmax}; the emulator has C_ell to ell = {last}")
        out: dict[str, Array] = {}
        for name, values in spectra.items():
            spectrum = np.zeros(lmax + 1)
            spectrum[2:] = values[: lmax - 1] / (1e6 * T_CMB) ** (2 - name.count("p"))
            out[{"pt": "tp", "pe": "ep"}.get(name, name)] = spectrum
        out["ell"] = np.arange(lmax + 1)  # type: ignore[assignment]
        return out

    def raw_cl(self, lmax: int = -1, nofail: bool = False) -> dict[str, Array]:
        raise CosmoSevereError("unlensed C_ell (raw_cl) are not emulated")

    def pk(self, k: float, z: float) -> float:
        """Non-linear P(k, z) where the emulator has it and ``non linear`` is set; else linear."""
        return self._power("Pk.nonlinear" if self.nonlinear_method else "Pk.linear", k, z)

    def pk_lin(self, k: float, z: float) -> float:
        return self._power("Pk.linear", k, z)

    def get_pk(self, k: Array, z: Array, k_size: int, z_size: int, mu_size: int) -> Array:
        """k[k_size, z_size, mu_size], as MontePython's likelihoods hand it over."""
        return self._get_pk("Pk.nonlinear" if self.nonlinear_method else "Pk.linear", k, z)

    def get_pk_lin(self, k: Array, z: Array, k_size: int, z_size: int, mu_size: int) -> Array:
        return self._get_pk("Pk.linear", k, z)

    def get_pk_and_k_and_z(
        self, nonlinear: bool = True, only_clustering_species: bool = False, h_units: bool = False
    ) -> tuple[Array, Array, Array]:
        """P[k, z], k, z with z descending, as in CLASS; with h_units k in h/Mpc and P in (Mpc/h)^3."""
        if only_clustering_species:
            raise CosmoSevereError("P(k) of the clustering species alone is not emulated")
        output = "Pk.nonlinear" if nonlinear and self.nonlinear_method else "Pk.linear"
        axes = self._require().axes(output)
        h = self.h() if h_units else 1.0
        return self._value(output)[:, ::-1] * h**3, axes["k"] / h, axes["z"][::-1].copy()

    @property
    def nonlinear_method(self) -> int:
        """0: linear."""
        return int(bool(self._nonlinear()) and "Pk.nonlinear" in self._require().outputs)

    def _nonlinear(self) -> str:
        method = str(self._pars.get("non linear", self._pars.get("non_linear", ""))).strip().lower()
        return "" if method in ("none", "no", "n") else method

    def _lensing_is_nonlinear(self) -> bool:
        """CAMB's driver always lenses so, CLASS's where it computes a non-linear P(k)."""
        trained = self._require().info.get("provenance", {})
        nonlinear = "Pk.nonlinear" in self._require().outputs or "non linear" in trained.get("config", {})
        return trained.get("code") != "classy" or nonlinear

    def sigma(self, R: float, z: float, h_units: bool = False) -> float:
        """Fluctuation of the linear matter density in spheres of R Mpc."""
        radius = R / self.h() if h_units else R
        axes = self._require().axes("Pk.linear")
        k = axes["k"]
        if radius * k[-1] < 20:
            raise CosmoSevereError(
                f"sigma: R = {radius:g} Mpc needs P(k) beyond the emulator's k = {k[-1]:g}"
            )
        power = np.array([self._power("Pk.linear", value, z) for value in k])
        # The integrand oscillates in ln k with a period that falls as 1/(kR): finer than P(k) itself.
        ln_k = np.linspace(np.log(k[0]), np.log(k[-1]), 6000)
        smooth = np.exp(CubicSpline(np.log(k), np.log(power))(ln_k))
        x = np.exp(ln_k) * radius
        window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
        small = x < 1e-2
        window[small] = 1 - x[small] ** 2 / 10
        integrand = np.exp(3 * ln_k) * smooth * window**2 / (2 * np.pi**2)
        return float(np.sqrt(trapezoid(integrand, ln_k)))

    def sigma8(self) -> float:
        return self._label("sigma8")

    def effective_f_sigma8(self, z: float, z_step: float = 0.1) -> float:
        return self._over_z("fsigma8", z)

    def scale_independent_growth_factor(self, z: float) -> float:
        """D(z)/D(0) of sigma_8: with massive neutrinos growth depends on scale a little; CLASS's is that of
        cold matter."""
        return self._over_z("sigma8_z", z) / self._over_z("sigma8_z", 0.0)

    def scale_independent_growth_factor_f(self, z: float) -> float:
        """f sigma_8 / sigma_8."""
        return self._over_z("fsigma8", z) / self._over_z("sigma8_z", z)

    # --- background

    def Hubble(self, z: float) -> float:
        """1/Mpc."""
        return self._over_z("Hubble", z) / C_KM_S

    def angular_distance(self, z: float) -> float:
        return self._over_z("angular_diameter_distance", z)

    def comoving_distance(self, z: float) -> float:
        return self._over_z("comoving_radial_distance", z)

    def luminosity_distance(self, z: float) -> float:
        return self.angular_distance(z) * (1 + z) ** 2

    def z_of_r(self, z_array: Any) -> tuple[Array, Array]:
        """Comoving distance and H (1/Mpc) at each redshift, as in CLASS."""
        z = np.asarray(z_array, float)
        return (
            np.array([self.comoving_distance(value) for value in z]),
            np.array([self.Hubble(value) for value in z]),
        )

    def h(self) -> float:
        return self._label("H0") / 100

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
        return self._label("ombh2") / self.h() ** 2

    def omega_b(self) -> float:
        return self._label("ombh2")

    def Omega0_cdm(self) -> float:
        return self._label("omch2") / self.h() ** 2

    @property
    def Omega_nu(self) -> float:
        return self._label("omnuh2") / self.h() ** 2

    def n_s(self) -> float:
        return self._label("ns")

    def tau_reio(self) -> float:
        return self._label("tau")

    def z_reio(self) -> float:
        return self._label("zrei")

    def T_cmb(self) -> float:
        return T_CMB

    def Neff(self) -> float:
        emulator = self._require()
        return float(self._point.get("nnu", emulator.fixed.get("nnu", 3.044)))

    def get_current_derived_parameters(self, names: Iterable[str]) -> dict[str, float]:
        """CLASS's names. One that is not emulated is a CosmoSevereError."""
        out = {}
        for name in names:
            if name in ("A_s", "10^9A_s", "ln10^{10}A_s", "logA"):
                amplitude = float(np.exp(self._label("logA"))) * 1e-10
                out[name] = {"A_s": amplitude, "10^9A_s": 1e9 * amplitude}.get(name, self._label("logA"))
            elif name in ("tau_reio", "n_s", "omega_b", "Omega_b", "Neff"):
                out[name] = float(getattr(self, name)())
            elif name in _DERIVED:
                label, factor = _DERIVED[name]
                out[name] = factor * self._label(label)
            elif name.endswith(_OF_RECOMBINATION):
                raise CosmoSevereError(f"derived parameter '{name}' is not emulated: it is CLASS's own")
            else:
                raise CosmoSevereError(f"derived parameter '{name}' is not emulated")
        return out

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise CosmoSevereError(f"classy's '{name}' is not emulated")

    # --- how

    def _require(self) -> zelos.Emulator:
        if not self.computed or self._emulator is None:
            raise CosmoSevereError("nothing is computed: call set() and compute() first")
        return self._emulator

    def _value(self, output: str) -> Array:
        self._require()
        if output not in self._values:
            raise CosmoSevereError(f"'{output}' is not emulated")
        return self._values[output]

    def _label(self, label: str) -> float:
        self._require()
        if label not in self._derived:
            raise CosmoSevereError(f"'{label}' is not emulated")
        return self._derived[label]

    def _over_z(self, output: str, z: float) -> float:
        values, axis = self._value(output), self._require().axes(output)["z"]
        if not axis[0] <= z <= axis[-1]:
            raise CosmoSevereError(f"{output}: z = {z:g}; the emulator has {axis[0]:g} to {axis[-1]:g}")
        if output not in self._splines:
            self._splines[output] = CubicSpline(axis, values)
        return float(self._splines[output](z))

    def _spline(self, output: str) -> RectBivariateSpline:
        if output not in self._splines:
            values, axes = self._value(output), self._require().axes(output)
            self._splines[output] = RectBivariateSpline(np.log(axes["k"]), axes["z"], np.log(values))
        return self._splines[output]

    def _power(self, output: str, k: float, z: float) -> float:
        spline, axes = self._spline(output), self._require().axes(output)
        for name, value in (("k", k), ("z", z)):
            low, high = axes[name][0], axes[name][-1]
            if not low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
                raise CosmoSevereError(f"{output}: {name} = {value:g}; the emulator has {low:g} to {high:g}")
        return float(np.exp(spline.ev(np.log(k), z)))

    def _get_pk(self, output: str, k: Array, z: Array) -> Array:
        out = np.empty(np.shape(k))
        for index in np.ndindex(out.shape):
            out[index] = self._power(output, k[index], z[index[1]])
        return out
