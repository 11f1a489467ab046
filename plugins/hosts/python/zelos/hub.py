# SPDX-License-Identifier: BSD-3-Clause
"""Finding and opening emulators: what ships with the package, shared folders, paths, archives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .archive import read_artifact
from .emulator import Emulator
from .errors import ArgumentError, FileError, did_you_mean

if TYPE_CHECKING:
    from . import _core

PREFIX = "hub:"
ATLAS_PREFIX = "atlas:"
ATLAS_SUFFIX = ".atlas"

Reference: TypeAlias = str | os.PathLike[str]


def get_emulator(
    name_or_path: Reference | Sequence[Reference],
    fallback: str | os.PathLike[str] | None = None,
    *,
    fallback_version: str | None = None,
    fallback_options: Mapping[str, Any] | None = None,
    cache: str | os.PathLike[str] | None = None,
    mix: str | None = None,
) -> Emulator:
    """Opens an emulator, or several that answer as one (an atlas).

    name_or_path:      ``hub:NAME`` (a folder of ``$ZELOS_PATH``, else what ships with zelos), the path of
                       ``NAME.h5``, or of the archive ``NAME.tar.gz``. A list of these, or ``atlas:hub:NAME``
                       or ``atlas:PATH`` (a file with one of these in each line): a `zelos.atlas.Atlas`; the
                       first whose region holds a point answers it.
    fallback:          ``"camb"`` or ``"classy"``: the real code answers for points outside the region, in a
                       process of its own. Or the name or path of a fallback plugin.
    fallback_version:  None: refuse a code whose version or settings are not those the emulator was trained
                       on; ``"any"``: take it all the same.
    fallback_options:  ``{"workers": 4, "threads": 2, "timeout": 120, "retries": 1}``: processes, threads of
                       each, seconds a run may take, tries after a worker died, hung or gave NaN.
    cache:             a folder in which the fallback's answers are kept and looked for; any number of
                       processes may share it.
    mix:               None: refuse a list of emulators of different codes, versions or settings; ``"any"``:
                       take it all the same.

    Raises FileError (not found, unreadable), FormatError (damaged or not an artifact), MissingError (a
    regression family that is not installed), ArgumentError (emulators that do not belong together).
    """
    listed = members(name_or_path)
    if listed is None:
        assert isinstance(name_or_path, (str, os.PathLike))
        return Emulator(open_core(name_or_path), fallback, fallback_version, fallback_options, cache)
    from .atlas import Atlas

    cores = [open_core(reference) for reference in listed.found]
    return Atlas(cores, fallback, fallback_version, fallback_options, cache, mix, listed.absent)


def open_core(name_or_path: Reference) -> _core.Emulator:
    """The core's handle of one emulator."""
    from . import _core

    path = resolve(name_or_path)
    if path.suffix == ".h5":
        return _core.open(str(path))
    data, member = read_artifact(path)
    return _core.open_bytes(data, f"{path}:{member}")


class Listed(NamedTuple):
    """The emulators of an atlas. absent: those that its file names by ``hub:`` and that are not installed."""

    found: list[Reference]
    absent: list[str]


def members(reference: Reference | Sequence[Reference]) -> Listed | None:
    """The emulators behind a list or ``atlas:...``; None if it is the name or path of one. Raises
    FileError, ArgumentError (an empty list)."""
    if not isinstance(reference, (str, os.PathLike)):
        if not reference:
            raise ArgumentError("a list of emulators: expected at least one, found none")
        return Listed(list(reference), [])
    text = os.fspath(reference)
    if not text.startswith(ATLAS_PREFIX):
        return None
    path = _atlas_file(text[len(ATLAS_PREFIX) :])
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: can't be read: {error}") from None
    named = [line for line in lines if line]
    known = list_emulators()
    found: list[Reference] = []
    absent: list[str] = []
    for line in named:
        if not line.startswith(PREFIX):
            found.append(path.parent / line)
        elif line[len(PREFIX) :] in known:
            found.append(line)
        else:
            absent.append(line)
    if not found:
        raise FileError(f"{path}: none of its emulators is installed ({', '.join(named) or 'it names none'})")
    return Listed(found, absent)


def _atlas_file(text: str) -> Path:
    if not text.startswith(PREFIX):
        if Path(text).is_file():
            return Path(text)
        raise FileError(f"{text}: there is no such file")
    name = text[len(PREFIX) :]
    known: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(folder.glob(f"*{ATLAS_SUFFIX}")) if folder.is_dir() else ():
            known.setdefault(path.name.removesuffix(ATLAS_SUFFIX), path)
    if name in known:
        return known[name]
    places = ", ".join(str(folder) for folder in folders())
    hint = did_you_mean(name, known, ATLAS_PREFIX + PREFIX)
    raise FileError(f"'{ATLAS_PREFIX}{text}': no atlas '{name}' in {places}{hint}")


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
    hint = did_you_mean(name, known, PREFIX) or f"; there are: {', '.join(known) or 'none'}"
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
