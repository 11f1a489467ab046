# SPDX-License-Identifier: BSD-3-Clause
"""Times zelos.starfish and Starfish in one run on one core, and writes docs/starfish-benchmarks.{json,md}.

    python tests/benchmarks/starfish.py --peer PYTHON

PYTHON is an interpreter that has Starfish (Python 3.9: `pip install astrostarfish==0.4.2`). What is compared
is the least processor time of each, on one thread. Starfish's calls take seconds: `--peer-rounds` are few.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Worker, duration, machine, times, write

DOCS = Path(__file__).resolve().parents[2] / "docs"
SUBJECTS = {"zelos": "spectra_zelos", "starfish": "spectra_starfish", "torch": "spectra_torch"}
KERNELS = {"plain": "", "kernels": "global kernel and two local ones"}
SMALL = {"shape": [10, 6, 5], "pixels": 4096, "high": 5300.0, "components": 5}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    core = options.core if options.core is not None else min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})  # inherited by the workers
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "folder": folder,
            "components": options.components,
            "sizes": options.sizes,
            "peer_pixels": options.peer_pixels,
            "verbose": options.verbose,
        }
        pythons = {"zelos": sys.executable, "starfish": options.peer, "torch": sys.executable}

        def start(name: str) -> Worker:
            return Worker(SUBJECTS[name], pythons[name], settings)

        workers = {name: start(name) for name in SUBJECTS if pythons[name]}
        about = {name: {k: v for k, v in w.about.items() if k != "cases"} for name, w in workers.items()}
        for name, entry in about.items():
            say(f"{name}: {entry.get('missing', 'ready')}")
        workers = {name: w for name, w in workers.items() if "cases" in w.about}
        facts: dict[str, Any] = {}

        def fact(who: Worker, key: str, name: str, **arguments: Any) -> None:
            facts[key] = who.fact(name, **arguments)
            if "failed" in facts[key]:
                raise SystemExit(f"{key}: {facts[key]['failed']}")
            say(f"{key}: {facts[key]}")

        zelos = workers["zelos"]
        for pixels in sorted({4096, *(size + size // 8 for size in options.sizes if size >= 4000)}):
            fact(zelos, f"spectra of {pixels} pixels", "make", pixels=pixels)
        if "starfish" in workers:
            fact(workers["starfish"], "Starfish's emulator", "make")
        least: dict[str, dict[str, float]] = {}
        for turn in range(max(options.rounds, options.peer_rounds)):
            for case in zelos.about["cases"]:
                for name, worker in workers.items():
                    rounds = options.rounds if name == "zelos" else options.peer_rounds
                    without_starfish = "starfish" not in workers and not case.startswith(
                        ("own", "neighbours", "hyper", "gradient", "call")
                    )
                    if case not in worker.about["cases"] or turn >= rounds or without_starfish:
                        continue
                    answer = worker.measure(case, options.seconds)
                    if "failed" in answer:
                        raise SystemExit(f"{name}, {case}: {answer['failed']}")
                    best = min(processor for _, processor in answer["samples"])
                    found = least.setdefault(case, {})
                    found[name] = min(best, found.get(name, best))
            say(f"round {turn + 1}")
        for name, worker in workers.items():
            if name != "torch":
                for m in options.components:
                    fact(worker, f"value, {m} components, {name}", "values", components=m)
        fact(zelos, "training, zelos", "training", **SMALL)
        if options.reuse:
            fact(zelos, "reuse", "reuse")
        if "starfish" in workers and options.peer_training > 0:
            fact(workers["starfish"], "training, starfish", "training", seconds=options.peer_training)
        for worker in workers.values():
            worker.close()
        for name in workers:
            if name != "torch":
                fresh = start(name)
                fact(fresh, f"memory, {name}", "memory", components=options.memory_components)
                fresh.close()
    return {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", "tests/benchmarks/starfish.py", *shown_arguments(options)]),
        "machine": machine(),
        "subjects": about,
        "components": options.components,
        "sizes": options.sizes,
        "memory_components": options.memory_components,
        "least_processor_seconds": least,
        "facts": facts,
    }


def shown_arguments(options: argparse.Namespace) -> list[str]:
    """Without what belongs to this machine."""
    arguments = ["PYTHON" if argument == options.peer else argument for argument in sys.argv[1:]]
    for flag in ("--output", "--core"):
        if flag in arguments:
            at = arguments.index(flag)
            del arguments[at : at + 2]
    return arguments


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(head: list[str], rows: list[list[str]], left: int = 1) -> list[str]:
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("| " + " | ".join(["---"] * left + ["---:"] * (len(head) - left)) + " |")
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def markdown(record: dict[str, Any]) -> str:
    about, least, facts = record["machine"], record["least_processor_seconds"], record["facts"]

    def cell(case: str, name: str) -> str:
        seconds = least.get(case, {}).get(name)
        return "" if seconds is None else duration(seconds)

    def ratio(case: str, other: str, ours: str | None = None) -> str:
        above, below = least.get(case, {}).get(other), least.get(ours or case, {}).get("zelos")
        return "" if above is None or below is None else times(above / below)

    def likelihoods(which: str, columns: Callable[[str, int], list[str]]) -> list[list[str]]:
        """A row for each number of pixels and each covariance: its columns, then what the gradient takes."""
        rows = []
        for size in record["sizes"]:
            for name, text in KERNELS.items():
                value, slope = (f"{which}{what} {size} {name}" for what in ("likelihood", "slopes"))
                if value in least:
                    over = times(least[slope]["zelos"] / least[value]["zelos"])
                    rows.append([f"{size:,}", text, *columns(value, size), cell(slope, "zelos"), over])
        return rows

    packages = []
    for entry in record["subjects"].values():
        if "title" in entry:
            packages.append(
                f"{entry['title']} ({', '.join(f'{k} {v}' for k, v in entry['versions'].items())})"
            )
    missing = [f"{name}: {e['missing']}" for name, e in record["subjects"].items() if "missing" in e]
    lines = [
        "# Benchmarks of spectral emulators",
        "",
        "Generated by `tests/benchmarks/starfish.py`, which times all in one run; do not edit. Least",
        "processor times on one thread: those of different machines or runs do not compare, the ratios do.",
        "",
        f"- Date: {record['date']}",
        f"- Machine: {about['cpu']} ({about['vectors']}), one of {about['cores']} cores, one thread; "
        f"load at the end {about['load']}; {about['system']}, Python {about['python']}",
        f"- Packages: {', '.join(packages)}" + (f"; {'; '.join(missing)}" if missing else ""),
        f"- Command: `{record['command']}`",
        "",
        "Parameters change from call to call, so that nothing can be kept from the call before.",
        "",
        "## Hyperparameters and calls",
        "",
        "Emulators of 700 spectra (10 x 10 x 7). The likelihood of the hyperparameters (Habib et al.), whose",
        f"values differ by at most {difference(record):.0e} relative; `ratio` is of Starfish's value to ours",
        "with its gradient. A call gives the weights and their covariance at a point.",
        "",
    ]
    head = ["components", "Starfish", "PyTorch, with gradient", "zelos", "zelos, with gradient", "ratio"]
    rows = []
    for m in record["components"]:
        value, slope, call = f"hyper {m}", f"gradient {m}", f"call {m}"
        rows.append(
            [
                str(m),
                cell(value, "starfish"),
                cell(slope, "torch") or "not installed",
                cell(value, "zelos"),
                cell(slope, "zelos"),
                ratio(value, "starfish", slope),
                cell(call, "starfish"),
                cell(call, "zelos"),
                ratio(call, "starfish"),
            ]
        )
    lines += table([*head, "call: Starfish", "zelos", "ratio"], rows)
    if "neighbours" in least:
        lines += [
            "A call of an emulator of 7,000 spectra with holes, with 15 components, a mean of degree 2 and",
            f"predictions from 40 neighbours, takes {cell('neighbours', 'zelos')}.",
            "",
        ]
    lines += [
        "## Likelihood of a spectrum",
        "",
        "Starfish's own emulator file of 300 spectra with five components, in both packages; T, v sin i",
        "and v_z change. The likelihoods are not the same: [what is different](starfish.md).",
        "",
    ]
    rows = likelihoods(
        "", lambda case, _: [cell(case, "starfish"), cell(case, "zelos"), ratio(case, "starfish")]
    )
    head = ["pixels", "", "Starfish", "zelos", "ratio", "zelos, with gradient", "over the value"]
    lines += table(head, rows, 2)
    lines += [
        "With the covariance of what the components leave out, which Starfish does not have (beyond 4,000",
        "pixels, emulators of 60 spectra):",
        "",
    ]
    rows = likelihoods(
        "own ", lambda case, size: [cell(case, "zelos"), duration(least[case]["zelos"] / size)]
    )
    lines += table(["pixels", "", "zelos", "a pixel", "with gradient", "over the value"], rows, 2)
    lines += ["## Training", ""]
    rows = []
    for name, title in (("zelos", "zelos"), ("starfish", "Starfish")):
        entry = facts.get(f"training, {name}")
        if entry:
            words = {
                "zelos": ("not converged", "converged"),
                "starfish": ("stopped by the benchmark", "says that it is done"),
            }
            ended = words[name][int(entry["converged"])]
            text = "300 spectra, five components"
            rows.append([text, title, duration(entry["training"]), ended, f"{entry['optimum']:.1f}"])
    for name, entry in facts.get("reuse", {}).items():
        ended = "converged" if entry["converged"] else "not converged"
        text = f"700 spectra: {name}"
        rows.append([text, "zelos", duration(entry["training"]), ended, f"{entry['optimum']:.1f}"])
    lines += table(["", "", "processor time", "", "log likelihood"], rows, 2)
    memory = [
        f"{title} {facts[key]['memory']:.0f} MiB"
        for title, key in (("zelos", "memory, zelos"), ("Starfish", "memory, starfish"))
        if key in facts
    ]
    lines += [
        "## Memory",
        "",
        f"Peak of a process that makes the emulator of 700 spectra with {record['memory_components']} "
        f"components, its likelihood and one call: {', '.join(memory)}.",
    ]
    return "\n".join(lines) + "\n"


def difference(record: dict[str, Any]) -> float:
    """The largest relative difference of the packages' likelihoods of the hyperparameters."""
    facts, found = record["facts"], [0.0]
    for m in record["components"]:
        ours, theirs = (facts.get(f"value, {m} components, {name}") for name in ("zelos", "starfish"))
        if ours and theirs:
            found.append(abs(ours["value"] / theirs["value"] - 1))
    return max(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has Starfish")
    parser.add_argument("--components", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6, 7])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000, 10000, 100000], help="pixels")
    parser.add_argument("--peer-pixels", type=int, default=3000, help="the most that Starfish is given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each case and round")
    parser.add_argument("--peer-training", type=float, default=300.0, help="seconds of Starfish's; 0: none")
    parser.add_argument(
        "--no-reuse", dest="reuse", action="store_false", help="no training from other emulators"
    )
    parser.add_argument("--memory-components", type=int, default=6)
    parser.add_argument("--core", type=int, help="the core (default: the first)")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder (default: docs)")
    parser.add_argument("--verbose", action="store_true", help="show what the subjects print")
    options = parser.parse_args()
    record = measure(options)
    write(options.output, "starfish-benchmarks", record, markdown(record))


if __name__ == "__main__":
    main()
