# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmarks share: subjects in processes of their own, the machine, how numbers are written."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
    "JAXCAPSE_NO_AUTO_DOWNLOAD": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


class Worker:
    """A process of worker.py."""

    def __init__(self, subject: str, python: str, options: dict[str, Any]) -> None:
        self.subject = subject
        self._process = subprocess.Popen(
            [python, str(HERE / "worker.py"), subject, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if options["verbose"] else subprocess.DEVNULL,
            text=True,
            env={**os.environ, **ONE_THREAD},
        )
        self.about = self._read()

    def measure(self, case: str, seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(json.dumps({"case": case, "seconds": seconds}), file=self._process.stdin, flush=True)
        return self._read()

    def fact(self, name: str, **arguments: Any) -> dict[str, Any]:
        """What the subject's FACTS has by this name; {"missing": why} or {"failed": why} without it."""
        assert self._process.stdin is not None
        print(json.dumps({"fact": name, "arguments": arguments}), file=self._process.stdin, flush=True)
        return self._read()

    def close(self) -> None:
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"missing": "its process ended", "failed": "its process ended"}


def machine() -> dict[str, Any]:
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    flags: set[str] = set()
    if info.exists():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        values = {key.strip(): value.strip() for key, value in fields.items()}
        cpu, flags = values.get("model name", cpu), set(values.get("flags", "").split())
    vectors = next((n for n in ("avx512f", "avx2", "avx") if n in flags), "baseline")
    return {
        "cpu": cpu,
        "vectors": vectors,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}"


def write(folder: Path, name: str, record: dict[str, Any], page: str) -> None:
    """NAME.json and the page of it, NAME.md, which is printed too."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / f"{name}.md").write_text(page)
    print(page)
