# SPDX-License-Identifier: BSD-3-Clause
"""Writes what is generated in README.md: `python docs/readme.py [FOLDER]`, in an environment with zelos.

<!-- python -->    what the Python block prints
<!-- accuracy -->  the held-out accuracy of the emulators that ship, from their files
<!-- speed -->     the main figures of docs/benchmarks.json
<!-- main job -->  summary.txt of FOLDER, where configs/examples/planck_like/run.sh put it; its plot becomes
                   docs/images/planck_like.png
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import zelos

DOCS = Path(__file__).resolve().parent
README = DOCS.parent / "README.md"
COLUMNS = ("p50", "p95", "p99", "max")


def row(what: str, numbers: dict[str, float]) -> str:
    return f"| {what} | " + " | ".join(f"{numbers[column]:.2g}" for column in COLUMNS) + " |"


def worst_of(entries: dict[str, dict[str, float]]) -> tuple[str, dict[str, float]]:
    name = max(entries, key=lambda name: entries[name]["p99"])
    return name, entries[name]


def rows(name: str, info: dict[str, Any]) -> list[str]:
    accuracy = info["accuracy"]
    runs = info["provenance"]["training_set"]["n"]
    lines = [f"| **{name}**, from {runs} runs, on {accuracy['inside']} held-out ones | | | | |"]
    labels = {
        "delta_chi2": "Δχ² of an ideal full-sky experiment, TT+TE+EE",
        "delta_chi2_all": "the same, all multipoles",
        "delta_chi2_pp": "the same, φφ",
        "delta_chi2_pp_all": "the same, φφ, all multipoles",
    }
    for key, label in labels.items():
        if key in accuracy["delta_chi2"]:
            entry = accuracy["delta_chi2"][key]
            lines.append(row(f"{label}, ℓ ≤ {entry['lmax']}", entry))
    for output in ("Pk.linear", "Pk.nonlinear", "flux"):
        if output in accuracy["outputs"]:
            lines.append(row(f"{output}, relative", accuracy["outputs"][output]["relative"]))
    worst, entry = worst_of(accuracy["derived"])
    lines.append(
        row(f"derived parameters, relative ({worst}, the worst of {len(accuracy['derived'])})", entry)
    )
    return lines


def accuracy_table() -> str:
    head = ["| | median | 95 % | 99 % | worst |", "| --- | --- | --- | --- | --- |"]
    shipped = {name: path for name, path in zelos.list_emulators().items() if path.suffix == ".h5"}
    body = [line for name in sorted(shipped) for line in rows(name, zelos.get_emulator(f"hub:{name}").info)]
    return "\n".join(head + body)


def speed() -> str:
    cases = json.loads((DOCS / "benchmarks.json").read_text())["cases"]

    def least(case: str, subject: str) -> str:
        seconds = next(row["processor_min"] for row in cases[case] if row["subject"] == subject)
        scale, unit = next(pair for pair in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")) if seconds >= pair[0])
        return f"{seconds / scale:.3g} {unit}"

    return (
        "On one core, TT, TE, EE and φφ to ℓ = 2508 with all derived parameters take "
        f"{least('spectra and derived', 'zelos_c')} (CAMB with the same settings:\n"
        f"{least('spectra and derived', 'real_camb')}), the four with exact derivatives by all parameters "
        f"{least('Jacobian', 'zelos_c')}. A step of Cobaya with Planck-lite takes\n"
        f"{least('Cobaya step, zelos', 'cobaya_step')}, of which "
        f"{least('Cobaya step, no theory', 'cobaya_step')} are Cobaya and the likelihood."
    )


def main_job(folder: Path) -> str:
    summary = (folder / "summary.txt").read_text().partition("\n\nPlot:")[0]
    (DOCS / "images").mkdir(exist_ok=True)
    shutil.copyfile(folder / "triangle.png", DOCS / "images/planck_like.png")
    return f"```text\n{summary}\n```"


def python_output(text: str) -> str:
    code = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    done = subprocess.run([sys.executable, "-c", "".join(code)], capture_output=True, text=True, check=True)
    return f"```text\n{done.stdout}```"


def fill(text: str, mark: str, content: str) -> str:
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- end -->)", re.S)
    filled, count = pattern.subn(lambda found: f"{found[1]}{content}\n{found[2]}", text)
    if count != 1:
        raise SystemExit(f"{README}: expected one '<!-- {mark} -->' ... '<!-- end -->', found {count}")
    return filled


def main() -> None:
    text = README.read_text()
    text = fill(text, "python", python_output(text))
    text = fill(text, "accuracy", accuracy_table())
    text = fill(text, "speed", speed())
    if len(sys.argv) > 1:
        text = fill(text, "main job", main_job(Path(sys.argv[1])))
    README.write_text(text)


if __name__ == "__main__":
    main()
