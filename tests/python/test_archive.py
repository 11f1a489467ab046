# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import gzip
import io
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zelos.archive import MAX_MEMBERS, read_artifact
from zelos.build.archive import write_archive
from zelos.errors import FileError, FormatError


def entry(name: str, data: bytes = b"x", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def write(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar.gz", {"b.h5": b"weights", "a.yaml": b"spec"})
    time.sleep(1.1)
    write_archive(tmp_path / "c.tar.gz", {"a.yaml": b"spec", "b.h5": b"weights"})
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "c.tar.gz").read_bytes()
    assert read_artifact(tmp_path / "a.tar.gz") == (b"weights", "b.h5")
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        assert [(m.name, m.mtime, m.uid, m.mode) for m in archive] == [
            ("a.yaml", 0, 0, 0o644),
            ("b.h5", 0, 0, 0o644),
        ]


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "traversal": (lambda p: write(p, entry("../a.h5")), "not a plain file name"),
    "absolute": (lambda p: write(p, entry("/tmp/a.h5")), "not a plain file name"),
    "folder in the name": (lambda p: write(p, entry("x/a.h5")), "not a plain file name"),
    "hidden": (lambda p: write(p, entry(".a.h5")), "not a plain file name"),
    "symlink": (
        lambda p: write(p, entry("a.h5", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        "regular",
    ),
    "hard link": (lambda p: write(p, entry("a.h5", b"", type=tarfile.LNKTYPE, linkname="b")), "regular"),
    "device": (lambda p: write(p, entry("a.h5", b"", type=tarfile.CHRTYPE)), "regular"),
    "fifo": (lambda p: write(p, entry("a.h5", b"", type=tarfile.FIFOTYPE)), "regular"),
    "twice": (lambda p: write(p, entry("a.h5"), entry("a.h5")), "twice"),
    "two artifacts": (lambda p: write(p, entry("a.h5"), entry("b.h5")), "found 2"),
    "no artifact": (lambda p: write(p, entry("a.yaml")), "found 0"),
    "too many": (lambda p: write(p, *(entry(f"f{i}") for i in range(MAX_MEMBERS + 1))), "more than"),
    "bomb": (lambda p: write(p, entry("a.h5", bytes(3_000_000))), "more than 1000000 bytes"),
    "bomb beside": (
        lambda p: write(p, entry("a.h5"), entry("b", bytes(3_000_000))),
        "more than 1000000 bytes",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(case: str, tmp_path: Path) -> None:
    make, message = HOSTILE[case]
    with pytest.raises(FormatError, match=message):
        read_artifact(make(tmp_path / "x.tar.gz"), max_bytes=1_000_000)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    good = write(tmp_path / "good.tar.gz", entry("a.h5", bytes(range(256)) * 100)).read_bytes()
    for damaged in (good[: len(good) // 2], b"not an archive", gzip.compress(b"not a tar"), b""):
        (tmp_path / "bad.tar.gz").write_bytes(damaged)
        with pytest.raises(FormatError, match=r"bad\.tar\.gz"):
            read_artifact(tmp_path / "bad.tar.gz")


def test_a_header_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        raw = io.BytesIO()
        info = tarfile.TarInfo("a.h5")
        info.size = 10**6
        raw.write(info.tobuf())
        raw.write(b"short")
        (tmp_path / "x.tar.gz").write_bytes(gzip.compress(raw.getvalue()))
        read_artifact(tmp_path / "x.tar.gz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere"):
        read_artifact(tmp_path / "nowhere.tar.gz")
