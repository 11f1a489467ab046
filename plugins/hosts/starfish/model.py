# SPDX-License-Identifier: BSD-3-Clause
"""The likelihood of an observed spectrum, with the interface of Starfish.models.SpectrumModel (0.4).

The emulated spectrum is linear in the weights, and so is all that happens to it: with the rows X_k =
eigenspectrum k times flux_std, broadened, shifted and sampled at the data's pixels, and p the product of
extinction, Chebyshev series and scale,

    flux = p (mean + sum_k mu_k X_k)
    C    = (p X) Sigma_w (p X)^T + diag(sigma^2) + K_residual + K_global + K_local

(Czekala et al. 2015, eqs. 49-50), where orders have Sigma_w in common: the rows of p X are those of all of
them. Nothing of size N x N is made: zelos/spectrum.hpp.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import _core
from ..errors import ArgumentError, FormatError, OutsideRegion
from . import starfish_compat as compat
from .emulator import Emulator
from .fit import maximise
from .grid import Array
from .observed import LN_MAGNITUDE, OrderPixels, Source
from .outside import Ladder
from .parameters import ModelParameters
from .spectrum import Order, Spectrum
from .transforms import convert_series

#: Metadata of a file whose Chebyshev series are over the range of an order; Starfish's have no such entry.
_CHEB_RANGE = "cheb_range"

_TRUNCATION = ("correlated", "diagonal", "none")


class Prior(Protocol):
    """A frozen distribution of scipy.stats is one."""

    def logpdf(self, x: Any, /) -> Any: ...


def _log_density(prior: Prior, x: Array) -> float:
    """Of one parameter, or of a group: the sum, unless the distribution is one of all together."""
    return float(np.sum(prior.logpdf(x if len(x) > 1 else x[0])))


def _slope_of_density(prior: Prior, x: Array, step: Array) -> float:
    """By the parameter of the step; at the end of a prior's support from its inner side."""
    ends = [(end, _log_density(prior, end)) for end in (x - step, x, x + step)]
    inner = [end for end in ends if np.isfinite(end[1])]
    (first, below), (last, above) = inner[0], inner[-1]
    return float((above - below) / np.sum(last - first)) if len(inner) > 1 else 0.0


class _Prediction(NamedTuple):
    """A model at the present grid parameters: the emulator's weights, or a fallback's spectrum."""

    source: Source
    mean: Array  # (m)
    root: Array  # lower triangle: covariance = root @ root.T; its diagonal alone if that is all
    mean_slope: Array | None
    covariance_slope: list[Array] | None
    norm: tuple[float, float] | None  # factor and standard deviation of its logarithm, if not the emulator's


class _State(NamedTuple):
    """One order at the present parameters."""

    rows: Array  # (N, m + 2): X, mean, residual's standard deviation
    slopes: tuple[Array, Array] | None  # of the rows by vz and vsini
    extinction: Array
    series: Array
    scale: float
    flux: Array
    covariance: Any  # zelos/spectrum.hpp: PixelCovariance
    pixels: Any  # zelos/spectrum.hpp: Pixels
    norm: tuple[float, float]  # factor, standard deviation of its logarithm
    combination: Any  # zelos/spectrum.hpp: RowCombination


class _Kept(NamedTuple):
    """A prediction, and what it is of."""

    process: Any
    ladder: Ladder
    point: bytes
    who: str
    prediction: _Prediction


class SpectrumModel(ModelParameters):
    """A model of one spectrum: Starfish's parameters and methods.

    emulator:     an `Emulator` or its file.
    data:         a `Spectrum` or its file; several orders share all parameters but those in `orders`.
    grid_params:  the emulator's parameters, in its order.
    norm:         scale by the library's flux, with the uncertainty of that; log_scale is then 2 ln(R / d).
    vz, vsini:    km/s; vsini = 0 does not rotate.
    Av, Rv:       magnitudes; Rv is 3.1 if not given. The law is ccm89.
    log_scale:    natural logarithm of the scale; without it the integral of the data is matched.
    cheb:         coefficients c1, c2, ... of a series over the range of the order's wavelengths, whose
                  constant is 1.
    global_cov:   {"log_amp", "log_ls"}; local_cov: [{"mu", "log_amp", "log_sigma"}, ...].
    orders:       a dictionary for each order with what it has of its own: vz, log_scale, cheb, global_cov,
                  local_cov.
    truncation:   how the covariance of what the components leave out enters: "correlated" (with its
                  correlation length), "diagonal", or "none" as in Starfish.
    outside:      a point that the library does not surround is an OutsideRegion ("error"), or has the
                  likelihood zero ("reject"), or is answered by fallbacks (`Interpolation`, `Code`, or
                  anything like them), which are asked in turn: [Interpolation(library), Code(driver),
                  "reject"]; `make_fallback` says how to write them in a file. Their stated error enters the
                  covariance; there is no gradient there. `answered` counts who answered.
    starfish_compat:  Starfish's own covariance, with the inverse of Sigma_w where Sigma_w should stand,
                      extinction and series on the factors of X, the series one of wave / wave.max(), Rv
                      ignored, no truncation; dense, for comparison alone.

    Not thread-safe: a sampler that uses threads needs a model for each.
    """

    def __init__(
        self,
        emulator: Emulator | str | os.PathLike[str],
        data: Spectrum | str | os.PathLike[str],
        grid_params: Sequence[float],
        max_deque_len: int = 100,
        norm: bool = False,
        name: str = "SpectrumModel",
        *,
        truncation: str = "correlated",
        outside: Any = "error",
        starfish_compat: bool = False,
        **params: Any,
    ) -> None:
        emulator = emulator if isinstance(emulator, Emulator) else Emulator.load(emulator)
        spectrum = data if isinstance(data, Spectrum) else Spectrum.load(data)
        super().__init__(emulator.param_names, len(spectrum), grid_params, params)
        self.starfish_compat = starfish_compat
        self._outside = outside
        self.emulator = emulator
        self.truncation = truncation
        self.spectrum = spectrum
        self.data_name = spectrum.name
        self.name = name
        self.norm = norm
        self.residuals: deque[Array] = deque(maxlen=max_deque_len)
        self.log = logging.getLogger(type(self).__name__)
        self._pixels = [OrderPixels(order) for order in spectrum]
        self._who = "emulator"
        self._lnprob: float | None = None
        self._log_scale: float | None = self.params.get("log_scale")
        self._checked: Any = None
        self._check()

    @property
    def data(self) -> Order:
        """The first order."""
        return self.spectrum[0]

    @property
    def emulator(self) -> Emulator:
        """Another one must have the same parameters."""
        return self._emulator

    @emulator.setter
    def emulator(self, emulator: Emulator) -> None:
        if emulator.param_names != self._grid_names:
            raise ArgumentError(
                f"emulator: expected one of {', '.join(self._grid_names)}, found one of "
                f"{', '.join(emulator.param_names)}"
            )
        if self.starfish_compat and emulator.log_flux:
            raise ArgumentError("starfish_compat: Starfish has no emulators of log_flux")
        self._emulator = emulator
        self._forget()
        self.outside = self._outside  # of its wavelengths

    @property
    def truncation(self) -> str:
        return self._truncation

    @truncation.setter
    def truncation(self, truncation: str) -> None:
        if truncation not in _TRUNCATION:
            raise ArgumentError(f"truncation: expected {', '.join(_TRUNCATION)}, found '{truncation}'")
        self._truncation = truncation
        self._forget()

    def _forget(self) -> None:
        self._source: Source | None = None
        self._starfish_source: Source | None = None
        self._kept: _Kept | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Of pickles and deep copies: without what is computed once."""
        return self.__dict__ | {"_source": None, "_starfish_source": None, "_kept": None, "_pixels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pixels = [OrderPixels(order) for order in self.spectrum]

    @property
    def starfish_source(self) -> Source:
        """Factors of the emulator's rows."""
        e = self.emulator
        if self._starfish_source is None or self._starfish_source.wl is not e.wl:
            self._starfish_source = Source(e.wl, e.eigenspectra, e.flux_mean, e.flux_std, 0.0)
        return self._starfish_source

    @property
    def outside(self) -> Any:
        return self._outside

    @outside.setter
    def outside(self, value: Any) -> None:
        self._ladder = Ladder(value, self.emulator.whole_wl, self.emulator.param_names)
        self._outside = value

    @property
    def answered(self) -> dict[str, int]:
        """How many likelihoods the emulator and each fallback have answered, and how many were rejected."""
        return self._ladder.answered

    @property
    def rejected(self) -> int:
        return self._ladder.answered["rejected"]

    @property
    def pixels(self) -> list[OrderPixels]:
        """Of each order, made anew where an order has been given other arrays."""
        for i, order in enumerate(self.spectrum):
            if not self._pixels[i].is_of(order):
                self._pixels[i] = OrderPixels(order)
        return self._pixels

    @property
    def has_gradient(self) -> bool:
        return not (self.starfish_compat or self.emulator.log_flux)

    # --- the model ---

    def _predict(self, slopes: bool = False) -> _Prediction:
        """At the grid parameters; the last one is kept, so that a step in other parameters does not ask
        again."""
        self.emulator.require_trained()
        process, ladder, point = self.emulator.process, self._ladder, self.grid_params
        kept = self._kept
        if kept is not None and (
            kept[:3] != (process, ladder, point.tobytes())
            or kept.prediction.source.wl is not self.emulator.wl
        ):
            kept = None
        if kept is None or (slopes and kept.prediction.mean_slope is None):
            prediction = self._prediction(point, slopes)
            self._kept = kept = _Kept(process, ladder, point.tobytes(), self._who, prediction)
        self._who = kept.who
        return kept.prediction

    def _prediction(self, point: Array, slopes: bool) -> _Prediction:
        emulator = self.emulator
        try:
            emulator.require_inside(point[np.newaxis])
        except OutsideRegion as outside:
            if slopes or not self._ladder.fallbacks:
                raise
            return self._fallback(outside)
        mean_slope = covariance_slope = None
        if slopes:
            mean, covariance, mean_slope, covariance_slope = emulator.process.predict_slopes(point)
        else:
            mean, covariance = emulator.process.predict(point)
        self._who = "emulator"
        if emulator.log_flux or self._source is None or self._source.wl is not emulator.wl:
            self._source = self._make_source(mean)
        if emulator.gram.size:
            root = np.linalg.cholesky(covariance)
        else:
            root = np.sqrt(np.diag(covariance))
        return _Prediction(self._source, mean, root, mean_slope, covariance_slope, None)

    def _make_source(self, weights: Array) -> Source:
        """The emulator's rows; at some weights, if the flux is not linear in them."""
        mean, x, residual = self.emulator.rows_at(weights)
        correlated = self.truncation == "correlated"
        length = self.emulator.residual_length if correlated and np.any(residual > 0) else 0.0
        if self.truncation == "none":
            residual = np.zeros_like(residual)
        return Source(self.emulator.wl, x, mean, residual, length)

    def _fallback(self, outside: OutsideRegion) -> _Prediction:
        wl, kept = self.emulator.wl, self.emulator.kept
        params = dict(zip(self.emulator.param_names, self.grid_params.tolist(), strict=True))
        self._who, answer = self._ladder.answer(params, self.emulator.whole_wl, outside)
        factor = float(answer.flux.mean())  # over the whole range, as the emulator's is
        flux, error = answer.flux[kept] / factor, answer.error[kept] / factor
        source = Source(wl, np.zeros((0, len(wl))), flux, error, answer.correlation_length)
        return _Prediction(source, np.zeros(0), np.zeros(0), None, None, (factor, 0.0))

    def _state(self, order: int, prediction: _Prediction, slopes: bool = False) -> _State:
        pixels, source = self.pixels[order], prediction.source
        m = source.components
        vz, vsini = self._value("vz", order, 0.0), self.params.get("vsini", 0.0)
        row_slopes = None
        if slopes:
            rows, *by = source.sample_slopes(vz, vsini, pixels.log_wave, "vsini" in self.params)
            row_slopes = (by[0], by[1])
        else:
            rows = pixels.rows(source, vz, vsini)
        extinction: Array = np.ones(1)
        if "Av" in self.params:
            a, b = pixels.extinction()
            extinction = np.exp(-LN_MAGNITUDE * self.params["Av"] * (a + b / self._rv()))
        series: Array = np.ones(1)
        coefficients = self._series(self._key("cheb", order))
        if coefficients.size:
            series = 1.0 + coefficients @ pixels.chebyshev(len(coefficients))
        p = extinction * series
        log_scale = self._value("log_scale", order)
        norm = (1.0, 0.0)
        if log_scale is None:
            integral = pixels.integral_weights() @ (p * (rows[:, :m] @ prediction.mean + rows[:, m]))
            if not integral > 0:
                raise ArgumentError(
                    "the model's flux is not positive: log_scale can't be matched to the data"
                )
            scale = float(pixels.integral_weights() @ pixels.flux / integral)
        else:
            if self.norm:
                norm = prediction.norm or self.emulator.norm_factor_with_error(self.grid_params)
            scale = float(np.exp(log_scale)) * norm[0]
        self._log_scale = float(np.log(scale / norm[0])) if scale > 0 else float("nan")
        combination = _core.spectrum.RowCombination(
            prediction.mean,
            prediction.root if prediction.root.ndim == 2 else prediction.root[:, np.newaxis],
            np.broadcast_to(scale * p, len(rows)),
            norm[1],
            self._spreads(prediction),
        )
        flux, covariance = combination.spectrum(rows, *self._kernels(order))
        likelihood = pixels.likelihood(source.correlation_length)
        return _State(
            rows, row_slopes, extinction, series, scale, flux, covariance, likelihood, norm, combination
        )

    def _spreads(self, prediction: _Prediction) -> bool:
        """Whether the model has an error that is not the weights'."""
        return prediction.norm is not None or self.truncation != "none"

    def _rv(self) -> float:
        rv = float(self.params.get("Rv", 3.1))
        if not rv > 0:
            raise ArgumentError(f"Rv must be positive: found {rv:g}")
        return rv

    def __call__(self, order: int = 0) -> tuple[Array, Array]:
        """Flux (N,) and covariance (N, N) of an order. The dense matrix is for looking at: the likelihood
        does not make it."""
        flux, covariance, pixels = self._flux_and_covariance(order)
        return flux, pixels.dense(covariance)

    def flux_and_std(self, order: int = 0) -> tuple[Array, Array]:
        """The model and the standard deviation of data minus model, for each pixel."""
        flux, covariance, pixels = self._flux_and_covariance(order)
        return flux, np.sqrt(pixels.diagonal(covariance))

    def _flux_and_covariance(
        self, order: int, prediction: _Prediction | None = None
    ) -> tuple[Array, Any, Any]:
        """With the pixels (zelos/spectrum.hpp: Pixels) whose covariance that is."""
        if not self.starfish_compat:
            state = self._state(order, prediction or self._predict())
            return state.flux, state.covariance, state.pixels
        scale, flux, covariance = compat.order_parts(self, order)
        self._log_scale = float(np.log(scale))
        return flux, covariance, self.pixels[order].starfish(compat.JITTER)

    # --- likelihood ---

    def _check(self) -> None:
        """That kernels have all parameters and each free one an effect, once for each set of them."""
        names = (tuple(self.params), tuple(self.frozen))
        if names != self._checked:
            self._require_whole_kernels()
            if not self.starfish_compat:
                self._require_effect()
            self._checked = names

    def log_likelihood(self, priors: Mapping[str, Prior] | None = None) -> float:
        """-1/2 (log|C| + r^T C^-1 r), without 2 pi as in Starfish, plus `log_prior`. Of all orders together:
        the emulator's errors are the same in each. ArgumentError if a parameter that is not frozen has no
        effect (Rv without Av, what every order has of its own), or a kernel lacks one."""
        self._check()
        prior = self.log_prior(priors)
        if not np.isfinite(prior):
            return float("-inf")
        try:
            prediction = None if self.starfish_compat else self._predict()
            orders = []
            for i, order in enumerate(self.pixels):
                flux, covariance, pixels = self._flux_and_covariance(i, prediction)
                orders.append((pixels, flux - order.flux, covariance))
            value = float(_core.spectrum.log_likelihood(orders))
        except OutsideRegion:
            if self._ladder.last == "error":
                raise
            self._ladder.answered["rejected"] += 1
            return float("-inf")
        self.residuals.extend(residual for _, residual, _ in orders)
        self._ladder.answered[self._who] += 1
        self._lnprob = value
        return value + prior

    def log_likelihood_gradient(self, priors: Mapping[str, Prior] | None = None) -> tuple[float, Array]:
        """The log likelihood and its derivatives by the parameters, in the order of `labels`. Those of priors
        are differences. Outside the library there is none, whoever may answer there: OutsideRegion."""
        if self.starfish_compat:
            raise ArgumentError("starfish_compat has no gradient: Starfish has none")
        if self.emulator.log_flux:
            raise ArgumentError("an emulator of log_flux has no gradient of the likelihood")
        self._check()
        prior = self.log_prior(priors)
        labels = self.labels
        if not np.isfinite(prior):
            return float("-inf"), np.zeros(len(labels))
        total = dict.fromkeys(self.params, 0.0)
        try:
            prediction = self._predict(slopes=True)
            states = [self._state(i, prediction, True) for i in range(len(self.pixels))]
            residuals = [state.flux - order.flux for state, order in zip(states, self.pixels, strict=True)]
            value, slopes = _core.spectrum.log_likelihood_slopes(
                [(s.pixels, r, s.covariance) for s, r in zip(states, residuals, strict=True)]
            )
            for i, state in enumerate(states):
                self._add_gradient(i, prediction, state, slopes[i], total)
        except OutsideRegion:
            if self._ladder.last == "error" or self._ladder.fallbacks:
                raise
            self._ladder.answered["rejected"] += 1
            return float("-inf"), np.zeros(len(labels))
        self.residuals.extend(residuals)
        self._ladder.answered["emulator"] += 1
        self._lnprob = value
        for prior_of, keys in self._priors(priors):
            x = self._at(keys)
            for i, key in enumerate(keys):
                step = 1e-5 * max(1.0, abs(x[i])) * (np.arange(len(x)) == i)
                total[key] += _slope_of_density(prior_of, x, step)
        return value + prior, np.array([total[key] for key in labels])

    def _add_gradient(
        self,
        order: int,
        prediction: _Prediction,
        state: _State,
        slopes: tuple[Array, Array, Array, Array],
        total: dict[str, float],
    ) -> None:
        """Adds what an order's slopes (zelos/spectrum.hpp: LikelihoodSlopes) are by the parameters."""
        pixels, m = self.pixels[order], self.emulator.ncomps
        assert state.slopes is not None and prediction.mean_slope is not None
        assert prediction.covariance_slope is not None
        by_flux, by_spread, by_all_factors, by_kernels = slopes
        p = state.extinction * state.series * np.ones(len(state.flux))
        by_norm_error = 0.0
        if state.norm[1] > 0:
            by_norm_error = float(by_all_factors[:, m] @ state.flux)
            by_flux = by_flux + by_all_factors[:, m] * state.norm[1]
        by, by_rows, by_mean, by_root = state.combination.slopes(
            state.rows, by_flux, by_spread, by_all_factors
        )
        by_p = state.scale * by
        by_log_scale = float(by_p @ p)
        key = self._key("log_scale", order)
        matched = key not in self.params
        if matched:  # scale = integral of the data / integral of p base
            weights = pixels.integral_weights()
            base = state.rows[:, :m] @ prediction.mean + state.rows[:, m]
            ratio = -by_log_scale / float(weights @ state.flux)
            by_base = ratio * state.scale * weights * p
            by_p += ratio * state.scale * weights * base
            by_rows[:, :m] += np.outer(by_base, prediction.mean)
            by_rows[:, m] += by_base
            by_mean += state.rows[:, :m].T @ by_base
        else:
            total[key] += by_log_scale
        if "Av" in self.params:
            a, b = pixels.extinction()
            along, rv = p @ (by_p * a), self._rv()
            across = p @ (by_p * b)
            total["Av"] -= LN_MAGNITUDE * float(along + across / rv)
            if "Rv" in self.params:
                total["Rv"] += LN_MAGNITUDE * self.params["Av"] * float(across) / rv**2
        key = self._key("cheb", order)
        coefficients = self._series(key)
        if coefficients.size:
            by_cheb = pixels.chebyshev(len(coefficients)) @ (by_p * state.extinction)
            for i, slope in enumerate(by_cheb, start=1):
                if f"{key}:{i}" in total:
                    total[f"{key}:{i}"] += float(slope)
        by_vz, by_vsini = state.slopes
        key = self._key("vz", order)
        if key in total:
            total[key] += float(np.vdot(by_vz, by_rows))
        if "vsini" in total:
            total["vsini"] += float(np.vdot(by_vsini, by_rows))
        # The derivative by Sigma_w is 1/2 (q X)^T W (q X), and the factors' is W (q X) root.
        root = prediction.root if prediction.root.ndim == 2 else np.diag(prediction.root)
        by_covariance = 0.5 * np.linalg.solve(root.T, by_root.T).T
        norm_slopes = None
        if self.norm and not matched:
            norm_slopes = self.emulator.norm_factor_slope(self.grid_params)
        for d, name in enumerate(self.emulator.param_names):
            slope = float(by_mean @ prediction.mean_slope[:, d])
            slope += float(np.sum(by_covariance * prediction.covariance_slope[d]))
            if norm_slopes is not None:
                slope += by_log_scale * float(norm_slopes[0][d])
                if state.norm[1] > 0:
                    slope += by_norm_error * float(norm_slopes[1][d]) / (2 * state.norm[1])
            total[name] += slope
        key = self._key("global_cov", order)
        names = [f"{key}:log_amp", f"{key}:log_ls"] if key in self.params else []
        for kernel in self._local_kernels(order):
            names += [f"{kernel}:log_amp", f"{kernel}:mu", f"{kernel}:log_sigma"]
        for name, slope in zip(names, by_kernels, strict=True):
            total[name] += float(slope)

    def _priors(self, priors: Mapping[str, Prior] | None) -> Iterator[tuple[Prior, list[str]]]:
        """Those of what the model has, each with the flat names of its parameters: of a group all."""
        for key, prior in (priors or {}).items():
            if key in self.params:
                yield prior, self.params.names(key)

    def _at(self, keys: list[str]) -> Array:
        return np.array([self.params[key] for key in keys], dtype=np.float64)

    def log_prior(self, priors: Mapping[str, Prior] | None) -> float:
        """The sum over parameters that the model has. A prior of a group ("cheb") is one of each of its
        parameters, or of all together if `logpdf` makes one number of them."""
        return sum((_log_density(prior, self._at(keys)) for prior, keys in self._priors(priors)), 0.0)

    # --- fitting ---

    def train(self, priors: Mapping[str, Prior] | None = None, **kwargs: Any) -> Any:
        """The parameters of the largest posterior, by scipy.optimize.minimize: L-BFGS-B with exact gradients
        in scaled parameters, within the library's box and the supports of the priors (their method `support`,
        which scipy's have), unless `kwargs` name a method. Changes the model where it succeeds: where no step
        along a parameter adds to the log posterior. A best fit at the edge of the library, or of its
        wavelengths, is a success with a warning, and `message` names the parameters. Returns scipy's result
        with x in the parameters' own units.

        It starts where the model is: a start outside the library is an OutsideRegion, or, if rejected,
        an ArgumentError; but a free vsini below 0.1 starts at half a pixel of the library, as at zero it has
        no slope. Where it raises, the model is as it was."""
        return maximise(self, priors, kwargs)

    # --- files and looks ---

    def save(self, filename: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Parameters, what is frozen, and metadata, in Starfish's TOML."""
        meta: dict[str, Any] = {"name": self.name, "data": self.data_name}
        if not self.starfish_compat:
            meta[_CHEB_RANGE] = "order"
        if self.emulator.name is not None:
            meta["emulator"] = self.emulator.name
        self._save_parameters(filename, meta | dict(metadata or {}))

    def _adopt(self, flat: dict[str, float], metadata: Mapping[str, Any], filename: str) -> None:
        """A Chebyshev series of a file of Starfish, or of `starfish_compat`, becomes one over the order's
        range, or the other way round; its constant goes to log_scale."""
        series = {key: value for key, value in flat.items() if "cheb" in key.split(":")}
        if not series or (_CHEB_RANGE in metadata) != self.starfish_compat:
            return
        if len(self.pixels) > 1:
            raise FormatError(
                f"{filename}: a Chebyshev series of wave / wave.max() is read for one order alone"
            )
        old = np.zeros(max(int(key.rpartition(":")[2]) for key in series))
        for key, value in series.items():
            old[int(key.rpartition(":")[2]) - 1] = value
        constant, new = convert_series(old, self.pixels[0].wave, self.starfish_compat)
        if not constant > 0:
            raise FormatError(f"{filename}: its Chebyshev series is not positive on average")
        prefix = next(iter(series)).rpartition(":")[0]
        flat.update({f"{prefix}:{i}": float(c) for i, c in enumerate(new, start=1)})
        for key in ("log_scale", "orders:0:log_scale"):
            if key in flat:
                flat[key] += float(np.log(constant))

    def plot(
        self,
        axes: Any = None,
        plot_kwargs: Mapping[str, Any] | None = None,
        resid_kwargs: Mapping[str, Any] | None = None,
        *,
        order: int = 0,
    ) -> Any:
        """Data and model, the residual with bands of 1, 2 and 3 sigma, and the relative residual; returns the
        axes. Given axes may be two, without the last. The other arguments are matplotlib's of the lines above
        and of the residuals."""
        from . import plots

        return plots.model(self, axes, dict(plot_kwargs or {}), dict(resid_kwargs or {}), order)

    def __repr__(self) -> str:
        lines = [
            self.name,
            "-" * len(self.name),
            f"Data: {self.data_name}",
            f"Emulator: {self.emulator.name}",
            f"Log Likelihood: {self._lnprob}",
            "",
            *self._parameter_lines(),
        ]
        if "log_scale" not in self.params:
            self.flux_and_std()
            lines.append(f"  log_scale: {self._log_scale} (fit)")
        return "\n".join(lines + self._frozen_lines())
