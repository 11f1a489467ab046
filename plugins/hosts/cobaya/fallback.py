# SPDX-License-Identifier: BSD-3-Clause
"""The real code inside the theory: a private Cobaya model with the settings of the training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np

from cobaya.component import get_component_class
from cobaya.input import update_info
from cobaya.likelihood import Likelihood
from cobaya.log import LoggedError
from cobaya.model import Model

from .. import _core
from ..member import base_name, same_value, value_as

#: Cobaya's name of a code -> the code's name in the provenance of an artifact.
CODES = {"camb": "camb", "classy": "classy"}

#: Options of a code that choose how it looks for a solution and cannot change a result.
HARMLESS = frozenset({"theta_H0_range"})

#: Inputs of codes whose Cobaya theory takes any name and hands it on.
UNDERSTOOD = {
    "classy": frozenset(
        {
            *("H0", "h", "omega_b", "Omega_b", "omega_cdm", "Omega_cdm", "tau_reio", "A_s", "n_s", "alpha_s"),
            *("ln10^{10}A_s", "m_ncdm", "N_ur", "Omega_k", "w0_fld", "wa_fld", "YHe", "T_cmb"),
        }
    )
}

#: Names of a code for what is known by no synonym to zelos.
OTHER_NAMES = {"classy": {"mnu": "m_ncdm"}}


class FallbackError(Exception):
    """The fallback cannot stand in for the emulator's code: the message says why."""


def differing_settings(trained: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What is wanted of a code, but was different or not set in the training, each with its values."""
    out = []
    for key, value in wanted.items():
        if key not in trained:
            if key not in HARMLESS:
                out.append(f"{key}: not set in the training, {value!r} here")
        elif not same_value(trained[key], value):
            out.append(f"{key}: {trained[key]!r} in the training, {value!r} here")
    return out


class Fallback:
    """The code behind an emulator, as Cobaya's theory of it.

    name, options: as in a theory block. provenance: of the artifact. settings: what the user adds to them.
    strict: refuse another version or other settings than the training's. Throws FallbackError.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        provenance: Mapping[str, Any],
        settings: Mapping[str, Any],
        strict: bool,
        packages_path: str | None,
    ):
        self.name = name
        self._packages_path = packages_path
        self._code = CODES.get(name.rpartition(".")[2], name)
        trained = dict(provenance.get("config") or {})
        wanted = {**(options.get("extra_args") or {}), **settings}
        # A theory does not offer as an input what it is given as a setting, such as what the training fixed.
        words = {k: v for k, v in {**trained, **wanted}.items() if not isinstance(v, (int, float))}
        try:
            theory_class = get_component_class(name, kind="theory")
            bare = {**deepcopy(dict(options)), "extra_args": deepcopy(words)}
            self._theory = theory_class(bare, name=name, packages_path=packages_path)
            theories = [self._theory, *self._theory.get_helper_theories().values()]
            self._known = set().union(*(theory.get_can_support_params() for theory in theories))
        except Exception as error:
            version = f"=={provenance['code_version']}" if provenance.get("code_version") else ""
            raise FallbackError(
                f"The fallback '{name}' can not be used: {error}. Install it (pip install "
                f"{self._code}{version}), or set 'outside: reject' or 'outside: error' to do without."
            ) from error
        self._known |= UNDERSTOOD.get(self._code, frozenset())
        trained, wanted = self._translated_settings(trained), self._translated_settings(wanted)
        self.options = {**deepcopy(dict(options)), "extra_args": {**trained, **wanted}}
        differences = self._differences(provenance, trained, wanted)
        if differences and strict:
            raise FallbackError(
                f"The fallback '{name}' is not what the emulator was trained on: "
                f"{'; '.join(differences)}. Mixing the two would make the likelihood jump at the edge of the "
                "region. Use the same, or set 'fallback_version: any' to take the difference."
            )
        self.differences = differences

    def _differences(
        self, provenance: Mapping[str, Any], trained: Mapping[str, Any], wanted: Mapping[str, Any]
    ) -> list[str]:
        out = []
        if provenance.get("code") and provenance["code"] != self._code:
            out.append(f"code: {provenance['code']} in the training, {self._code} here")
        here, trained_on = str(self._theory.get_version()), provenance.get("code_version")
        if trained_on and str(trained_on) != here:
            out.append(f"version of {self._code}: {trained_on} in the training, {here} here")
        if provenance.get("ini"):
            out.append("a settings file (config.ini) in the training, which Cobaya's theory does not take")
        return out + differing_settings(trained, wanted)

    def provides(self) -> set[str]:
        """Names of the derived parameters that the code gives."""
        return set(self._theory.get_can_provide_params())

    def model(self, inputs: Iterable[str], required: Sequence[Mapping[str, Any]]) -> FallbackModel:
        """A private model that computes all that is required. Throws FallbackError.

        inputs: names of what it is told of a point, `Query.physics_names`.
        """
        names = {name: self._translated(name) for name in inputs}
        options = deepcopy(self.options)
        given = {base_name(target) for target in names.values()}
        for key in [key for key in options["extra_args"] if base_name(key) in given]:
            del options["extra_args"][key]
        return FallbackModel(self.name, options, names, required, self._packages_path)

    def _translated(self, name: str) -> str:
        """The name by which the code's theory knows a parameter."""
        if (known := self._own_name(name)) is not None:
            return known
        if not self._theory.get_allow_agnostic():
            raise FallbackError(
                f"The fallback '{self.name}' does not know the parameter '{name}': Cobaya's theory of the "
                "code takes no such name. With 'cache: FOLDER' zelos runs the code itself, and translates it."
            )
        return name

    def _translated_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings with those that are parameters under the theory's names; what is none stays as it is."""
        out: dict[str, Any] = {}
        for name, value in settings.items():
            target = self._own_name(name)
            if isinstance(value, (int, float)) and (target is not None or _core.synonyms(name)):
                out[target or self._translated(name)] = value_as(value, name, target or name)
            else:
                out[name] = value
        return out

    def _own_name(self, name: str) -> str | None:
        other = OTHER_NAMES.get(self._code, {}).get(name)
        for candidate in (name, *_core.synonyms(name), *([other] if other else [])):
            if candidate in self._known:
                return str(self._theory.translate_param(candidate))
        return None


class _Wanted(Likelihood):
    """No data: what is to be computed."""

    wanted: Any = None

    def get_requirements(self) -> dict[str, Any]:
        return deepcopy(dict(self.wanted))

    def logp(self, **_: Any) -> float:
        return 0.0


class FallbackModel:
    """A Cobaya model of one theory and no data, unknown to the model around it."""

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        names: Mapping[str, str],
        required: Sequence[Mapping[str, Any]],
        packages_path: str | None,
    ):
        self._names = dict(names)
        # loglikes() does not evaluate priors: any will do.
        params = {target: {"prior": [-1e300, 1e300]} for target in names.values()}
        # Not Cobaya's likelihood `one`, which takes any parameter: one that no theory reads would be lost.
        wanted = {f"wanted_{i}": {"external": _Wanted, "wanted": one} for i, one in enumerate(required)}
        info = {"theory": {name: dict(options)}, "likelihood": wanted, "params": params}
        try:
            with _quiet():
                info = update_info(info)
                # Not get_model(): that sets logging up again.
                self._model = Model(
                    info_params=info["params"],
                    info_likelihood=info["likelihood"],
                    info_theory=info["theory"],
                    packages_path=packages_path,
                )
        except LoggedError as error:
            raise FallbackError(f"The fallback '{name}' can not compute this: {error}") from error
        self.provider = self._model.provider

    def compute(self, physics: Mapping[str, float]) -> bool:
        """Runs the code; False if it failed. What it computed is in `provider` until the next call."""
        point = {target: value_as(physics[name], name, target) for name, target in self._names.items()}
        return bool(np.isfinite(self._model.loglikes(point, return_derived=False)).all())

    def close(self) -> None:
        self._model.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what is true of the private model only ("theories not used") out of the user's log."""
    loggers = [logging.getLogger(name) for name in ("model", "prior")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
