# SPDX-License-Identifier: BSD-3-Clause
"""The command ``zelos_starfish``: looks at spectral emulators."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import Error
from .emulator import Emulator


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="zelos_starfish", description="Looks at spectral emulators.")
    commands = parser.add_subparsers(dest="command", required=True)
    page = commands.add_parser("page", help="all plots and figures of an emulator, as one HTML file")
    page.add_argument("emulator", help="a file of Emulator.save, or one of Starfish")
    page.add_argument("--output", help="the HTML file (default: beside the emulator)")
    arguments = parser.parse_args(argv)
    output = arguments.output or str(Path(arguments.emulator).with_suffix(".html"))
    try:
        Emulator.load(arguments.emulator).write_page(output)
    except Error as error:
        print(f"zelos_starfish: {error}", file=sys.stderr)
        return 1
    print(output)
    return 0
