# SPDX-License-Identifier: BSD-3-Clause
"""Cobaya theory: an emulator in place of a Boltzmann code, with the code itself as its fallback."""

from .theory import Zelos

__all__ = ["Zelos"]


def get_cobaya_class() -> type[Zelos]:
    """What ``theory: {zelos.cobaya: ...}`` stands for."""
    return Zelos
