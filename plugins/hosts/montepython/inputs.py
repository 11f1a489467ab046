# SPDX-License-Identifier: BSD-3-Clause
"""CLASS's input as a point of an emulator. What a script leaves out has CLASS's default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import zelos
from zelos.member import Member, base_name

from .errors import CosmoSevereError, NotEmulated

T_CMB = 2.7255  # K
#: Effective number of one massive neutrino per T_ncdm^4: (11/4)^(4/3).
_NEUTRINO = (11 / 4) ** (4 / 3)
_T_NCDM = 0.71611
#: N_eff follows from T_ncdm, which inputs round: the same to this.
_NNU_ROUNDING = 1e-3

#: CLASS's parameters -> zelos's.
_PARAMETERS = {
    "omega_b": "ombh2", "Omega_b": "Omega_b",
    "omega_cdm": "omch2", "omega_c": "omch2", "Omega_cdm": "Omega_cdm",
    "H0": "H0", "h": "h", "tau_reio": "tau", "n_s": "ns", "alpha_s": "nrun", "beta_s": "nrunrun",
    "A_s": "As", "ln10^{10}A_s": "logA", "ln_A_s_1e10": "logA", "logA": "logA",
    "Omega_k": "omk", "w0_fld": "w", "wa_fld": "wa",
}  # fmt: skip
#: CLASS 3.4's defaults. It has z_reio, and no tau_reio.
_DEFAULTS = {
    "H0": 67.81, "ombh2": 0.0223828, "omch2": 0.1201075, "As": 2.100549e-9, "ns": 0.9660499,
    "omk": 0.0, "w": -1.0, "wa": 0.0,
}  # fmt: skip
_ALTERNATIVES = (
    ("H0", "h"),
    ("omega_b", "Omega_b"),
    ("omega_cdm", "omega_c", "Omega_cdm"),
    ("A_s", "ln10^{10}A_s", "ln_A_s_1e10", "logA"),
)
#: Parameters that stand for a quantity which no emulator of another code knows.
_REFUSED = {
    "100*theta_s": "it is CLASS's own angle, at the maximum of the visibility: give H0 or h",
    "theta_s_100": "it is CLASS's own angle, at the maximum of the visibility: give H0 or h",
    "sigma8": "amplitudes are A_s, ln10^{10}A_s or logA",
    "z_reio": "give tau_reio",
    "N_eff": "give N_ur",
}
#: Settings of physics -> CLASS's default, and the name in a training by CAMB with its default.
_PHYSICS: dict[str, tuple[Any, str, Any]] = {
    "T_cmb": (T_CMB, "TCMB", T_CMB),
    "k_pivot": (0.05, "pivot_scalar", 0.05),
    "YHe": ("BBN", "YHe", "BBN"),
    "modes": ("s", "", "s"),
    "ic": ("ad", "", "ad"),
    "reio_parametrization": ("reio_camb", "reionization_model", "reio_camb"),
    "cs2_fld": (1.0, "cs2", 1.0),
    "use_ppf": ("yes", "", "yes"),
    "fluid_equation_of_state": ("CLP", "", "CLP"),
}
#: Of CAMB: physics that CLASS's input can't ask for -> its neutral value.
_CAMB_ALONE: dict[str, Any] = {"neutrino_hierarchy": "degenerate", "meffsterile": 0.0, "deltazrei": 0.5}
#: RECFAST and HyRec are taken for the same: CAMB has no HyRec of its own.
_RECOMBINATION = frozenset({"recfast", "hyrec"})
#: CLASS's methods of the non-linear power -> CAMB's.
_HALOFIT = {
    "halofit": {"takahashi"},
    "hmcode 2016": {"mead", "mead2016"},
    "hmcode 2020": {"mead2020"},
    "hmcode 2020_baryonic": {"mead2020_feedback"},
}
_CAMB_HALOFIT = "mead2020"
_LIMITS = {
    "l_max_scalars": ("Cl.tt", "ell"),
    "P_k_max_1/Mpc": ("Pk.linear", "k"),
    "z_max_pk": ("Pk.linear", "z"),
}
#: What changes no number that is emulated: what to compute, and how precisely.
_IGNORED = frozenset({
    "output", "lensing", "gauge", "root", "headers", "format", "overwrite_root", "z_pk",
    "P_k_max_h/Mpc", "nonlinear_min_k_max", "hmcode_min_k_max", "halofit_min_k_max", "accurate_lensing",
    "delta_l_max", "k_per_decade_for_pk", "input_verbose", "background_verbose",
    "thermodynamics_verbose", "perturbations_verbose", "transfer_verbose", "primordial_verbose",
    "harmonic_verbose", "fourier_verbose", "lensing_verbose", "output_verbose", "zelos_emulator",
    "zelos_fallback", "sBBN file",
})  # fmt: skip
_READ_ELSEWHERE = frozenset(
    {"N_ur", "N_ncdm", "m_ncdm", "T_ncdm", "deg_ncdm", "Omega_Lambda", "recombination"}
    | {"non linear", "non_linear", "hmcode_version", *_LIMITS}
)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise CosmoSevereError(f"{name} = {value!r}: expected a number") from None


def _numbers(name: str, text: Any) -> list[float]:
    """Of a list as CLASS's input has it: ``0.02, 0.02``."""
    return [_number(name, word) for word in str(text).split(",") if word.strip()]


def _same(a: Any, b: Any) -> bool:
    try:
        return math.isclose(float(a), float(b), rel_tol=1e-9)
    except (TypeError, ValueError):
        return str(a).strip().lower() == str(b).strip().lower()


def nonlinear_method(pars: Mapping[str, Any]) -> str:
    """ "" (linear), "halofit" or "hmcode" with its version."""
    text = str(pars.get("non linear", pars.get("non_linear", ""))).strip().lower()
    if text in ("", "none", "no", "n"):
        return ""
    # Of several CLASS takes halofit.
    if "halofit" in text:
        return "halofit"
    if "hmcode" in text:
        return f"hmcode {str(pars.get('hmcode_version', 2020)).strip().lower()}"
    raise CosmoSevereError(f"non linear = {text}: expected none, halofit or hmcode")


class _Neutrinos:
    """CLASS's species: mass in all, effective number, and how many have mass."""

    def __init__(self, pars: Mapping[str, Any]) -> None:
        self.masses = _numbers("m_ncdm", pars.get("m_ncdm", ""))
        self.species = int(_number("N_ncdm", pars.get("N_ncdm", 0)))
        copies = _numbers("deg_ncdm", pars.get("deg_ncdm", "")) or [1.0] * self.species
        if len(self.masses) != self.species or len(copies) != self.species:
            raise CosmoSevereError(
                f"neutrinos: expected {self.species} (N_ncdm) of m_ncdm, of deg_ncdm if given"
            )
        self.count = sum(copies)
        self.n_ur = _number("N_ur", pars.get("N_ur", 3.044))
        temperatures = _numbers("T_ncdm", pars.get("T_ncdm", _T_NCDM))
        if len(set(temperatures)) != 1:
            raise NotEmulated(f"T_ncdm = {pars['T_ncdm']} is not emulated: expected one temperature")
        self.nnu = self.n_ur + self.count * _NEUTRINO * temperatures[0] ** 4
        self.mnu = sum(mass * n for mass, n in zip(self.masses, copies, strict=True))

    def __str__(self) -> str:
        masses = f", m_ncdm = {','.join(f'{mass:g}' for mass in self.masses)}" if self.masses else ""
        return f"N_ur = {self.n_ur:g}, N_ncdm = {self.species}{masses}"


def _as_class(mnu: float, nnu: float, count: float) -> str:
    """What to give CLASS for these neutrinos."""
    if mnu == 0:
        return f"N_ur = {nnu:g}, N_ncdm = 0"
    copies = f", deg_ncdm = {count:g}" if count != 1 else ""
    n_ur = nnu - count * _NEUTRINO * _T_NCDM**4
    return f"N_ur = {n_ur:.5g}, N_ncdm = 1{copies}, m_ncdm = {mnu / count:g}"


class Training:
    """What an emulator was trained with, in CLASS's words."""

    def __init__(self, emulator: zelos.Emulator) -> None:
        self.name = emulator.name
        self.member = Member(emulator.core)
        self.by_class = self.member.code["code"] == "classy"
        self.settings = {**self.member.settings, **dict(self.member.fixed.values())}
        self.outputs = frozenset(emulator.outputs)
        self.last = {
            parameter: emulator.axes(output)[axis][-1]
            for parameter, (output, axis) in _LIMITS.items()
            if output in self.outputs
        }

    @property
    def nonlinear(self) -> str:
        """The non-linear method of lensing and P(k), "" if lensing is linear: CAMB's driver lenses
        non-linearly, CLASS's where it computes a non-linear P(k)."""
        if not self.by_class:
            return str(self.settings.get("halofit_version", _CAMB_HALOFIT))
        if "Pk.nonlinear" in self.outputs:
            return nonlinear_method({"non linear": "hmcode", **self.settings})
        return nonlinear_method(self.settings)

    @property
    def how_to_ask(self) -> str:
        """CLASS's input for the training's non-linear power."""
        trained = self.nonlinear
        name = next((name for name, versions in _HALOFIT.items() if trained in versions), trained)
        method, _, version = name.partition(" ")
        return f"'non linear' = {method}" + (f", hmcode_version = {version}" if version else "")


class Inputs:
    """What CLASS would compute of these parameters, if the emulator was trained for it.

    point:       for the emulator.
    clash:       which physics is not the training's, "" if none: a point where its real code alone answers.
    nonlinear:   `nonlinear_method`.
    neff, omega_b, omega_cdm, H0, n_s, and tau_reio and logA or None.

    Raises NotEmulated for what neither the emulator nor its code can be asked, naming the parameter and what
    is expected; CosmoSevereError for what CLASS refuses as well.
    """

    def __init__(self, pars: Mapping[str, Any], training: Training) -> None:
        self._pars = pars
        self.training = training
        self._member = training.member
        self.nonlinear = nonlinear_method(pars)
        if self._member.code["ini"]:
            raise NotEmulated(
                f"{training.name} was trained with a settings file, whose physics is not compared"
            )
        self._neutrinos = _Neutrinos(pars)
        self.neff = self._neutrinos.nnu
        self.clash = ""
        given = self._given()
        self._check_settings()
        self._check_nonlinear()
        self._check_limits()
        h = given.get("h", given.get("H0", _DEFAULTS["H0"]) / 100)
        self.H0 = given.get("H0", 100 * h)
        for density, physical in (("Omega_b", "ombh2"), ("Omega_cdm", "omch2")):
            own = self._member.states(base_name(density))
            if density in given and not own:
                given[physical] = given.pop(density) * h**2
            elif density not in given and own:
                given[density] = given.pop(physical, _DEFAULTS[physical]) / h**2
        self.omega_b, self.omega_cdm = (
            given[density] * h**2 if density in given else given.get(physical, _DEFAULTS[physical])
            for density, physical in (("Omega_b", "ombh2"), ("Omega_cdm", "omch2"))
        )
        self.n_s = given.get("ns", _DEFAULTS["ns"])
        self.tau_reio = given.get("tau")
        self.logA = given.get("logA", math.log(1e10 * given.get("As", _DEFAULTS["As"])))
        self.point = self._point(given)

    # --- how

    def _given(self) -> dict[str, float]:
        """zelos's names of what is given."""
        known = _PARAMETERS.keys() | _PHYSICS.keys() | _IGNORED | _READ_ELSEWHERE
        for name, value in self._pars.items():
            if name in _REFUSED:
                raise NotEmulated(f"parameter '{name}' is not emulated: {_REFUSED[name]}")
            if name not in known and not (self.training.by_class and name in self.training.settings):
                raise NotEmulated(f"parameter '{name}' = {value} is not emulated")
        for group in _ALTERNATIVES:
            both = [name for name in group if name in self._pars]
            if len(both) > 1:
                raise CosmoSevereError(f"expected one of {' and '.join(both)}")
        dark_energy = {"w0_fld", "wa_fld", "cs2_fld"} & self._pars.keys()
        fluid = "Omega_Lambda" in self._pars
        if fluid and _number("Omega_Lambda", self._pars["Omega_Lambda"]) != 0:
            raise NotEmulated(f"Omega_Lambda = {self._pars['Omega_Lambda']} is not emulated: it follows")
        if dark_energy and not fluid:
            raise CosmoSevereError(
                f"CLASS reads {min(dark_energy)} only with Omega_Lambda = 0, which is not given"
            )
        return {
            target: _number(name, self._pars[name])
            for name, target in _PARAMETERS.items()
            if name in self._pars
        }

    def _check_settings(self) -> None:
        settings = self.training.settings
        for name, (default, in_camb, camb_default) in _PHYSICS.items():
            trained = (
                settings.get(name, default) if self.training.by_class else settings.get(in_camb, camb_default)
            )
            self._expect(name, default, trained)
        if "recombination" in self._pars:
            method = str(self._pars["recombination"]).strip().lower()
            if method not in _RECOMBINATION:
                raise NotEmulated(f"recombination = {method} is not emulated: expected recfast or hyrec")
        if self.training.by_class:
            for name in (
                self._member.settings.keys()
                - _PARAMETERS.keys()
                - _PHYSICS.keys()
                - _IGNORED
                - _READ_ELSEWHERE
            ):
                trained = settings[name]
                if name not in self._pars:
                    raise NotEmulated(
                        f"{name} is not given, {self.training.name} was trained with {trained}: give it"
                    )
                self._expect(name, None, trained)
        else:
            for name, neutral in _CAMB_ALONE.items():
                if not _same(settings.get(name, neutral), neutral):
                    raise NotEmulated(
                        f"{self.training.name} has {name} = {settings[name]}: CLASS has no such input"
                    )

    def _expect(self, name: str, default: Any, trained: Any) -> None:
        given = self._pars.get(name, default)
        if not _same(given, trained):
            by_default = "" if name in self._pars else " (CLASS's default)"
            raise NotEmulated(f"{name} = {given}{by_default} is not emulated: expected {trained}")

    def _check_nonlinear(self) -> None:
        depends = [name for name in self.training.outputs if name.startswith("Cl.") or name == "Pk.nonlinear"]
        if not self.nonlinear or not depends:
            return
        trained = self.training.nonlinear
        if self.nonlinear != trained and trained not in _HALOFIT.get(self.nonlinear, ()):
            version = ""
            if self.nonlinear.startswith("hmcode") and "hmcode_version" not in self._pars:
                version = " (CLASS's default version)"
            raise NotEmulated(
                f"non linear = {self.nonlinear}{version} is not emulated, {self.training.name} has "
                f"{trained or 'linear lensing'}: give {self.training.how_to_ask}"
            )

    def _check_limits(self) -> None:
        for parameter, last in self.training.last.items():
            if parameter in self._pars:
                output, axis = _LIMITS[parameter]
                if _number(parameter, self._pars[parameter]) > last * (1 + 1e-9):
                    raise NotEmulated(
                        f"{parameter} = {self._pars[parameter]}: the emulator has {output} up to "
                        f"{axis} = {last:g}"
                    )

    def _point(self, given: dict[str, float]) -> dict[str, float]:
        """Every free parameter, and of the fixed ones those that clash."""
        member = self._member
        values = {base_name(name): (name, value) for name, value in given.items()}
        values |= {
            base_name(name): (name, value)
            for name, value in _DEFAULTS.items()
            if base_name(name) not in values and member.states(base_name(name))
        }
        values |= self._neutrinos_of_the_emulator()
        point = {}
        for base, name in member.free.items():
            if base in values:
                given_as, value = values.pop(base)
                point[given_as] = value
            elif base in member.neutral:
                point[name] = member.neutral[base][1]
            elif base == base_name("tau"):
                raise NotEmulated("tau_reio is not given, and CLASS's default z_reio is not emulated")
            else:
                raise NotEmulated(f"{name} of {self.training.name} is no parameter of CLASS")
        for base, (name, trained) in member.fixed.items():
            if name in _READ_ELSEWHERE or name in _PHYSICS:
                continue
            if base not in values and base not in member.neutral:
                raise NotEmulated(
                    f"{self.training.name} holds {name} at {trained:g}; CLASS has no such input"
                )
            neutral = member.neutral.get(base, (name, math.nan))
            given_as, value = values.pop(base, neutral)
            if not _same(value, trained):
                point[given_as] = value
                self.clash = self.clash or self._explain(name, given_as, value, trained)
        if not any(name.startswith("Cl.") for name in self.training.outputs):
            values.pop(base_name("tau"), None)
        for base, (name, value) in values.items():
            if base not in member.neutral or not _same(value, member.neutral[base][1]):
                called = next(
                    (old for old, new in _PARAMETERS.items() if new == name and old in self._pars), name
                )
                raise NotEmulated(f"parameter '{called}' = {value:g} is not emulated")
        return point

    def _neutrinos_of_the_emulator(self) -> dict[str, tuple[str, float]]:
        """mnu and nnu, as far as the emulator states them."""
        member, found = self._member, self._neutrinos
        mnu_base, nnu_base = base_name("mnu"), base_name("nnu")
        if self.training.by_class:
            trained = _Neutrinos(self.training.settings)
            mnu, nnu, count = trained.mnu, trained.nnu, trained.count
        else:
            mnu, nnu = 0.06, 3.044
            count = float(self.training.settings.get("num_massive_neutrinos", 1))
        mnu = member.fixed.get(mnu_base, ("mnu", mnu))[1]
        nnu = member.fixed.get(nnu_base, ("nnu", nnu))[1]
        if found.mnu and (found.count != count or len(set(found.masses)) > 1):
            raise NotEmulated(
                f"neutrinos: expected {count:g} of equal mass, as in training; "
                f"found {found.count:g}, m_ncdm = {self._pars['m_ncdm']}"
            )
        close = abs(found.nnu - nnu) < _NNU_ROUNDING and nnu_base not in member.free
        values = {mnu_base: ("mnu", found.mnu), nnu_base: ("nnu", nnu if close else found.nnu)}
        for base, trained_value in ((mnu_base, mnu), (nnu_base, nnu)):
            if not member.states(base):
                if not _same(values[base][1], trained_value):
                    raise NotEmulated(self._explain_neutrinos(mnu, nnu, count))
                del values[base]
        return values

    def _explain(self, name: str, given_as: str, value: float, trained: float) -> str:
        member = self._member
        bases = (base_name("mnu"), base_name("nnu"))
        if base_name(name) in bases:
            mnu, nnu = (
                member.fixed[base][1] if base in member.fixed else here
                for base, here in zip(bases, (self._neutrinos.mnu, self._neutrinos.nnu), strict=True)
            )
            return self._explain_neutrinos(
                mnu, nnu, float(self.training.settings.get("num_massive_neutrinos", 1))
            )
        called = next((old for old, new in _PARAMETERS.items() if new == given_as), given_as)
        return f"{called} = {value:g} is not emulated: {self.training.name} holds it at {trained:g}"

    def _explain_neutrinos(self, mnu: float, nnu: float, count: float) -> str:
        missing = not {"N_ur", "N_ncdm", "m_ncdm"} & self._pars.keys()
        defaults = " (CLASS's defaults)" if missing else ""
        return (
            f"neutrinos: {self._neutrinos}{defaults} is mnu = {self._neutrinos.mnu:g}, nnu = "
            f"{self._neutrinos.nnu:.5g}; {self.training.name} holds mnu = {mnu:g}, nnu = {nnu:g}: "
            f"give {_as_class(mnu, nnu, count)}"
        )
