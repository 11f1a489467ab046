# SPDX-License-Identifier: BSD-3-Clause
"""Driver for CAMB (https://camb.info): runs one cosmology and returns the outputs that a spec asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .. import cosmology
from ..driver import Kind

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

#: Scalars that CAMB gives for every run, with their units.
DERIVED = {
    "H0": "km/s/Mpc",
    "thetastar": "",
    "cosmomc_theta": "",
    "omegam": "",
    "omegal": "",
    "omnuh2": "",
    "sigma8": "",
    "S8": "",
    "rdrag": "Mpc",
    "zdrag": "",
    "rstar": "Mpc",
    "zstar": "",
    "DAstar": "Gpc",
    "age": "Gyr",
    "zrei": "",
    "YHe": "",
    "Y_p": "",
    "DHBBN": "",
    "kd": "1/Mpc",
    "thetad": "0.01 rad",
    "zeq": "",
    "keq": "1/Mpc",
    "thetaeq": "0.01 rad",
    "thetarseq": "0.01 rad",
}

#: Arguments of which one at most may be given.
_ALTERNATIVES = (("H0", "cosmomc_theta", "thetastar"), ("tau", "zrei"), ("mnu", "omnuh2_active"))

#: Density parameters -> the physical densities that CAMB takes.
_DENSITIES = (("Omega_b", "ombh2"), ("Omega_cdm", "omch2"))

#: Arguments that follow from the outputs.
_CHOSEN_HERE = ("redshifts", "kmax", "NonLinear", "WantCls")

#: Other names of arguments -> CAMB's, and what their values become.
_RENAME = {"logA": "As", "h": "H0", "w0": "w"}
_CONVERT: dict[str, Callable[[Any], Any]] = {
    "logA": lambda value: float(1e-10 * np.exp(value)),
    "h": lambda value: 100 * float(value),
}
#: Of a cosmological constant every model of dark energy is the same; without mass, every hierarchy.
_IMMATERIAL = {
    "dark_energy_model": {"w": -1.0, "wa": 0.0},
    "num_massive_neutrinos": {"mnu": 0.0},
    "neutrino_hierarchy": {"mnu": 0.0},
}

#: Arguments that set the primordial power, all together.
_PRIMORDIAL = ("As", "ns", "nrun", "nrunrun", "r", "nt", "ntrun", "pivot_scalar", "pivot_tensor")

#: And the accuracy.
_ACCURACY = ("AccuracyBoost", "lSampleBoost", "lAccuracyBoost")

#: Arguments that change how neutrinos share their mass.
_NEUTRINOS = frozenset(("mnu", "omnuh2_active", "nnu", "meffsterile", "standard_neutrino_neff"))

#: Settings that CAMB takes together with lmax only.
_WITH_LMAX = frozenset(
    ("max_eta_k", "lens_potential_accuracy", "lens_output_margin", "k_eta_fac", "lens_k_eta_reference")
)


def module() -> Any:
    """CAMB's Python module."""
    import camb

    return camb


class Driver:
    """One configured CAMB.

    config:   arguments of ``camb.set_params`` that stay fixed; ``ini``: path of a CAMB settings file to
              begin with. What follows from the outputs (``kmax``, ``redshifts``, ``NonLinear``) is refused.
    outputs:  output name -> axes, each axis an ascending array
              (``{"Cl.tt": {"ell": ...}, "Pk.linear": {"k": 1/Mpc, "z": ...}, "derived": {}}``).
    """

    code: ClassVar[str] = "camb"
    kinds: ClassVar[Mapping[str, Kind]] = cosmology.KINDS
    derived: ClassVar[Mapping[str, str]] = DERIVED
    synonyms: ClassVar[Mapping[str, str]] = cosmology.SYNONYMS
    neutral: ClassVar[Mapping[str, float]] = cosmology.NEUTRAL
    immaterial: ClassVar[Mapping[str, Mapping[str, float]]] = _IMMATERIAL
    default_axis = staticmethod(cosmology.default_axis)

    def __init__(self, config: Mapping[str, Any], outputs: Mapping[str, Mapping[str, FloatArray]]):
        self._camb = module()
        self.config = dict(config)
        self.outputs = {
            name: {a: np.asarray(v, float) for a, v in axes.items()} for name, axes in outputs.items()
        }
        self._wants_cl = any(name.startswith("Cl.") for name in outputs)
        redshifts = [
            axes["z"]
            for name, axes in self.outputs.items()
            if name in ("Pk.linear", "Pk.nonlinear", "sigma8_z", "fsigma8")
        ]
        self._z_power = np.unique(np.concatenate([[0.0], *redshifts])) if redshifts else np.array([0.0])
        last = [axes["k"][-1] for axes in self.outputs.values() if "k" in axes]
        self._k_max = max([cosmology.least_k_max(self.outputs), *last])

    @property
    def version(self) -> str:
        return str(self._camb.__version__)

    def library_hash(self) -> str:
        """SHA-256 of CAMB's compiled library: two builds of one version can differ."""
        return hashlib.sha256(Path(self._camb.__file__).with_name("camblib.so").read_bytes()).hexdigest()

    def settings(self, params: Mapping[str, float]) -> str:
        """Every setting as CAMB itself reports it after ``set_params`` at this point."""
        return str(self._params(params))

    def assumed(self, params: Mapping[str, float]) -> dict[str, float]:
        given = {_RENAME.get(name, name) for name in (*self.config, *params)}
        given |= {physical for density, physical in _DENSITIES if density in given}
        if "ini" in given:
            return {}
        matter = any(name in self.outputs for name in ("Pk.linear", "Pk.nonlinear", "sigma8_z", "fsigma8"))
        used = self._params(params)
        values = {"ombh2": used.ombh2, "omch2": used.omch2}
        if matter or self._wants_cl:
            values |= {"As": used.InitPower.As, "ns": used.InitPower.ns}
        if self._wants_cl:
            values["tau"] = used.Reion.optical_depth
        return {name: float(value) for name, value in values.items() if name not in given}

    def _params(self, params: Mapping[str, float]) -> Any:
        for name in _CHOSEN_HERE:
            if name in self.config:
                raise ValueError(f"CAMB's {name} follows from the outputs: leave it out of the config")
        given = cosmology.settings_of(self.config, params, _RENAME)
        arguments = {
            argument: _CONVERT.get(name, lambda unchanged: unchanged)(value)
            for argument, (name, value) in given.items()
        }
        for density, physical in _DENSITIES:
            if density in arguments and physical in arguments:
                raise ValueError(f"{density} and {physical} are the same quantity: give one of them")
        begin = None
        if "ini" in arguments:
            begin = self._camb.read_ini(str(arguments.pop("ini")))
            arguments = {"cp": begin.copy(), **_cosmology(begin, arguments)}
        for density, physical in _DENSITIES:
            if density in arguments:
                if "H0" not in arguments:
                    raise ValueError(f"{density} needs H0, as a parameter or under config.fixed")
                arguments[physical] = arguments.pop(density) * (arguments["H0"] / 100) ** 2
        l_max = max([int(axes["ell"][-1]) for axes in self.outputs.values() if "ell" in axes], default=0)
        if "lmax" not in arguments and _WITH_LMAX & set(arguments):
            arguments["lmax"] = max(2500, l_max)
        if "lmax" in arguments and int(arguments["lmax"]) < l_max:
            raise ValueError(
                f"the outputs go to ell = {l_max}, config.extra_args.lmax to {arguments['lmax']}"
            )
        # Round-off must not cut the last node of the k axis.
        arguments.update(redshifts=list(self._z_power[::-1]), kmax=1.02 * self._k_max)
        parameters = self._camb.set_params(WantCls=self._wants_cl, **arguments)
        if begin is not None:
            _keep(begin, parameters, set(given))
        model = self._camb.model
        nonlinear_power = "Pk.nonlinear" in self.outputs
        parameters.NonLinear = {
            (True, True): model.NonLinear_both,
            (True, False): model.NonLinear_lens,
            (False, True): model.NonLinear_pk,
            (False, False): model.NonLinear_none,
        }[(self._wants_cl, nonlinear_power)]
        return parameters

    def run(self, params: Mapping[str, float]) -> dict[str, FloatArray]:
        """All outputs at one point; arrays in the order of the output's axes. Raises what CAMB raises, and
        ValueError where an axis goes beyond what CAMB computed."""
        parameters = self._params(params)
        results = self._camb.get_results(parameters)
        out: dict[str, FloatArray] = {}
        if self._wants_cl:
            out.update(self._spectra(results))
        for name, nonlinear in (("Pk.linear", False), ("Pk.nonlinear", True)):
            if name in self.outputs:
                axes = self.outputs[name]
                power = results.get_matter_power_interpolator(
                    nonlinear=nonlinear, hubble_units=False, k_hunit=False
                )
                _require(name, "k", axes["k"], power.kmin, power.kmax)
                _require(name, "z", axes["z"], power.zmin, power.zmax)
                out[name] = np.ascontiguousarray(power.P(axes["z"], axes["k"]).T)
        if {"sigma8_z", "fsigma8", "derived"} & self.outputs.keys():
            sigma8, fsigma8 = self._sigma8(results)
            for name, values in (("sigma8_z", sigma8), ("fsigma8", fsigma8)):
                if name in self.outputs:
                    out[name] = values[np.searchsorted(self._z_power, self.outputs[name]["z"])]
            if "derived" in self.outputs:
                derived = self._derived(results, parameters, float(sigma8[0]))
                out["derived"] = np.array([derived[name] for name in DERIVED])
        if "Hubble" in self.outputs:
            out["Hubble"] = results.hubble_parameter(self.outputs["Hubble"]["z"])
        for name, distance in (
            ("comoving_radial_distance", results.comoving_radial_distance),
            ("angular_diameter_distance", results.angular_diameter_distance),
        ):
            if name in self.outputs:
                out[name] = np.asarray(distance(self.outputs[name]["z"]), float)
        return out

    def _spectra(self, results: Any) -> dict[str, FloatArray]:
        total = results.get_total_cls(CMB_unit="muK", raw_cl=True)
        lensing = results.get_lens_potential_cls(CMB_unit="muK", raw_cl=True)
        columns = dict(zip(("tt", "ee", "bb", "te"), total.T, strict=True))
        columns |= dict(zip(("pp", "pt", "pe"), lensing.T, strict=True))
        spectra = {}
        for name, axes in self.outputs.items():
            if name.startswith("Cl."):
                column = columns[name[3:]]
                _require(name, "ell", axes["ell"], 0, len(column) - 1, " (config.extra_args.lmax sets it)")
                spectra[name] = column[cosmology.multipoles(axes["ell"])].copy()
        return spectra

    def _sigma8(self, results: Any) -> tuple[FloatArray, FloatArray]:
        """sigma8 and f sigma8 at ``_z_power``. Without spectra CAMB samples k coarsely, and its rule for
        sigma8, a sum on those k, is wrong by 1e-4 to 2e-3, differently at each point: the integral over its
        spline of P(k), good to 1e-6, replaces it."""
        sigma8, fsigma8 = results.get_sigma8()[::-1], results.get_fsigma8()[::-1]
        if self._wants_cl:
            return sigma8, fsigma8
        power = results.get_matter_power_interpolator(nonlinear=False, hubble_units=False, k_hunit=False)
        ln_k = np.linspace(np.log(power.kmin), np.log(min(power.kmax, 20.0)), 4001)
        values = np.atleast_2d(power.P(self._z_power, np.exp(ln_k)))
        exact = cosmology.sigma(8 / (results.Params.H0 / 100), ln_k, values)
        return exact, fsigma8 * exact / sigma8

    def _derived(self, results: Any, parameters: Any, sigma8: float) -> dict[str, float]:
        values = dict(results.get_derived_params())
        values["thetastar"] /= 100
        omegam = float(parameters.omegam)
        values.update(
            H0=float(parameters.H0),
            cosmomc_theta=float(results.cosmomc_theta()),
            omegam=omegam,
            omegal=float(results.get_Omega("de")),
            omnuh2=float(parameters.omnuh2),
            sigma8=sigma8,
            S8=sigma8 * np.sqrt(omegam / 0.3),
            zrei=_zrei(parameters),
            YHe=float(parameters.YHe),
            Y_p=float(parameters.get_Y_p()),
            DHBBN=float(parameters.get_DH()),
        )
        return {name: float(value) for name, value in values.items()}


def _zrei(parameters: Any) -> float:
    """Where no spectra are wanted CAMB leaves reionisation out, and says 0. Its search for the redshift that
    gives tau may end 1e-3 away: of 520 runs 19 were wrong by 3e-5 to 9e-5."""
    asking = parameters.copy()
    asking.WantCls = True
    if hasattr(asking.Reion, "tau_solve_accuracy_boost"):
        asking.Reion.tau_solve_accuracy_boost = 1000
    return float(asking.get_zre())


def _require(output: str, axis: str, wanted: FloatArray, low: float, high: float, hint: str = "") -> None:
    """CAMB gives numbers beyond what it computed, too."""
    if wanted[0] < low * (1 - 1e-9) or wanted[-1] > high * (1 + 1e-9):
        raise ValueError(
            f"{output}: {axis} from {wanted[0]:g} to {wanted[-1]:g} is wanted, "
            f"CAMB computed {low:g} to {high:g}{hint}"
        )


def _cosmology(begin: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``set_params`` on top of the cosmology of a settings file: those that are not given would
    otherwise become CAMB's defaults."""
    reionisation, primordial, dark_energy = begin.Reion, begin.InitPower, begin.DarkEnergy
    values = {name: getattr(begin, name) for name in ("H0", "ombh2", "omch2", "omk", "TCMB", "YHe", "Alens")}
    values |= {
        "nnu": begin.N_eff,
        "omnuh2_active": begin.omnuh2,
        "num_massive_neutrinos": begin.num_nu_massive,
        **{name: getattr(primordial, name) for name in _PRIMORDIAL},
        "parameterization": primordial.tensor_parameterization,
        **{name: getattr(begin.Accuracy, name) for name in _ACCURACY},
        "DoLateRadTruncation": begin.DoLateRadTruncation,
        **{name: getattr(dark_energy, name) for name in ("w", "wa", "cs2")},
    }
    if reionisation.use_optical_depth:
        values["tau"] = reionisation.optical_depth
    else:
        values["zrei"] = reionisation.redshift
    if "r" in arguments:  # their tilt follows from r, as always where it is not given
        del values["nt"], values["ntrun"]
    for density, physical in _DENSITIES:
        if density in arguments:
            del values[physical]
    for group in _ALTERNATIVES:
        if any(name in arguments for name in group):
            values = {name: value for name, value in values.items() if name not in group}
    merged = {**values, **arguments}
    if "omnuh2_active" in merged:
        merged["mnu"] = None
    return merged


def _keep(begin: Any, parameters: Any, given: set[str]) -> None:
    """What a settings file says and no argument can. Raises ValueError for what can't be kept."""
    if "r" not in given:
        parameters.WantTensors = begin.WantTensors
    if given & {"num_massive_neutrinos", "neutrino_hierarchy"}:
        return
    shares = () if given & _NEUTRINOS else ("nu_mass_degeneracies", "nu_mass_fractions")
    for name in ("nu_mass_numbers", *shares):
        there, here = list(getattr(begin, name)), list(getattr(parameters, name))
        if len(there) != len(here) or not np.allclose(there, here, rtol=1e-9, atol=0):
            raise ValueError(
                f"config.ini has {name} = {there}, which the parameters would make {here}: say how the "
                "neutrinos share their mass (num_massive_neutrinos, neutrino_hierarchy) in config.extra_args"
            )
