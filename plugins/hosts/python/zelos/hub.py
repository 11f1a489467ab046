# SPDX-License-Identifier: BSD-3-Clause
"""Finding and opening emulators: what ships with the package, shared folders, paths, archives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .archive import read_artifact
from .emulator import Emulator
from .errors import FileError, did_you_mean

PREFIX = "hub:"


def get_emulator(
    name_or_path: str | os.PathLike[str],
    fallback: str | os.PathLike[str] | None = None,
    *,
    fallback_version: str | None = None,
    fallback_options: Mapping[str, Any] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Emulator:
    """Opens an emulator.

    name_or_path:      ``hub:NAME`` (a folder of ``$ZELOS_PATH``, else what ships with zelos), the path of
                       ``NAME.h5``, or of the archive ``NAME.tar.gz``.
    fallback:          ``"camb"`` or ``"classy"``: the real code answers for points outside the region, in a
                       process of its own. Or the name or path of a fallback plugin.
    fallback_version:  None: refuse a code whose version or settings are not those the emulator was trained
                       on; ``"any"``: take it all the same.
    fallback_options:  ``{"workers": 4, "threads": 2, "timeout": 120, "retries": 1}``: processes, threads of
                       each, seconds a run may take, tries after a worker died, hung or gave NaN.
    cache:             a folder in which the fallback's answers are kept and looked for; any number of
                       processes may share it.

    Raises FileError (not found, unreadable), FormatError (damaged or not an artifact), MissingError (a
    regression family that is not installed).
    """
    from . import _core

    path = resolve(name_or_path)
    if path.suffix == ".h5":
        core = _core.open(str(path))
    else:
        data, member = read_artifact(path)
        core = _core.open_bytes(data, f"{path}:{member}")
    return Emulator(core, fallback, fallback_version, fallback_options, cache)


def resolve(name_or_path: str | os.PathLike[str]) -> Path:
    """The file behind ``hub:NAME`` or a path. Raises FileError with the nearest names."""
    text = os.fspath(name_or_path)
    if not text.startswith(PREFIX):
        path = Path(text)
        if path.is_file():
            return path
        shipped = f"; did you mean '{PREFIX}{text}'?" if text in list_emulators() else ""
        raise FileError(f"{text}: there is no such file{shipped}")
    name = text[len(PREFIX) :]
    known = list_emulators()
    if name in known:
        return known[name]
    hint = did_you_mean(name, known, PREFIX)
    places = ", ".join(str(folder) for folder in folders())
    raise FileError(f"'{text}': no emulator '{name}' in {places}{hint}")


def folders() -> list[Path]:
    """Where ``hub:`` looks, first to last."""
    shared = [Path(entry) for entry in os.environ.get("ZELOS_PATH", "").split(os.pathsep) if entry]
    return [*shared, Path(__file__).parent / "emulators"]


def list_emulators() -> dict[str, Path]:
    """Name -> file of every emulator that ``hub:NAME`` finds."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in _artifacts(folder):
            found.setdefault(path.name.removesuffix(".h5").removesuffix(".tar.gz"), path)
    return found


def _artifacts(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(folder.glob("*.h5"))
        yield from sorted(folder.glob("*.tar.gz"))
