# SPDX-License-Identifier: BSD-3-Clause
"""Times zelos, CAMB and other emulators in one run on one core, and writes docs/benchmarks.{json,md}.

    python tests/benchmarks/run.py --emulator hub:CAMB_lcdm --packages COBAYA_PACKAGES --peers PYTHON

Each subject lives in a process of its own, pinned to the same core with one thread. The cases are measured in
rounds, one after the other, so that a busy moment of the machine hits all alike. Compared is the least
processor time of all samples, which other processes disturb least; on an idle machine it is that of the wall.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

from harness import Worker, duration, machine, times, write

DOCS = Path(__file__).resolve().parents[2] / "docs"
#: Subjects by the interpreter that they run in. The first of a case that is zelos is what ratios refer to.
SUBJECTS = {"zelos_c": "own", "zelos_python": "own", "real_camb": "own", "cobaya_step": "own"}
PEERS = ("jaxcapse_random", "cosmopower_jax_shipped", "cosmopower_random")
CASES = {
    "spectra and derived": "TT, TE, EE, pp for ell 2 to 2508 and all derived parameters, one point",
    "spectra": "TT, TE, EE, pp for ell 2 to 2508, one point",
    "one spectrum": "TT for ell 2 to 2508, one point",
    "derived": "derived parameters alone",
    "P(k), one z": "linear P(k) on all k at one redshift",
    "batch": "TT, TE, EE, pp of 256 points, per point",
    "Jacobian": "TT, TE, EE, pp with exact derivatives by all six parameters",
    "predicted error": "predicted error of TT, TE, EE, pp",
    "error quantile": "95 % quantile of delta chi^2 from the errors of TT, TE, EE together",
    "convex hull": "verdict inside the convex hull of 2,000 points in six parameters, beyond the inner box",
    "opening": "opening the file: digest, probe points",
    "process start to first spectrum": "from the start of Python to the first TT",
    "Cobaya step, no theory": "log-posterior in Cobaya, constant spectra",
    "Cobaya step, zelos": "log-posterior in Cobaya, zelos",
    "Cobaya step, CAMB": "log-posterior in Cobaya, CAMB",
}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    emulator = describe(options.emulator)
    core = options.core if options.core is not None else min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})  # inherited by the workers
    settings = {
        "emulator": options.emulator,
        "packages": options.packages,
        "camb": not options.no_camb,
        "verbose": options.verbose,
    }
    chosen = [(name, sys.executable) for name in SUBJECTS if name != "real_camb" or settings["camb"]]
    chosen += [(name, options.peers) for name in PEERS]
    workers, subjects = [], {}
    for name, python in chosen:
        if options.subjects and name not in options.subjects:
            continue
        worker = Worker(name, python, settings)
        subjects[name] = {k: v for k, v in worker.about.items() if k != "cases"}
        if "cases" in worker.about:
            workers.append(worker)
        print(f"{name}: {worker.about.get('missing', 'ready')}", file=sys.stderr)
    samples: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for turn in range(options.rounds):
        for case in options.cases or CASES:
            for worker in workers:
                if case not in worker.about["cases"]:
                    continue
                taken = samples.setdefault(case, {}).setdefault(worker.subject, [])
                if taken and taken[0][0] > options.slow and turn >= options.slow_rounds:
                    continue
                answer = worker.measure(case, options.seconds)
                if "failed" in answer:
                    raise SystemExit(f"{worker.subject}, {case}: {answer['failed']}")
                taken += [(wall, processor) for wall, processor in answer["samples"]]
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr)
    for worker in workers:
        worker.close()
    return {
        "date": datetime.date.today().isoformat(),
        "command": "python tests/benchmarks/run.py " + shlex.join(public(sys.argv[1:])),
        "machine": machine(),
        "emulator": emulator,
        "subjects": subjects,
        "cases": {case: table(samples[case]) for case in CASES if case in samples},
    }


def public(arguments: list[str]) -> list[str]:
    """Folders of this machine are nobody's business: their last names say enough."""
    return [Path(text).name if "/" in text and not text.startswith("hub:") else text for text in arguments]


def describe(path: str) -> dict[str, Any]:
    import zelos

    emulator = zelos.get_emulator(path)
    return {
        "name": emulator.name,
        "version": emulator.version,
        "id": emulator.id,
        "outputs": list(emulator.outputs),
    }


def table(taken: dict[str, list[tuple[float, float]]]) -> list[dict[str, Any]]:
    rows = []
    for name, values in taken.items():
        wall, processor = zip(*values, strict=True)
        rows.append(
            {
                "subject": name,
                "processor_min": min(processor),
                "wall_min": min(wall),
                "wall_median": statistics.median(wall),
                "samples": len(values),
            }
        )
    reference = next((row["processor_min"] for row in rows if row["subject"].startswith("zelos")), None)
    for row in rows:
        row["ratio"] = None if reference is None else row["processor_min"] / reference
    return rows


def markdown(record: dict[str, Any]) -> str:
    about, subjects = record["machine"], record["subjects"]
    emulator = record["emulator"]
    lines = [
        "# Benchmarks",
        "",
        "Generated by `tests/benchmarks/run.py`, which times all rows in one run; do not edit. Numbers of",
        "different machines or runs do not compare: the last column does, which is the ratio of the least",
        "processor times.",
        "",
        f"- Date: {record['date']}",
        f"- Machine: {about['cpu']} ({about['vectors']}), one of {about['cores']} cores, one thread; "
        f"load at the end {about['load']}; {about['system']}, Python {about['python']}",
        f"- Emulator: {emulator['name']} {emulator['version']}, id `{emulator['id'][:16]}`",
        f"- Command: `{record['command']}`",
        "",
        "| | what is measured |",
        "| --- | --- |",
    ]
    for entry in subjects.values():
        if "title" in entry:
            versions = ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
            lines.append(f"| {entry['title']} | {'; '.join(filter(None, [versions, entry['note']]))} |")
    lines += [f"| {name} | {entry['missing']} |" for name, entry in subjects.items() if "missing" in entry]
    lines += [
        "",
        "| | | processor, least | wall, least | wall, median | relative to zelos |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for case, rows in record["cases"].items():
        for i, row in enumerate(rows):
            title = subjects[row["subject"]]["title"]
            head = CASES[case] if i == 0 else ""
            shown = " | ".join(duration(row[key]) for key in ("processor_min", "wall_min", "wall_median"))
            numbers = f"{shown} | {times(row['ratio'])}"
            lines.append(f"| {head} | {title} | {numbers} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--emulator", default="hub:CAMB_lcdm", help="hub:NAME or PATH (default: %(default)s)")
    parser.add_argument(
        "--packages", default=os.environ.get("COBAYA_PACKAGES_PATH", ""), help="Cobaya's data"
    )
    parser.add_argument(
        "--peers", default=sys.executable, metavar="PYTHON", help="interpreter that has the other emulators"
    )
    parser.add_argument("--no-camb", action="store_true")
    parser.add_argument("--subjects", nargs="+", choices=[*SUBJECTS, *PEERS], help="these alone")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), metavar="CASE", help="these alone")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="per case and round (default: %(default)s)"
    )
    parser.add_argument("--slow", type=float, default=2.0, help="a case that takes longer (seconds) ...")
    parser.add_argument("--slow-rounds", type=int, default=3, help="... is measured in so many rounds")
    parser.add_argument("--core", type=int, help="the core (default: the first)")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder (default: docs)")
    parser.add_argument("--verbose", action="store_true", help="show what the subjects print")
    options = parser.parse_args()
    record = measure(options)
    write(options.output, "benchmarks", record, markdown(record))


if __name__ == "__main__":
    main()
