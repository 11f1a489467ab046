# SPDX-License-Identifier: BSD-3-Clause
"""Files that are there whole or not at all, whenever the process that writes them ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to in the block. At its end the file is synced and takes the place of
    `path`; if the block raises, it is removed and `path` is as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Text is written as UTF-8, with what was no UTF-8 when it was read as it was."""
    with replacing(path) as temporary:
        temporary.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
        )
