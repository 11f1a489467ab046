#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Sets everything up and runs all tests, C++ (ctest) and Python (pytest). Exit status 0 only if both pass.
# Likelihood data are looked for in ZELOS_SHARED (default: the folder shared beside the checkout); without them the tests that
# need them are skipped. So are those of hosts that .ci/hosts can not get.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export ZELOS_SHARED=${ZELOS_SHARED:-$(realpath -m ../shared)}
build=${ZELOS_BUILD:-$root/build/tests}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
timings=()
failed=()

step() { # name command...: timed; a failure is remembered, the next step runs all the same
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$@" || failed+=("$name")
  timings+=("$(printf '%-14s %5d s' "$name" $((SECONDS - began)))")
}

set_up() { venv=$(.ci/setup test); }
build_cpp() {
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DZELOS_DEPS=system >"$results/cmake" ||
    { cat "$results/cmake"; return 1; }
  ninja -C "$build" --quiet
}
get_hosts() { .ci/hosts camb cosmosis julia turbospectrum; }
# Fallbacks in C++ run the codes of the environment that was set up, with the zelos that is installed there.
test_cpp() { ZELOS_PYTHON="$venv/bin/python" ctest --test-dir "$build" --output-on-failure --parallel "$(nproc)" 2>&1 | tee "$results/ctest"; }
test_python() { "$venv/bin/python" -m pytest tests/python 2>&1 | tee "$results/pytest"; }

step "set-up" set_up
[ ${#failed[@]} -eq 0 ] || exit 1
step "C++ build" build_cpp
step "hosts" get_hosts
step "C++ tests" test_cpp
step "Python tests" test_python

echo "== summary"
printf '%s\n' "${timings[@]}"
grep -A100 'tests passed' "$results/ctest" || echo "ctest: no result"
tail -n 1 "$results/pytest" || echo "pytest: no result"
if [ ${#failed[@]} -gt 0 ]; then
  (IFS=,; echo "FAILED: ${failed[*]}")
  exit 1
fi
echo "all tests passed"
