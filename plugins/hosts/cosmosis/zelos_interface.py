# SPDX-License-Identifier: BSD-3-Clause
"""CosmoSIS module: an emulator in the place of the Boltzmann code, with the code itself outside its region.

    [zelos]
    file = ...            ; python -m zelos.cosmosis prints it
    emulator = hub:CAMB_lcdm
    fallback = camb       ; or none: a point outside fails

Writes the sections of the CAMB module: cosmological_parameters, distances, cmb_cl, matter_power_lin,
matter_power_nl, growth_parameters. Units are CosmoSIS's: k in h/Mpc, P in (Mpc/h)^3, H in 1/Mpc, C_ell as
ell(ell+1)C/2pi in muK^2 (PP: without unit).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

import zelos

Array = np.ndarray[Any, np.dtype[np.float64]]

OPTIONS = "module_options"
COSMOLOGY = "cosmological_parameters"
C_KM_S = 299792.458
#: omnuh2 = mnu (nnu/3)^(3/4) / this, eV: CAMB's, for T = 2.7255 K, to 5e-5 of omnuh2.
NEUTRINO_MASS_FAC = 94.06410581217612

#: Section's names -> zelos's, where they are one to one.
_PARAMETERS = {
    "ombh2": "ombh2", "omch2": "omch2", "n_s": "ns", "tau": "tau", "mnu": "mnu", "nnu": "nnu",
    "omega_k": "omk",
    "w": "w", "wa": "wa", "yhe": "YHe", "n_run": "nrun", "r_t": "r", "a_l": "Alens", "massless_nu": None,
    "massive_nu": None, "sterile_neutrino": None,
}  # fmt: skip
#: Physics that an emulator does not know is absent at these values.
_NEUTRAL = {"n_run": 0.0, "r_t": 0.0, "a_l": 1.0, "sterile_neutrino": 0.0, "massive_nu": 1.0}


class Config(NamedTuple):
    emulator: zelos.Emulator
    known: frozenset[str]
    lmax: int
    z_background: Array


def setup(options: Any) -> Config:
    """Options: emulator, fallback, fallback_version (any), lmax, zmax_background, nz_background."""
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
    return Config(emulator, frozenset(known | set(emulator.solvable)), lmax, z)


def execute(block: Any, config: Config) -> int:
    """0; 1 where nobody answers, and the point fails. Raises ValueError for physics that is not emulated."""
    emulator = config.emulator
    try:
        point = _point(block, config)
        values = emulator.evaluate(point)
    except (zelos.OutsideRegion, zelos.FallbackError) as error:
        print(f"zelos: {error}")
        return 1
    labels = (
        dict(zip(emulator.labels(), values["derived"].tolist(), strict=True)) if emulator.labels() else {}
    )
    h = _hubble(point, emulator) / 100
    _save_parameters(block, point, labels, h)
    _save_distances(block, config, values, labels)
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
        if target in config.known and target is not None:
            point[target] = value
        elif name in _NEUTRAL and value != _NEUTRAL[name]:
            raise ValueError(f"zelos: {name} = {value:g} is not emulated: expected {_NEUTRAL[name]:g}")
        elif name == "yhe":
            raise ValueError("zelos: yhe is not emulated: leave it out, it follows from BBN")
    h = _first(get("h0"), (get("hubble") or 0.0) / 100 or None)
    theta = get("cosmomc_theta")
    if theta is not None:
        point["cosmomc_theta"] = theta / 100 if theta > 0.1 else theta
    elif h is not None:
        point["H0"] = 100 * h
    if h is not None:
        h2 = h**2
        if "ombh2" not in point and (omega_b := get("omega_b")) is not None:
            point["ombh2"] = omega_b * h2
        if "omch2" not in point and (omega_c := get("omega_c")) is not None:
            point["omch2"] = omega_c * h2
        if "omch2" not in point and (omega_m := get("omega_m")) is not None and "ombh2" in point:
            fixed = config.emulator.fixed
            mnu, nnu = (
                point.get(name, fixed.get(name, default)) for name, default in (("mnu", 0.06), ("nnu", 3.044))
            )
            omnuh2 = mnu * (nnu / 3) ** 0.75 / NEUTRINO_MASS_FAC
            point["omch2"] = omega_m * h2 - point["ombh2"] - omnuh2
    amplitude, log_amplitude = get("a_s"), get("log1e10as")
    if amplitude is not None:
        point["As"] = amplitude
    elif log_amplitude is not None:
        point["logA"] = log_amplitude
    return point


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _hubble(point: dict[str, float], emulator: zelos.Emulator) -> float:
    if "H0" in point:
        return point["H0"]
    return float(emulator.canonical({n: v for n, v in point.items() if n not in emulator.fixed})["H0"])


def _save_parameters(block: Any, point: dict[str, float], labels: dict[str, float], h: float) -> None:
    values = {"h0": h, "hubble": 100 * h, "ombh2": point["ombh2"], "omch2": point["omch2"]}
    values |= {"omega_b": point["ombh2"] / h**2, "omega_c": point["omch2"] / h**2}
    for name, label in (
        ("omega_m", "omegam"),
        ("omega_lambda", "omegal"),
        ("sigma_8", "sigma8"),
        ("S_8", "S8"),
    ):
        if label in labels:
            values[name] = labels[label]
    if "omnuh2" in labels:
        values |= {"omnuh2": labels["omnuh2"], "omega_nu": labels["omnuh2"] / h**2}
    for name, value in values.items():
        block[COSMOLOGY, name] = value


def _save_distances(block: Any, config: Config, values: dict[str, Array], labels: dict[str, float]) -> None:
    if not {"Hubble", "comoving_radial_distance", "angular_diameter_distance"} <= set(values):
        return
    z = config.z_background

    def at(output: str) -> Array:
        axis = config.emulator.axes(output)["z"]
        return (
            values[output].copy()
            if np.array_equal(axis, z)
            else np.asarray(CubicSpline(axis, values[output])(z))
        )

    hubble, distance, angular = (
        at("Hubble") / C_KM_S,
        at("comoving_radial_distance"),
        at("angular_diameter_distance"),
    )
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
    for name, label in (
        *(("rs_zdrag", "rdrag"), ("rdrag", "rdrag"), ("zdrag", "zdrag"), ("age", "age"), ("zstar", "zstar")),
        *(("rstar", "rstar"), ("chistar", "DAstar"), ("thetastar", "thetastar")),
    ):
        if label in labels:
            # chistar is comoving and in Mpc; CAMB's DAstar is comoving and in Gpc. thetastar is times 100.
            factor = {"chistar": 1000.0, "thetastar": 100.0}.get(name, 1.0)
            block[section, name] = factor * labels[label]


def _save_spectra(block: Any, config: Config, values: dict[str, Array]) -> None:
    names = [name for name in ("tt", "ee", "bb", "te", "pp") if f"Cl.{name}" in values]
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
