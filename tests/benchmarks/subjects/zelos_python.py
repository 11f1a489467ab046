# SPDX-License-Identifier: BSD-3-Clause
"""zelos from Python."""

from __future__ import annotations

from typing import Any

import zelos

from . import common

TITLE = "zelos"
NOTE = ""
FIRST = """
import sys, zelos
names, values = sys.argv[2].split(","), map(float, sys.argv[3].split(","))
zelos.get_emulator(sys.argv[1]).evaluate(dict(zip(names, values)), ["Cl.tt"])
"""


def versions() -> dict[str, str]:
    return common.version("zelos", "numpy")


def cases(options: dict[str, Any]) -> common.Cases:
    path = options["emulator"]
    emulator = zelos.get_emulator(path)
    table = common.points(64)
    points = [dict(zip(common.NAMES, row.tolist(), strict=True)) for row in table]
    columns = dict(zip(common.NAMES, common.points(common.BATCH).T.copy(), strict=True))
    for point in points:
        verdict = emulator.verdict(point)
        assert verdict, str(verdict)
    axes = {"ell": common.ELL}
    spectra = list(common.SPECTRA)
    result: common.Cases = {}

    def add(case: str, outputs: list[str], axes: dict[str, Any] | None = None) -> None:
        if set(outputs) <= set(emulator.outputs):
            result[case] = (common.in_turn(lambda p: emulator.evaluate(p, outputs, axes), points), 1)

    add("spectra", spectra, axes)
    add("spectra and derived", [*spectra, "derived"], axes)
    add("one spectrum", ["Cl.tt"], axes)
    add("derived", ["derived"])
    if "Pk.linear" in emulator.outputs:
        add("P(k), one z", ["Pk.linear"], {"z": 0.0})
    result["batch"] = (lambda: emulator.evaluate(columns, spectra, axes), common.BATCH)
    result["Jacobian"] = (common.in_turn(lambda p: emulator.jacobian(p, spectra, axes), points), 1)
    result["predicted error"] = (common.in_turn(lambda p: emulator.error(p, spectra), points), 1)
    result["opening"] = (lambda: zelos.get_emulator(path), 1)
    text = ",".join(map(str, common.CENTRE))
    result["process start to first spectrum"] = (
        common.process(FIRST, path, ",".join(common.NAMES), text),
        1,
    )
    return result
