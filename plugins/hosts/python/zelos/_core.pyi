# SPDX-License-Identifier: BSD-3-Clause
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

class Verdict:
    inside: bool
    reason: str
    hull: str
    parameter: str
    value: float
    lower: float
    upper: float
    excess: float
    def __bool__(self) -> bool: ...

class Parameter:
    name: str
    unit: str
    latex: str
    min: float
    max: float
    synonyms: list[str]

class Axis:
    name: str
    unit: str
    values: Array
    labels: list[str]

class Output:
    name: str
    unit: str
    family: str
    axes: list[Axis]
    units: list[str]

Outside = list[tuple[int, Verdict]]

class Query:
    size: int
    n_parameters: int
    blocks: list[tuple[int, list[int]]]
    physics_names: list[str]
    solves: bool
    def evaluate(self, values: Array) -> tuple[Array, Outside]: ...
    def jacobian(self, values: Array) -> tuple[Array, Array, Outside]: ...
    def jvp(self, values: Array, direction: Array) -> tuple[Array, Array, Outside]: ...
    def vjp(self, values: Array, cotangent: Array) -> tuple[Array, Array, Outside]: ...
    def verdict(self, values: Array) -> list[Verdict]: ...
    def predicted_error(self, values: Array) -> tuple[Array, list[Verdict]]: ...
    def error_model(self, covariance: Array, matrix: Array, reference: Array) -> ErrorModel: ...
    def physics(self, values: Array, everything: bool = False) -> list[dict[str, float]]: ...
    def canonical(self, values: Array, n_canonical: int) -> tuple[Array, list[Verdict]]: ...

class ErrorModel:
    calibration: float
    n_left_out: int
    def evaluate(self, values: Array) -> tuple[Array, list[Verdict]]: ...
    def verdict(self, values: Array, tolerance: float) -> list[Verdict]: ...

class Emulator:
    name: str
    version: str
    id: str
    parameters: list[Parameter]
    outputs: list[Output]
    fixed: list[tuple[str, float]]
    solvable: list[tuple[str, str]]
    def info_json(self) -> str: ...
    def query(self, names: Sequence[str], requests: Sequence[tuple[str, Sequence[Array]]]) -> Query: ...

class Fallback:
    code: str
    version: str
    differences: list[str]
    def __init__(
        self,
        emulator: Emulator,
        name: str,
        settings: str = "{}",
        defaults: Mapping[str, str] = ...,
        any_version: bool = False,
        cache: str = "",
    ) -> None: ...
    def evaluate(self, query: Query, values: Array, why: Verdict) -> tuple[Array, Array]: ...
    def statistics(self) -> dict[str, Any]: ...

class Spec:
    text: str
    file_name: str
    overrides: list[str]
    def json(self) -> str: ...
    def stage_key(self, stage: str) -> str: ...

def synonyms(name: str) -> list[str]: ...
def convert(value: float, name: str, other: str) -> float: ...
def visit_cache(folder: str, visit: Callable[[dict[str, Any]], None]) -> None: ...
def open(path: str, verify_probes: bool = True) -> Emulator: ...
def open_bytes(data: bytes, name: str, verify_probes: bool = True) -> Emulator: ...
def migrate(source: str, target: str) -> str: ...
def parse_spec(text: str, file_name: str, overrides: Sequence[str] = ...) -> Spec: ...
def read_spec(path: str) -> Spec: ...
def families() -> list[str]: ...
def check_training(spec: Spec, outputs: Sequence[dict[str, Any]]) -> None: ...
def train(
    spec: Spec,
    parameters: Array,
    outputs: Sequence[dict[str, Any]],
    artifact: str,
    checkpoint_folder: str = "",
    provenance: str = "{}",
    n_threads: int = 1,
    progress: Callable[[str, float, str], bool] | None = None,
) -> None: ...
def attach_accuracy(artifact: str, accuracy: str) -> None: ...
def version() -> str: ...
def commit() -> str: ...

# Spectral emulators and likelihoods (zelos/spectrum.hpp); its callers check shapes.
spectrum: Any
