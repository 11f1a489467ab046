# SPDX-License-Identifier: BSD-3-Clause
"""Zelos.jl in a real Julia, and every foreign signature in Julia and Fortran held against the header."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from ..conftest import hosts_folder
from .conftest import HERE, HOSTS, INCLUDE, PACKAGE, TOLERANCE, Reference, run

JULIA = HOSTS / "julia"
#: Functions that Zelos.jl and zelos_c.f90 do not declare.
UNUSED = {
    *("zelos_emulator_open_memory", "zelos_status_text", "zelos_query_n_physics", "zelos_query_physics"),
    *("zelos_physics", "zelos_convert", "zelos_fallback_evaluate", "zelos_fallback_count"),
    "zelos_fallback_report_json",
}
HANDLES = ("emulator", "query", "workspace", "fallback", "error_model")
#: C type -> Julia types that are the same to a ccall.
JULIA_TYPES = {
    "void": {"Cvoid"},
    "int32_t": {"Int32"},
    "int64_t": {"Int64"},
    "double": {"Cdouble"},
    "zelos_status": {"Cint"},
    "const char*": {"Ptr{UInt8}", "Cstring"},
    "const char* const*": {"Ptr{Ptr{UInt8}}"},
    "double*": {"Ptr{Cdouble}"},
    "const double*": {"Ptr{Cdouble}"},
    "int32_t*": {"Ptr{Int32}"},
    "uint32_t*": {"Ptr{UInt32}"},
    "int64_t*": {"Ptr{Int64}"},
    "zelos_error*": {"Ptr{CError}"},
    "zelos_verdict*": {"Ptr{CVerdict}"},
    "const zelos_request*": {"Ptr{CRequest}"},
    "zelos_parameter_info*": {"Ptr{CParameterInfo}"},
    "zelos_output_info*": {"Ptr{COutputInfo}"},
    "zelos_axis_info*": {"Ptr{CAxisInfo}"},
    "const zelos_open_options*": {"Ptr{Cvoid}"},
    "const zelos_fallback_options*": {"Ptr{CFallbackOptions}"},
    "const zelos_likelihood*": {"Ptr{CLikelihood}"},
    "zelos_source*": {"Ptr{Cint}"},
    **{f"{const}zelos_{name}*": {"Ptr{Cvoid}"} for const in ("", "const ") for name in HANDLES},
    **{f"zelos_{name}**": {"Ptr{Ptr{Cvoid}}"} for name in HANDLES},
}
#: C type -> declaration of a Fortran dummy argument, without its name; the second of a result.
FORTRAN_TYPES = {
    "int32_t": "integer(c_int32_t), value",
    "int64_t": "integer(c_int64_t), value",
    "zelos_status": "integer(c_int), value",
    "const char*": "character(kind=c_char), intent(in)",
    "const char* const*": "type(c_ptr), intent(in)",
    "double*": "real(c_double), intent(inout)",
    "const double*": "real(c_double), intent(in)",
    "int32_t*": "integer(c_int32_t), intent(inout)",
    "uint32_t*": "integer(c_int32_t), intent(out)",
    "int64_t*": "integer(c_int64_t), intent(inout)",
    "zelos_error*": "type(c_error), intent(inout)",
    "zelos_verdict*": "type(c_verdict), intent(inout)",
    "const zelos_request*": "type(c_request), intent(in)",
    "zelos_parameter_info*": "type(c_parameter_info), intent(inout)",
    "zelos_output_info*": "type(c_output_info), intent(inout)",
    "zelos_axis_info*": "type(c_axis_info), intent(inout)",
    "const zelos_open_options*": "type(c_ptr), value",
    "const zelos_fallback_options*": "type(c_fallback_options), intent(in)",
    "const zelos_likelihood*": "type(c_likelihood), intent(in)",
    "zelos_source*": "integer(c_int), intent(inout)",
    **{f"{const}zelos_{name}*": "type(c_ptr), value" for const in ("", "const ") for name in HANDLES},
    **{f"zelos_{name}**": "type(c_ptr), intent(inout)" for name in HANDLES},
}
FORTRAN_RESULTS = {
    "zelos_status": "integer(c_int)",
    "int32_t": "integer(c_int32_t)",
    "int64_t": "integer(c_int64_t)",
    "const char*": "type(c_ptr)",
}


def header() -> dict[str, tuple[str, list[str]]]:
    """Function of zelos.h -> its result and its arguments, as C types."""
    text = re.sub(r"/\*.*?\*/", "", (INCLUDE / "zelos/abi/zelos.h").read_text(), flags=re.S)
    found = {}
    pattern = r"ZELOS_EXPORT\s+(?:ZELOS_MUST_CHECK\s+)?([\w\s*]+?)\s*\b(zelos_\w+)\(([^)]*)\);"
    for result, name, arguments in re.findall(pattern, text):
        types = [re.sub(r"\s*\b\w+$", "", one.strip()) for one in arguments.split(",")]
        found[name] = (plain(result), [] if arguments.strip() == "void" else [plain(one) for one in types])
    assert len(found) > 25
    return found


def plain(c_type: str) -> str:
    return re.sub(r"\s*\*", "*", " ".join(c_type.split())).replace("*const*", "* const*")


def split(arguments: str) -> list[str]:
    """At the commas outside of braces."""
    return [one.strip() for one in re.split(r",(?![^{]*\})", arguments) if one.strip()]


def test_julia_signatures() -> None:
    functions = header()
    text = (JULIA / "src/Zelos.jl").read_text()
    calls = re.findall(r"ccall\(FUNCTIONS\[:(\w+)\],\s*([\w{}]+),\s*\(((?:[^()])*)\)", text)
    getters = re.findall(
        r"\(:\S+, :(zelos_(?:emulator|fallback)_\w+)\)", text.replace(":(Base.nameof)", ":nameof")
    )
    assert text.count("ccall(FUNCTIONS[$(QuoteNode(symbol))], Ptr{UInt8}, (Ptr{Cvoid},), ") == 2
    calls += [(name, "Ptr{UInt8}", "Ptr{Cvoid},") for name in getters]
    for name, result, arguments in calls:
        c_result, c_arguments = functions[name]
        assert result in JULIA_TYPES[c_result], name
        types = split(arguments)
        assert len(types) == len(c_arguments), name
        for mine, c_type in zip(types, c_arguments, strict=True):
            assert mine in JULIA_TYPES[c_type], f"{name}: {mine} for {c_type}"
    called = {name for name, _, _ in calls}
    assert called >= set(functions) - UNUSED - {"zelos_version"}
    table = re.search(r"const SYMBOLS = \((.*?)\)", text, re.S)
    assert table and set(re.findall(r":(\w+)", table[1])) >= called


def test_fortran_signatures() -> None:
    functions = header()
    text = re.sub(r"&\n\s*", "", (HOSTS / "fortran/zelos_c.f90").read_text())
    pattern = (
        r"(function|subroutine) (\w+)\(([^)]*)\)\s*bind\(C, name=\"(zelos_\w+)\"\)(?: result\((\w+)\))?\n"
        r"(.*?)\n\s*end (?:function|subroutine)"
    )
    found = re.findall(pattern, text, re.S)
    for _, _, arguments, name, result, body in found:
        declared: dict[str, str] = {}
        for declaration, names in re.findall(r"^\s*([^!\n]*?) :: (.*)$", body, re.M):
            for variable in re.split(r",\s*", names):
                declared[variable.split("(")[0].strip()] = declaration.strip()
        c_result, c_arguments = functions[name]
        dummies = [dummy.strip() for dummy in arguments.split(",") if dummy.strip()]
        assert len(dummies) == len(c_arguments), name
        for dummy, c_type in zip(dummies, c_arguments, strict=True):
            assert declared[dummy] == FORTRAN_TYPES[c_type], f"{name}: {dummy}"
        assert (declared[result] == FORTRAN_RESULTS[c_result]) if result else c_result == "void", name
    assert {name for _, _, _, name, _, _ in found} >= set(functions) - UNUSED


def test_structs_have_the_headers_members() -> None:
    text = re.sub(r"/\*.*?\*/", "", (INCLUDE / "zelos/abi/zelos.h").read_text(), flags=re.S)
    julia, fortran = (JULIA / "src/Zelos.jl").read_text(), (HOSTS / "fortran/zelos_c.f90").read_text()
    for name in (
        *("parameter_info", "output_info", "axis_info", "request", "verdict", "fallback_options"),
        "likelihood",
    ):
        body = re.search(rf"typedef struct zelos_{name} \{{(.*?)\}}", text, re.S)
        assert body
        members: list[str] = []
        for line in body[1].split(";"):
            members += [
                re.sub(r"\[.*\]", "", word.split()[-1].lstrip("*"))
                for word in line.split(",")
                if word.strip()
            ]
        mine = re.search(rf"struct C{name.title().replace('_', '')}\n(.*?)end", julia, re.S)
        assert mine and re.findall(r"^\s+(\w+)::", mine[1], re.M) == members, name
        theirs = re.search(rf"type, bind\(C\) :: c_{name}\n(.*?)end type", fortran, re.S)
        assert theirs
        listed = ",".join(re.findall(r":: (.*)$", theirs[1], re.M))
        listed = re.sub(r"\([^)]*\)| = [\w]+", "", listed)
        assert [one.strip() for one in listed.split(",")] == members, name


@pytest.fixture(scope="module")
def julia() -> Path:
    own = hosts_folder() / "julia-1.5.3/julia"
    found = shutil.which("julia")
    if own.is_file():
        return own
    if found is None:
        pytest.skip(f"needs Julia, on PATH or in {own.parent}: .ci/hosts julia")
    return Path(found)


def call(julia: Path, script: Path, *arguments: object) -> str:
    environment = {**os.environ, "ZELOS_LIBRARY": str(PACKAGE / "libzelos.so")}
    return run([julia, "-O1", f"--project={JULIA}", script, *arguments], env=environment)


@pytest.mark.slow
def test_package(julia: Path, artifact: Path, ones: Path) -> None:
    call(julia, JULIA / "test/runtests.jl", artifact, ones)


def test_same_points(julia: Path, artifact: Path, reference: Reference) -> None:
    assert float(call(julia, HERE / "compare.jl", artifact, reference.folder)) <= TOLERANCE
