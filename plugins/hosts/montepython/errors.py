# SPDX-License-Identifier: BSD-3-Clause
"""classy's exceptions."""


class CosmoError(Exception):
    """As in classy."""


class CosmoSevereError(CosmoError):
    """What was asked for can not be had: MontePython stops."""


class CosmoComputationError(CosmoError):
    """This point can not be computed: MontePython rejects it."""


class NotEmulated(CosmoSevereError):
    """The emulator can not answer; CLASS could."""
