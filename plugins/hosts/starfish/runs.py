# SPDX-License-Identifier: BSD-3-Clause
"""The runs that zelos_build made of a spectrum code, as a library."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np

from ..errors import ArgumentError, FileError, FormatError
from .grid import Grid


def read_runs(folder: str | os.PathLike[str], output: str = "flux") -> Grid:
    """The library of all runs, training and held out, in the order of their points.

    folder:  ``NAME.build`` of zelos_build, or one of its ``runs/KEY`` if there are several.
    output:  name of an output over wavelengths.

    Raises FileError (there are no runs), FormatError (damaged ones), ArgumentError (no such output).
    """
    path = _store(Path(folder))
    try:
        description = json.loads((path / "store.json").read_text())
        outputs, names = dict(description["outputs"]), list(description["parameters"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path / 'store.json'}: {error}") from None
    if output not in outputs:
        raise ArgumentError(f"{path}: there is no output '{output}', its runs have {', '.join(outputs)}")
    axes = outputs[output]
    if not isinstance(axes, dict) or len(axes) != 1:
        raise ArgumentError(f"{path}: expected an output over one axis, '{output}' has {list(axes)}")
    wl = np.array(next(iter(axes.values())), float)
    points, fluxes = [], []
    for run in sorted(path.glob("*.npz")):
        try:
            with np.load(run, allow_pickle=False) as arrays:
                points.append(arrays["x"])
                fluxes.append(arrays[output])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FormatError(f"{run}: damaged run ({error}): delete it and build again") from None
    if not points:
        raise FileError(f"{path}: there are no runs")
    order = np.lexsort(np.transpose(points)[::-1])
    return Grid(wl, np.array(points)[order], names, np.array(fluxes)[order])


def _store(folder: Path) -> Path:
    stores = sorted(folder.glob("runs/*/store.json")) or sorted(folder.glob("store.json"))
    if len(stores) == 1:
        return stores[0].parent
    if stores:
        raise ArgumentError(f"{folder}: runs of {len(stores)} specs: name one of {folder / 'runs'}")
    raise FileError(f"{folder}: expected runs of zelos_build, found no runs/*/store.json and no store.json")
