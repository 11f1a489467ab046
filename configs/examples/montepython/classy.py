# SPDX-License-Identifier: BSD-3-Clause
"""Its folder on PYTHONPATH makes MontePython's `from classy import Class` an emulator (docs/hosts.md)."""

from zelos.montepython.classy import Class, CosmoComputationError, CosmoError, CosmoSevereError

__all__ = ["Class", "CosmoComputationError", "CosmoError", "CosmoSevereError"]
