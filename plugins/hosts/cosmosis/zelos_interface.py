# SPDX-License-Identifier: BSD-3-Clause
"""CosmoSIS module: an emulator in the place of the Boltzmann code, with the code itself outside its region.

    [zelos]
    file = ...            ; python -m zelos.cosmosis prints it
    emulator = hub:CAMB_lcdm
    fallback = camb       ; or none: a point outside fails

Writes the sections of the CAMB module: cosmological_parameters, distances, cmb_cl, matter_power_lin,
matter_power_nl, growth_parameters. Units are CosmoSIS's: k in h/Mpc, P in (Mpc/h)^3, H in 1/Mpc, C_ell as
ell(ell+1)C/2pi in muK^2 (PT, PE: muK; PP: without unit). D_V, D_C and chistar
are there as well. Growth, d_z and f_z, is that of sigma_8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import zelos
from zelos.one_point import OnePoint

Array = np.ndarray[Any, np.dtype[np.float64]]

OPTIONS = "module_options"
COSMOLOGY = "cosmological_parameters"
HALO_MODEL = "halo_model_parameters"
C_KM_S = 299792.458
#: omnuh2 = mnu / this, eV, whatever nnu is: CAMB's, for T = 2.7255 K and 3.044, to 5e-5 of omnuh2.
NEUTRINO_MASS_FAC = 94.06410581217612 / (3.044 / 3) ** 0.75

#: Section's names -> zelos's, where they are one to one.
_PARAMETERS = {
    **{name: name for name in ("ombh2", "omch2", "tau", "mnu", "nnu", "w", "wa", "nrun", "nrunrun", "r")},
    "n_s": "ns",
    "omega_k": "omk",
    "n_run": "nrun",
    "r_t": "r",
    "a_lens": "Alens",
    "a_l": "Alens",
    "tcmb": "TCMB",
    "cs2_de": "cs2",
    "sterile_neutrino": "sterile",
    "massive_nu": "num_massive_neutrinos",
    "num_massive_neutrinos": "num_massive_neutrinos",
}
#: Physics that an emulator does not know is absent at these values.
_NEUTRAL = {
    **dict.fromkeys(("nrun", "n_run", "nrunrun", "r", "r_t", "omega_k", "wa", "sterile_neutrino"), 0.0),
    "w": -1.0,
    "a_lens": 1.0,
    "a_l": 1.0,
    "cs2_de": 1.0,
    "tcmb": 2.7255,
}
#: CAMB's defaults, which its module leaves to it.
_DEFAULTS = {"mnu": 0.06, "nnu": 3.044, "omk": 0.0, "w": -1.0, "wa": 0.0}
_MASSIVE = 1.0
#: CAMB's derived parameters.
_DERIVED = (
    *("age", "zstar", "rstar", "thetastar", "DAstar", "zdrag", "rdrag"),
    *("kd", "thetad", "zeq", "keq", "thetaeq", "thetarseq"),
)
#: As trained: given, they have to be these.
_HALO_MODEL = {"a": 3.13, "eta": 0.603}


class Config(NamedTuple):
    emulator: zelos.Emulator
    known: frozenset[str]
    neutral: dict[str, float]
    massive: float
    lmax: int
    z_background: Array


def setup(options: Any) -> Config:
    """Options: emulator, fallback, fallback_version (any), lmax, zmax_background, nz_background; and
    halofit_version, which has to be the training's."""
    reference = options.get_string(OPTIONS, "emulator", "hub:CAMB_lcdm")
    fallback = options.get_string(OPTIONS, "fallback", "none")
    version = options.get_string(OPTIONS, "fallback_version", "exact")
    emulator = zelos.get_emulator(
        reference,
        fallback=None if fallback == "none" else fallback,
        fallback_version="any" if version == "any" else None,
    )
    known = {
        *emulator.parameters,
        *emulator.fixed,
        *(n for names in emulator.synonyms.values() for n in names),
    }
    native = emulator.axes("Hubble")["z"] if "Hubble" in emulator.outputs else np.zeros(1)
    z_max = options.get_double(OPTIONS, "zmax_background", float(native[-1]))
    n_z = options.get_int(OPTIONS, "nz_background", 0)
    if z_max > native[-1]:
        raise ValueError(f"zmax_background = {z_max:g}: the emulator has distances to z = {native[-1]:g}")
    z = np.linspace(0, z_max, n_z) if n_z else native[native <= z_max]
    last = max((int(emulator.axes(n)["ell"][-1]) for n in emulator.outputs if n.startswith("Cl.")), default=0)
    lmax = options.get_int(OPTIONS, "lmax", last)
    if lmax > last:
        raise ValueError(f"lmax = {lmax}: the emulator has C_ell to ell = {last}")
    trained = emulator.info.get("provenance", {}).get("config", {})
    massive = float(trained.get("num_massive_neutrinos", 1))
    halofit = trained.get("halofit_version", "mead2020")
    if options.get_string(OPTIONS, "halofit_version", halofit) != halofit:
        raise ValueError(f"halofit_version: {emulator.name} has {halofit}")
    neutral = {**_NEUTRAL, "massive_nu": massive, "num_massive_neutrinos": massive}
    return Config(emulator, frozenset(known | set(emulator.solvable)), neutral, massive, lmax, z)


def execute(block: Any, config: Config) -> int:
    """0; 1 where nobody answers, and the point fails. Raises ValueError for physics that is not emulated."""
    emulator = config.emulator
    try:
        point = _point(block, config)
        answer = OnePoint(emulator, point)
        values = answer.values
        h = _hubble(point, emulator, values) / 100
    except (zelos.OutsideRegion, zelos.FallbackError) as error:
        print(f"zelos: {error}")
        return 1
    labels = answer.derived
    _save_parameters(block, point, labels, h, emulator.fixed)
    _save_distances(block, config, answer)
    _save_spectra(block, config, values)
    _save_power(block, emulator, values, h)
    _save_growth(block, emulator, values)
    return 0


def cleanup(config: Config) -> int:
    counts = config.emulator.statistics
    print(f"zelos: {counts['emulated']} points emulated, {counts['fallback']} by the fallback")
    return 0


def _point(block: Any, config: Config) -> dict[str, float]:
    def get(name: str) -> float | None:
        return float(block.get_double(COSMOLOGY, name)) if block.has_value(COSMOLOGY, name) else None

    point: dict[str, float] = {}
    for name, target in _PARAMETERS.items():
        value = get(name)
        if value is None:
            continue
        if target in config.known or name not in config.neutral:
            point[target] = value
        elif value != config.neutral[name]:
            raise ValueError(f"zelos: {name} = {value:g} is not emulated: expected {config.neutral[name]:g}")
    for name, default in _DEFAULTS.items():
        if name in config.known:
            point.setdefault(name, default)
    given = any(block.has_value(COSMOLOGY, name) for name in ("massive_nu", "num_massive_neutrinos"))
    if not given and config.massive != _MASSIVE and point.get("mnu") != 0:
        raise ValueError(
            f"zelos: num_massive_neutrinos is not given, and CAMB's default is {_MASSIVE:g}: give "
            f"num_massive_neutrinos = {config.massive:g}"
        )
    if get("yhe") is not None:
        if "YHe" not in config.known:
            raise ValueError("zelos: yhe is not emulated: leave it out, it follows from BBN")
        point["YHe"] = float(block.get_double(COSMOLOGY, "yhe"))
    for name, trained in _HALO_MODEL.items():
        if block.has_value(HALO_MODEL, name) and block.get_double(HALO_MODEL, name) != trained:
            raise ValueError(f"zelos: {HALO_MODEL} {name} is not emulated: expected {trained:g}")
    if block.has_value(HALO_MODEL, "logt_agn"):
        raise ValueError(f"zelos: {HALO_MODEL} logt_agn is not emulated")
    h = _first(get("h0"), (get("hubble") or 0.0) / 100 or None)
    theta = get("cosmomc_theta")
    if theta is not None:
        point["cosmomc_theta"] = theta / 100 if theta > 0.1 else theta
        for name, fraction in (("ombh2", "omega_b"), ("omch2", "omega_c"), ("omch2", "omega_m")):
            if name not in point and get(fraction) is not None:
                raise ValueError(f"zelos: {fraction} beside cosmomc_theta: expected {name}, h is not known")
    elif h is not None:
        point["H0"] = 100 * h
    if h is not None:
        h2 = h**2
        if "ombh2" not in point and (omega_b := get("omega_b")) is not None:
            point["ombh2"] = omega_b * h2
        if "omch2" not in point and (omega_c := get("omega_c")) is not None:
            point["omch2"] = omega_c * h2
        if "omch2" not in point and (omega_m := get("omega_m")) is not None and "ombh2" in point:
            omnuh2 = point.get("mnu", _DEFAULTS["mnu"]) / NEUTRINO_MASS_FAC
            point["omch2"] = omega_m * h2 - point["ombh2"] - omnuh2
    amplitude, log_amplitude = get("a_s"), get("log1e10as")
    if amplitude is not None:
        point["As"] = amplitude
    elif log_amplitude is not None:
        point["logA"] = log_amplitude
    return point


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _hubble(point: dict[str, float], emulator: zelos.Emulator, values: Mapping[str, Array]) -> float:
    """H0: given, solved for, or where a fallback answered that of the answer."""
    if "H0" in point:
        return point["H0"]
    try:
        return float(emulator.canonical({n: v for n, v in point.items() if n not in emulator.fixed})["H0"])
    except zelos.OutsideRegion:
        if "Hubble" not in values or emulator.axes("Hubble")["z"][0] != 0:
            raise
        return float(values["Hubble"][0])


def _save_parameters(
    block: Any, point: dict[str, float], labels: dict[str, float], h: float, fixed: Mapping[str, float]
) -> None:
    values = {"h0": h, "hubble": 100 * h, "ombh2": point["ombh2"], "omch2": point["omch2"]}
    values |= {"omega_b": point["ombh2"] / h**2, "omega_c": point["omch2"] / h**2}
    for name, label in (("sigma_8", "sigma8"), ("S_8", "S8"), ("omega_m", "omegam")):
        if label in labels:
            values[name] = labels[label]
    if "omegam" in labels:
        # Radiation is not counted, as in the CAMB module.
        values["omega_lambda"] = 1 - labels["omegam"] - point.get("omk", 0.0)
        values["ommh2"] = labels["omegam"] * h**2
    if "nnu" in point or "nnu" in fixed:
        values["n_eff"] = point["nnu"] if "nnu" in point else fixed["nnu"]
    if "omnuh2" in labels:
        values |= {"omnuh2": labels["omnuh2"], "omega_nu": labels["omnuh2"] / h**2}
    for name, value in values.items():
        block[COSMOLOGY, name] = value


def _save_distances(block: Any, config: Config, answer: OnePoint) -> None:
    outputs = ("Hubble", "comoving_radial_distance", "angular_diameter_distance")
    if not set(outputs) <= set(answer.values):
        return
    z, labels = config.z_background, answer.derived
    hubble, distance, angular = (answer.at_z(output, z) for output in outputs)
    hubble = hubble / C_KM_S
    section = "distances"
    d_m, d_l = (1 + z) * angular, (1 + z) ** 2 * angular
    block[section, "nz"] = len(z)
    block[section, "z"], block[section, "a"] = z, 1 / (1 + z)
    block[section, "h"], block[section, "d_c"], block[section, "d_a"] = hubble, distance, angular
    block[section, "d_m"], block[section, "d_l"] = d_m, d_l
    block[section, "d_v"] = np.cbrt(d_m**2 * z / hubble)
    # -inf at z = 0, as in CosmoSIS's own modules.
    with np.errstate(divide="ignore"):
        block[section, "mu"] = 5 * np.log10(d_l) + 25
    block[section, "f_ap"] = d_m * hubble
    for name in _DERIVED:
        if name in labels:
            # CAMB's thetastar is times 100, as its other angles are here and there.
            block[section, name] = labels[name] * (100 if name == "thetastar" else 1)
    if "rdrag" in labels:
        block[section, "rs_zdrag"] = labels["rdrag"]
        with np.errstate(divide="ignore"):
            block[section, "rs_dv"] = labels["rdrag"] / block[section, "d_v"]
    if "DAstar" in labels:
        block[section, "chistar"] = 1000 * labels["DAstar"]  # comoving: Mpc from Gpc


def _save_spectra(block: Any, config: Config, values: dict[str, Array]) -> None:
    names = [name for name in ("tt", "ee", "bb", "te", "pp", "pt", "pe") if f"Cl.{name}" in values]
    if not names or config.lmax < 2:
        return
    ell = np.arange(2, config.lmax + 1)
    block["cmb_cl", "ell"] = ell
    for name in names:
        block["cmb_cl", name] = values[f"Cl.{name}"][: config.lmax - 1] * ell * (ell + 1.0) / (2 * np.pi)


def _save_power(block: Any, emulator: zelos.Emulator, values: dict[str, Array], h: float) -> None:
    for section, output in (("matter_power_lin", "Pk.linear"), ("matter_power_nl", "Pk.nonlinear")):
        if output in values:
            axes = emulator.axes(output)
            power = np.ascontiguousarray(values[output].T) * h**3
            block.put_grid(section, "z", axes["z"], "k_h", axes["k"] / h, "p_k", power)


def _save_growth(block: Any, emulator: zelos.Emulator, values: dict[str, Array]) -> None:
    if not {"sigma8_z", "fsigma8"} <= set(values):
        return
    section, z = "growth_parameters", emulator.axes("sigma8_z")["z"]
    sigma8, f_sigma8 = values["sigma8_z"], values["fsigma8"]
    block[section, "z"], block[section, "a"] = z, 1 / (1 + z)
    block[section, "sigma_8"], block[section, "fsigma_8"] = sigma8, f_sigma8
    block[section, "d_z"], block[section, "f_z"] = sigma8 / sigma8[0], f_sigma8 / sigma8
