# SPDX-License-Identifier: BSD-3-Clause
"""The tutorials do what they say: every block is run, and what it prints is compared.

A fence ``yaml NAME`` or ``c NAME`` is a file; ``sh`` and ``python`` are run (those of a page share one
interpreter from one ``sh`` to the next); a ``text`` after a block is what it prints, ``text
varies`` what it may print. ``python tests/python/test_docs.py FOLDER`` runs all pages in FOLDER and writes
the outputs into them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import zelos

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ("build", "python", "cobaya", "atlas", "learn", "c", "starfish")
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?")
PROGRESS = re.compile(r"^ +\d+ %: .*\n", re.M)  # as many as there is time for
END = "--- end of block ---"


class Block(NamedTuple):
    language: str
    name: str
    text: str
    expected: str | None = None
    varies: bool = False


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    for language, name, text in FENCE.findall(page):
        if language == "text":
            found[-1] = found[-1]._replace(expected=text, varies=name == "varies")
        else:
            found.append(Block(language, name, text))
    return found


def prepare(folder: Path) -> dict[str, str]:
    """The folder looks like a checkout; pkg-config knows the library of the installed package."""
    (folder / "configs").symlink_to(ROOT / "configs")
    package = Path(zelos.__file__).parent
    (folder / "pkgconfig").mkdir()
    (folder / "pkgconfig/zelos.pc").write_text(
        f"Name: zelos\nDescription: -\nVersion: {zelos.__version__}\n"
        f"Cflags: -I{ROOT / 'core/include'}\nLibs: -L{package} -lzelos -Wl,-rpath,{package}\n"
    )
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return {
        **os.environ,
        "PATH": os.pathsep.join(paths),
        "PKG_CONFIG_PATH": str(folder / "pkgconfig"),
        "OMP_NUM_THREADS": "1",
    }


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return PROGRESS.sub("", done.stdout)


def run_page(page: str, folder: Path, environment: dict[str, str]) -> list[tuple[Block, str]]:
    """Each block with what it printed."""
    results: list[tuple[Block, str]] = []
    waiting: list[Block] = []

    def run_python() -> None:
        if waiting:
            code = "".join(f"{block.text}\nprint({END!r}, flush=True)\n" for block in waiting)
            parts = run([sys.executable, "-c", code], folder, environment).split(END + "\n")
            results.extend(zip(waiting, parts, strict=False))
            waiting.clear()

    for block in blocks(page):
        if block.language == "python":
            waiting.append(block)
            continue
        run_python()
        if block.language == "sh":
            results.append((block, run(["bash", "-euo", "pipefail", "-c", block.text], folder, environment)))
        elif block.name:
            (folder / block.name).write_text(block.text)
    run_python()
    return results


def unit(text: str) -> float:
    """One unit in the last digit of a number as it is written."""
    digits, _, exponent = text.lower().partition("e")
    return float(10.0 ** (int(exponent or 0) - len(digits.partition(".")[2])))


def same(expected: str, found: str) -> bool:
    """The same words, and numbers that differ by two units in the last digit or a thousandth; durations may
    be anything."""

    def parts(text: str) -> tuple[list[str], list[str]]:
        text = re.sub(r"\b\d+(?:\.\d+)? ?(?:s|min|ms)\b|\b[0-9a-f]{64}\b", "*", text)
        return NUMBER.sub("#", text).split(), NUMBER.findall(text)

    words, numbers = parts(expected)
    other_words, other_numbers = parts(found)
    return words == other_words and all(
        abs(float(a) - float(b)) <= max(2 * unit(a), 1e-3 * abs(float(a)))
        for a, b in zip(numbers, other_numbers, strict=True)
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("tutorials")
    return folder, prepare(folder)


@pytest.fixture(scope="module")
def first(place: tuple[Path, dict[str, str]]) -> list[tuple[Block, str]]:
    """The first tutorial, on whose emulator the others stand."""
    pytest.importorskip("camb")
    return run_page((DOCS / "tutorials/build.md").read_text(), *place)


@pytest.mark.camb
@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_tutorial(name: str, place: tuple[Path, dict[str, str]], first: list[tuple[Block, str]]) -> None:
    if name in ("cobaya", "learn"):
        pytest.importorskip("cobaya")
    if name == "c" and not (shutil.which("cc") and shutil.which("pkg-config")):
        pytest.skip("needs a C compiler and pkg-config")
    results = first if name == "build" else run_page((DOCS / f"tutorials/{name}.md").read_text(), *place)
    assert results
    for block, found in results:
        if block.expected is not None and not block.varies:
            assert same(block.expected, found), f"{block.text}\nexpected\n{block.expected}\nfound\n{found}"


def test_readme() -> None:
    """What docs/readme.py wrote into it is what the emulators that ship say today."""
    if "CAMB_lcdm" not in zelos.list_emulators():
        pytest.skip("needs hub:CAMB_lcdm, which does not ship with this package")
    spec = importlib.util.spec_from_file_location("readme", DOCS / "readme.py")
    assert spec is not None and spec.loader is not None
    readme = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(readme)
    text = readme.README.read_text()
    for mark, content in (("python", readme.python_output(text)), ("accuracy", readme.accuracy_table())):
        written = re.search(rf"<!-- {mark} -->\n(.*?)\n<!-- end -->", text, re.S)
        assert written and same(written[1], content), mark


@pytest.mark.parametrize("page", [path.stem for path in sorted(DOCS.glob("*benchmarks.json"))])
def test_a_page_of_benchmarks_is_what_its_script_writes(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the record beside it, so that no figure on it is by hand."""
    folder, script = ROOT / "tests/benchmarks", {"benchmarks": "run", "starfish-benchmarks": "starfish"}[page]
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location(f"benchmarks_{script}", folder / f"{script}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    record = json.loads((ROOT / f"docs/{page}.json").read_text())
    assert (ROOT / f"docs/{page}.md").read_text() == module.markdown(record)


def test_comparison_of_outputs() -> None:
    assert same("a 1.23 b in 5s", "a  1.2301 b\nin 71s")
    assert not same("a 1.23", "a 1.26") and not same("a 1", "b 1") and not same("1 2", "1")


def links() -> list[tuple[Path, str]]:
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    return [(page, link) for page in pages for link in re.findall(r"\]\(([^)#\s]+)", page.read_text())]


def test_links_lead_somewhere() -> None:
    for page, link in links():
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


def texts_of_tests() -> str:
    tests = "".join(
        path.read_text() for path in (ROOT / "tests").rglob("*") if path.suffix in (".py", ".cpp")
    )
    return re.sub(r'"\s*\n\s*"', "", tests)  # a name over two lines


def named_tests(page: str) -> list[str]:
    """Names in the last column of the page's tables whose last column is "tests"."""
    tables = re.findall(r"^\|.*\| tests \|\n((?:\|.*\n)+)", (DOCS / page).read_text(), re.M)
    cells = re.findall(r"^\| .* \| (.*) \|$", "".join(tables), re.M)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("page", ["cosmomc.md", "guarantees.md", "reliability.md"])
def test_tests_that_a_page_names_exist(page: str) -> None:
    tests, names = texts_of_tests(), named_tests(page)
    assert len(names) > 20
    for name in names:
        there = (ROOT / name).exists() if "/" in name else f"def {name}(" in tests or f'"{name}"' in tests
        assert there, f"{page} names {name}"


def test_tests_of_hosts_exist() -> None:
    table = (DOCS / "hosts.md").read_text().split("| tested by |\n")[1].split("\n\n")[0]
    rows = table.splitlines()[1:]
    assert len(rows) > 8
    for row in rows:
        name = row.removesuffix(" |").rpartition("| ")[2].strip("`")
        assert (ROOT / "tests/python" / name.removeprefix("tests/python/")).exists(), name


def test_every_test_of_a_fault_is_in_the_table() -> None:
    tests = texts_of_tests()
    faults = re.findall(r'TEST_CASE\(\s*"([^"]+)",\s*"\[fallback\][^"]*\[faults\]"', tests)
    faults += re.findall(r"^def (test_\w+)\(", (ROOT / "tests/python/test_faults.py").read_text(), re.M)
    assert len(faults) > 15
    assert not set(faults) - set(named_tests("reliability.md"))


def schema_keys(node: object) -> set[str]:
    if isinstance(node, dict):
        here = set(node.get("properties", {}))
        return here.union(*(schema_keys(child) for child in node.values()))
    if isinstance(node, list):
        return set[str]().union(*(schema_keys(child) for child in node))
    return set()


def test_the_reference_has_every_key_of_the_schema() -> None:
    schema = json.loads((ROOT / "configs/schema/zelos.schema.json").read_text())
    text = (DOCS / "spec.md").read_text()
    missing = {
        key for key in schema_keys(schema) if not re.search(rf"`[^`\n]*\b{re.escape(key)}\b[^`\n]*`", text)
    }
    assert not missing


def write_outputs(folder: Path) -> None:
    environment = prepare(folder)
    for name in PAGES:
        path = DOCS / f"tutorials/{name}.md"
        page = path.read_text()
        printed = [
            found for block, found in run_page(page, folder, environment) if block.expected is not None
        ]
        print(f"{name}: {len(printed)} outputs")
        before, *rest = re.split(r"^(```text.*\n)[^`]*^```$", page, flags=re.M)
        for fence, output, after in zip(rest[::2], printed, rest[1::2], strict=True):
            before += f"{fence}{output}```{after}"
        path.write_text(before)


if __name__ == "__main__":
    write_outputs(Path(sys.argv[1]).resolve())
