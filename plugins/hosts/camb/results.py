# SPDX-License-Identifier: BSD-3-Clause
"""CAMB's results object on top of an emulator's arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline, RectBivariateSpline

import zelos
from zelos.errors import ArgumentError, did_you_mean

Array = np.ndarray[Any, np.dtype[np.float64]]

C_KM_S = 299792.458
T_CMB_MUK = 2.7255e6

#: Arguments of set_params that are physics, under zelos's names; an emulator refuses what it does not know.
_PHYSICS = {
    **dict.fromkeys(("H0", "ombh2", "omch2", "omk", "mnu", "nnu", "tau", "As", "ns", "w", "wa")),
    "cosmomc_theta": "cosmomc_theta",
    "thetastar": "thetastar",
}
#: Arguments at which the physics of an emulator that does not know them is CAMB's default.
_NEUTRAL = {
    "nrun": 0.0, "nrunrun": 0.0, "r": 0.0, "nt": None, "Alens": 1.0, "YHe": None, "zrei": None,
    "meffsterile": 0.0, "neutrino_hierarchy": "degenerate",
    "standard_neutrino_neff": 3.044, "TCMB": 2.7255, "deltazrei": None, "pivot_scalar": 0.05,
    "WantTensors": False, "DoLensing": True, "dark_energy_model": "fluid", "cs2": 1.0,
    "bbn_predictor": None, "theta_H0_range": (10, 100),
}  # fmt: skip
_SETTINGS = frozenset(
    {
        *("lmax", "max_l", "lens_potential_accuracy", "lens_margin", "lens_k_eta_reference", "nonlinear"),
        *("AccuracyBoost", "lAccuracyBoost", "lSampleBoost", "min_l_logl_sampling", "DoLateRadTruncation"),
        *(
            "max_eta_k",
            "WantCls",
            "WantTransfer",
            "WantScalars",
            "Want_CMB",
            "redshifts",
            "kmax",
        ),
        *("k_per_logint", "silent", "halofit_version", "NonLinear", "num_massive_neutrinos"),
    }
)
#: CAMB's get_derived_params -> factor on the emulator's label of that name.
_DERIVED = {
    **dict.fromkeys(("age", "zstar", "rstar", "DAstar", "zdrag", "rdrag", "kd", "thetad", "zeq", "keq"), 1.0),
    **dict.fromkeys(("thetaeq", "thetarseq"), 1.0),
    "thetastar": 100.0,
}
#: CAMB's NonLinear without lensing, by name and number.
_LINEAR_LENSING = ("NonLinear_none", "NonLinear_pk", 0, 1)
_SPECTRA = ("tt", "ee", "bb", "te")

_opened: dict[tuple[str, str | None], zelos.Emulator] = {}
_chosen: tuple[str, str | None] = ("hub:CAMB_lcdm", "camb")
_version: list[str | None] = [None]


def use(
    emulator: str = "hub:CAMB_lcdm", fallback: str | None = "camb", fallback_version: str | None = None
) -> None:
    """What get_results asks from now on: the arguments of `zelos.get_emulator`."""
    global _chosen
    _chosen = (str(emulator), fallback)
    _version[0] = fallback_version
    _opened.pop(_chosen, None)


def _emulator() -> zelos.Emulator:
    if _chosen not in _opened:
        reference, fallback = _chosen
        _opened[_chosen] = zelos.get_emulator(reference, fallback=fallback, fallback_version=_version[0])
    return _opened[_chosen]


class Params:
    """What set_params was given. physics: for the emulator; settings: what to compute."""

    def __init__(self, physics: dict[str, float], settings: dict[str, Any]) -> None:
        self.physics = physics
        self.settings = settings

    def set_matter_power(
        self,
        redshifts: Sequence[float] = (0.0,),
        kmax: float = 1.2,
        k_per_logint: int | None = None,
        nonlinear: bool | None = None,
        accurate_massive_neutrino_transfers: bool = False,
        silent: bool = False,
    ) -> Params:
        """redshifts are those of get_sigma8; the rest is as in the training."""
        self.settings.update(redshifts=sorted(map(float, redshifts), reverse=True), kmax=float(kmax))
        return self


def set_params(**arguments: Any) -> Params:
    """Arguments of ``camb.set_params``. One that is neither emulated, nor physics at its neutral value, nor a
    setting is an ArgumentError. Accuracy settings are those of the training, whatever is given;
    halofit_version and num_massive_neutrinos have to be."""
    physics: dict[str, float] = {}
    settings: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in _PHYSICS and value is not None:
            physics[name] = float(value)
        elif name in _NEUTRAL:
            if value is not None and value != _NEUTRAL[name]:
                raise ArgumentError(
                    f"set_params: {name} = {value!r} is not emulated: expected {_NEUTRAL[name]!r}"
                )
        elif name in _SETTINGS:
            settings[name] = value
        elif name not in _PHYSICS:
            known = (*_PHYSICS, *_NEUTRAL, *_SETTINGS)
            raise ArgumentError(f"set_params: '{name}' is not emulated{did_you_mean(name, known)}")
    return Params(physics, settings)


def _check_halofit(params: Params, emulator: zelos.Emulator) -> None:
    trained = emulator.info.get("provenance", {}).get("config", {}).get("halofit_version")
    given = params.settings.get("halofit_version", trained)
    if trained and given != trained and {given, trained} != {"mead", "mead2016"}:
        raise ArgumentError(f"halofit_version = {given!r} is not emulated: expected {trained!r}")


def _check_neutrinos(params: Params, emulator: zelos.Emulator) -> None:
    """CAMB's default is one neutrino with mass; without mass their number does not matter."""
    trained = emulator.info.get("provenance", {}).get("config", {}).get("num_massive_neutrinos", 1)
    given = params.settings.get("num_massive_neutrinos", 1)
    if given != trained and params.physics.get("mnu") != 0:
        raise ArgumentError(f"num_massive_neutrinos = {given!r} is not emulated: expected {trained!r}")


class PowerInterpolator:
    """P(z, kh) as CAMB's PKInterpolator: cubic in log k and z of log P. Outside its range ArgumentError."""

    def __init__(self, k: Array, z: Array, power: Array) -> None:
        self.kmin, self.kmax, self.zmin, self.zmax = float(k[0]), float(k[-1]), float(z[0]), float(z[-1])
        self.islog = True
        self._spline = RectBivariateSpline(z, np.log(k), np.log(power))

    def P(self, z: Any, kh: Any, grid: bool | None = None) -> Any:
        return np.exp(self.logP(z, kh, grid))

    def logP(self, z: Any, kh: Any, grid: bool | None = None) -> Any:
        z, kh = np.asarray(z, float), np.asarray(kh, float)
        for name, values, low, high in (("z", z, self.zmin, self.zmax), ("k", kh, self.kmin, self.kmax)):
            wrong = values[(values < low * (1 - 1e-9)) | (values > high * (1 + 1e-9))]
            if wrong.size:
                raise ArgumentError(
                    f"P(k, z): {name} = {wrong.flat[0]:g}; the emulator has {low:g} to {high:g}"
                )
        if grid is None:
            grid = z.ndim > 0 and kh.ndim > 0
        values = self._spline(z, np.log(kh), grid=grid)
        return values[0, :] if grid and z.ndim == 0 else values[:, 0] if grid and kh.ndim == 0 else values

    def __call__(self, z: Any, log_kh: Any, grid: bool | None = None) -> Any:
        return self.logP(z, np.exp(log_kh), grid)


class Results:
    """One point: all that the emulator, or outside its region CAMB, gives. source: which of the two."""

    def __init__(self, params: Params) -> None:
        self.Params = params
        self._settings = dict(params.settings)
        self._emulator = emulator = _emulator()
        _check_halofit(params, emulator)
        _check_neutrinos(params, emulator)
        before = emulator.statistics["fallback"]
        self._values = emulator.evaluate(params.physics)
        self.source = "camb" if emulator.statistics["fallback"] > before else "emulator"
        labels = emulator.labels()
        values = self._values["derived"].tolist() if labels else []
        self._derived: dict[str, float] = dict(zip(labels, values, strict=True))
        free = {name: value for name, value in params.physics.items() if name not in emulator.fixed}
        self._parameters: dict[str, float] = (
            emulator.canonical(free) if self.source == "emulator" else dict(free)
        )

    # --- spectra

    def get_cmb_power_spectra(
        self,
        params: Params | None = None,
        lmax: int | None = None,
        spectra: Sequence[str] = ("total", "lensed_scalar", "lens_potential"),
        CMB_unit: str | None = None,
        raw_cl: bool = False,
    ) -> dict[str, Array]:
        """name -> C_ell[0..lmax, 4] (TT EE BB TE); lens_potential: [0..lmax, 3] (PP PT PE)."""
        if params is not None and params is not self.Params:
            raise ArgumentError(
                "get_cmb_power_spectra: results are of the parameters that get_results was given"
            )
        getters = {
            "total": self.get_total_cls,
            "lensed_scalar": self.get_lensed_scalar_cls,
            "lens_potential": self.get_lens_potential_cls,
        }
        for name in spectra:
            if name not in getters:
                raise ArgumentError(f"spectra '{name}' are not emulated: expected {', '.join(getters)}")
        return {name: getters[name](lmax, CMB_unit, raw_cl) for name in spectra}

    def get_total_cls(
        self, lmax: int | None = None, CMB_unit: str | None = None, raw_cl: bool = False
    ) -> Array:
        """Lensed; there are no tensors."""
        return self._cls(_SPECTRA, lmax, CMB_unit, raw_cl)

    get_lensed_scalar_cls = get_total_cls

    def get_lens_potential_cls(
        self, lmax: int | None = None, CMB_unit: str | None = None, raw_cl: bool = False
    ) -> Array:
        return self._cls(("pp", "pt", "pe"), lmax, CMB_unit, raw_cl)

    def _cls(self, names: Sequence[str], lmax: int | None, unit: str | None, raw: bool) -> Array:
        if self._settings.get("NonLinear") in _LINEAR_LENSING or self._settings.get("nonlinear") is False:
            raise ArgumentError("C_ell with linear lensing are not emulated: lensing is non-linear")
        if unit not in (None, "muK", "K"):
            raise ArgumentError(f"CMB_unit = {unit!r}: expected None, 'muK' or 'K'")
        last = min(int(self._axis(f"Cl.{name}", "ell")[-1]) for name in names)
        if lmax is None:
            lmax = min(last, int(self._settings.get("lmax", self._settings.get("max_l", last))))
        if lmax > last:
            raise ArgumentError(f"lmax = {lmax}: the emulator has C_ell to ell = {last}")
        factor = {None: 1 / T_CMB_MUK, "muK": 1.0, "K": 1e-6}[unit]
        ell = np.arange(2.0, lmax + 1)
        out = np.zeros((lmax + 1, len(names)))
        for column, name in enumerate(names):
            potentials = name.count("p")
            values = self._value(f"Cl.{name}")[: lmax - 1] * factor ** (2 - potentials)
            scale = (ell * (ell + 1)) ** (1 + 0.5 * potentials) / (2 * np.pi)
            out[2:, column] = values if raw else values * scale
        return out

    def get_matter_power_interpolator(
        self,
        nonlinear: bool = True,
        var1: Any = None,
        var2: Any = None,
        hubble_units: bool = True,
        k_hunit: bool = True,
        return_z_k: bool = False,
        log_interp: bool = True,
        extrap_kmax: float | None = None,
        silent: bool = False,
    ) -> Any:
        """Total matter: a PowerInterpolator; with return_z_k that, z and k. Nothing is extrapolated, whatever
        extrap_kmax is."""
        if not log_interp:
            raise ArgumentError("get_matter_power_interpolator: log_interp = False is not emulated")
        if any(variable not in (None, "delta_tot", 7) for variable in (var1, var2)):
            raise ArgumentError("get_matter_power_interpolator: only delta_tot is emulated")
        output = "Pk.nonlinear" if nonlinear else "Pk.linear"
        k, z = self._axis(output, "k"), self._axis(output, "z")
        power = self._value(output).T
        h = self._input("H0") / 100 if hubble_units or k_hunit else 1.0
        k = k / h if k_hunit else k
        interpolator = PowerInterpolator(k, z, power * h**3 if hubble_units else power)
        return (interpolator, z, k) if return_z_k else interpolator

    # --- background

    def hubble_parameter(self, z: Any) -> Any:
        """km/s/Mpc."""
        return self._over_z("Hubble", z)

    def h_of_z(self, z: Any) -> Any:
        """1/Mpc."""
        return self.hubble_parameter(z) / C_KM_S

    def comoving_radial_distance(self, z: Any, tol: float = 0.0) -> Any:
        return self._over_z("comoving_radial_distance", z)

    def angular_diameter_distance(self, z: Any) -> Any:
        return self._over_z("angular_diameter_distance", z)

    def luminosity_distance(self, z: Any) -> Any:
        return self.angular_diameter_distance(z) * (1 + np.asarray(z, float)) ** 2

    # --- scalars

    def get_derived_params(self) -> dict[str, float]:
        """CAMB's, as far as they are emulated."""
        return {name: f * self._derived[name] for name, f in _DERIVED.items() if name in self._derived}

    def get_sigma8_0(self) -> float:
        return self._label("sigma8")

    def get_sigma8(self) -> Array:
        """At the redshifts of the parameters, in the order of decreasing redshift; at 0 without any."""
        return np.asarray(self._over_z("sigma8_z", self._redshifts()))

    def get_fsigma8(self) -> Array:
        return np.asarray(self._over_z("fsigma8", self._redshifts()))

    def cosmomc_theta(self) -> float:
        return self._label("cosmomc_theta")

    def get_Omega(self, var: str, z: float = 0.0) -> float:
        """At z = 0: de, baryon, cdm, nu (the neutrinos with mass)."""
        h2 = (self._input("H0") / 100) ** 2
        if z != 0 or var not in ("de", "baryon", "cdm", "nu"):
            raise ArgumentError(f"get_Omega('{var}', {z}) is not emulated")
        if var == "de":
            return self._label("omegal")
        if var == "nu":
            return self._label("omnuh2") / h2
        return self._input({"baryon": "ombh2", "cdm": "omch2"}[var]) / h2

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise ArgumentError(f"CAMB's '{name}' is not emulated")

    # --- how

    def _redshifts(self) -> Array:
        return np.array(sorted(self._settings.get("redshifts", [0.0]), reverse=True), float)

    def _value(self, output: str) -> Array:
        if output not in self._values:
            raise ArgumentError(f"'{output}' is not emulated")
        return self._values[output]

    def _axis(self, output: str, axis: str) -> Array:
        self._value(output)
        return self._emulator.axes(output)[axis]

    def _label(self, label: str) -> float:
        if label not in self._derived:
            raise ArgumentError(f"'{label}' is not emulated")
        return self._derived[label]

    def _input(self, name: str) -> float:
        if name in self._parameters:
            return float(self._parameters[name])
        return float(self._over_z("Hubble", 0.0)) if name == "H0" else self._label(name)

    def _over_z(self, output: str, z: Any) -> Any:
        axis, values = self._axis(output, "z"), np.asarray(z, float)
        wrong = values[(values < axis[0]) | (values > axis[-1])]
        if wrong.size:
            raise ArgumentError(
                f"{output}: z = {wrong.flat[0]:g}; the emulator has {axis[0]:g} to {axis[-1]:g}"
            )
        found = CubicSpline(axis, self._value(output))(values)
        return float(found) if values.ndim == 0 else found


def get_results(params: Params) -> Results:
    """CAMB's get_results. Raises zelos.OutsideRegion outside the region where no fallback was chosen."""
    if not isinstance(params, Params):
        raise ArgumentError(
            f"get_results: expected what zelos.camb.set_params gives, found {type(params).__module__}."
            f"{type(params).__name__}"
        )
    return Results(params)


get_background = get_results
