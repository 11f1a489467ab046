# SPDX-License-Identifier: BSD-3-Clause
"""The report: ``report.json`` for programs, ``report.html`` (one file, no links) for people."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..pages import image, page, table
from .validate import Accuracy

_CURVES = (("p50", "median", "C0"), ("p68", "68 %", "C2"), ("p95", "95 %", "C1"), ("p99", "99 %", "C3"))
_AXIS_LABELS = {"ell": r"$\ell$", "k": r"$k$ [1/Mpc]", "z": r"$z$", "wavelength": "wavelength [Å]"}
#: Ticks of axes of multipoles, which are drawn in sqrt(ell): the lowest ones must not vanish.
_ELL_TICKS = (2, 10, 30, 100, 200, 500, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 6000, 8000, 10000)

#: Figures that are shown against each parameter.
_MAPPED = ("delta_chi2", "delta_chi2_pp")
_WORST = 5


def build_json(
    plan_name: str,
    names: list[str],
    accuracy: Accuracy,
    targets: Mapping[str, Any],
    provenance: Mapping[str, Any],
    timing: Mapping[str, Any],
    learning: list[dict[str, Any]],
) -> dict[str, Any]:
    """The content of report.json; names: of the parameters, in the order of the accuracy's."""
    return {
        "name": plan_name,
        "accuracy": accuracy.summary,
        "targets": dict(targets),
        "profiles": accuracy.profiles,
        "worst_points": _worst_points(accuracy, names),
        "learning_curve": learning,
        "timing": dict(timing),
        "provenance": dict(provenance),
    }


def _worst_points(accuracy: Accuracy, names: list[str], count: int = 10) -> dict[str, list[dict[str, Any]]]:
    worst = {}
    for label, values in accuracy.figures.items():
        order = np.argsort(values)[::-1][:count]
        worst[label] = [
            {
                "value": float(values[i]),
                "parameters": dict(zip(names, accuracy.parameters[i].tolist(), strict=True)),
            }
            for i in order
        ]
    return worst


def build_html(
    report: Mapping[str, Any],
    accuracy: Accuracy,
    ranges: Mapping[str, tuple[float, float]],
    units: Mapping[str, str],
    spec_text: str,
) -> str:
    parts = [_headline(report), _accuracy_tables(report)]
    for name, kinds in accuracy.profiles.items():
        for kind, axes in kinds.items():
            what = "relative error" if kind == "relative" else "error / cosmic variance per multipole"
            for axis, rows in axes.items():
                parts.append(image(_profile_plot(name, what, axis, rows), f"{name}: {what} against {axis}"))
    if accuracy.figures and len(accuracy.parameters):
        parts.append("<h2>How the error is distributed</h2>")
        parts.append(image(_histograms(accuracy), "histograms"))
        parts.append("<h2>Where the worst points lie</h2>")
        for label in [name for name in accuracy.figures if name in _MAPPED] or [next(iter(accuracy.figures))]:
            parts.append(image(_where(label, accuracy, ranges), f"{label} against each parameter"))
    if report["learning_curve"]:
        parts.append("<h2>Learning curve</h2>")
        parts.append(image(_learning_plot(report["learning_curve"], accuracy), "learning curve"))
    parts += [
        "<h2>Timing</h2>",
        table(("what", "value"), report["timing"].items()),
        "<h2>Ranges</h2>",
        table(
            ("parameter", "from", "to", "unit"), [(n, a, b, units.get(n, "")) for n, (a, b) in ranges.items()]
        ),
        _provenance(report["provenance"]),
        f"<details><summary>Spec</summary><pre>{html.escape(spec_text)}</pre></details>",
    ]
    return page(f"{report['name']}: accuracy report", "\n".join(parts))


def _headline(report: Mapping[str, Any]) -> str:
    summary = report["accuracy"]
    text = f"<p>{summary['inside']} of {summary['held_out']} held-out runs are inside the region.</p>"
    if report["provenance"].get("version_mismatch"):
        text += f"<p class=bad>Version mismatch: {html.escape(report['provenance']['version_mismatch'])}</p>"
    if report["targets"]:
        rows = [
            (name, t["target"], t["reached"], "met" if t["met"] else "MISSED")
            for name, t in report["targets"].items()
        ]
        text += "<h2>Targets</h2>" + table(("target", "at most", "reached", ""), rows)
    return text


def _accuracy_tables(report: Mapping[str, Any]) -> str:
    summary = report["accuracy"]
    head = ("", "median", "68 %", "95 %", "99 %", "worst")

    def numbers(entry: Mapping[str, float]) -> list[float]:
        return [entry[key] for key in ("p50", "p68", "p95", "p99", "max")]

    text = "<h2>Accuracy on held-out runs</h2>"
    if summary.get("delta_chi2"):
        rows = [
            (f"{e['spectra']}, ell &le; {e['lmax']}", *numbers(e)) for e in summary["delta_chi2"].values()
        ]
        text += "<h3>&Delta;&chi;&sup2; of an ideal full-sky experiment</h3>" + table(
            head, rows, raw_first=True
        )
    rows = []
    for name, entry in summary["outputs"].items():
        for kind, label in (
            ("relative", "relative"),
            ("worst", "relative, worst of each run"),
            ("cosmic_variance", "in cosmic variance"),
        ):
            if kind in entry:
                rows.append((f"{name}, {label}", *numbers(entry[kind])))
    text += "<h3>Errors of the outputs</h3>" + table(head, rows)
    if summary["derived"]:
        rows = [(name, *numbers(entry)) for name, entry in summary["derived"].items()]
        text += "<h3>Derived parameters, relative</h3>" + table(head, rows)
    return text + predicted_table(summary.get("error_quantile", {}))


def predicted_table(entries: Mapping[str, Any]) -> str:
    """The section on how often held-out errors are below the quantiles predicted for them."""
    if not entries:
        return ""
    rows = [
        (
            name,
            f"{100 * entry['covered']:.1f} %",
            f"{100 * entry['low']:.1f} to {100 * entry['high']:.1f} %",
            "" if entry["ratio"] is None else entry["ratio"],
            entry["n"],
            entry["left_out"] or "not calibrated",
        )
        for name, entry in entries.items()
    ]
    head = (
        "",
        "below the 95 % quantile",
        "95 % confidence",
        "median error / expected",
        "runs",
        "calibrated with",
    )
    return "<h3>Predicted errors against the held-out runs</h3>" + table(head, rows)


def _provenance(record: Mapping[str, Any]) -> str:
    rows = []
    for key, value in record.items():
        if key in ("settings", "ini"):
            continue
        rows.append(
            (key, ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, Mapping) else value)
        )
    settings = html.escape(str(record.get("settings", "")))
    return (
        "<h2>Provenance</h2>"
        + table(("what", "value"), rows)
        + f"<details><summary>All settings as the code reports them</summary><pre>{settings}</pre></details>"
    )


def _figure(columns: int = 1, rows: int = 1, size: tuple[float, float] = (8.0, 3.2)) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()


def _profile_plot(name: str, what: str, axis: str, rows: Mapping[str, list[float]]) -> Any:
    figure, (panel,) = _figure()
    x = np.array(rows["axis"])
    panel.plot(x, _positive(rows["max"]), color="0.75", lw=0.8, label="worst")
    for key, label, colour in _CURVES:
        panel.plot(x, _positive(rows[key]), color=colour, lw=1.2, label=label)
    panel.set_yscale("log")
    if axis == "k":
        panel.set_xscale("log")
    elif axis == "ell":
        panel.set_xscale("function", functions=(_root, np.square))
        panel.set_xlim(max(0.0, x[0] - 1), x[-1])
        panel.set_xticks([tick for tick in _ELL_TICKS if x[0] <= tick <= x[-1]], minor=False)
    panel.set(title=name, xlabel=_AXIS_LABELS.get(axis, axis), ylabel=what)
    figure.legend(*panel.get_legend_handles_labels(), ncols=5, fontsize=8, loc="outside lower center")
    panel.grid(alpha=0.3)
    return figure


def _root(values: Any) -> Any:
    return np.sqrt(np.maximum(values, 0))


def _title(label: str, accuracy: Accuracy) -> str:
    """What a figure of merit is, for an axis."""
    entry = accuracy.summary.get("delta_chi2", {}).get(label)
    if entry is None:
        return f"{label}: worst relative error"
    return rf"$\Delta\chi^2$, {entry['spectra']}, $\ell \leq {entry['lmax']}$"


def _positive(values: Any) -> Any:
    clean = np.asarray(values, float)
    return np.where(np.isfinite(clean) & (clean > 0), clean, np.nan)


def _histograms(accuracy: Accuracy) -> Any:
    figures = sorted(accuracy.figures.items(), key=lambda item: not item[0].startswith("delta_chi2"))
    columns = min(3, len(figures))
    rows = -(-len(figures) // columns)
    figure, panels = _figure(columns, rows, (10, 2.5 * rows))
    for panel, (label, values) in zip(panels, figures, strict=False):
        clean = _positive(values)
        clean = clean[np.isfinite(clean)]
        if clean.size:
            panel.hist(clean, bins=np.geomspace(clean.min() / 1.01, clean.max() * 1.01, 25))
            panel.set_xscale("log")
            # Whole decades, so that at least two of them have labels.
            low, high = np.floor(np.log10(clean.min())), np.ceil(np.log10(clean.max()))
            panel.set_xlim(10.0**low, 10.0 ** max(high, low + 1))
            panel.axvline(np.median(clean), color="C3", lw=1)
        panel.set_xlabel(_title(label, accuracy), fontsize=9)
        panel.set_ylabel("held-out runs", fontsize=9)
        panel.yaxis.get_major_locator().set_params(integer=True)
    for panel in panels[len(figures) :]:
        panel.set_axis_off()
    return figure


def _where(label: str, accuracy: Accuracy, ranges: Mapping[str, tuple[float, float]]) -> Any:
    columns = min(3, len(ranges))
    rows = -(-len(ranges) // columns)
    figure, panels = _figure(columns, rows, (10, 2.6 * rows))
    values = _positive(accuracy.figures[label])
    worst = np.argsort(accuracy.figures[label])[-_WORST:]
    for i, (panel, (name, (low, high))) in enumerate(zip(panels, ranges.items(), strict=False)):
        panel.plot(accuracy.parameters[:, i], values, ".", ms=4)
        panel.plot(accuracy.parameters[worst, i], values[worst], "o", mfc="none", color="C3", ms=7)
        panel.set(xlabel=name, xlim=(low, high), yscale="log")
        panel.grid(alpha=0.3)
    figure.supylabel(_title(label, accuracy), fontsize=10)
    for panel in panels[len(ranges) :]:
        panel.set_axis_off()
    return figure


def _learning_plot(curve: list[dict[str, Any]], accuracy: Accuracy) -> Any:
    labels = [key for key in curve[-1] if key != "n"]
    columns = min(3, len(labels))
    rows = -(-len(labels) // columns)
    figure, panels = _figure(columns, rows, (10, 2.8 * rows))
    for panel, label in zip(panels, labels, strict=False):
        for key, name, colour in _CURVES:
            panel.plot(
                [row["n"] for row in curve],
                [row[label][key] for row in curve],
                "o-",
                color=colour,
                label=name,
            )
        panel.set(xscale="log", yscale="log", xlabel="training runs")
        panel.set_title(_title(label, accuracy), fontsize=9)
        sizes = [row["n"] for row in curve]
        panel.set_xticks(sizes, [str(n) for n in sizes])
        panel.set_xticks([], minor=True)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    for panel in panels[len(labels) :]:
        panel.set_axis_off()
    return figure
