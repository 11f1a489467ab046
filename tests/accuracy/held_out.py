# SPDX-License-Identifier: BSD-3-Clause
"""Predicted errors of an artifact at runs of its code that no training has seen.

    held_out.py ARTIFACT FOLDER [--runs N] [-j JOBS] [--attach] [--report HTML]

The runs are the first N of the artifact's own held-out design. What is computed is kept in FOLDER: the same
command continues. With all of them the accuracy that the artifact states has to be found again. `--attach`
writes what was counted into the artifact, as a build does (`zelos info` shows it), `--report` into the
report of its build.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from zelos import _core
from zelos.build import validate
from zelos.build.extend import source_of
from zelos.build.report import predicted_table
from zelos.build.runs import Job, RunStore, load_set, make_runs
from zelos.build.training import shapes
from zelos.emulator import open_emulator
from zelos.fallback.pool import LocalPool


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, help="(default: all that the build held out)")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    parser.add_argument("--attach", action="store_true")
    parser.add_argument("--report", type=Path, help="of the build that made the artifact")
    options = parser.parse_args()

    emulator = open_emulator(options.artifact)
    plan = source_of(emulator, str(options.artifact)).plan()
    n = options.runs or plan.wanted("validation")
    design = plan.design("validation")
    driver = plan.make_driver()
    store = RunStore(options.folder / plan.runs_key(f"{driver.version} {driver.library_hash()}"))
    store.create({"name": plan.name, "parameters": plan.names})
    job = Job(plan.code, plan.config, plan.driver_outputs, tuple(plan.names), str(store.folder))
    with LocalPool(options.jobs) as pool:
        make_runs([(design, n)], job, store, pool, (1, 1), lambda *_: None)
    points, arrays, _, _ = load_set(design, n, store, shapes(plan))
    summary = validate.measure(plan, emulator, points, arrays).summary

    accuracy = emulator.info["accuracy"]
    print(f"{plan.name}: {summary['inside']} of {n} runs inside the region")
    print("delta chi2 of TT+TE+EE: median, 95 %, 99 %")
    for label, found in (("here", summary), ("stated", accuracy)):
        entry = found["delta_chi2"]["delta_chi2"]
        print(f"  {label:8s}{entry['p50']:10.4g}{entry['p95']:10.4g}{entry['p99']:10.4g}")
    print("| emulator | output | below the 95 % quantile | 95 % confidence | calibration | runs |")
    for name, entry in summary["error_quantile"].items():
        print(
            f"| {plan.name} | {name} | {100 * entry['covered']:.0f} % | {100 * entry['low']:.0f} to "
            f"{100 * entry['high']:.0f} % | "
            f"{entry['calibration']:.2f} ({entry['left_out']} left out) | {entry['n']} |"
        )
    if options.attach:
        accuracy["error_quantile"] = summary["error_quantile"]
        _core.attach_accuracy(str(options.artifact), json.dumps(accuracy, sort_keys=True))
    if options.report:
        text = options.report.read_text(encoding="utf-8")
        options.report.write_text(with_table(text, summary["error_quantile"]), encoding="utf-8")


def with_table(page: str, entries: dict[str, Any]) -> str:
    """The page of a report with this table of predicted errors: in place of the one that it has, or after
    its other tables of accuracy."""
    section = predicted_table(entries)
    title, end = section[: section.index("</h3>")], "</table>"
    if title in page:
        start = page.index(title)
        stop = page.index(end, start) + len(end)
    else:
        start = stop = page.index(end, page.index("<h3>Derived parameters")) + len(end)
    return page[:start] + section + page[stop:]


if __name__ == "__main__":
    main()
