# SPDX-License-Identifier: BSD-3-Clause
"""Writing ``NAME.tar.gz``: the same files give the same bytes, whenever and wherever."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from ..atomic_file import replacing


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Writes the members (plain names) in the order of their names, by atomic rename."""
    with (
        replacing(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(members):
            entry = tarfile.TarInfo(name)
            entry.size = len(members[name])
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(members[name]))
