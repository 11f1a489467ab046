# SPDX-License-Identifier: BSD-3-Clause
"""python -m zelos.montepython FOLDER: makes the folder that MontePython takes for one of CLASS.

MontePython looks for CLASS's sources there, and imports `classy`; CLASS itself is not needed."""

import sys
from pathlib import Path

import zelos
from zelos.fallback.classy.module import MARK

CLASSY = f"""\
{MARK}
from zelos.montepython.classy import *
"""


def write(folder: Path) -> None:
    """Files that are there are written anew; a folder with CLASS itself is refused."""
    source = folder / "main/class.c"
    if source.exists() and source.stat().st_size > 0:
        raise FileExistsError(f"{folder}: CLASS is there: expected another folder")
    for name, text in (
        ("main/class.c", ""),
        ("include/common.h", f'#define _VERSION_ "zelos-{zelos.__version__}"\n'),
        ("classy.py", CLASSY),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "python/build").mkdir(parents=True, exist_ok=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m zelos.montepython FOLDER")
    try:
        write(Path(sys.argv[1]))
    except OSError as error:
        sys.exit(f"zelos.montepython: {error}")
    print(f"path['cosmo'] = '{Path(sys.argv[1]).resolve()}'")
