# SPDX-License-Identifier: BSD-3-Clause
"""The arrows of HACKING.md hold, and no file can run what it reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def core_arrows() -> dict[str, set[str]]:
    """Folder of core/src -> folders of core/src that it may include: the table of HACKING.md."""
    table = (ROOT / "HACKING.md").read_text().split("| folder | may include |\n", 1)[1].split("\n\n", 1)[0]
    arrows: dict[str, set[str]] = {}
    for row in table.splitlines()[1:]:
        folders, targets = (re.findall(r"`(\w+)`", cell) for cell in row.strip("|").split("|"))
        assert folders and not set(folders) & set(arrows), row
        arrows.update({folder: set(targets) for folder in folders})
    return arrows


CORE = core_arrows()
#: Public headers that a family may include: the ABI, and vector arithmetic without state or dependencies.
FAMILY_HEADERS = ("zelos/abi/", "zelos/simd/")
FAMILY_LIBRARIES = ("Eigen/", "nlohmann/json", "LBFGS")
#: Package -> the folder that alone may import it.
REAL_CODES = {"camb": "fallback/camb", "classy": "fallback/classy", "cobaya": "plugins/hosts/cobaya"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)
ENDS_OR_PRINTS = re.compile(
    r"\bstd::(?:cout|cerr|clog|abort|exit|_Exit|quick_exit|terminate)\b"
    r"|(?<![\w.>])(?:abort|_?exit|printf|fprintf|puts|fputs|putchar|perror|system|popen)\s*\("
)


def sources(folder: str, *suffixes: str) -> list[Path]:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    assert files, f"no {suffixes} in {folder}"
    return sorted(files)


def includes(text: str) -> Iterator[tuple[bool, str]]:
    """(quoted, what)."""
    return ((quote == '"', what) for quote, what in INCLUDE.findall(text))


def is_standard(header: str) -> bool:
    """A header of C, C++ or the compiler: no folder in its name, and none of the libraries'."""
    return "/" not in header and header not in ("hdf5.h", "Python.h", "LBFGS.h", "LBFGSB.h")


def core_problems(folder: str, text: str) -> list[str]:
    problems = []
    for quoted, header in includes(text):
        if not quoted:
            continue
        target = header.removeprefix("../").split("/")[0] if "/" in header else folder
        allowed = target == "zelos" or target == folder or target in CORE[folder]
        if not allowed:
            problems.append(header)
    return problems


def family_problems(folder: str, text: str) -> list[str]:
    own = {path.name for path in (ROOT / "plugins/families" / folder).glob("*.hpp")}
    support = {path.name for path in (ROOT / "plugins/families/support").glob("*.hpp")}
    problems = []
    for quoted, header in includes(text):
        if header.startswith("zelos/"):
            good = header.startswith(FAMILY_HEADERS)
        elif quoted:
            good = header in own or header.removeprefix("../support/") in support
        else:
            good = is_standard(header) or header.startswith(FAMILY_LIBRARIES)
        if not good:
            problems.append(header)
    return problems


@pytest.mark.parametrize("folder", sorted(p.name for p in (ROOT / "core/src").iterdir() if p.is_dir()))
def test_core_folders_depend_one_way(folder: str) -> None:
    assert folder in CORE, "a new folder of core/src: say in HACKING.md what it may include"
    for path in sources(f"core/src/{folder}", ".cpp", ".hpp"):
        assert not core_problems(folder, path.read_text()), path


def test_core_arrows_are_those_of_folders_that_are_there() -> None:
    folders = {path.name for path in (ROOT / "core/src").iterdir() if path.is_dir()}
    assert set(CORE) == folders and set().union(*CORE.values()) <= folders


def test_core_arrows_have_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(CORE):
        ready = {folder for folder, targets in CORE.items() if folder not in done and targets <= done}
        assert ready, f"a cycle among {sorted(set(CORE) - done)}"
        done |= ready


def test_public_headers_stand_alone() -> None:
    for path in sources("core/include", ".h", ".hpp"):
        for quoted, header in includes(path.read_text()):
            if quoted:
                good = (path.parent / header).is_file() or (ROOT / "core/include" / header).is_file()
            else:
                good = is_standard(header) or header.startswith(("Eigen/", "nlohmann/json"))
            assert good, f"{path}: {header}"


@pytest.mark.parametrize(
    "folder", sorted(p.name for p in (ROOT / "plugins/families").iterdir() if p.is_dir())
)
def test_families_know_the_abi_alone(folder: str) -> None:
    for path in sources(f"plugins/families/{folder}", ".cpp", ".hpp"):
        assert not family_problems(folder, path.read_text()), path


def test_hosts_and_fallbacks_use_public_headers() -> None:
    hosts = sources("plugins/hosts", ".cpp", ".hpp", ".h", ".c")
    for path in [*hosts, *sources("plugins/template", ".c"), *sources("fallback", ".cpp", ".hpp")]:
        for quoted, header in includes(path.read_text()):
            if quoted and not header.startswith("zelos/"):
                assert (path.parent / header).is_file(), f"{path}: {header}"


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module if module.strip(".") else module + node.names[0].name


def python_sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sources(folder, ".py"):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def test_each_real_code_and_host_is_imported_in_one_folder() -> None:
    for path, tree in python_sources("fallback", "plugins"):
        for module in imports(tree):
            home = REAL_CODES.get(module.split(".")[0])
            assert home is None or path.startswith(home + "/"), f"{path} imports {module}"


def test_fallback_knows_errors_alone() -> None:
    for path, tree in python_sources("fallback"):
        depth = path.count("/")
        for module in imports(tree):
            name = module.lstrip(".")
            if name != module:
                inside = len(module) - len(name) <= depth
                assert inside or name == "errors", f"{path} imports {module}"
            else:
                assert module.split(".")[0] != "zelos", f"{path} imports {module}"


def test_the_python_package_knows_no_sampler() -> None:
    for path, tree in python_sources("plugins/hosts/python"):
        for module in imports(tree):
            assert "cobaya" not in module.split("."), f"{path} imports {module}"


def test_the_core_never_prints_or_ends_the_process() -> None:
    for path in [*sources("core", ".cpp", ".hpp"), *sources("plugins/families", ".cpp", ".hpp")]:
        code = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.S)
        assert not ENDS_OR_PRINTS.findall(code), path


CODE_IN_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
RUNS_SHELL = {
    ("os", "system"),
    ("os", "popen"),
    ("subprocess", "getoutput"),
    ("subprocess", "getstatusoutput"),
}


def risks(tree: ast.AST) -> list[str]:
    """Ways from data to code."""
    found = [f"imports {name}" for name in imports(tree) if name.split(".")[0] in CODE_IN_DATA]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id in RUNS_TEXT:
            found.append(f"line {node.lineno}: {function.id}()")
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            name = (function.value.id, function.attr)
            if name in RUNS_SHELL or (name[0] == "yaml" and name[1] in ("load", "full_load", "unsafe_load")):
                found.append(f"line {node.lineno}: {'.'.join(name)}()")
        for keyword in node.keywords:
            constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg in ("allow_pickle", "shell") and constant is not False:
                found.append(f"line {node.lineno}: {keyword.arg}")
    return found


def test_no_way_from_data_to_code() -> None:
    for path, tree in python_sources("plugins", "fallback", "configs", "tests"):
        assert not risks(tree), path


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from dill import loads",
        "eval('1')",
        "yaml.load(f)",
        "np.load(f, allow_pickle=True)",
        "subprocess.run('ls', shell=True)",
        "os.system('ls')",
    ],
)
def test_risks_are_seen(text: str) -> None:
    assert risks(ast.parse(text))


def test_wrong_arrows_are_seen() -> None:
    assert core_problems("base", '#include "runtime/model.hpp"') == ["runtime/model.hpp"]
    assert core_problems("spec", '#include "../artifact/container.hpp"') == ["../artifact/container.hpp"]
    assert family_problems("polynomial", '#include "zelos/simd/vector_math.hpp"') == []
    assert family_problems("polynomial", '#include "zelos/emulator.hpp"') == ["zelos/emulator.hpp"]
    assert family_problems("polynomial", "#include <hdf5.h>") == ["hdf5.h"]
    assert family_problems("polynomial", '#include "../gaussian_process/likelihood.hpp"')
    assert ENDS_OR_PRINTS.search("  printf(text);") and not ENDS_OR_PRINTS.search("snprintf(b, 3, text)")
