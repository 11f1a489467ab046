# SPDX-License-Identifier: BSD-3-Clause
"""An emulator behind the interface of CLASS's Python module: ``from zelos.montepython import Class``."""

from .classy import Class
from .errors import CosmoComputationError, CosmoError, CosmoSevereError

__all__ = ["Class", "CosmoComputationError", "CosmoError", "CosmoSevereError"]
