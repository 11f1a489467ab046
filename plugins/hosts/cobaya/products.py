# SPDX-License-Identifier: BSD-3-Clause
"""From what likelihoods require to what the emulator is asked, and from its answer to what Cobaya stores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from cobaya.conventions import Const
from cobaya.tools import Pool1D, Pool2D, combine_1d

from ..fallback.cosmology import least_k_max

#: Cobaya's product -> output of the emulator over z, factor to Cobaya's units.
OVER_Z = {
    "Hubble": ("Hubble", 1 / Const.c_km_s),  # km/s/Mpc -> 1/Mpc
    "angular_diameter_distance": ("angular_diameter_distance", 1.0),
    "comoving_radial_distance": ("comoving_radial_distance", 1.0),
    "sigma8_z": ("sigma8_z", 1.0),
    "fsigma8": ("fsigma8", 1.0),
}
PERTURBATIONS = ("sigma8_z", "fsigma8")
#: Lensed spectra; with scalar perturbations alone the two are the same.
LENSED = ("Cl", "lensed_scal_Cl")
#: Spectra that vanish (parity): may be asked for, are never returned, as with Cobaya's camb.
VANISHING = frozenset({"tb", "eb", "bt", "be", "pb", "bp"})
#: Products over z that only a real code gives.
FALLBACK_OVER_Z = ("Omega_b", "Omega_cdm", "Omega_nu_massive")
_SAME = {"et": "te", "tp": "pt", "ep": "pe"}

#: Cobaya's name of a derived parameter -> (name in the emulator, factor).
DERIVED = {
    **{
        name: (name, 1.0)
        for name in (
            "H0", "omegam", "omegal", "omnuh2", "sigma8", "rdrag", "zdrag", "rstar", "zstar", "DAstar", "age",
            "zrei", "YHe", "Y_p", "kd", "thetad", "zeq", "keq", "thetaeq", "thetarseq",
        )
    },
    "thetastar": ("thetastar", 100.0),
    "omega_de": ("omegal", 1.0),
    "zre": ("zrei", 1.0),
    "DH": ("DHBBN", 1.0),
    "yhe": ("YHe", 1.0),
    "yheused": ("YHe", 1.0),
    "YpBBN": ("Y_p", 1.0),
}  # fmt: skip
#: Derived parameters that follow from inputs and emulated ones.
COMPUTED: dict[str, tuple[tuple[str, ...], Callable[..., float]]] = {
    "As": (("logA",), lambda logA: 1e-10 * np.exp(logA)),
    "h": (("H0",), lambda H0: H0 / 100),
    "omegab": (("ombh2", "H0"), lambda ombh2, H0: ombh2 / (H0 / 100) ** 2),
    "omegac": (("omch2", "H0"), lambda omch2, H0: omch2 / (H0 / 100) ** 2),
    "omeganu": (("omnuh2", "H0"), lambda omnuh2, H0: omnuh2 / (H0 / 100) ** 2),
    "S8": (("sigma8", "omegam"), lambda sigma8, omegam: sigma8 * (omegam / 0.3) ** 0.5),
}
#: Those of them that no real code gives: it is asked for what they follow from.
_OWN = ("S8",)


class RangeError(ValueError):
    """A requirement leaves the range of an output: the message says which, and what there is."""


def spectrum(name: str) -> str:
    """te for et, pt for tp, pe for ep."""
    return _SAME.get(name, name)


def requirements(must_provide: Mapping[Any, Any]) -> dict[str, Any]:
    """Merged requirements, as BoltzmannBase keeps them -> new ones, as another theory takes them."""
    out: dict[str, Any] = {}
    for key, value in must_provide.items():
        if key in LENSED:
            spectra = out.setdefault("Cl", {})
            spectra.update({name: max(lmax, spectra.get(name, 0)) for name, lmax in value.items()})
            continue
        if key in _OWN:
            out.update(dict.fromkeys(COMPUTED[key][0]))
            continue
        if not isinstance(key, tuple):
            out[key] = deepcopy(value)
            continue
        kind, pair = key[0], list(key[-2:])
        options = deepcopy(value)
        if kind == "Pk_grid":
            options["nonlinear"] = [key[1]]
        if kind in out:
            _merge(out[kind], options, pair)
        else:
            out[kind] = {**options, "vars_pairs": [pair]}
    return out


def _merge(known: dict[str, Any], options: dict[str, Any], pair: list[str]) -> None:
    if pair not in known["vars_pairs"]:
        known["vars_pairs"].append(pair)
    for name, value in options.items():
        if name in ("z", "R"):
            known[name] = combine_1d(value, known[name])
        elif name == "k_max":
            known[name] = max(value, known[name])
        elif name == "nonlinear":
            known[name] = sorted({*value, *known[name]})


def redshift_pools(must_provide: Mapping[Any, Any]) -> dict[str, Pool1D | Pool2D]:
    """The redshifts at which each product is kept: what the getters of BoltzmannBase look up."""
    pools: dict[str, Pool1D | Pool2D] = {
        key: Pool1D(must_provide[key]["z"]) for key in (*OVER_Z, *FALLBACK_OVER_Z) if must_provide.get(key)
    }
    if must_provide.get("angular_diameter_distance_2"):
        pools["angular_diameter_distance_2"] = Pool2D(must_provide["angular_diameter_distance_2"]["z_pairs"])
    return pools


def training_grid(outputs: Iterable[Any]) -> dict[str, Any]:
    """P(k, z) as the training runs computed it, as a requirement.

    CAMB takes the non-linear lensing correction from this grid: on another one the spectra differ a little.
    """
    outputs = list(outputs)
    redshifts, k_max, nonlinear = np.zeros(1), least_k_max(output.name for output in outputs), False
    for output in outputs:
        axes = {axis.name: axis.values for axis in output.axes}
        if output.name in ("Pk.linear", "Pk.nonlinear", *PERTURBATIONS):
            redshifts = np.union1d(redshifts, axes["z"])
        k_max = max([k_max, *axes.get("k", ())])
        nonlinear |= output.name == "Pk.nonlinear"
    return {"z": redshifts, "k_max": 1.02 * k_max, "nonlinear": [nonlinear]}


class Plan:
    """One question to the emulator that answers everything it can of what is required.

    requests: what Emulator.query takes. missing: the keys of `must_provide` that are not emulated; refused:
    those of them that are emulated, but not as far as required -> what there is. answers: all other keys.
    pools: of redshift_pools(must_provide). canonical: names of the emulator's parameters.
    """

    def __init__(
        self,
        outputs: Iterable[Any],
        must_provide: Mapping[Any, Any],
        output_params: Iterable[str],
        input_params: Iterable[str],
        canonical: Iterable[str],
        pools: Mapping[str, Any],
    ):
        self._pools = pools
        self._outputs = {output.name: output for output in outputs}
        self.requests: list[tuple[str, list[np.ndarray]]] = []
        self.missing: list[Any] = []
        self.refused: dict[Any, str] = {}
        self._resampled: list[Any] = []
        self._fill: list[Callable[[dict[Any, Any], np.ndarray], None]] = []
        self._blocks: list[slice] = []
        self._shapes: list[tuple[int, ...]] = []
        self._z_power = self._perturbation_redshifts(must_provide)
        for key, value in must_provide.items():
            try:
                if key in LENSED:
                    self._add_spectra(key, value)
                elif isinstance(key, tuple) and key[0] == "Pk_grid":
                    self._add_power(key, value)
                elif key in OVER_Z:
                    self._add_over_z(key, value["z"])
                elif value is not None:
                    self.missing.append(key)
            except RangeError as error:
                self.missing.append(key)
                self.refused[key] = str(error)
        required = [key for key, value in must_provide.items() if value is None]
        self._add_derived(list(dict.fromkeys([*output_params, *required])), set(input_params), set(canonical))
        self.answers = {*must_provide, *output_params} - set(self.missing)

    def bind(self, blocks: Sequence[tuple[int, Iterable[int]]]) -> None:
        """Where the query puts the answer to each request: (offset, shape)."""
        self._shapes = [tuple(shape) for _, shape in blocks]
        self._blocks = [slice(offset, offset + math.prod(shape)) for offset, shape in blocks]

    def fill(self, state: dict[Any, Any], answer: np.ndarray) -> None:
        """Stores every emulated product; the arrays are views of `answer`, which the state then owns."""
        for fill in self._fill:
            fill(state, answer)

    def on_training_grid(self, must_provide: Mapping[Any, Any]) -> dict[Any, Any]:
        """What the fallback is asked: products of the perturbations at the redshifts of the training.

        The real code then runs exactly as it did in the training, whatever redshifts are required of it.
        """
        grid = training_grid(self._outputs.values())
        out = dict(must_provide)
        for key in self._resampled:
            if key in PERTURBATIONS:
                out[key] = {"z": grid["z"]}
            else:
                out[key] = {**must_provide[key], "z": grid["z"], "k_max": grid["k_max"]}
        return out

    def copy_from(
        self, provider: Any, state: dict[Any, Any], must_provide: Mapping[Any, Any], resample: bool
    ) -> dict[str, float]:
        """Copies products of the fallback into the state, as the emulator's are; returns derived parameters.

        resample: the fallback was asked on_training_grid(), its answers are splined to those required.
        """
        grid = training_grid(self._outputs.values())["z"] if resample and self._resampled else None
        derived: dict[str, float] = {}
        for key, value in must_provide.items():
            if key in LENSED or key == "unlensed_Cl":
                state[key] = self._copy_spectra(key, provider, value)
            elif isinstance(key, tuple) and key[0] == "Pk_grid":
                k, z, power = (np.array(a) for a in provider.get_Pk_grid(key[2:], nonlinear=key[1]))
                if grid is not None and key in self._resampled:
                    power = np.exp(CubicSpline(z, np.log(power))(self._z_power))
                    z = self._z_power.copy()
                state[key] = k, z, power
            elif isinstance(key, tuple) and key[0] == "sigma_R":
                state[key] = tuple(np.array(a) for a in provider.get_sigma_R(key[1:]))
            elif key == "Hubble":
                state[key] = np.array(provider.get_Hubble(self._pools[key].values, units="1/Mpc"))
            elif grid is not None and key in self._resampled:
                state[key] = CubicSpline(grid, getattr(provider, f"get_{key}")(grid))(self._pools[key].values)
            elif key in self._pools:
                state[key] = np.array(getattr(provider, f"get_{key}")(self._pools[key].values))
            elif key in _OWN:
                arguments, function = COMPUTED[key]
                derived[key] = float(function(*(provider.get_param(name) for name in arguments)))
            else:
                derived[key] = float(provider.get_param(key))
        return derived

    @staticmethod
    def _copy_spectra(key: str, provider: Any, wanted: Mapping[str, int]) -> dict[str, np.ndarray]:
        getter = provider.get_unlensed_Cl if key == "unlensed_Cl" else provider.get_Cl
        all_spectra = getter(ell_factor=False, units="muK2")
        lmax = max(2, *(int(last) for last in wanted.values()))
        names = dict.fromkeys(spectrum(name) for name in wanted if name not in VANISHING)
        return {name: np.array(all_spectra[name][2 : lmax + 1]) for name in names}

    def derived(self, answer: np.ndarray, params: Mapping[str, float]) -> dict[str, float]:
        """Emulated and computed derived parameters in Cobaya's units, by Cobaya's names.

        params: the inputs and, if needs_canonical, the canonical parameters of the point.
        """
        request = self._derived_request
        values = answer[self._blocks[request]] if request is not None else np.empty(0)
        out = {name: float(values[index]) * factor for name, index, factor in self._emulated}
        for name, arguments, function in self._computed:
            pool = [params[a] if a in params else float(values[self._labels[a]]) for a in arguments]
            out[name] = float(function(*pool))
        out.update((name, float(params[name])) for name in self._passed)
        return out

    def _request(self, output: str, axes: list[np.ndarray]) -> int:
        self.requests.append((output, axes))
        return len(self.requests) - 1

    def _axes(self, output: str) -> dict[str, Any]:
        return {axis.name: axis for axis in self._outputs[output].axes}

    def _check(self, what: str, output: str, axis_name: str, values: Any) -> None:
        axis = self._axes(output)[axis_name].values
        low, high = np.min(values), np.max(values)
        tolerance = 1e-9 * max(1.0, abs(axis[-1]))
        if low < axis[0] - tolerance or high > axis[-1] + tolerance:
            wrong = high if high > axis[-1] + tolerance else low
            raise RangeError(
                f"{what}: {axis_name} = {wrong:g} is required, but the emulator has '{output}' for "
                f"{axis_name} from {axis[0]:g} to {axis[-1]:g}"
            )

    @staticmethod
    def _perturbation_redshifts(must_provide: Mapping[Any, Any]) -> np.ndarray:
        """As Cobaya's camb does, P(k, z) is given at the redshifts of all products of the perturbations."""
        redshifts = [0.0]
        for key, value in must_provide.items():
            if key in PERTURBATIONS or (isinstance(key, tuple) and key[0] == "Pk_grid"):
                redshifts = combine_1d(value["z"], redshifts)
        return np.asarray(redshifts, float)

    def _add_spectra(self, key: str, wanted: Mapping[str, int]) -> None:
        names = {name: spectrum(name) for name in wanted if name not in VANISHING}
        unknown = sorted(name for name, same in names.items() if f"Cl.{same}" not in self._outputs)
        if unknown:
            raise RangeError(f"{key}: the emulator has no spectra {', '.join(unknown)}")
        if not names:
            return
        lmax = max(2, *(int(wanted[name]) for name in names))
        blocks: dict[str, int] = {}
        for name in names:
            self._check(f"{key} {name}", f"Cl.{names[name]}", "ell", max(2, int(wanted[name])))
        for same in dict.fromkeys(names.values()):
            last = int(self._axes(f"Cl.{same}")["ell"].values[-1])
            blocks[same] = self._request(f"Cl.{same}", [np.arange(2.0, min(lmax, last) + 1)])

        def fill(state: dict[Any, Any], answer: np.ndarray) -> None:
            state[key] = {same: answer[self._blocks[block]] for same, block in blocks.items()}

        self._fill.append(fill)

    def _add_power(self, key: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        output = "Pk.nonlinear" if key[1] else "Pk.linear"
        if key[2:] != ("delta_tot", "delta_tot") or output not in self._outputs:
            self.missing.append(key)
            return
        self._check(f"P(k, z) {output[3:]}", output, "z", options["z"])
        self._check(f"P(k, z) {output[3:]}", output, "k", options["k_max"])
        axes = self._axes(output)
        k = axes["k"].values
        k = np.array(k[: np.searchsorted(k, options["k_max"] * (1 - 1e-9)) + 1])
        z = self._z_power
        order = [axis.name for axis in self._outputs[output].axes]
        block = self._request(output, [{"k": k, "z": z}[name] for name in order])
        self._resampled.append(key)
        transpose = order == ["k", "z"]

        def fill(state: dict[Any, Any], answer: np.ndarray) -> None:
            power = answer[self._blocks[block]].reshape(self._shapes[block])
            state[key] = k.copy(), z.copy(), power.T if transpose else power

        self._fill.append(fill)

    def _add_over_z(self, key: str, redshifts: Any) -> None:
        output, factor = OVER_Z[key]
        if output not in self._outputs:
            self.missing.append(key)
            return
        self._check(key, output, "z", redshifts)
        block = self._request(output, [np.asarray(self._pools[key].values, float)])
        if key in PERTURBATIONS:
            self._resampled.append(key)

        def fill(state: dict[Any, Any], answer: np.ndarray) -> None:
            state[key] = answer[self._blocks[block]] * factor

        self._fill.append(fill)

    def _add_derived(self, names: list[str], inputs: set[str], canonical: set[str]) -> None:
        output = self._outputs.get("derived")
        self._labels = {label: i for i, label in enumerate(output.axes[0].labels)} if output else {}
        self._emulated: list[tuple[str, int, float]] = []
        self._computed: list[tuple[str, tuple[str, ...], Callable[..., float]]] = []
        self._passed: list[str] = []
        known = inputs | canonical
        for name in names:
            emulated, factor = DERIVED.get(name, (name, 1.0))
            arguments, function = COMPUTED.get(name, ((), None))
            if name in known:
                self._passed.append(name)
            elif name in DERIVED and emulated in self._labels:
                self._emulated.append((name, self._labels[emulated], factor))
            elif function and all(a in known or a in self._labels for a in arguments):
                self._computed.append((name, arguments, function))
            else:
                self.missing.append(name)
        used = {*self._passed, *(a for _, arguments, _ in self._computed for a in arguments)}
        self.needs_canonical = bool(used & canonical - inputs)
        self._derived_request: int | None = None
        if self._emulated or any(a not in known for _, arguments, _ in self._computed for a in arguments):
            self._derived_request = self._request("derived", [])


def emulated_derived(outputs: Iterable[Any], canonical: Iterable[str]) -> set[str]:
    """Cobaya's names of the derived parameters that the emulator gives."""
    labels = {label for output in outputs if output.name == "derived" for label in output.axes[0].labels}
    known = labels | set(canonical)
    names = {name for name, (emulated, _) in DERIVED.items() if emulated in labels}
    return names | set(canonical) | {name for name, (args, _) in COMPUTED.items() if known.issuperset(args)}


def spectra(stored: Mapping[str, np.ndarray], ell_factor: bool, factor: float) -> dict[str, np.ndarray]:
    """Stored spectra (muK, from ell = 2, no factor of ell) -> Cobaya's get_Cl: new arrays from ell = 0.

    factor: of one power of the temperature, from muK to the units wanted; 1/T_CMB for those without units.
    """
    ell = np.arange(2 + max(map(len, stored.values()), default=0), dtype=np.int64)
    out: dict[str, np.ndarray] = {"ell": ell}
    scale = ell[2:] * (ell[2:] + 1.0)
    for name, values in stored.items():
        lensing = name.count("p")
        y = np.zeros(2 + len(values))
        np.multiply(values, factor ** (2 - lensing), out=y[2:])
        if ell_factor:
            y[2:] *= scale[: len(values)] ** (1 + 0.5 * lensing) / (2 * np.pi)
        for alias in (name, *(new for new, same in _SAME.items() if same == name)):
            out[alias] = y
    return out
