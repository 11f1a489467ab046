# SPDX-License-Identifier: BSD-3-Clause
"""Prints the path of the module, for the ``file =`` of a pipeline."""

from pathlib import Path

print(Path(__file__).with_name("zelos_interface.py"))
