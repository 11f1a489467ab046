# SPDX-License-Identifier: BSD-3-Clause
"""The theory: what Cobaya calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from cobaya.log import LoggedError, get_logger
from cobaya.theories.cosmo import BoltzmannBase
from cobaya.typing import empty_dict

from .. import _core
from ..hub import ATLAS_PREFIX, Listed, members
from ..member import Member
from ..real_code import RealCode, seconds_per_run
from ..selection import Route, Selection, check, not_installed, select
from . import products
from .fallback import CODES, Fallback, FallbackError, FallbackModel, differing_settings
from .learning import Learnt, identity_of_spec
from .statistics import Statistics

#: What `outside` may be, and what it does.
OUTSIDE = {
    "fallback": "the real code answers",
    "reject": "the point has zero likelihood",
    "error": "the run stops",
}
_KEPT_LOOKUPS = 256
_TEMPERATURE = ("TCMB", *_core.synonyms("TCMB"))


def open_emulator(reference: str) -> Any:
    """The core's handle of an emulator: hub:NAME, path of an artifact or archive. Throws zelos.Error."""
    import zelos

    return zelos.get_emulator(reference).core


class _Collector(NamedTuple):
    """What the getters of BoltzmannBase look for in `collectors`."""

    z_pool: Any


class _Asked(NamedTuple):
    """An emulator in this run: how it is asked, for what, and the bound query."""

    route: Route
    plan: products.Plan
    query: Any
    error_model: Any = None
    """The core's, of the spectra that are asked for; None without a tolerance."""

    def evaluate(
        self, values: np.ndarray, tolerance: float | None
    ) -> tuple[np.ndarray, list[tuple[int, Any]]]:
        """As `Route.evaluate`, of one point; a predicted error above the tolerance is outside."""
        answer, outside = self.route.evaluate(self.query, values)
        if self.error_model is not None and not outside:
            (verdict,) = self.error_model.verdict(self.route.table(values), tolerance)
            if not verdict:
                outside = [(0, verdict)]
        return answer, outside

    @property
    def canonical(self) -> list[str]:
        return [parameter.name for parameter in self.route.member.core.parameters]


class Zelos(BoltzmannBase):
    """An emulator as a Boltzmann code, with the code itself where the emulator may not answer. Or several
    emulators: who answers which point is decided by the rule of `zelos.selection`.

    Everything that `must_provide` asks of an emulator is one bound query. A point inside the region costs
    one evaluation of it; a point outside goes to the fallback, is rejected, or stops the run, as `outside`
    says. Products that are not emulated are computed by the fallback at every point. All that a getter
    returns is in the state of its point: nothing is read later from the emulator or from the fallback.
    """

    emulator: Any
    atlas: str | None
    mix: str | None
    fallback: Any
    outside: str
    tolerance: float | None
    fallback_version: str
    cache: str | None
    learn: Any
    speed: float
    version: Any
    emulator_id: str | None

    @classmethod
    def get_modified_defaults(
        cls, defaults: dict[str, Any], input_options: Mapping[str, Any] = empty_dict
    ) -> dict[str, Any]:
        """Puts the emulator's id into the run's info: Cobaya then refuses to resume with another one."""
        given = dict(input_options or {})
        reference = given.get("emulator") or defaults["emulator"]
        log = get_logger(cls.__name__)
        if given.get("atlas") and given.get("emulator") and given["emulator"] != defaults["emulator"]:
            raise LoggedError(log, "Give 'emulator' or 'atlas', not both: %r, %r.", reference, given["atlas"])
        if identity := identity_of_spec(given.get("learn"), log):
            defaults["emulator_id"] = identity
            return defaults
        artifacts, _ = _open_all(reference, given.get("atlas"), log)
        defaults["emulator_id"] = "+".join(artifact.id for artifact in artifacts)
        return defaults

    # ---- set-up, in the order in which Cobaya calls it

    def initialize(self) -> None:
        super().initialize()
        self._check_options()
        self._learnt = Learnt(self.learn, self.cache, self.emulator, self.log) if self.learn else None
        if self._learnt:
            self.cache = self._learnt.cache
            self.emulator = self._learnt.begin() if self._learnt.spec else self.emulator
        artifacts, absent = _open_all(self.emulator, self.atlas, self.log)
        for note in not_installed(absent):
            self.log.info("%s", note)
        identity = identity_of_spec(self.learn, self.log) or "+".join(artifact.id for artifact in artifacts)
        if self.emulator_id and self.emulator_id != identity:
            raise LoggedError(
                self.log,
                "'emulator_id' says %s, but '%s' is %s: this input was made with another emulator.",
                self.emulator_id,
                self.atlas or self.emulator,
                identity,
            )
        self._members = [Member(artifact) for artifact in artifacts]
        try:
            differences = check(self._members, self.mix == "any")
        except Exception as error:
            raise LoggedError(self.log, "%s", error) from error
        for difference in differences:
            self.log.warning("The emulators differ: %s", difference)
        self._told: set[str] = set()
        self._take(self._members[0])
        provenance = self._provenance
        self._t_cmb = _temperature(provenance.get("config") or {}, 2.7255)
        names = [member.name for member in self._members]
        self.statistics = Statistics(seconds_per_run(provenance), emulators=names)
        self._full: FallbackModel | None = None
        self._supplement: FallbackModel | None = None
        self._prepared = False

    def _take(self, member: Member) -> None:
        """Makes an emulator the leader: its settings are the fallback's."""
        self._artifact = member.core
        self._provenance = json.loads(member.core.info_json()).get("provenance") or {}
        self._real: Any = None
        self._fallback = self._make_fallback(self._provenance)

    def _check_options(self) -> None:
        if self.mix not in (None, "any"):
            raise LoggedError(self.log, "'mix' is null or 'any', not %r.", self.mix)
        if self.tolerance is not None and not (
            isinstance(self.tolerance, (int, float)) and 0 < self.tolerance < np.inf
        ):
            raise LoggedError(self.log, "'tolerance' is null or a delta chi^2 > 0, not %r.", self.tolerance)
        if self.outside not in OUTSIDE:
            raise LoggedError(self.log, "'outside' is one of %s, not %r.", ", ".join(OUTSIDE), self.outside)
        if self.fallback_version not in ("exact", "any"):
            raise LoggedError(
                self.log, "'fallback_version' is 'exact' or 'any', not %r.", self.fallback_version
            )
        if isinstance(self.fallback, str):
            self.fallback = {self.fallback: {}}
        if self.fallback and (not isinstance(self.fallback, Mapping) or len(self.fallback) != 1):
            raise LoggedError(
                self.log, "'fallback' is the name of one theory, or {name: {options}}: %r", self.fallback
            )
        if self.outside == "fallback" and not self.fallback:
            raise LoggedError(
                self.log,
                "'outside: fallback' needs a fallback (such as 'fallback: camb'). Without one, choose "
                "'outside: reject' (zero likelihood) or 'outside: error' (stop).",
            )
        if self.learn and self.outside != "fallback":
            raise LoggedError(
                self.log, "'learn' learns from what a fallback computes: 'outside' is %r.", self.outside
            )
        if self.cache and self.outside != "fallback":
            raise LoggedError(
                self.log, "'cache' keeps what a fallback computes: 'outside' is %r.", self.outside
            )

    def _make_fallback(self, provenance: Mapping[str, Any]) -> Fallback | None:
        if self.outside != "fallback" or self.cache:
            differences = differing_settings(provenance.get("config") or {}, self.extra_args)
            if differences:
                raise LoggedError(
                    self.log,
                    "'extra_args' are not those that emulator %s was trained with: %s.",
                    self._artifact.name,
                    "; ".join(differences),
                )
            self._real = self._make_real() if self.cache else None
            return None
        ((name, options),) = self.fallback.items()
        strict = self.fallback_version == "exact"
        try:
            options = {"stop_at_error": self.stop_at_error, **(options or {})}
            fallback = Fallback(name, options, provenance, self.extra_args, strict, self.packages_path)
        except FallbackError as error:
            raise LoggedError(self.log, "%s", error) from error
        for difference in fallback.differences:
            self.log.warning("The fallback differs from what was emulated: %s", difference)
        return fallback

    def _make_real(self) -> Any:
        """The code as zelos runs it."""
        ((name, options),) = self.fallback.items()
        code = CODES.get(name.rpartition(".")[2], name)
        policy = None if self.fallback_version == "exact" else "any"
        try:
            real = RealCode(code, self._artifact, policy, options, self.cache)
        except Exception as error:
            raise LoggedError(self.log, "%s", error) from error
        for difference in real.differences:
            self.log.warning("The fallback differs from what was emulated: %s", difference)
        return real

    def get_version(self) -> str:
        code = " ".join(str(self._provenance[k]) for k in ("code", "code_version") if self._provenance.get(k))
        cores = [member.core for member in self._members]
        return ", ".join(f"{core.name}@{core.version}+{core.id[:12]}" for core in cores) + f" ({code})"

    def get_allow_agnostic(self) -> bool:
        return False

    def get_can_support_params(self) -> set[str]:
        names = self._known_names()
        return names | {new for new, name in self.renames.items() if name in names}

    def _known_names(self) -> set[str]:
        names: set[str] = set()
        for member in self._members:
            core = member.core
            for name, _ in (*core.fixed, *core.solvable):
                names |= {name, *_core.synonyms(name)}
            for parameter in core.parameters:
                names |= {parameter.name, *parameter.synonyms}
            names |= {name for name, _ in member.neutral.values()}
        return names

    def get_can_provide_params(self) -> set[str]:
        names: set[str] = set()
        for member in self._members:
            core = member.core
            names |= products.emulated_derived(core.outputs, [p.name for p in core.parameters])
        return names | (self._fallback.provides() if self._fallback else set())

    def check_no_repeated_input_extra(self) -> None:
        """`extra_args` are settings of the training or of the fallback, which looks for itself."""

    def must_provide(self, **requirements: Any) -> None:
        # The base class empties the dictionaries that it is given.
        super().must_provide(**deepcopy(requirements))
        self._prepared = False

    def initialize_with_provider(self, provider: Any) -> None:
        super().initialize_with_provider(provider)
        self._prepare()

    def _prepare(self) -> None:
        """Binds the queries and builds the private models: whatever can fail, fails here."""
        self._pools = products.redshift_pools(self._must_provide)
        self._z_indices: dict[tuple[str, bytes], np.ndarray] = {}
        self.collectors = {product: _Collector(pool) for product, pool in self._pools.items()}
        self._inputs = list(self.input_params)
        known = self._known_names()
        names = [p if p in known else self.renames.get(p, p) for p in self._inputs]
        selection = self._select(names)
        self._asked = [self._ask(route) for route in selection.routes]
        self._leader = next(asked for asked in self._asked if asked.route is selection.leader)
        if self.tolerance is not None and all(asked.error_model is None for asked in self._asked):
            raise LoggedError(
                self.log,
                "'tolerance' is of the delta chi^2 of spectra, and this run asks the emulator for none.",
            )
        wanted = list({**self._must_provide, **dict.fromkeys(self.output_params)})
        missing = [key for key in wanted if not any(key in asked.plan.answers for asked in self._asked)]
        self._emulated = {key for key in wanted if key not in missing}
        for asked in [self._leader, *self._asked]:
            for key, reason in asked.plan.refused.items():
                if key in missing:
                    raise LoggedError(
                        self.log, "Emulator %s can not serve this run: %s.", asked.route.member.name, reason
                    )
        self._check_missing(missing)
        self._build_models(missing)
        self._prepared = True

    def _select(self, names: Sequence[str]) -> Selection:
        """Who is asked in this run."""
        model = getattr(self.provider, "model", None)
        constant = model.parameterization.constant_params() if model else {}
        constants = {
            name: float(constant[p])
            for p, name in zip(self._inputs, names, strict=True)
            if isinstance(constant.get(p), (int, float))
        }
        try:
            learnt = [self._learnt.member] if self._learnt and self._learnt.member else []
            members, mix = [*self._members, *learnt], self.mix == "any"
            selection = select(members, names, constants, mix, OUTSIDE[self.outside])
        except Exception as error:
            raise LoggedError(self.log, "Emulator %s: %s", self._members[0].name, error) from error
        for note in selection.notes:
            if note not in self._told:
                self._told.add(note)
                self.log.info("%s", note)
        if selection.leader.member.core is not self._artifact:
            self._take(selection.leader.member)
        if self._learnt and not self._learnt.spec:
            self._learnt.begin_beside(self._artifact)
        for _, name, neutral in selection.leader.unknown if self._real else ():
            if constants.get(name) != neutral:
                raise LoggedError(
                    self.log,
                    "Emulator %s does not know '%s'; with 'cache' the fallback is told what it knows.",
                    self._artifact.name,
                    name,
                )
        return selection

    def _ask(self, route: Route) -> _Asked:
        core = route.member.core
        plan = products.Plan(
            core.outputs,
            self._must_provide,
            self.output_params,
            self.input_params,
            [parameter.name for parameter in core.parameters],
            self._pools,
        )
        try:
            query = core.query(list(route.names), plan.requests)
            error_model = self._error_model(route, plan)
        except LoggedError:
            raise
        except Exception as error:
            raise LoggedError(self.log, "Emulator %s: %s", core.name, error) from error
        plan.bind(query.blocks)
        return _Asked(route, plan, query, error_model)

    def _error_model(self, route: Route, plan: products.Plan) -> Any:
        """Of what the likelihoods are given: delta chi^2 is known for spectra alone."""
        if self.tolerance is None:
            return None
        core = route.member.core
        spectra = sorted({name for name, _ in plan.requests if name.startswith("Cl.")})
        if not spectra:
            return None
        none = np.empty(0)
        model = core.query(list(route.names), [(name, []) for name in spectra]).error_model(none, none, none)
        center = [[0.5 * (p.min + p.max) for p in core.parameters]]
        own = core.query([p.name for p in core.parameters], [(name, []) for name in spectra])
        if not np.isfinite(own.predicted_error(np.array(center))[0]).all():
            raise LoggedError(
                self.log,
                "'tolerance': emulator %s predicts no error of %s.",
                core.name,
                ", ".join(spectra),
            )
        if not model.n_left_out:
            self.log.info(
                "The errors that emulator %s predicts are not calibrated: their 95 %% quantile rests on the "
                "variances of its training alone.",
                core.name,
            )
        return model

    def _check_missing(self, missing: list[Any]) -> None:
        names = " + ".join(asked.route.member.name for asked in self._asked)
        what = ", ".join(map(_label, missing))
        if missing and self._real:
            raise LoggedError(
                self.log,
                "Emulator %s does not have %s; with 'cache' the fallback computes what the emulator has.",
                names,
                what,
            )
        if missing and not self._fallback:
            raise LoggedError(
                self.log,
                "Emulator %s does not have %s, and there is no fallback to compute it ('outside: %s').",
                names,
                what,
                self.outside,
            )
        behind = self._emulated - self._leader.plan.answers
        if behind and self._real:
            raise LoggedError(
                self.log,
                "Emulator %s, whose settings the fallback takes, does not have %s; with 'cache' the fallback "
                "computes what the emulator has.",
                self._leader.route.member.name,
                ", ".join(map(_label, behind)),
            )

    def _build_models(self, missing: list[Any]) -> None:
        for model in (self._full, self._supplement):
            if model:
                model.close()
        self._full = self._supplement = None
        if not self._fallback:
            return
        # Cobaya counts the output parameters among what is required.
        self._wanted = {
            key: value
            for key, value in {**self._must_provide, **dict.fromkeys(self.output_params)}.items()
            if key not in self.input_params
        }
        self._missing = {key: self._wanted[key] for key in missing}
        plan, route = self._leader.plan, self._leader.route
        required = [products.requirements(plan.on_training_grid(self._wanted))]
        if "Cl" in required[0]:
            required.append({"Pk_grid": products.training_grid(self._artifact.outputs)})
        try:
            told = [*self._leader.query.physics_names, *(name for _, name in self._unknown(route))]
            self._full = self._fallback.model(told, required)
            if missing:
                self.log.warning(
                    "Not emulated, so computed by %s at every point, which takes its time: %s.",
                    self._fallback.name,
                    ", ".join(map(_label, missing)),
                )
                self._supplement = self._fallback.model(told, [products.requirements(self._missing)])
        except FallbackError as error:
            raise LoggedError(self.log, "%s", error) from error

    # ---- a point

    def calculate(self, state: dict[Any, Any], want_derived: bool = True, **params: float) -> bool:
        if not self._prepared:
            self._prepare()
        if self._learnt and self._learnt.look() and (learnt := self._learnt.member):
            self._prepare()
            self.statistics.add_version(learnt.name, learnt.core.version)
        start = self.statistics.now()
        values = np.array([[params[name] for name in self._inputs]], float)
        answered: list[tuple[_Asked, np.ndarray]] = []
        waiting, verdict = set(self._emulated), None
        learnt = self._learnt.member if self._learnt else None
        for asked in self._asked:
            if answered and not waiting & asked.plan.answers:
                continue
            try:
                answer, outside = asked.evaluate(values, self.tolerance)
            except Exception as error:
                raise LoggedError(
                    # Cobaya would take most exceptions for a point of zero likelihood.
                    self.log,
                    "Emulator %s failed at %r: %s",
                    asked.route.member.name,
                    params,
                    error,
                ) from error
            if outside:
                speaks = asked is self._leader or asked.route.member is learnt
                verdict = outside[0][1] if verdict is None or speaks else verdict
                continue
            answered.append((asked, answer))
            waiting -= asked.plan.answers
            if not waiting:
                break
        if waiting or not answered:
            assert verdict is not None
            if not (self._fallback or self._real) or verdict.reason == "not_finite":
                return self._reject(verdict, params)
            if self._real:
                return self._run_real(verdict, state, want_derived, values, params, start)
            try:
                return self._fall_back(verdict, state, want_derived, values, start)
            except LoggedError:
                raise
            except Exception as error:
                raise LoggedError(self.log, "The fallback failed at %r: %r", params, error) from error
        derived: dict[str, float] = {}
        # The first that answered has the last word.
        for asked, answer in reversed(answered):
            asked.plan.fill(state, answer[0])
            known: Mapping[str, float] = params
            if asked.plan.needs_canonical:
                table = asked.route.table(values)
                canonical, _ = asked.query.canonical(table, len(asked.canonical))
                known = {**dict(zip(asked.canonical, canonical[0], strict=True)), **params}
            derived |= asked.plan.derived(answer[0], known)
        supplement = 0.0
        if self._supplement:
            begin = self.statistics.now()
            if not self._supplement.compute(self._physics(values)):
                return False
            provider = self._supplement.provider
            derived |= self._leader.plan.copy_from(provider, state, self._missing, resample=False)
            supplement = self.statistics.now() - begin
        self._store_derived(state, derived, want_derived)
        name = answered[0][0].route.member.name
        self.statistics.add_emulated(self.statistics.now() - start, supplement, name)
        return True

    @staticmethod
    def _unknown(route: Route) -> list[tuple[int, str]]:
        """Column and name of what only the code knows."""
        return [(column, name) for column, name, _ in route.unknown]

    def _physics(self, values: np.ndarray) -> dict[str, float]:
        """What the code is told of a point."""
        route, _, query, _ = self._leader
        told = dict(query.physics(route.table(values), everything=True)[0])
        return {**told, **{name: float(values[0, column]) for column, name in self._unknown(route)}}

    def _reject(self, verdict: Any, params: Mapping[str, float]) -> bool:
        if self.outside == "error":
            raise LoggedError(
                self.log,
                "Outside the region of emulator %s: %s. The point: %r",
                self._artifact.name,
                verdict,
                params,
            )
        self.log.debug("Rejected: %s", verdict)
        self.statistics.add_rejected(verdict)
        return False

    def _run_real(
        self,
        verdict: Any,
        state: dict[Any, Any],
        want_derived: bool,
        values: np.ndarray,
        params: Mapping[str, float],
        start: float,
    ) -> bool:
        route, plan, query, _ = self._leader
        if (unknown := route.unknown_at(values[0])) is not None:
            raise LoggedError(self.log, "The fallback can not be told of this point: %s.", unknown)
        self.log.debug("To the fallback: %s", verdict)
        succeeded = True
        try:
            answer, canonical = self._real.at(query, route.table(values)[0], verdict)
            known = {**dict(zip(self._leader.canonical, canonical, strict=True)), **params}
            derived = plan.derived(answer, known)
            if missing := [name for name, value in derived.items() if not np.isfinite(value)]:
                raise FallbackError(f"{self._real.code} does not give {', '.join(missing)}")
        except Exception as error:
            if self.stop_at_error:
                raise LoggedError(self.log, "%s", error) from error
            self.log.warning("Zero likelihood: %s", error)
            succeeded = False
        if succeeded:
            plan.fill(state, answer)
            self._store_derived(state, derived, want_derived)
        self.statistics.add_fallback(verdict, self.statistics.now() - start, succeeded)
        if self._learnt:
            self._learnt.answered()
        elif warning := self.statistics.warning():
            self.log.warning("%s", warning)
        return succeeded

    def _fall_back(
        self,
        verdict: Any,
        state: dict[Any, Any],
        want_derived: bool,
        values: np.ndarray,
        start: float,
    ) -> bool:
        self.log.debug("To the fallback: %s", verdict)
        assert self._full is not None
        succeeded = self._full.compute(self._physics(values))
        if succeeded:
            derived = self._leader.plan.copy_from(self._full.provider, state, self._wanted, resample=True)
            self._store_derived(state, derived, want_derived)
        self.statistics.add_fallback(verdict, self.statistics.now() - start, succeeded)
        if warning := self.statistics.warning():
            self.log.warning("%s", warning)
        return succeeded

    def _store_derived(self, state: dict[Any, Any], derived: dict[str, float], want_derived: bool) -> None:
        state["derived_extra"] = derived
        if want_derived:
            state["derived"] = {name: derived[name] for name in self.output_params}

    # ---- what was computed

    def _get_z_dependent(self, quantity: str, z: Any, pool: Any = None) -> np.ndarray:
        """As in the base class, which looks the redshifts up anew at every call: dearer than the query."""
        key = (quantity, np.asarray(z, float).tobytes())
        indices = self._z_indices.get(key)
        if indices is None:
            try:
                indices = self.collectors[quantity].z_pool.find_indices(z)
            except ValueError:
                return np.asarray(super()._get_z_dependent(quantity, z, pool))
            if len(self._z_indices) >= _KEPT_LOOKUPS:
                self._z_indices.clear()
            self._z_indices[key] = indices
        return np.asarray(self.current_state[quantity][indices])

    def get_param(self, p: str) -> float:
        for name in (p, self.translate_param(p)):
            for pool in ("params", "derived_extra"):
                value = (self.current_state.get(pool) or {}).get(name)
                if value is not None:
                    return float(value)
        raise LoggedError(self.log, "Parameter not known: '%s'", p)

    def get_Cl(self, ell_factor: bool = False, units: str = "FIRASmuK2") -> dict[str, np.ndarray]:
        return self._spectra("Cl", ell_factor, units)

    def get_lensed_scal_Cl(self, ell_factor: bool = False, units: str = "FIRASmuK2") -> dict[str, np.ndarray]:
        return self._spectra("lensed_scal_Cl", ell_factor, units)

    def get_unlensed_Cl(self, ell_factor: bool = False, units: str = "FIRASmuK2") -> dict[str, np.ndarray]:
        return self._spectra("unlensed_Cl", ell_factor, units)

    def _spectra(self, key: str, ell_factor: bool, units: str) -> dict[str, np.ndarray]:
        stored = self.current_state.get(key)
        if stored is None:
            raise LoggedError(self.log, "No %s were computed: they were not required.", key)
        t_cmb = _temperature(self.current_state["params"], self._t_cmb)
        return products.spectra(stored, ell_factor, self._cmb_unit_factor(units, t_cmb) / (t_cmb * 1e6))

    # ---- cost

    def set_measured_speed(self, speed: float) -> None:
        """Cobaya's measure counts the fallback, but the usual cost, the emulator's, should order blocks."""
        if self.statistics.emulated:
            speed = self.statistics.emulated / max(self.statistics.seconds_emulated, 1e-9)
        super().set_measured_speed(speed)

    def close(self, *args: Any) -> None:
        """Reports what the run asked for and what it cost."""
        if self.statistics.points:
            for line in self.statistics.report().splitlines():
                self.log.info("%s", line)
        if self._learnt:
            self._learnt.close()
        for model in (self._full, self._supplement):
            if model:
                model.close()
        self._full = self._supplement = None


def _open_all(reference: Any, name_of_atlas: str | None, log: Any) -> tuple[list[Any], list[str]]:
    """The emulators that `emulator` and `atlas` name, and the names of those that are not installed."""
    reference = f"{ATLAS_PREFIX}{name_of_atlas}" if name_of_atlas else reference
    try:
        found = members(reference)
    except Exception as error:
        raise LoggedError(log, "Can not open the emulator '%s': %s", reference, error) from error
    listed = found if found is not None else Listed([reference], [])
    return [_open(entry, log) for entry in listed.found], listed.absent


def _open(reference: Any, log: Any) -> Any:
    try:
        return open_emulator(str(reference))
    except Exception as error:
        raise LoggedError(log, "Can not open the emulator '%s': %s", reference, error) from error


def _temperature(values: Mapping[str, Any], otherwise: float) -> float:
    """That of the CMB, in K, whatever its name."""
    return next((float(values[name]) for name in _TEMPERATURE if name in values), otherwise)


def _label(key: Any) -> str:
    if not isinstance(key, tuple):
        return str(key)
    if key[0] == "Pk_grid":
        return f"{'non-linear' if key[1] else 'linear'} P(k, z) of {key[2]} x {key[3]}"
    return f"{key[0]} of {key[1]} x {key[2]}"
