# SPDX-License-Identifier: BSD-3-Clause
"""Where an artifact comes from, so that there is never a doubt about what it emulates."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..fallback import driver as drivers
from .plan import Plan


def reproducible() -> bool:
    """With SOURCE_DATE_EPOCH set, dates are that and times are left out: same runs, same bytes."""
    return "SOURCE_DATE_EPOCH" in os.environ


def today() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = (
        datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
        if epoch is not None
        else datetime.datetime.now(datetime.timezone.utc)
    )
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def host() -> dict[str, str]:
    """The class of machine, without its name."""
    return {
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "system": _system(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _system() -> str:
    path = Path("/etc/os-release")
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip('"')
    return f"{platform.system()} {platform.release()}"


def collect(
    plan: Plan,
    driver: drivers.Driver,
    training_set: str,
    failed: list[dict[str, Any]],
    run_seconds: float,
    version_mismatch: str,
) -> dict[str, Any]:
    """The provenance of an artifact; stored in it as JSON."""
    import scipy

    training = plan.data["training"]
    settings = driver.settings(plan.centre)
    container = plan.data["container"]
    record: dict[str, Any] = {
        "code": plan.code,
        "code_version": driver.version,
        "library_sha256": driver.library_hash(),
        "config": {**plan.data["config"]["extra_args"], **plan.data["config"]["fixed"]},
        "settings": settings,
        "settings_at": plan.centre,
        "settings_sha256": hashlib.sha256(settings.encode()).hexdigest(),
        "spec_sha256": hashlib.sha256(plan.spec.text.encode("utf-8", "surrogateescape")).hexdigest(),
        "overrides": list(plan.spec.overrides),
        "container": _container(container),
        "design": {
            "kind": training["design"],
            "hull": training["hull"],
            "margin": training["margin"],
            "seed": training["seed"],
            "validation_seed": plan.design("validation")._seed,
        },
        "training_set": {
            "n": training["n"],
            "validation": training["validation"],
            "sha256": training_set,
            "failed": failed,
        },
        "zelos": _core.version(),
        "zelos_commit": _core.commit(),
        "libraries": {"numpy": np.__version__, "scipy": scipy.__version__},
        "host": host(),
        "date": today(),
    }
    if plan.data["config"].get("ini"):
        record["ini"] = plan._ini_path().read_text(errors="replace")
    if version_mismatch:
        record["version_mismatch"] = version_mismatch
    if not reproducible():
        record["cost"] = {"run_seconds": round(run_seconds, 1)}
    return record


def extended(
    plan: Plan,
    record: dict[str, Any],
    training_set: str,
    validation: int,
    left_out: dict[str, int],
    run_seconds: float,
    counts: dict[str, int],
    parent: dict[str, str] | None,
) -> dict[str, Any]:
    """The provenance of an emulator that learnt from answers of the code in a run.

    record:  that of an emulator of the same code and settings.
    counts:  runs of that emulator's design and answers that it was trained on.
    parent:  name, version and id of the emulator that it continues; None: none.
    """
    import scipy

    kept = {
        key: value
        for key, value in record.items()
        if key not in ("design", "training_set", "cost", "parent", "version_mismatch")
    }
    new: dict[str, Any] = {
        **kept,
        "spec_sha256": hashlib.sha256(plan.spec.text.encode("utf-8", "surrogateescape")).hexdigest(),
        "overrides": list(plan.spec.overrides),
        "design": {"kind": "answers of runs", **counts},
        "training_set": {
            "n": sum(counts.values()),
            "validation": validation,
            "sha256": training_set,
            "failed": [],
            "left_out": left_out,
        },
        "zelos": _core.version(),
        "zelos_commit": _core.commit(),
        "libraries": {"numpy": np.__version__, "scipy": scipy.__version__},
        "host": host(),
        "date": today(),
    }
    if parent is not None:
        new["parent"] = parent
    if run_seconds and not reproducible():
        new["cost"] = {"run_seconds": round(run_seconds, 1)}
    return new


def _container(reference: str) -> dict[str, Any] | None:
    if not reference:
        return None
    _, _, digest = reference.partition("@")
    return {"reference": reference, "digest": digest or None, "runs_made_in_it": False}
