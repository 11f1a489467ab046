# SPDX-License-Identifier: BSD-3-Clause
"""The command ``zelos``: what is in an emulator, what there is, and what comes of a run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from .errors import Error, MissingError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="zelos", description="Looks at emulators, and evaluates them.")
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser(
        "info", help="provenance, accuracy, parameters, outputs, region of an emulator"
    )
    info.add_argument("emulator", help="hub:NAME, NAME.h5 or NAME.tar.gz")
    info.add_argument("--json", action="store_true", help="everything, as JSON")
    info.add_argument("--spec", action="store_true", help="the spec it was built from")
    commands.add_parser("list", help="what hub:NAME finds")
    evaluate = commands.add_parser("evaluate", help="evaluate at one point; prints columns")
    evaluate.add_argument("emulator")
    evaluate.add_argument("parameters", nargs="+", metavar="NAME=VALUE")
    evaluate.add_argument("--output", action="append", help="output to print (default: derived parameters)")
    evaluate.add_argument("--fallback", help="code that answers outside the region")
    migrate = commands.add_parser(
        "migrate", help="write an .h5 as this version would: the same numbers, another id"
    )
    migrate.add_argument("artifact", help="NAME.h5")
    migrate.add_argument("-o", "--output", help="where to (default: in its place)")
    commands.add_parser(
        "plugins", help="regression families; drivers of real codes, and whether their codes are installed"
    )
    extend = commands.add_parser(
        "extend", help="a new version, from what the real code answered where the emulator could not"
    )
    _add_extend(extend)
    arguments = parser.parse_args(argv)
    run = {
        "info": _info,
        "list": _list,
        "evaluate": _evaluate,
        "extend": _extend,
        "migrate": _migrate,
        "plugins": _plugins,
    }
    try:
        return int(run[arguments.command](arguments))
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Error as error:
        print(f"zelos: {error}", file=sys.stderr)
        return 1


def _info(arguments: argparse.Namespace) -> int:
    from .hub import get_emulator

    emulator = get_emulator(arguments.emulator)
    info = emulator.info
    if arguments.json:
        print(json.dumps(info, indent=2))
        return 0
    if arguments.spec:
        print(info.get("spec", ""), end="")
        return 0
    provenance, accuracy = info.get("provenance") or {}, info.get("accuracy") or {}
    print(f"{emulator.name} {emulator.version}")
    for key in ("author", "description"):
        if info.get(key):
            print(f"  {info[key]}")
    print(f"  id {emulator.id}")
    _section("Parameters")
    for parameter in emulator.core.parameters:
        others = f"  (also {', '.join(parameter.synonyms)})" if parameter.synonyms else ""
        print(
            f"  {parameter.name:12s} [{parameter.min:g}, {parameter.max:g}] {parameter.unit}{others}".rstrip()
        )
    for given, solved in emulator.solvable.items():
        print(f"  {given} may be given in place of {solved}")
    if emulator.fixed:
        print("  fixed: " + ", ".join(f"{name} = {value:g}" for name, value in emulator.fixed.items()))
    _section("Outputs")
    for output in emulator.core.outputs:
        axes = ", ".join(
            f"{len(axis.labels)} names"
            if axis.labels
            else f"{axis.name} {axis.values[0]:g} to {axis.values[-1]:g} "
            f"({len(axis.values)}) {axis.unit}".rstrip()
            for axis in output.axes
        )
        unit = f" [{output.unit}]" if output.unit else ""
        print(f"  {output.name}{unit}: {axes or 'a number'}; {output.family}")
        for axis in output.axes:
            if axis.labels:
                print(f"    {', '.join(axis.labels)}")
    if info.get("region"):
        _section("Region")
        _tree(info["region"], 2)
    _section("Accuracy on held-out runs")
    _accuracy(accuracy)
    _section("Provenance")
    for key, value in provenance.items():
        if key not in _LONG:
            print(f"  {key}: {_words(value)}")
    for key, title in _LONG.items():
        if provenance.get(key):
            print(f"  {title}:")
            print("\n".join(f"    {line}".rstrip() for line in provenance[key].splitlines()))
    return 0


#: Texts of the provenance, printed last.
_LONG = {"ini": "ini file", "settings": "settings, as the code reports them"}


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return "; ".join(map(_words, value)) or "none"
    return "none" if value is None else str(value)


def _section(title: str) -> None:
    print(f"{title}:")


def _accuracy(accuracy: dict[str, Any]) -> None:
    if not accuracy:
        print("  not measured")
        return
    if accuracy.get("target_missed"):
        missed = [name for name, target in accuracy.get("targets", {}).items() if not target["met"]]
        print(f"  TARGET MISSED: {', '.join(missed)}")
    print(f"  {accuracy.get('inside')} of {accuracy.get('held_out')} held-out runs are inside the region")
    print(f"  {'':34s} {'median':>9s} {'95 %':>9s} {'99 %':>9s} {'worst':>9s}")

    def row(title: str, entry: dict[str, Any]) -> None:
        numbers = (entry.get(key) for key in ("p50", "p95", "p99", "max"))
        print(f"  {title:34s} " + " ".join("      inf" if n is None else f"{n:9.2g}" for n in numbers))

    for entry in (accuracy.get("delta_chi2") or {}).values():
        row(f"delta chi2 {entry['spectra']}, ell <= {entry['lmax']}", entry)
    for name, entry in (accuracy.get("outputs") or {}).items():
        for kind, words in (("relative", "relative"), ("cosmic_variance", "in cosmic variance")):
            if kind in entry:
                row(f"{name}, {words}", entry[kind])
    for name, entry in (accuracy.get("derived") or {}).items():
        row(f"{name}, relative", entry)
    if accuracy.get("error_quantile"):
        print("  predicted errors: share of held-out runs below their 95 % quantile (95 % confidence)")
    for name, entry in (accuracy.get("error_quantile") or {}).items():
        numbers = f"{100 * entry['covered']:5.1f} % ({100 * entry['low']:.1f} to {100 * entry['high']:.1f} %)"
        print(f"  {name:34s} {numbers}{'' if entry['left_out'] else ', not calibrated'}")


def _tree(value: Any, indent: int) -> None:
    for key, entry in value.items() if isinstance(value, dict) else ():
        if isinstance(entry, (dict, list)) and len(json.dumps(entry)) > 200:
            continue
        print(f"{' ' * indent}{key}: {_words(entry)}")


def _list(_: argparse.Namespace) -> int:
    from .hub import list_emulators

    for name, path in sorted(list_emulators().items()):
        print(f"hub:{name}  {path}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    import numpy as np

    from .errors import ParameterError
    from .hub import get_emulator

    emulator = get_emulator(arguments.emulator, fallback=arguments.fallback)
    params = {}
    for entry in arguments.parameters:
        name, _, value = entry.rpartition("=")
        try:
            params[name] = float(value)
        except ValueError:
            raise ParameterError(f"'{entry}': expected NAME=VALUE with a number") from None
    if not arguments.output:
        for name, value in emulator.derived(params).items():
            print(f"{name} {value:.10g}")
        return 0
    for name, values in emulator.evaluate(params, arguments.output).items():
        axes = emulator.axes(name)
        print(f"# {' '.join(axes)} {name}")
        grid = np.meshgrid(*axes.values(), indexing="ij")
        np.savetxt(
            sys.stdout, np.column_stack([*(axis.ravel() for axis in grid), values.ravel()]), fmt="%.10g"
        )
    return 0


def _migrate(arguments: argparse.Namespace) -> int:
    from . import _core

    target = arguments.output or arguments.artifact
    print(f"{target}: id {_core.migrate(arguments.artifact, target)}")
    return 0


def _plugins(_: argparse.Namespace) -> int:
    from ._core import families
    from .fallback import driver as drivers

    print(f"families: {', '.join(families())}")
    for name in drivers.available():
        try:
            print(f"{name} {drivers.load(name)({}, {}).version}")
        except (ImportError, Error) as error:
            print(f"{name}: the code is not installed ({error})")
    return 0


def _add_extend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("emulator", metavar="ARTIFACT", help="hub:NAME, NAME.h5 or NAME.tar.gz")
    parser.add_argument(
        "--from", dest="caches", metavar="CACHE", action="append", required=True,
        help="folder of a run's fallback answers (may be given several times)",
    )  # fmt: skip
    runs = parser.add_mutually_exclusive_group()
    runs.add_argument(
        "--runs", metavar="FOLDER",
        help="training runs of ARTIFACT: NAME.build of its build (found if it is beside ARTIFACT)",
    )  # fmt: skip
    runs.add_argument("--rerun", action="store_true", help="make the training runs of ARTIFACT again")
    runs.add_argument("--alone", action="store_true", help="train on the answers alone")
    parser.add_argument("-o", "--out", metavar="DIR", default=".", help="where the archive is written")
    parser.add_argument("--work", metavar="DIR", help="intermediate files (default: OUT/NAME.extend)")
    parser.add_argument("-j", "--jobs", metavar="N", type=int, default=1, help="processes, threads")
    parser.add_argument("--version", help="of the new emulator (default: the next one)")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def _extend(arguments: argparse.Namespace) -> int:
    try:
        import scipy  # noqa: F401
    except ImportError:
        raise MissingError("zelos extend needs scipy and matplotlib: pip install 'zelos[build]'") from None
    from .build.extend import command

    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
