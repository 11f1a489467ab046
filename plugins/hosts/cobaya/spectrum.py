# SPDX-License-Identifier: BSD-3-Clause
"""The likelihood of an observed spectrum: `zelos.starfish.SpectrumModel` as Cobaya calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cobaya.likelihood import Likelihood
from cobaya.log import LoggedError


class Spectrum(Likelihood):
    """``likelihood: {zelos.cobaya.Spectrum: {emulator: FILE, data: FILE, grid_params: [...], model: {...}}}``

    emulator, data:  files of a spectral emulator and of a spectrum, as SpectrumModel takes them.
    grid_params:     values of the emulator's parameters where the run does not give them.
    model:           the other parameters of the model, nested as in SpectrumModel, likewise.
    norm, truncation, outside:  as in SpectrumModel; in `outside` a fallback is {interpolation: FILE} or
                     {code: NAME, config: {...}, error: x}.

    Parameters of the run have the model's names with "_" for ":" (cheb_1, global_cov_log_amp, local_cov_0_mu,
    orders_1_log_scale). At the end the log says who answered, how often.
    """

    emulator: str
    data: str
    grid_params: Sequence[float]
    model: Mapping[str, Any]
    norm: bool
    truncation: str
    outside: Any

    def initialize(self) -> None:
        from ..starfish import SpectrumModel

        for name in ("emulator", "data", "grid_params"):
            if not getattr(self, name):
                raise LoggedError(self.log, "zelos.cobaya.Spectrum needs '%s'", name)
        self.spectrum_model = SpectrumModel(
            self.emulator,
            self.data,
            self.grid_params,
            norm=self.norm,
            truncation=self.truncation,
            outside=self.outside,
            **self.model,
        )
        self._keys = {key.replace(":", "_"): key for key in self.spectrum_model.params}

    def get_can_support_params(self) -> list[str]:
        return list(self._keys)

    def logp(self, _derived: Any = None, **params: float) -> float:
        self.spectrum_model.set_param_dict(
            {key: params[name] for name, key in self._keys.items() if name in params}
        )
        return self.spectrum_model.log_likelihood()

    def close(self) -> None:
        counts = ", ".join(f"{who} {n}" for who, n in self.spectrum_model.answered.items())
        self.log.info("likelihoods answered by: %s", counts)
