# SPDX-License-Identifier: BSD-3-Clause
"""What likelihoods use of CAMB's Python module, answered by an emulator::

    from zelos import camb

    params = camb.set_params(H0=67.4, ombh2=0.0224, omch2=0.12, tau=0.054, As=2.1e-9, ns=0.965)
    powers = camb.get_results(params).get_cmb_power_spectra(CMB_unit="muK")

Names, units, shapes and defaults are CAMB's. Outside the emulator's region CAMB itself answers, with the
settings of the training; what is not emulated it answers with the script's (`use` says otherwise: then it is
a `zelos.ArgumentError`). A `camb.CAMBparams` is no input here: its settings could not be told from its
physics.
"""

from typing import Any

from .results import Params, PowerInterpolator, Results, get_background, get_results, set_params, use

__all__ = ["Params", "PowerInterpolator", "Results", "get_background", "get_results", "set_params", "use"]


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"zelos.camb has no '{name}': a script gives its parameters to zelos.camb.set_params, "
        "and has the rest of CAMB from CAMB itself (import camb)"
    )
