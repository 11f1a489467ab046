# SPDX-License-Identifier: BSD-3-Clause
"""CosmoSIS module: zelos_interface.py is what ``file =`` names."""
