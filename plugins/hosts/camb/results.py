# SPDX-License-Identifier: BSD-3-Clause
"""CAMB's results object on top of an emulator's arrays."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import zelos
from zelos.errors import ArgumentError, did_you_mean
from zelos.fallback.camb.driver import module as camb
from zelos.member import Member, base_name
from zelos.one_point import OnePoint

Array = np.ndarray[Any, np.dtype[np.float64]]

C_KM_S = 299792.458
T_CMB_MUK = 2.7255e6

#: Arguments of set_params that are parameters -> CAMB's default; None: it has none that is emulated.
_PARAMETERS: dict[str, float | None] = {
    "H0": None, "cosmomc_theta": None, "thetastar": None, "tau": None,
    "ombh2": 0.022, "omch2": 0.12, "omk": 0.0, "mnu": 0.06, "nnu": 3.044, "As": 2e-9, "ns": 0.96,
    "nrun": 0.0, "nrunrun": 0.0, "Alens": 1.0, "w": -1.0, "wa": 0.0,
}  # fmt: skip
#: Arguments that choose other physics -> CAMB's default.
_PHYSICS: dict[str, Any] = {
    "r": 0.0, "nt": None, "YHe": None, "zrei": None, "deltazrei": None, "meffsterile": 0.0,
    "neutrino_hierarchy": "degenerate", "num_massive_neutrinos": 1, "standard_neutrino_neff": 3.044,
    "omnuh2_active": None, "TCMB": 2.7255, "pivot_scalar": 0.05, "WantTensors": False, "DoLensing": True,
    "dark_energy_model": "fluid", "cs2": 1.0, "bbn_predictor": None, "theta_H0_range": (10, 100),
}  # fmt: skip
#: Arguments that say what to compute and how precisely: as in the training, whatever is given.
_SETTINGS = frozenset({
    "lmax", "max_l", "lens_potential_accuracy", "lens_margin", "lens_output_margin", "k_eta_fac",
    "lens_k_eta_reference", "nonlinear", "AccuracyBoost", "lAccuracyBoost", "lSampleBoost",
    "min_l_logl_sampling", "DoLateRadTruncation", "max_eta_k", "WantCls", "WantTransfer", "WantScalars",
    "Want_CMB", "redshifts", "kmax", "k_per_logint", "silent", "halofit_version", "NonLinear",
    "accurate_massive_neutrino_transfers",
})  # fmt: skip
_HALOFIT = "mead2020"
_HALOFIT_SYNONYMS = {"mead": "mead2016"}
#: CAMB's get_derived_params -> factor on the emulator's label of that name.
_DERIVED = {
    **dict.fromkeys(("age", "zstar", "rstar", "DAstar", "zdrag", "rdrag", "kd", "thetad", "zeq", "keq"), 1.0),
    **dict.fromkeys(("thetaeq", "thetarseq"), 1.0),
    "thetastar": 100.0,
}
#: CAMB's NonLinear, by name and number, with non-linear lensing.
_NONLINEAR_LENSING = ("NonLinear_lens", "NonLinear_both", 2, 3)
_SPECTRA = ("tt", "ee", "bb", "te")

_opened: dict[tuple[str, str | None], zelos.Emulator] = {}
_members: dict[tuple[str, str | None], Member] = {}
_points: dict[tuple[str, str | None], OnePoint] = {}
_chosen: tuple[str, str | None] = ("hub:CAMB_lcdm", "camb")
_version: list[str | None] = [None]
_said: set[str] = set()


def use(
    emulator: str = "hub:CAMB_lcdm", fallback: str | None = "camb", fallback_version: str | None = None
) -> None:
    """What get_results asks from now on: the arguments of `zelos.get_emulator`. With fallback = "camb" CAMB
    answers, with the settings of the training, for points outside the region, and with the script's own for
    whatever else is not emulated."""
    global _chosen
    _chosen = (str(emulator), fallback)
    _version[0] = fallback_version
    for opened in (_opened, _members, _points):
        opened.pop(_chosen, None)


def _emulator() -> zelos.Emulator:
    if _chosen not in _opened:
        reference, fallback = _chosen
        _opened[_chosen] = zelos.get_emulator(reference, fallback=fallback, fallback_version=_version[0])
        _members[_chosen] = Member(_opened[_chosen].core)
    return _opened[_chosen]


class Params:
    """What set_params was given. physics: parameters; settings: all else."""

    def __init__(self, physics: dict[str, float], settings: dict[str, Any], refused: str = "") -> None:
        self.physics = physics
        self.settings = settings
        self._refused = refused
        self._matter_power: dict[str, Any] = {}

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
        self.settings["redshifts"] = sorted(map(float, redshifts), reverse=True)
        self._matter_power = {
            "redshifts": self.settings["redshifts"], "kmax": float(kmax), "k_per_logint": k_per_logint,
            "nonlinear": nonlinear, "silent": silent,
            "accurate_massive_neutrino_transfers": accurate_massive_neutrino_transfers,
        }  # fmt: skip
        return self

    def copy(self) -> Params:
        copied = Params(dict(self.physics), dict(self.settings), self._refused)
        copied._matter_power = dict(self._matter_power)
        return copied

    def of_camb(self) -> Any:
        """The same for CAMB itself."""
        parameters = camb().set_params(**self.physics, **self.settings)
        return parameters.set_matter_power(**self._matter_power) if self._matter_power else parameters

    def _check_physics(self, member: Member) -> None:
        for name, default in _PHYSICS.items():
            given, trained = self.settings.get(name), member.settings.get(name, default)
            given = default if given is None else tuple(given) if isinstance(given, list) else given
            neutral = member.immaterial.get(name)
            held = {key: self.physics.get(key, _PARAMETERS[key]) for key in neutral} if neutral else None
            if given != trained and (neutral is None or held != neutral):
                by_default = "" if name in self.settings else " (CAMB's default)"
                raise ArgumentError(f"{name} = {given!r}{by_default} is not emulated: expected {trained!r}")

    def point(self, emulator: zelos.Emulator, member: Member) -> dict[str, float]:
        """For the emulator: every free parameter, and of the fixed ones those that are not the training's.
        What is not given has CAMB's default. Raises ArgumentError for what is not the training's and can not
        be asked of its code."""
        if self._refused:
            raise ArgumentError(self._refused)
        if member.code["ini"]:
            raise ArgumentError(
                f"{emulator.name} was trained with a settings file, whose physics is not compared"
            )
        self._check_physics(member)
        values = {base_name(name): (name, value) for name, value in self.physics.items()}
        solved = {member.solvable[base] for base in values if base in member.solvable}
        if base_name("H0") not in values and not solved:
            raise ArgumentError("set_params: expected H0, cosmomc_theta or thetastar")
        for name, default in _PARAMETERS.items():
            if default is not None:
                values.setdefault(base_name(name), (name, default))
        point = {}
        for base, (name, value) in values.items():
            if base in member.free or base in member.solvable:
                point[name] = value
            elif base in member.fixed:
                if value != member.fixed[base][1]:
                    point[name] = value
            elif value != _PARAMETERS[name]:
                raise ArgumentError(f"set_params: {name} = {value:g} is not emulated")
        for base, name in member.free.items():
            if base == base_name("tau") and base not in values:
                raise ArgumentError(
                    "set_params: tau is not given: CAMB's default, zrei = 10, is not emulated"
                )
            if base not in values and base not in solved:
                raise ArgumentError(f"{emulator.name} needs {name}, which set_params does not have")
        for base, (name, value) in member.fixed.items():
            if base not in values and not (base in member.neutral and value == member.neutral[base][1]):
                raise ArgumentError(f"{emulator.name} holds {name} at {value:g}: set_params does not have it")
        return point


def set_params(**arguments: Any) -> Params:
    """Arguments of ``camb.set_params``, with CAMB's defaults. Without fallback one that is neither emulated,
    nor physics as in the training, nor a setting is an ArgumentError. Accuracy settings are those of the
    training, whatever is given."""
    physics: dict[str, float] = {}
    settings: dict[str, Any] = {}
    refused = ""
    for name, value in arguments.items():
        if name in _PARAMETERS:
            if value is not None:
                physics[name] = float(value)
            continue
        settings[name] = value
        if name not in _PHYSICS and name not in _SETTINGS:
            known = (*_PARAMETERS, *_PHYSICS, *_SETTINGS)
            refused = f"set_params: '{name}' is not emulated{did_you_mean(name, known)}"
    if refused and _chosen[1] != "camb":
        raise ArgumentError(refused)
    return Params(physics, settings, refused)


class PowerInterpolator:
    """P(z, kh) as CAMB's PKInterpolator: the emulator's own numbers at any z and k. Outside its range
    ArgumentError."""

    def __init__(self, point: OnePoint, output: str, k_unit: float, p_unit: float) -> None:
        k, z = point.axis(output, "k") / k_unit, point.axis(output, "z")
        self.kmin, self.kmax, self.zmin, self.zmax = float(k[0]), float(k[-1]), float(z[0]), float(z[-1])
        self.islog = True
        self._point, self._output = point, output
        self._k_unit, self._p_unit = k_unit, p_unit

    def P(self, z: Any, kh: Any, grid: bool | None = None) -> Any:
        z, kh = np.asarray(z, float), np.asarray(kh, float)
        if grid is None:
            grid = z.ndim > 0 and kh.ndim > 0
        if grid and z.ndim and kh.ndim:
            z = z[:, np.newaxis]
        return self._point.power(self._output, kh * self._k_unit, z) * self._p_unit

    def logP(self, z: Any, kh: Any, grid: bool | None = None) -> Any:
        return np.log(self.P(z, kh, grid))

    def __call__(self, z: Any, log_kh: Any, grid: bool | None = None) -> Any:
        return self.logP(z, np.exp(log_kh), grid)


def _or_camb(method: Callable[..., Any]) -> Callable[..., Any]:
    """What is not emulated is CAMB's, where that is the fallback."""

    @functools.wraps(method)
    def call(self: Results, *arguments: Any, **options: Any) -> Any:
        reason = self._refused
        if not reason:
            try:
                return method(self, *arguments, **options)
            except ArgumentError as error:
                if not self._has_camb:
                    raise
                reason = str(error)
        # CAMB's own take no Params of ours; they are of the same.
        arguments = tuple(None if isinstance(value, Params) else value for value in arguments)
        options = {name: value for name, value in options.items() if not isinstance(value, Params)}
        return getattr(self._of_camb(reason), method.__name__)(*arguments, **options)

    return call


class Results:
    """One point: all that the emulator, or CAMB, gives. source: which of the two; of an "emulator" CAMB may
    still be asked for what is not emulated."""

    def __init__(self, params: Params) -> None:
        self.Params = params
        self._given = params.copy()
        self._settings = self._given.settings
        self._emulator = emulator = _emulator()
        self._member = member = _members[_chosen]
        self._has_camb = _chosen[1] == "camb"
        self._real: Any = None
        self._refused = ""
        try:
            point = params.point(emulator, member)
        except ArgumentError as error:
            if not self._has_camb:
                raise
            self._refused, self.source = str(error), "camb"
            self._of_camb(self._refused)
            return
        self._point = OnePoint(emulator, point, _points.get(_chosen))
        _points[_chosen] = self._point
        self.source = "emulator" if self._point.source == "emulator" else "camb"
        self._parameters: dict[str, float] = dict(point)
        if self.source == "emulator":
            self._parameters.update(emulator.canonical(point))

    # --- spectra

    @_or_camb
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

    @_or_camb
    def get_total_cls(
        self, lmax: int | None = None, CMB_unit: str | None = None, raw_cl: bool = False
    ) -> Array:
        """Lensed; there are no tensors."""
        return self._cls(_SPECTRA, lmax, CMB_unit, raw_cl)

    @_or_camb
    def get_lensed_scalar_cls(
        self, lmax: int | None = None, CMB_unit: str | None = None, raw_cl: bool = False
    ) -> Array:
        return self._cls(_SPECTRA, lmax, CMB_unit, raw_cl)

    @_or_camb
    def get_lens_potential_cls(
        self, lmax: int | None = None, CMB_unit: str | None = None, raw_cl: bool = False
    ) -> Array:
        return self._cls(("pp", "pt", "pe"), lmax, CMB_unit, raw_cl)

    def _cls(self, names: Sequence[str], lmax: int | None, unit: str | None, raw: bool) -> Array:
        if not self._lensing_is_nonlinear():
            raise ArgumentError(
                "C_ell with linear lensing, CAMB's where lmax is not given, are not emulated: the training's "
                "lensing is non-linear"
            )
        self._check_halofit()
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
            values = self._point.output(f"Cl.{name}")[: lmax - 1] * factor ** (2 - potentials)
            scale = (ell * (ell + 1)) ** (1 + 0.5 * potentials) / (2 * np.pi)
            out[2:, column] = values if raw else values * scale
        return out

    @_or_camb
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
        if nonlinear:
            self._check_halofit()
        h = self._input("H0") / 100 if hubble_units or k_hunit else 1.0
        k_unit, p_unit = h if k_hunit else 1.0, h**3 if hubble_units else 1.0
        interpolator = PowerInterpolator(self._point, output, k_unit, p_unit)
        if not return_z_k:
            return interpolator
        return interpolator, self._axis(output, "z"), self._axis(output, "k") / k_unit

    # --- background

    @_or_camb
    def hubble_parameter(self, z: Any) -> Any:
        """km/s/Mpc."""
        return self._point.at_z("Hubble", z)

    @_or_camb
    def h_of_z(self, z: Any) -> Any:
        """1/Mpc."""
        return self.hubble_parameter(z) / C_KM_S

    @_or_camb
    def comoving_radial_distance(self, z: Any, tol: float = 0.0) -> Any:
        return self._point.at_z("comoving_radial_distance", z)

    @_or_camb
    def angular_diameter_distance(self, z: Any) -> Any:
        return self._point.at_z("angular_diameter_distance", z)

    @_or_camb
    def luminosity_distance(self, z: Any) -> Any:
        return self.angular_diameter_distance(z) * (1 + np.asarray(z, float)) ** 2

    # --- scalars

    @_or_camb
    def get_derived_params(self) -> dict[str, float]:
        """CAMB's, as far as they are emulated."""
        derived = self._point.derived
        return {name: f * derived[name] for name, f in _DERIVED.items() if name in derived}

    @_or_camb
    def get_sigma8_0(self) -> float:
        return self._label("sigma8")

    @_or_camb
    def get_sigma8(self) -> Array:
        """At the redshifts of the parameters, in the order of decreasing redshift; at 0 without any."""
        return np.asarray(self._point.at_z("sigma8_z", self._redshifts()))

    @_or_camb
    def get_fsigma8(self) -> Array:
        return np.asarray(self._point.at_z("fsigma8", self._redshifts()))

    @_or_camb
    def cosmomc_theta(self) -> float:
        return self._label("cosmomc_theta")

    @_or_camb
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
        reason = f"CAMB's '{name}' is not emulated"
        if not self._has_camb:
            raise ArgumentError(reason)
        return getattr(self._of_camb(reason), name)

    # --- how

    def _redshifts(self) -> Array:
        return np.array(sorted(self._settings.get("redshifts", [0.0]), reverse=True), float)

    def _axis(self, output: str, axis: str) -> Array:
        return self._point.axis(output, axis)

    def _label(self, label: str) -> float:
        if label not in self._point.derived:
            raise ArgumentError(f"'{label}' is not emulated")
        return self._point.derived[label]

    def _input(self, name: str) -> float:
        if name in self._parameters:
            return float(self._parameters[name])
        return float(self._point.at_z("Hubble", 0.0)) if name == "H0" else self._label(name)

    def _lensing_is_nonlinear(self) -> bool:
        """As CAMB's set_params has it: without lmax lensing is linear, with it non-linear unless the
        accuracy is 0."""
        settings = self._settings
        if settings.get("NonLinear") is not None:
            return settings["NonLinear"] in _NONLINEAR_LENSING
        if settings.get("lmax") is None:
            return False
        accuracy, nonlinear = settings.get("lens_potential_accuracy"), settings.get("nonlinear")
        return nonlinear is True if accuracy == 0 else nonlinear is not False

    def _check_halofit(self) -> None:
        trained = self._member.settings.get("halofit_version", _HALOFIT)
        given = self._settings.get("halofit_version") or _HALOFIT
        if _HALOFIT_SYNONYMS.get(given, given) != _HALOFIT_SYNONYMS.get(trained, trained):
            by_default = "" if self._settings.get("halofit_version") else " (CAMB's default)"
            raise ArgumentError(
                f"halofit_version = {given!r}{by_default} is not emulated: expected {trained!r}"
            )

    def _of_camb(self, reason: str) -> Any:
        """CAMB's own results of the same parameters and the script's settings."""
        if self._real is None:
            if reason not in _said:
                _said.add(reason)
                warnings.warn(f"zelos: CAMB answers: {reason}", stacklevel=4)
            self._real = camb().get_results(self._given.of_camb())
        return self._real


def get_results(params: Params) -> Results:
    """CAMB's get_results. Where no fallback was chosen it raises zelos.OutsideRegion outside the region, and
    ArgumentError for what is not emulated."""
    if not isinstance(params, Params):
        raise ArgumentError(
            f"get_results: expected what zelos.camb.set_params gives, found {type(params).__module__}."
            f"{type(params).__name__}"
        )
    return Results(params)


get_background = get_results
