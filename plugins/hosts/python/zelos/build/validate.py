# SPDX-License-Identifier: BSD-3-Clause
"""Accuracy on held-out runs of the real code, in units that a user cares about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ..emulator import Emulator
from ..errors import SpecError, did_you_mean
from .plan import Plan
from .training import chosen_derived

Array = np.ndarray[Any, np.dtype[np.float64]]

PERCENTILES = {"p50": 50.0, "p68": 68.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
LMAX = 2500
#: Spectra that change sign: their errors are told in units of cosmic variance only.
_CROSSES = {"Cl.te": ("Cl.tt", "Cl.ee"), "Cl.pt": ("Cl.pp", "Cl.tt"), "Cl.pe": ("Cl.pp", "Cl.ee")}
#: Of an ideal experiment: spectra in words, name of its delta chi^2, spectra.
_LIKELIHOODS = (
    ("TT+TE+EE", "delta_chi2", ("Cl.tt", "Cl.te", "Cl.ee")),
    ("phiphi", "delta_chi2_pp", ("Cl.pp",)),
    ("BB", "delta_chi2_bb", ("Cl.bb",)),
)
_BATCH = 32


@dataclass
class Accuracy:
    """summary goes into the artifact, profiles and points into the report."""

    summary: dict[str, Any]
    profiles: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = field(default_factory=dict)
    """output -> "relative" | "cosmic_variance" -> axis -> {"axis": [...], "p50": [...], ...}."""
    parameters: Array = field(default_factory=lambda: np.empty((0, 0)))
    """Held-out points that are inside the region."""
    figures: dict[str, Array] = field(default_factory=dict)
    """Per point: "delta_chi2", "delta_chi2_pp", "<output>" (worst relative error)."""


def metric_names(plan: Plan) -> list[str]:
    """Every name that the spec's `accuracy:` may have: what `metrics` finds in what `measure` measures."""
    suffixes = list(PERCENTILES)
    ells = _multipoles(plan)
    stems = [
        f"{key}{suffix}"
        for _, key, spectra in _LIKELIHOODS
        if _shared(ells, spectra) is not None
        for suffix in ("", "_all")
    ]
    names = []
    for output in plan.outputs:
        if output.canonical not in _CROSSES:
            names = ["max_relative_error"]
            stems += [output.name, f"{output.name}.worst"]
        elif _shared(ells, (output.canonical, *_CROSSES[output.canonical])) is not None:
            stems.append(output.name)
    if plan.derived:
        stems += ["derived", *(f"derived.{name}" for name, _ in plan.derived)]
    for stem in stems:
        names += [f"{stem}.{suffix}" for suffix in suffixes] + [f"{stem}.median"]
    return names


def check_names(plan: Plan) -> None:
    """Raises SpecError for a target that can't be measured."""
    names = metric_names(plan)
    for name in plan.data["accuracy"]:
        if name not in names:
            known = ", ".join(known for known in names if known.endswith(("p99", "error")))
            raise SpecError(
                f"{plan.place(name)}: accuracy.{name}: expected one of {known}, "
                f"or with p50, p68, p95 or max{did_you_mean(name, names)}"
            )


def _multipoles(plan: Plan) -> dict[str, Array]:
    return {output.canonical: output.axes["ell"] for output in plan.outputs if "ell" in output.axes}


def _shared(ells: Mapping[str, Array], spectra: tuple[str, ...]) -> Array | None:
    """The multipoles of several spectra; None if one is not there, or has others."""
    first = ells.get(spectra[0])
    others = [ells[name] for name in spectra[1:] if name in ells]
    if first is None or len(others) + 1 < len(spectra):
        return None
    return first if all(np.array_equal(first, ell) for ell in others) else None


def wishart(truth: tuple[Array, Array, Array], model: tuple[Array, Array, Array], ell: Array) -> Array:
    """-2 ln L of an ideal full-sky TT, TE, EE experiment at `model` when `truth` was measured, summed over
    ell: sum (2 ell + 1) [tr(C^-1 D) - ln det(C^-1 D) - 2]. Arrays (..., ell); nan where the model is not
    positive."""
    (a, b, c), (x, y, z) = truth, model
    det_model = x * z - y * y
    det_truth = a * c - b * b
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = (z * a - 2 * y * b + x * c) / det_model - np.log(det_truth / det_model) - 2
    result: Array = np.sum((2 * ell + 1) * terms, axis=-1)
    return result


def wishart_single(truth: Array, model: Array, ell: Array) -> Array:
    """The same for one spectrum: sum (2 ell + 1) [D/C - ln(D/C) - 1]."""
    ratio = truth / model
    with np.errstate(invalid="ignore"):
        result: Array = np.sum((2 * ell + 1) * (ratio - np.log(ratio) - 1), axis=-1)
    return result


def quadratic(truth: tuple[Array, Array, Array], model: tuple[Array, Array, Array], ell: Array) -> Array:
    """`wishart` to the second order in the error, per multipole: (2 ell + 1) / 2 tr[(C^-1 dC)^2]."""
    (a, b, c), (x, y, z) = truth, model
    det = a * c - b * b
    one, two = (c * (x - a) - b * (y - b)) / det, (a * (z - c) - b * (y - b)) / det
    cross = (c * (y - b) - b * (z - c)) * (a * (y - b) - b * (x - a)) / det**2
    result: Array = (2 * ell + 1) / 2 * (one**2 + two**2 + 2 * cross)
    return result


def measure(plan: Plan, emulator: Emulator, points: Array, arrays: dict[str, Array]) -> Accuracy:
    """Compares the emulator with runs at `points`; those outside its region are counted, not compared."""
    inside = (
        np.array([bool(verdict) for verdict in emulator.verdict(points)])
        if len(points)
        else np.zeros(0, bool)
    )
    points = points[inside]
    summary: dict[str, Any] = {"held_out": len(inside), "inside": len(points), "outputs": {}, "derived": {}}
    accuracy = Accuracy(summary, parameters=points)
    if not len(points):
        return accuracy
    predicted: dict[str, Array] = {}
    pairs: dict[str, tuple[Array, Array]] = {}
    squares: dict[str, float] = {}
    for output in plan.outputs:
        truth = arrays[output.canonical][inside]
        model = _predict(emulator, points, output.name)
        predicted[output.canonical] = model
        pairs[output.name] = truth, model
        entry: dict[str, Any] = {}
        profiles: dict[str, dict[str, dict[str, list[float]]]] = {}
        if output.canonical not in _CROSSES:
            error = _relative(model, truth)
            squares[output.name] = float(np.mean(error**2))
            entry["relative"] = percentiles(error)
            worst = np.max(error.reshape(len(points), -1), axis=1)
            entry["worst"] = percentiles(worst)
            accuracy.figures[output.name] = worst
            profiles["relative"] = _profile(error, output.axes)
        if output.canonical.startswith("Cl."):
            sigma = _cosmic_sigma(output.canonical, arrays, inside, _multipoles(plan))
            if sigma is not None:
                error = np.abs(model - truth) / sigma
                entry["cosmic_variance"] = percentiles(error)
                profiles["cosmic_variance"] = _profile(error, output.axes)
        summary["outputs"][output.name] = entry
        accuracy.profiles[output.name] = profiles
    if plan.derived:
        truth = chosen_derived(plan, arrays["derived"])[inside]
        model = _predict(emulator, points, "derived")
        pairs["derived"] = truth, model
        error = _relative(model, truth)
        squares["derived"] = float(np.mean(error**2))
        summary["derived"] = {name: percentiles(error[:, i]) for i, (name, _) in enumerate(plan.derived)}
    summary["delta_chi2"] = _delta_chi2(plan, arrays, predicted, inside, accuracy.figures)
    summary["predicted_error"] = _predicted_error(emulator, points, squares)
    summary["error_quantile"] = error_quantile(emulator, points, pairs)
    summary["max_relative_error"] = max(
        [entry["relative"]["max"] for entry in summary["outputs"].values() if "relative" in entry],
        default=None,
    )
    return accuracy


def _predicted_error(emulator: Emulator, points: Array, squares: dict[str, float]) -> dict[str, float]:
    """Output -> root mean square of the relative error where the family's sum of (error / sigma)^2 is 1; see
    `Emulator.error`. squares: the mean square found on the held-out runs."""
    scales = {}
    for name, found in squares.items():
        mean = float(np.mean(emulator._predicted(points, [name])[name]))
        if not name.startswith("Cl.") and np.isfinite(mean) and mean > 0 and np.isfinite(found):
            scales[name] = float(np.sqrt(found / mean))
    return scales


def error_quantile(
    emulator: Emulator, points: Array, pairs: dict[str, tuple[Array, Array]]
) -> dict[str, dict[str, Any]]:
    """Output, or "TT+TE+EE" -> how the predicted error does: `covered`, the share of the held-out runs
    whose error is below the 95 % quantile predicted for it; `low` and `high`, between which the true
    share lies with 95 % confidence; `ratio`, the median of error / expected error; `calibration`, the
    factor of the quantile, and `left_out`, how many points it rests on. For outputs whose errors in units
    of their whitening can be told from their values.

    pairs: output -> values of the code, and of the emulator."""
    whitened = {name: _whitened(emulator, name, pairs) for name in pairs}
    errors = {name: np.sum(found**2, axis=1) for name, found in whitened.items() if found is not None}
    spectra = ("Cl.tt", "Cl.te", "Cl.ee")
    damping = [_damping(emulator, name) for name in spectra if name in errors]
    first = damping[0] if len(damping) == len(spectra) else None
    if first is not None and all(d is not None and np.array_equal(d, first) for d in damping):
        truth, model = ((pairs["Cl.tt"][i], pairs["Cl.te"][i], pairs["Cl.ee"][i]) for i in (0, 1))
        each = quadratic(truth, model, emulator.axes("Cl.tt")["ell"])
        errors["TT+TE+EE"] = np.sum(each / first**2, axis=1)
    result = {}
    for name, error in errors.items():
        together = emulator.error_model(spectra if name == "TT+TE+EE" else [name])
        mean, quantile = together(points)
        if np.isfinite(quantile).all():
            result[name] = {
                **_share(error, mean, quantile),
                "calibration": together.calibration,
                "left_out": together.n_left_out,
            }
    return result


def _share(error: Array, mean: Array, quantile: Array) -> dict[str, Any]:
    n, covered = len(error), int(np.sum(error <= quantile))
    # Wilson's interval.
    share, z = covered / n, 1.96
    middle, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    ratio = float(np.median(error / mean)) if np.all(mean > 0) else None
    return {"n": n, "covered": share, "low": float(low), "high": float(high), "ratio": ratio}


def _damping(emulator: Emulator, name: str) -> Array | None:
    """By what an ideal experiment raises cosmic variance: see ErrorModel; None: not a spectrum."""
    if not name.startswith("Cl."):
        return None
    description = next(o for o in emulator.info["outputs"] if o["name"] == name)
    ell = emulator.axes(name)["ell"]
    if not emulator._in_units_of_whitening(name):
        return np.ones(len(ell))
    damping = []
    for segment in description["segments"]:
        whiten = segment["whiten"]
        here = ell[segment["first"] : segment["first"] + segment["size"]]
        last = whiten["cosmic_variance"] if isinstance(whiten, dict) else np.inf
        damping.append(1 + (here / last) ** 8)
    return np.concatenate(damping)


def _whitened(emulator: Emulator, name: str, pairs: dict[str, tuple[Array, Array]]) -> Array | None:
    """error / sigma (points, values) of the ideal experiment; None if the values do not tell it."""
    description = next(o for o in emulator.info["outputs"] if o["name"] == name)
    transforms = {t["type"]: t for t in description["point_transforms"]}
    whitening = [segment["whiten"] for segment in description["segments"]]
    relative = whitening[0].get("relative") if isinstance(whitening[0], dict) else None
    x, y = pairs[name]
    with np.errstate(invalid="ignore", divide="ignore"):
        if not emulator._in_units_of_whitening(name):
            autos = [pairs.get(f"Cl.{field}{field}") for field in name.removeprefix("Cl.")]
            if any(auto is None or auto[0].shape != x.shape for auto in autos):
                return None
            (a, _), (c, _) = autos  # type: ignore[misc]
            return np.asarray((y - x) / np.sqrt((a * c + x**2) / (2 * emulator.axes(name)["ell"] + 1)))
        if "correlation" in transforms:
            both = [pairs.get(other) for other in transforms["correlation"]["other"]]
            if any(pair is None or pair[0].shape != x.shape for pair in both):
                return None
            (a, b), (c, d) = both  # type: ignore[misc]
            error = y / np.sqrt(b * d) - x / np.sqrt(a * c)
        elif "log" in transforms and not {"ratio", "arcsinh"} & set(transforms):
            error = np.log(y / x)
        elif not transforms and relative is not None and len(whitening) == 1:
            error = (y - x) / (relative * np.abs(x).mean(axis=0))
        else:
            return None
    error = error.reshape(len(x), -1)
    if not np.isfinite(error).all():
        return None
    if not transforms:
        return np.asarray(error)
    damping = _damping(emulator, name)
    if damping is not None:
        return np.asarray(error / (damping * np.sqrt(2 / (2 * emulator.axes(name)["ell"] + 1))))
    sigma = whitening[0].get("sigma") if isinstance(whitening[0], dict) else None
    return None if sigma is None or any(w != whitening[0] for w in whitening) else np.asarray(error / sigma)


def _predict(emulator: Emulator, points: Array, name: str) -> Array:
    blocks = [emulator.evaluate(points[i : i + _BATCH], [name])[name] for i in range(0, len(points), _BATCH)]
    return np.concatenate(blocks)


def _relative(model: Array, truth: Array) -> Array:
    """Relative errors; where the truth is zero (a distance at z = 0), relative to the largest value."""
    scale = np.where(truth == 0, np.abs(truth).max(), np.abs(truth))
    error: Array = np.abs(model - truth) / scale
    return error


def percentiles(values: Array) -> dict[str, float]:
    """Of absolute errors; a value that is not a number counts as infinite."""
    clean = np.where(np.isfinite(values), values, np.inf).ravel()
    numbers = np.percentile(clean, list(PERCENTILES.values()), method="inverted_cdf")
    return {name: float(number) for name, number in zip(PERCENTILES, numbers, strict=True)}


def _profile(error: Array, axes: dict[str, Array]) -> dict[str, dict[str, list[float]]]:
    """Percentiles along each axis, over points and the other axes; long axes are summarised in bins, those of
    multipoles in bins of sqrt(ell)."""
    result = {}
    for dimension, (name, values) in enumerate(axes.items(), start=1):
        moved = np.moveaxis(error, dimension, 0).reshape(len(values), -1)
        even = np.linspace(0, 1, min(len(values), 150) + 1)
        edges = np.unique(np.round(len(values) * (even**2 if name == "ell" else even)).astype(int))
        rows = {"axis": [float(values[low:high].mean()) for low, high in pairwise(edges)]}
        numbers = [percentiles(moved[low:high]) for low, high in pairwise(edges)]
        rows.update({key: [number[key] for number in numbers] for key in PERCENTILES})
        result[name] = rows
    return result


def _cosmic_sigma(
    name: str, arrays: dict[str, Array], inside: Array, ells: Mapping[str, Array]
) -> Array | None:
    own = arrays[name][inside]
    if name not in _CROSSES:
        return np.asarray(np.abs(own) * np.sqrt(2 / (2 * ells[name] + 1)))
    first, second = _CROSSES[name]
    ell = _shared(ells, (name, first, second))
    if ell is None:
        return None
    sigma: Array = np.sqrt((own**2 + arrays[first][inside] * arrays[second][inside]) / (2 * ell + 1))
    return sigma


def _delta_chi2(
    plan: Plan,
    arrays: dict[str, Array],
    predicted: dict[str, Array],
    inside: Array,
    figures: dict[str, Array],
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for label, key, spectra in _LIKELIHOODS:
        whole = _shared(_multipoles(plan), spectra)
        if whole is None:
            continue
        for suffix, lmax in (("", LMAX), ("_all", int(whole[-1]))):
            cut = whole <= lmax
            ell = whole[cut]
            truth = [arrays[name][inside][:, cut] for name in spectra]
            model = [predicted[name][:, cut] for name in spectra]
            if len(spectra) == 3:
                value = wishart((truth[0], truth[1], truth[2]), (model[0], model[1], model[2]), ell)
            else:
                value = wishart_single(truth[0], model[0], ell)
            if not suffix:
                figures[key] = value
            result[key + suffix] = {"spectra": label, "lmax": int(ell[-1]), **percentiles(value)}
    return result


def metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers behind `metric_names`."""
    found: dict[str, float] = {}

    def add(stem: str, entry: Mapping[str, Any]) -> None:
        for key in PERCENTILES:
            found[f"{stem}.{key}"] = entry[key]
        found[f"{stem}.median"] = entry["p50"]

    if summary.get("max_relative_error") is not None:
        found["max_relative_error"] = summary["max_relative_error"]
    for stem, entry in summary.get("delta_chi2", {}).items():
        add(stem, entry)
    for name, entry in summary["outputs"].items():
        if "relative" in entry:
            add(name, entry["relative"])
            add(f"{name}.worst", entry["worst"])
        elif "cosmic_variance" in entry:
            add(name, entry["cosmic_variance"])
    derived = summary["derived"]
    for name, entry in derived.items():
        add(f"derived.{name}", entry)
    if derived:
        add("derived", {key: max(entry[key] for entry in derived.values()) for key in PERCENTILES})
    return found


def check_targets(targets: Mapping[str, float], summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Target's name -> what was asked, what was reached, whether it was met."""
    found = metrics(summary)
    return {
        name: {"target": target, "reached": found.get(name), "met": name in found and found[name] <= target}
        for name, target in targets.items()
    }
