# SPDX-License-Identifier: BSD-3-Clause
"""Files of an emulator: its own, Starfish's, and hyperparameters as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..atomic_file import replacing, write_file
from ..errors import ArgumentError, FileError, FormatError
from .chunk import WholeRange
from .grid import text
from .optional import need
from .training import Training

if TYPE_CHECKING:
    from .emulator import Emulator

_ZELOS_MAGIC = b"ZELOS\r\n\x1a"
_DOCUMENT_VERSION = 3
_MATRICES = ("grid_points", "weights", "eigenspectra")
_VECTORS = ("wl", "w_hat", "flux_mean", "flux_std", "factors", "residual_variance")
#: In Starfish's files; `wavelength` is our `wl`.
_STARFISH = ("weights", "eigenspectra", "flux_mean", "flux_std", "w_hat", "factors")


def save(emulator: Emulator, filename: str | os.PathLike[str]) -> None:
    document = {
        "version": _DOCUMENT_VERSION,
        "name": emulator.name,
        "param_names": emulator.param_names,
        "kernel": emulator.kernel,
        "mean_degree": emulator.mean_degree,
        "scales": dict(emulator.scales),
        "independent": emulator.independent,
        "neighbours": emulator.neighbours,
        "trained": emulator.trained,
        "started": emulator.started,
        "hyperparameters": emulator.hyperparams,
        "residual_length": emulator.residual_length,
        "log_flux": emulator.log_flux,
        "training": None if emulator.training is None else asdict(emulator.training),
        "provenance": emulator.provenance,
    }
    arrays = {name: np.atleast_2d(getattr(emulator, name)) for name in (*_MATRICES, *_VECTORS)}
    if emulator.gram.size:
        arrays["gram"] = emulator.gram
    if emulator.whole is not None:
        document["whole"] = {"first": emulator.whole.first, "left_out": emulator.whole.left_out}
        arrays["whole_wl"] = np.atleast_2d(emulator.whole.wl)
    _core.spectrum.write_emulator(_path(filename), json.dumps(document, allow_nan=False), arrays)


def load(cls: type[Emulator], filename: str | os.PathLike[str]) -> Emulator:
    path = _path(filename)
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(_ZELOS_MAGIC))
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    return _load_own(cls, path) if head == _ZELOS_MAGIC else _load_starfish(cls, path)


def _load_own(cls: type[Emulator], path: str) -> Emulator:
    text_of, arrays = _core.spectrum.read_emulator(path)
    document = json.loads(text_of)
    try:
        version = int(document["version"])
        if not 1 <= version <= _DOCUMENT_VERSION:
            raise FormatError(
                f"{path}: expected version {_DOCUMENT_VERSION} of a spectral emulator, found "
                f"{version}; a newer zelos reads it"
            )
        fields = {name: arrays[name] for name in _MATRICES} | {n: arrays[n].ravel() for n in _VECTORS}
        emulator = cls(
            param_names=document["param_names"],
            wavelength=fields.pop("wl"),
            name=document["name"],
            residual_length=document["residual_length"],
            log_flux=document["log_flux"],
            **fields,
        )
        # As it was made, not as it may have been truncated since.
        of_rows, emulator.gram = emulator.gram, arrays.get("gram", np.zeros((0, 0)))
        if version < 3 and not (of_rows.shape == emulator.gram.shape and np.allclose(of_rows, emulator.gram)):
            raise FormatError(
                f"{path}: a truncated emulator of version {version}, which does not hold what its spectra "
                f"are relative to: truncate the whole emulator again"
            )
        if "whole" in document:
            whole = document["whole"]
            emulator.whole = WholeRange(
                arrays["whole_wl"].ravel(), int(whole["first"]), float(whole["left_out"])
            )
            if not np.array_equal(emulator.whole_wl[emulator.kept], emulator.wl):
                raise FormatError(f"{path}: whole_wl: expected wl from element {emulator.kept.start} on")
        scales = document.get("scales", {})  # version 1 had none
        emulator.set_kind(document["independent"], document["kernel"], document["mean_degree"], scales)
        emulator.neighbours = int(document.get("neighbours", 0))
        values = document["hyperparameters"]
        emulator.set_param_dict({key: float(values[key]) for key in emulator.hyperparams})
        emulator.trained = bool(document["trained"])
        emulator.started = bool(document.get("started", emulator.trained))
        emulator.provenance = dict(document["provenance"])
        if document["training"] is not None:
            emulator.training = Training(**document["training"])
            emulator.training.history = [(int(n), float(v)) for n, v in emulator.training.history]
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path}: a spectral emulator without or with a wrong {error}") from error
    return emulator


def _load_starfish(cls: type[Emulator], path: str) -> Emulator:
    h5py = need("h5py", "reading Starfish's files")
    try:
        with h5py.File(path, "r") as base:
            hyper = base["hyperparameters"]
            arrays: dict[str, Any] = {
                name: np.array(base[name][()], dtype=np.float64)
                for name in ("grid_points", "wavelength", *_STARFISH)
            }
            emulator = cls(
                param_names=[text(n) for n in base["grid_points"].attrs["names"]],
                lambda_xi=float(hyper["lambda_xi"][()]),
                variances=hyper["variances"][()],
                lengthscales=hyper["lengthscales"][()],
                name=text(base.attrs["name"]) if "name" in base.attrs else str(Path(path).with_suffix("")),
                **arrays,
            )
            emulator.trained = bool(base.attrs["trained"])
    except OSError as error:
        raise FileError(f"{path}: {error}") from error
    except KeyError as error:
        raise FormatError(f"{path}: not an emulator in Starfish's layout: {error}") from error
    emulator.provenance = {"source": Path(path).name, "made_by": "Starfish"}
    return emulator


def save_starfish(emulator: Emulator, filename: str | os.PathLike[str]) -> None:
    if emulator.log_flux:
        raise ArgumentError("Starfish's layout has no logarithms of fluxes: from_grid(log_flux=False)")
    plain = emulator.kernel == "squared_exponential" and emulator.mean_degree < 0 and not emulator.scales
    if emulator.independent or not plain:
        raise ArgumentError(
            "Starfish's layout holds joint processes with a squared exponential kernel, no mean and linear "
            "scales: train(method='joint', kernel='squared_exponential', mean_degree=-1, scales={})"
        )
    if emulator.truncated:
        raise ArgumentError(
            "Starfish's layout has no whole range of a truncated emulator, and Starfish's likelihood of the "
            "hyperparameters would be another: save_starfish before determine_chunk_log"
        )
    h5py = need("h5py", "writing Starfish's files")
    with replacing(Path(_path(filename))) as temporary, h5py.File(temporary, "w") as base:
        points = base.create_dataset("grid_points", data=emulator.grid_points, compression=9)
        points.attrs["names"] = emulator.param_names
        waves = base.create_dataset("wavelength", data=emulator.wl, compression=9)
        waves.attrs["units"] = "Angstrom"
        for name in _STARFISH:
            base.create_dataset(name, data=getattr(emulator, name), compression=9)
        base["eigenspectra"].attrs["units"] = "erg/cm^2/s/Angstrom"
        base.attrs["trained"] = emulator.trained
        if emulator.name is not None:
            base.attrs["name"] = emulator.name
        hyper = base.create_group("hyperparameters")
        hyper.create_dataset("lambda_xi", data=emulator.lambda_xi)
        hyper.create_dataset("variances", data=emulator.variances, compression=9)
        hyper.create_dataset("lengthscales", data=emulator.lengthscales, compression=9)


def save_hyperparameters(emulator: Emulator, filename: str | os.PathLike[str]) -> None:
    content = {
        "kernel": emulator.kernel,
        "mean_degree": emulator.mean_degree,
        "scales": dict(emulator.scales),
        "independent": emulator.independent,
        "trained": emulator.trained,
        "hyperparameters": emulator.hyperparams,
    }
    write_file(Path(_path(filename)), json.dumps(content, indent=1) + "\n")


def load_hyperparameters(emulator: Emulator, filename: str | os.PathLike[str]) -> None:
    path = _path(filename)
    try:
        content = json.loads(Path(path).read_text("utf-8"))
        values = {str(k): float(v) for k, v in content["hyperparameters"].items()}
        kind: tuple[bool, str, int, dict[str, str]] = (
            bool(content["independent"]),
            str(content["kernel"]),
            int(content["mean_degree"]),
            dict(content.get("scales", {})),
        )
        trained = bool(content["trained"])
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: not hyperparameters of an emulator: {error}") from error
    before = emulator.state
    emulator.set_kind(*kind)
    if set(values) != set(emulator.hyperparams):
        expected = len(emulator.hyperparams)
        emulator.state = before
        raise ArgumentError(
            f"{path}: hyperparameters of another emulator: expected {expected} for "
            f"{emulator.ncomps} components of {len(emulator.param_names)} parameters, found {len(values)}"
        )
    emulator.set_param_dict(values)
    emulator.trained, emulator.started = trained, True


def _path(filename: str | os.PathLike[str]) -> str:
    return os.path.expandvars(os.fspath(filename))
