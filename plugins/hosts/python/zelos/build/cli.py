# SPDX-License-Identifier: BSD-3-Clause
"""The command ``zelos_build``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import Error, MissingError, SpecError
from .progress import Console

EXIT_OK, EXIT_SPEC, EXIT_TARGET, EXIT_VERSION, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130

_EPILOG = """exit codes:
  0    done
  1    the spec is wrong; the message says where and what was expected
  2    done, but an accuracy target of the spec is missed; the artifact says so
  3    the installed code is not the one that the spec names
  4    something else failed
  130  interrupted; the same command continues
"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    console = Console(quiet=arguments.quiet)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _build(arguments, console)
    except KeyboardInterrupt:
        print(
            "zelos_build: interrupted; what is finished is kept: run the same command to continue",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    except SpecError as error:
        print(f"zelos_build: {error}", file=sys.stderr)
        return EXIT_SPEC
    except (Error, OSError) as error:
        from .stages import VersionMismatch

        print(f"zelos_build: {error}", file=sys.stderr)
        return EXIT_VERSION if isinstance(error, VersionMismatch) else EXIT_FAILED


def _build(arguments: argparse.Namespace, console: Console) -> int:
    try:
        import scipy  # noqa: F401
    except ImportError:
        raise MissingError("zelos_build needs scipy and matplotlib: pip install 'zelos[build]'") from None
    from .plan import make_plan
    from .stages import Build, Options, estimate

    try:
        plan = make_plan(arguments.spec, arguments.set)
    except Error as error:
        raise SpecError(str(error)) from None
    index, count = arguments.shard
    options = Options(
        out=Path(arguments.out),
        work=Path(arguments.work) if arguments.work else None,
        jobs=arguments.jobs,
        last=arguments.stage if count == 1 else "runs",
        shard=(index, count),
        allow_version_mismatch=arguments.allow_version_mismatch,
        retry_failed=arguments.retry_failed,
        learning_curve=not arguments.no_learning_curve,
    )
    build = Build(plan, options, console)
    if arguments.dry_run:
        estimate(build)
        return EXIT_OK
    return build.run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zelos_build",
        description="Builds an emulator from its spec: run the code, train, measure the accuracy, export.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", metavar="SPEC.yaml")
    parser.add_argument(
        "-o", "--out", metavar="DIR", default=".", help="where NAME.tar.gz is written (default: here)"
    )
    parser.add_argument("--work", metavar="DIR", help="runs and intermediate files (default: OUT/NAME.build)")
    parser.add_argument(
        "-j",
        "--jobs",
        metavar="N",
        type=_positive,
        default=os.cpu_count() or 1,
        help="processes (default: all cores)",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override the spec: --set training.n=200",
    )
    parser.add_argument("--dry-run", action="store_true", help="check the spec; estimate hours and disk")
    parser.add_argument(
        "--stage", choices=("runs", "train", "validate", "report", "export"), default="export",
        help="stop after this step (default: export)",
    )  # fmt: skip
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        default=(1, 1),
        help="make every Nth run only, from the Ith, and stop",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="forget which runs failed, and try them again"
    )
    parser.add_argument(
        "--allow-version-mismatch", action="store_true", help="build with another version of the code"
    )
    parser.add_argument(
        "--no-learning-curve", action="store_true", help="do not train on a quarter and half of the runs"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected a number >= 1")
    return number


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    try:
        shard = int(index), int(count)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected I/N, e.g. 2/8, found '{text}'") from None
    if not 1 <= shard[0] <= shard[1]:
        raise argparse.ArgumentTypeError(f"expected 1 <= I <= N, found '{text}'")
    return shard


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
