#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The main job, from a bare checkout: sets up what is missing, then runs a Cobaya chain on a simulated Planck-like
# experiment with the emulator that ships. Arguments go to run.py (--help). Output: planck_like/ in the working folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$("$here/../../../.ci/setup" run)
exec "$venv/bin/python" "$here/run.py" "$@"
