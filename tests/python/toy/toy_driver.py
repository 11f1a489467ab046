# SPDX-License-Identifier: BSD-3-Clause
"""A code whose answers are formulas: the tests know the truth at every point.

config:  fail_above (runs with A above it raise), die_once (a file: the first run creates it and kills its
         process), wait (seconds that every run takes), print (a line that every run prints), tilt (a
         setting that changes the answer), fluid (ppf or not) and species (1 if not set): how the extensions B
         and M change the answer, without effect at B = 0 and at M = 0.
The environment's TOY_WAIT: seconds that every run takes. TOY_FAULT: die, hang, nan, garble (writes over every
descriptor that it finds) or raise in every run; with TOY_FAULT_ONCE (a file) only until that exists.
TOY_RUNS: a file to which every run adds a line with its process. TOY_VERSION, TOY_TILT: another version,
another setting.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from zelos.errors import ArgumentError
from zelos.fallback.driver import AxisRequest, Kind


class Driver:
    code: ClassVar[str] = "toy"
    kinds: ClassVar[Mapping[str, Kind]] = {
        **{f"Cl.{name}": Kind("muK^2", (("ell", ""),)) for name in ("tt", "te", "ee")},
        "Pk.linear": Kind("Mpc^3", (("k", "1/Mpc"), ("z", ""))),
    }
    derived: ClassVar[Mapping[str, str]] = {"amplitude": "", "age": "Gyr"}
    synonyms: ClassVar[Mapping[str, str]] = {"linear_matter_power": "Pk.linear", "t0": "age"}
    neutral: ClassVar[Mapping[str, float]] = {"B": 0.0}
    immaterial: ClassVar[Mapping[str, Mapping[str, float]]] = {"fluid": {"B": 0.0}, "species": {"M": 0.0}}

    def __init__(self, config: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]) -> None:
        self.config = dict(config)
        if "TOY_TILT" in os.environ:
            self.config["tilt"] = float(os.environ["TOY_TILT"])
        self.outputs = {
            name: {axis: np.asarray(values, float) for axis, values in axes.items()}
            for name, axes in outputs.items()
        }

    version = os.environ.get("TOY_VERSION", "1.2.0")

    @staticmethod
    def default_axis(output: str, axis: str, request: AxisRequest | None) -> np.ndarray:
        if request is None:
            raise ArgumentError(f"outputs.{output}.{axis}: expected a range")
        if axis == "ell":
            return np.arange(request.min, request.max + 1)
        return np.linspace(request.min, request.max, request.n or 6)

    def library_hash(self) -> str:
        return "0" * 64

    def settings(self, params: Mapping[str, float]) -> str:
        if not {"A", "n"} <= set(params) <= {"A", "n", "B", "M"}:
            raise ValueError(f"parameters {sorted(params)}, expected A, n and perhaps B, M")
        extension = self.extension(params)
        lines = [f"tilt = {self.config.get('tilt', 0)}"]
        lines += [f"extension = {extension}"] if extension != (1, 0) else []
        return "\n".join(lines + [f"{k} = {v}" for k, v in sorted(params.items())])

    def extension(self, params: Mapping[str, float]) -> tuple[float, float]:
        """What B and M do to amplitude and tilt."""
        b, m = (float(params.get(name, self.config.get(name, 0))) for name in ("B", "M"))
        return extension(b, m, self.config.get("fluid", ""), self.config.get("species", 1))

    def run(self, params: Mapping[str, float]) -> dict[str, np.ndarray]:
        time.sleep(self.config.get("wait", float(os.environ.get("TOY_WAIT", "0"))))
        if "TOY_RUNS" in os.environ:
            with Path(os.environ["TOY_RUNS"]).open("a") as file:
                file.write(f"{os.getpid()} {dict(params)}\n")
        if "print" in self.config:
            print(self.config["print"], flush=True)
        if "die_once" in self.config and not Path(self.config["die_once"]).exists():
            Path(self.config["die_once"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        factor, shift = self.extension(params)
        amplitude, tilt = params["A"] * factor, params["n"] + self.config.get("tilt", 0) + shift
        if params["A"] > self.config.get("fail_above", np.inf):
            raise RuntimeError(f"no convergence for A = {params['A']:.3f}")
        result = {}
        spoilt = misbehave()
        for name, axes in self.outputs.items():
            if name == "Pk.linear":
                k, z = axes["k"][:, None], axes["z"]
                result[name] = power(amplitude, tilt, k, z)
            elif name == "derived":
                result[name] = np.array([amplitude**2, 13 + tilt])
            else:
                result[name] = spectrum(name[3:], amplitude, tilt, axes["ell"])
            result[name] = result[name] * spoilt
        return result


def misbehave() -> float:
    """What the environment asks for. Returns the factor of all numbers."""
    fault, once = os.environ.get("TOY_FAULT", ""), os.environ.get("TOY_FAULT_ONCE", "")
    if not fault or (once and Path(once).exists()):
        return 1.0
    if once:
        Path(once).touch()
    if fault == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang":
        time.sleep(600)
    if fault == "raise":
        raise RuntimeError("no convergence")
    if fault == "garble":
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                os.write(int(entry.name), b"Note: redshift beyond the table\n")
    return np.nan if fault == "nan" else 1.0


def extension(b: float, m: float, fluid: str = "", species: int = 1) -> tuple[float, float]:
    return 1 + 0.1 * b * (2 if fluid == "ppf" else 1), 0.1 * m / species


def power(amplitude: Any, tilt: Any, k: Any, z: Any) -> Any:
    return 1e4 * amplitude * k**tilt / (1 + (k / 0.05) ** 2) / (1 + z) ** 2


def spectrum(name: str, amplitude: float, tilt: float, ell: Any) -> Any:
    tt = 1e3 * amplitude * ell ** (tilt - 3.0)
    return {"tt": tt, "te": 0.2 * tt * np.cos(ell / 40), "ee": 0.1 * tt * (1.5 + np.sin(ell / 30))}[name]
