# SPDX-License-Identifier: BSD-3-Clause
"""An emulator without error: the core's handle, answered by CAMB itself or by a scaling of one run."""

import json
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

cobaya = pytest.importorskip("cobaya")
camb = pytest.importorskip("camb")

from zelos import _core  # noqa: E402
from zelos.cobaya import theory  # noqa: E402
from zelos.fallback.camb.driver import DERIVED, Driver  # noqa: E402

LMAX = 600
Z_POWER = np.linspace(0, 2.5, 6)
Z_BACKGROUND = np.linspace(0, 3, 31)
K = np.geomspace(1e-4, 2, 240)
CONFIG = {"lmax": LMAX, "lens_potential_accuracy": 1, "mnu": 0.06, "nnu": 3.044, "num_massive_neutrinos": 1}
BOX = {
    "ombh2": (0.018, 0.027),
    "omch2": (0.09, 0.15),
    "H0": (50, 90),
    "tau": (0.02, 0.12),
    "logA": (2.7, 3.4),
    "ns": (0.9, 1.04),
}
FIDUCIAL = {"ombh2": 0.0224, "omch2": 0.12, "H0": 67.5, "tau": 0.055, "logA": 3.045, "ns": 0.966}
SYNONYMS = {
    "ombh2": {"omega_b": float},
    "omch2": {"omega_cdm": float},
    "H0": {"h": lambda v: 100 * v},
    "tau": {"tau_reio": float},
    "logA": {"As": lambda v: np.log(1e10 * v), "A_s": lambda v: np.log(1e10 * v)},
    "ns": {"n_s": float},
}
LABELS = [name for name in DERIVED if name != "H0"]
SOLVABLE = ("cosmomc_theta", "thetastar")
AXES = {
    **{f"Cl.{s}": {"ell": np.arange(2.0, LMAX + 1)} for s in ("tt", "te", "ee", "bb", "pp", "pt", "pe")},
    "Pk.linear": {"k": K, "z": Z_POWER},
    "Pk.nonlinear": {"k": K, "z": Z_POWER},
    "sigma8_z": {"z": Z_POWER},
    "fsigma8": {"z": Z_POWER},
    "Hubble": {"z": Z_BACKGROUND},
    "comoving_radial_distance": {"z": Z_BACKGROUND},
    "angular_diameter_distance": {"z": Z_BACKGROUND},
    "derived": {},
}


class Argument(Exception):
    """Stands for zelos.ArgumentError."""


def verdict(reason, parameter="", value=0.0, lower=0.0, upper=0.0):
    return SimpleNamespace(
        inside=False, reason=reason, parameter=parameter, value=value, lower=lower, upper=upper, excess=0.0
    )


class Emulator:
    """exact: each point is a run of CAMB at the axes asked for. Otherwise one fiducial run, scaled."""

    name, version = "fake_lcdm", "0.1"
    fixed = (("mnu", 0.06), ("nnu", 3.044), ("omk", 0.0), ("w", -1.0), ("wa", 0.0))
    solvable = tuple((name, "H0") for name in SOLVABLE)

    def __init__(self, exact, identity="a" * 64, without=(), provenance=None, box=BOX):
        self.exact, self.id, self.box = exact, identity, box
        self.parameters = [
            SimpleNamespace(name=n, min=lo, max=hi, synonyms=list(SYNONYMS[n])) for n, (lo, hi) in BOX.items()
        ]
        axes = {name: value for name, value in AXES.items() if name not in without}
        self.outputs = [
            SimpleNamespace(
                name=name,
                axes=[SimpleNamespace(name=a, values=v, labels=[]) for a, v in value.items()]
                or [SimpleNamespace(name="name", values=np.arange(len(LABELS)), labels=LABELS)],
            )
            for name, value in axes.items()
        ]
        self.provenance = {
            "code": "camb",
            "code_version": camb.__version__,
            "config": CONFIG,
            "cost": {"run_seconds": 500.0},
            "training_set": {"n": 100},
            **(provenance or {}),
        }

    def info_json(self):
        return json.dumps({"name": self.name, "provenance": self.provenance})

    def query(self, names, requests):
        return Query(self, names, requests)


class Query:
    _runs: ClassVar[dict] = {}

    def __init__(self, emulator, names, requests):
        # Of what is fixed, each name that these tests give has the value of the first.
        names = [next((n for n, _ in emulator.fixed if name in _core.synonyms(n)), name) for name in names]
        self.emulator, self.names = emulator, names
        known = {p.name for p in emulator.parameters} | set(SOLVABLE) | {n for n, _ in emulator.fixed}
        known |= {s for p in emulator.parameters for s in p.synonyms}
        if unknown := set(names) - known:
            raise Argument(f"unknown parameters {unknown}")
        for p in emulator.parameters:
            if not {p.name, *p.synonyms, *(SOLVABLE if p.name == "H0" else ())} & set(names):
                raise Argument(f"missing parameter {p.name}")
        self.axes, self.requests = {n: dict(a) for n, a in AXES.items()}, []
        for output, axes in requests:
            own = dict(zip(AXES[output], axes, strict=False))
            self.requests.append((output, own))
            for axis, values in own.items():
                self.axes[output][axis] = np.union1d(self.axes[output][axis], values) if axis != "k" else K
        self.blocks, offset = [], 0
        for _, own in self.requests:
            shape = [len(v) for v in own.values()] or [len(LABELS)]
            self.blocks.append((offset, shape))
            offset += int(np.prod(shape))
        self.size = offset

    def canonical(self, values, n):
        x = self.solve(dict(zip(self.names, values[0], strict=True)))
        return np.array([[x[p.name] for p in self.emulator.parameters]]), []

    @property
    def physics_names(self):
        given = [n for n in (*SOLVABLE, *(n for n, _ in self.emulator.fixed)) if n in self.names]
        solved = any(name in SOLVABLE for name in given)
        return [p.name for p in self.emulator.parameters if not (solved and p.name == "H0")] + given

    def physics(self, values, everything=False):
        assert everything
        point = dict(zip(self.names, values[0], strict=True))
        known = {**self.canonical_of(point), **point}
        return [{name: known[name] for name in self.physics_names}]

    def canonical_of(self, point):
        out = {}
        for name, value in point.items():
            for parameter in self.emulator.parameters:
                if name == parameter.name:
                    out[name] = value
                elif name in parameter.synonyms:
                    out[parameter.name] = SYNONYMS[parameter.name][name](value)
        return out

    def solve(self, point):
        out = self.canonical_of(point)
        for name in SOLVABLE:
            if name in point:
                known = {k: v for k, v in out.items() if k not in ("logA", "ns")}
                out["H0"] = camb.set_params(**{name: point[name]}, mnu=0.06, nnu=3.044, **known).H0
        return out

    def evaluate(self, values):
        assert values.shape == (1, len(self.names))
        point = dict(zip(self.names, values[0], strict=True))
        nan = np.full((1, self.size), np.nan)
        for name, value in self.emulator.fixed:
            if name in point and abs(point[name] - value) > 1e-12:
                return nan, [(0, verdict("fixed_parameter", name, point[name], value, value))]
        x = self.solve(point)
        for name, (low, high) in self.emulator.box.items():
            if not low <= x[name] <= high:
                return nan, [(0, verdict("box", name, x[name], low, high))]
        results = self.run(x if self.emulator.exact else FIDUCIAL)
        amplitude = np.exp(0.0 if self.emulator.exact else x["logA"] - FIDUCIAL["logA"])
        blocks = []
        for output, own in self.requests:
            y = np.array(results[output])
            if output == "derived":
                y[list(DERIVED).index("sigma8")] *= amplitude**0.5
                y = np.delete(y, list(DERIVED).index("H0"))
            for i, (axis, wanted) in enumerate(own.items()):
                y = np.take(y, np.searchsorted(self.axes[output][axis], wanted), axis=i)
            blocks.append(np.ravel(y) * (amplitude if output.startswith("Cl.") else 1))
        return np.concatenate(blocks)[None], []

    def run(self, x):
        key = json.dumps([x, {n: {k: list(v) for k, v in a.items()} for n, a in self.axes.items()}])
        if key not in self._runs:
            self._runs[key] = Driver(CONFIG, self.axes).run(x)
        return self._runs[key]


@pytest.fixture
def use(monkeypatch):
    """use(emulator): what any reference opens from now on; use({reference: emulator}) for several."""

    def use(emulator):
        pool = emulator if isinstance(emulator, dict) else {}
        monkeypatch.setattr(theory, "open_emulator", lambda reference: pool.get(reference, emulator))
        return emulator

    return use


@pytest.fixture(scope="session")
def exact():
    return Emulator(exact=True)


@pytest.fixture(scope="session")
def scaled():
    return Emulator(exact=False)
