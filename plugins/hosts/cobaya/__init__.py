# SPDX-License-Identifier: BSD-3-Clause
"""Cobaya theory: an emulator in place of a Boltzmann code, with the code itself as its fallback; and the
likelihood of an observed spectrum."""

from .spectrum import Spectrum
from .theory import Zelos

__all__ = ["Spectrum", "Zelos"]


def get_cobaya_class() -> type[Zelos]:
    """What ``theory: {zelos.cobaya: ...}`` stands for."""
    return Zelos
