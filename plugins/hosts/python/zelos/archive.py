# SPDX-License-Identifier: BSD-3-Clause
"""Reading ``NAME.tar.gz``: nothing is ever unpacked to disk."""

from __future__ import annotations

import os
import re
import tarfile
import zlib
from pathlib import Path

from .errors import FileError, FormatError

MAX_MEMBERS = 64
MAX_BYTES = 1 << 30
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


def read_artifact(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> tuple[bytes, str]:
    """The content and the name of the one ``.h5`` file of an archive.

    The archive is read as a stream. Anything but a few regular files with plain, distinct names and a
    bounded total size is refused with FormatError.
    """
    members = read_members(path, max_bytes, wanted=".h5")
    if len(members) != 1:
        raise FormatError(f"{path}: expected one .h5 file in the archive, found {len(members)}")
    name, data = members.popitem()
    return data, name


def read_members(
    path: str | os.PathLike[str], max_bytes: int = MAX_BYTES, wanted: str = ""
) -> dict[str, bytes]:
    """Name -> content of the members whose name ends in `wanted`; every member is checked."""
    content: dict[str, bytes] = {}
    names: set[str] = set()
    total = 0
    try:
        with Path(path).open("rb") as stream, tarfile.open(fileobj=stream, mode="r|gz") as archive:
            for member in archive:
                _check(path, member, names)
                total += member.size
                if total > max_bytes:
                    raise FormatError(f"{path}: the archive holds more than {max_bytes} bytes")
                if member.name.endswith(wanted):
                    handle = archive.extractfile(member)
                    content[member.name] = handle.read() if handle is not None else b""
    except OSError as error:
        if isinstance(error, tarfile.TarError) or error.errno is None:
            raise FormatError(f"{path}: not a readable .tar.gz archive ({error})") from None
        raise FileError(f"{path}: {error.strerror}") from None
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: not a readable .tar.gz archive ({error})") from None
    return content


def _check(path: str | os.PathLike[str], member: tarfile.TarInfo, names: set[str]) -> None:
    if not member.isreg():
        raise FormatError(f"{path}: '{member.name}' is not a regular file")
    if not _NAME.fullmatch(member.name):
        raise FormatError(f"{path}: '{member.name}' is not a plain file name")
    if member.name in names:
        raise FormatError(f"{path}: '{member.name}' is there twice")
    names.add(member.name)
    if len(names) > MAX_MEMBERS:
        raise FormatError(f"{path}: more than {MAX_MEMBERS} files in the archive")
