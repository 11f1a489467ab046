# SPDX-License-Identifier: BSD-3-Clause
"""The likelihood of an observed spectrum, with the interface of Starfish.models.SpectrumModel (0.4).

The emulated spectrum is linear in the weights, and so is all that happens to it: with the rows X_k =
eigenspectrum k times flux_std, broadened, shifted and sampled at the data's pixels, and p the product of
extinction, Chebyshev series and scale,

    flux = p (mean + sum_k mu_k X_k)
    C    = (p X) Sigma_w (p X)^T + diag(sigma^2) + K_residual + K_global + K_local

(Czekala et al. 2015, eqs. 49-50). The last four terms are banded; nothing of size N x N is made.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import _core
from ..errors import ArgumentError, FormatError, OutsideRegion, did_you_mean
from .emulator import Emulator
from .grid import C_KMS, Array
from .optional import need
from .spectrum import Order, Spectrum
from .transforms import chebyshev_basis, extinction_coefficients, integral_weights

log = logging.getLogger(__name__)

_SCALARS = ("vz", "vsini", "Av", "Rv", "log_scale")
_GLOBAL = ("log_amp", "log_ls")
_LOCAL = ("mu", "log_amp", "log_sigma")
_GROUPS = ("cheb", "global_cov", "local_cov")
#: What an order may have of its own.
_PER_ORDER = ("vz", "log_scale", *_GROUPS)
_LN_MAGNITUDE = 0.4 * np.log(10.0)
_TRUNCATION = ("correlated", "diagonal", "none")
_OUTSIDE = ("error", "reject")


class Prior(Protocol):
    """A frozen distribution of scipy.stats is one."""

    def logpdf(self, x: Any, /) -> Any: ...


class Params(MutableMapping[str, float]):
    """Parameters by their flat names ("vz", "cheb:1", "global_cov:log_amp", "local_cov:0:mu"). A group is
    `in` it if any of its parameters is."""

    def __init__(self, values: Mapping[str, float] | None = None) -> None:
        self._values: dict[str, float] = dict(values or {})

    def __getitem__(self, key: str) -> Any:
        if key in self._values:
            return self._values[key]
        inner = {k[len(key) + 1 :]: v for k, v in self._values.items() if k.startswith(key + ":")}
        if not inner:
            raise KeyError(key)
        return Params(inner)

    def __setitem__(self, key: str, value: float) -> None:
        self._values[key] = float(value)

    def __delitem__(self, key: str) -> None:
        doomed = [k for k in self._values if k == key or k.startswith(key + ":")]
        if not doomed:
            raise KeyError(key)
        for k in doomed:
            del self._values[k]

    def __contains__(self, key: object) -> bool:
        return key in self._values or any(k.startswith(f"{key}:") for k in self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Nested: groups are dictionaries, kernels and orders lists of them."""
        return {key: _lists(key, value) for key, value in self.nested().items()}

    def nested(self) -> dict[str, Any]:
        """Nested dictionaries alone."""
        tree: dict[str, Any] = {}
        for key, value in self._values.items():
            *path, last = key.split(":")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[last] = value
        return tree


def _lists(key: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {k: _lists(k, v) for k, v in value.items()}
    return [inner[k] for k in sorted(inner, key=int)] if key in ("local_cov", "orders") else inner


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested parameters by their flat names; a list of numbers is a Chebyshev series without its constant."""
    flat: dict[str, float] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, (Mapping, Params)):
            flat |= flatten(value, name + ":")
        elif isinstance(value, (list, tuple, np.ndarray)):
            first = 1 if key == "cheb" else 0
            for i, item in enumerate(value):
                if isinstance(item, Mapping):
                    flat |= flatten(item, f"{name}:{i}:")
                else:
                    flat[f"{name}:{i + first}"] = float(item)
        else:
            flat[name] = float(value)
    return flat


class _Pixels:
    """What an order's pixels do not have to be asked twice."""

    def __init__(self, order: Order, residual_length: float, truncation: str) -> None:
        self.wave: Array = np.ascontiguousarray(order.wave)
        self.flux: Array = np.ascontiguousarray(order.flux)
        self.variance: Array = order.sigma**2
        self.log_wave: Array = np.log(self.wave)
        self._extinction: tuple[Array, Array] | None = None
        self._chebyshev: Array = np.zeros((0, len(self.wave)))
        self._weights: Array | None = None
        correlated = truncation == "correlated" and residual_length > 0
        kernel = (0.0, float(np.log(residual_length))) if correlated else None
        self.residual = _core.spectrum.Band(self.wave, kernel, [], 0)
        if kernel is None:
            self.residual.add_diagonal(np.ones(len(self.wave)))

    def extinction(self) -> tuple[Array, Array]:
        if self._extinction is None:
            self._extinction = extinction_coefficients(self.wave)
        return self._extinction

    def chebyshev(self, count: int) -> Array:
        if len(self._chebyshev) < count:
            self._chebyshev = chebyshev_basis(self.wave, count)
        return self._chebyshev[:count]

    def integral_weights(self) -> Array:
        if self._weights is None:
            self._weights = integral_weights(self.wave)
        return self._weights


class _Weights(NamedTuple):
    mean: Array
    root: Array  # lower triangle: covariance = root @ root.T
    mean_slope: Array | None
    covariance_slope: list[Array] | None


class _State(NamedTuple):
    """One order at the present parameters."""

    rows: Array  # (N, m + 2): X, mean, residual's standard deviation
    slopes: tuple[Array, Array] | None  # of the rows by vz and vsini
    extinction: Array
    series: Array
    scale: float
    flux: Array
    factors: Array
    band: Any
    norm: tuple[float, float]  # factor, standard deviation of its logarithm


class SpectrumModel:
    """A model of one spectrum: Starfish's parameters and methods.

    emulator:     an `Emulator` or its file.
    data:         a `Spectrum` or its file; several orders share all parameters but those in `orders`.
    grid_params:  the emulator's parameters, in its order.
    norm:         scale by the library's flux, with the uncertainty of that; log_scale is then 2 ln(R / d).
    vz, vsini:    km/s; vsini = 0 does not rotate.
    Av, Rv:       magnitudes; Rv is 3.1 if not given. The law is ccm89.
    log_scale:    natural logarithm of the scale; without it the integral of the data is matched.
    cheb:         coefficients c1, c2, ... of a series whose constant is 1.
    global_cov:   {"log_amp", "log_ls"}; local_cov: [{"mu", "log_amp", "log_sigma"}, ...].
    orders:       a dictionary for each order with what it has of its own: vz, log_scale, cheb, global_cov,
                  local_cov.
    truncation:   how the covariance of what the components leave out enters: "correlated" (with its
                  correlation length), "diagonal", or "none" as in Starfish.
    outside:      a point that the library does not surround is an OutsideRegion ("error"), or has the
                  likelihood zero and is counted in `rejected` ("reject").
    starfish_compat:  Starfish's own covariance, with the inverse of Sigma_w where Sigma_w should stand,
                      extinction
                  and series on the factors of X, Rv ignored, no truncation; dense, for comparison alone.

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
        outside: str = "error",
        starfish_compat: bool = False,
        **params: Any,
    ) -> None:
        self.emulator = emulator if isinstance(emulator, Emulator) else Emulator.load(emulator)
        spectrum = data if isinstance(data, Spectrum) else Spectrum.load(data)
        if starfish_compat and self.emulator.log_flux:
            raise ArgumentError("starfish_compat: Starfish has no emulators of log_flux")
        for what, choice, known in (("truncation", truncation, _TRUNCATION), ("outside", outside, _OUTSIDE)):
            if choice not in known:
                raise ArgumentError(f"{what}: expected {', '.join(known)}, found '{choice}'")
        self.spectrum = spectrum
        self.data_name = spectrum.name
        self.data = spectrum[0]
        self.name = name
        self.norm = norm
        self.truncation = truncation
        self.outside = outside
        self.starfish_compat = starfish_compat
        self.rejected = 0
        self.residuals: deque[Array] = deque(maxlen=max_deque_len)
        self.frozen: list[str] = []
        self.log = logging.getLogger(type(self).__name__)
        self.n_grid_params = len(self.emulator.param_names)
        if len(grid_params) != self.n_grid_params:
            raise ArgumentError(
                f"grid_params: expected {self.n_grid_params} ({', '.join(self.emulator.param_names)}), "
                f"found {len(grid_params)}"
            )
        self.params = Params()
        for key, value in flatten(params).items():
            self._check_key(key)
            self.params[key] = value
        self.grid_params = grid_params
        self._pixels = [_Pixels(order, self.emulator.residual_length, truncation) for order in spectrum]
        self._sampler = self._make_sampler()
        self._coefficients: tuple[float, bool, Any, Any] | None = None
        self._lnprob: float | None = None
        self._log_scale: float | None = self.params.get("log_scale")

    # --- parameters ---

    def _check_key(self, key: str) -> None:
        parts = key.split(":")
        if parts[0] == "orders":
            if len(parts) < 3 or not parts[1].isdigit() or int(parts[1]) >= len(self.spectrum):
                raise KeyError(f"{key} not recognized: there are {len(self.spectrum)} orders")
            if parts[2] not in _PER_ORDER:
                raise KeyError(f"{key} not recognized: an order may have its own {', '.join(_PER_ORDER)}")
            parts = parts[2:]
        group, *rest = parts
        names = (*_SCALARS, *self.emulator.param_names)
        good = (
            (not rest and group in names)
            or (group == "cheb" and len(rest) == 1 and rest[0].isdigit())
            or (group == "global_cov" and len(rest) == 1 and rest[0] in _GLOBAL)
            or (group == "local_cov" and len(rest) == 2 and rest[0].isdigit() and rest[1] in _LOCAL)
        )
        if not good:
            raise KeyError(f"{key} not recognized{did_you_mean(group, (*names, *_GROUPS, 'orders'))}")
        if group == "cheb" and rest[0] == "0":
            raise KeyError("cannot change constant Chebyshev term")

    @property
    def grid_params(self) -> Array:
        """The emulator's parameters. Setting leaves those that are frozen."""
        return np.array([self.params[key] for key in self.emulator.param_names])

    @grid_params.setter
    def grid_params(self, values: Sequence[float]) -> None:
        for key, value in zip(self.emulator.param_names, values, strict=True):
            if key not in self.frozen:
                self.params[key] = value

    @property
    def cheb(self) -> Array:
        """c1, c2, ..."""
        return self._series("cheb")

    @cheb.setter
    def cheb(self, values: Sequence[float]) -> None:
        if "cheb" in self.frozen:
            return
        for i, value in enumerate(values, start=1):
            if f"cheb:{i}" not in self.frozen:
                self.params[f"cheb:{i}"] = value

    def _series(self, group: str) -> Array:
        if group not in self.params:
            return np.zeros(0)
        inner = self.params[group]
        coefficients = np.zeros(max(int(k) for k in inner))
        for key, value in inner.items():
            coefficients[int(key) - 1] = value
        return coefficients

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the parameters that are not frozen."""
        return tuple(key for key in self.params if key not in self.frozen)

    def __getitem__(self, key: str) -> Any:
        return list(self.cheb) if key == "cheb" else self.params[key]

    def __setitem__(self, key: str, value: Any) -> None:
        flat = flatten({key: value})
        if key in _GROUPS and key in self.params:
            del self.params[key]
        for name in flat:
            self._check_key(name)
        for name, number in flat.items():
            group, _, index = name.rpartition(":")
            if group.split(":")[-1] == "cheb":
                for i in range(1, int(index)):
                    self.params.setdefault(f"{group}:{i}", 0.0)
            self.params[name] = number

    def __delitem__(self, key: str) -> None:
        if key not in self.params:
            raise KeyError(f"{key} not in params")
        del self.params[key]
        self.frozen = [k for k in self.frozen if k != key and not k.startswith(key + ":")]

    def get_param_dict(self, flat: bool = False) -> dict[str, Any]:
        """The parameters that are not frozen, by flat names or nested."""
        thawed = Params({key: self.params[key] for key in self.labels})
        return dict(thawed) if flat else thawed.as_dict()

    def set_param_dict(self, params: Mapping[str, Any]) -> None:
        """Frozen ones stay as they are."""
        flat = flatten(params)
        for key in flat:
            self._check_key(key)
        for key, value in flat.items():
            if key not in self.frozen:
                self.params[key] = value

    def get_param_vector(self) -> Array:
        return np.array([self.params[key] for key in self.labels])

    def set_param_vector(self, params: Any) -> None:
        """In the order of `labels`."""
        labels = self.labels
        if len(params) != len(labels):
            raise ArgumentError(
                f"Param Vector does not match length of thawed parameters: expected {len(labels)}, "
                f"found {len(params)}"
            )
        for key, value in zip(labels, params, strict=True):
            self.params[key] = value

    def freeze(self, names: str | Sequence[str]) -> None:
        """Takes parameters or groups out of `labels`; "all" freezes everything. Unknown names are ignored, as
        in Starfish."""
        for name in np.atleast_1d(np.asarray(names, dtype=str)).tolist():
            if name == "all":
                self.frozen += [g for g in _GROUPS if g in self.params and g not in self.frozen]
                self.frozen += [key for key in self.params if key not in self.frozen]
            elif name in self.params:
                if name not in self.frozen:
                    self.frozen.append(name)
                self.frozen += [k for k in self.params if k.startswith(name + ":") and k not in self.frozen]

    def thaw(self, names: str | Sequence[str]) -> None:
        for name in np.atleast_1d(np.asarray(names, dtype=str)).tolist():
            if name == "all":
                self.frozen = []
            else:
                self.frozen = [k for k in self.frozen if k != name and not k.startswith(name + ":")]

    # --- the model ---

    def _make_sampler(self, weights: Array | None = None) -> Any:
        """Of X, mean and the residual's standard deviation; at some weights, if the flux is not linear in
        them."""
        if weights is None:
            weights = np.zeros(self.emulator.ncomps)
        mean, x, residual = self.emulator.rows_at(weights)
        return _sampler(self.emulator.wl, np.vstack([x, mean, residual]))

    def _value(self, name: str, order: int, default: float | None = None) -> Any:
        own = self.params.get(f"orders:{order}:{name}")
        return self.params.get(name, default) if own is None else own

    def _key(self, name: str, order: int) -> str:
        own = f"orders:{order}:{name}"
        return own if own in self.params else name

    def _kernels(self, order: int) -> tuple[tuple[float, float] | None, list[tuple[float, float, float]]]:
        key = self._key("global_cov", order)
        glob = (self.params[f"{key}:log_amp"], self.params[f"{key}:log_ls"]) if key in self.params else None
        key = self._key("local_cov", order)
        local = [
            (kernel["log_amp"], kernel["mu"], kernel["log_sigma"])
            for kernel in (_lists("local_cov", self.params[key].nested()) if key in self.params else [])
        ]
        return glob, local

    def _weights(self, slopes: bool) -> _Weights:
        point = self.grid_params
        self.emulator.require_trained()
        self.emulator.require_inside(point[np.newaxis])
        process = self.emulator.process
        mean_slope = covariance_slope = None
        if slopes:
            mean, covariance, mean_slope, covariance_slope = process.predict_slopes(point)
        else:
            mean, covariance = process.predict(point)
        if self.emulator.log_flux:
            self._sampler = self._make_sampler(mean)
            self._coefficients = None
        if self.emulator.gram.size:
            root = np.linalg.cholesky(covariance)
        else:
            root = np.diag(np.sqrt(np.diag(covariance)))
        return _Weights(mean, root, mean_slope, covariance_slope)

    def _broadened(self, slopes: bool) -> tuple[Any, Any]:
        vsini = self.params.get("vsini", 0.0)
        slopes = slopes and "vsini" in self.params
        kept = self._coefficients
        if kept is None or kept[0] != vsini or (slopes and not kept[1]):
            if slopes:
                values, change = self._sampler.coefficients_slope(vsini)
            else:
                values, change = self._sampler.coefficients(vsini), None
            self._coefficients = kept = (vsini, slopes, values, change)
        return kept[2], kept[3]

    def _state(self, order: int, weights: _Weights, slopes: bool) -> _State:
        pixels, m = self._pixels[order], self.emulator.ncomps
        values, change = self._broadened(slopes)
        vz = self._value("vz", order, 0.0)
        row_slopes = None
        if slopes:
            rows, by_vz = self._sampler.sample_slope(values, vz, pixels.log_wave)
            by_vsini = (
                self._sampler.sample(change, vz, pixels.log_wave) if change is not None else np.zeros((0, 0))
            )
            row_slopes = (by_vz, by_vsini)
        else:
            rows = self._sampler.sample(values, vz, pixels.log_wave)
        extinction: Array = np.ones(1)
        if "Av" in self.params:
            a, b = pixels.extinction()
            extinction = np.exp(-_LN_MAGNITUDE * self.params["Av"] * (a + b / self._rv()))
        series: Array = np.ones(1)
        coefficients = self._series(self._key("cheb", order))
        if coefficients.size:
            series = 1.0 + coefficients @ pixels.chebyshev(len(coefficients))
        p = extinction * series
        flux = p * (rows[:, :m] @ weights.mean + rows[:, m])
        log_scale = self._value("log_scale", order)
        norm = (1.0, 0.0)
        if log_scale is None:
            integral = pixels.integral_weights() @ flux
            if not integral > 0:
                raise ArgumentError(
                    "the model's flux is not positive: log_scale can't be matched to the data"
                )
            scale = float(pixels.integral_weights() @ pixels.flux / integral)
        else:
            if self.norm:
                norm = self.emulator.norm_factor_with_error(self.grid_params)
            scale = float(np.exp(log_scale)) * norm[0]
        self._log_scale = float(np.log(scale / norm[0])) if scale > 0 else float("nan")
        flux *= scale
        q = (scale * p) * np.ones(len(flux))
        if self.emulator.gram.size:
            factors = q[:, np.newaxis] * (rows[:, :m] @ weights.root)
        else:
            factors = q[:, np.newaxis] * (rows[:, :m] * np.diag(weights.root))
        if norm[1] > 0:
            factors = np.column_stack([factors, flux * norm[1]])
        glob, local = self._kernels(order)
        if glob is None and not local and self.truncation == "none":
            band = _core.spectrum.Band(pixels.wave, None, [], 0)
        else:
            width = pixels.residual.width if self.truncation != "none" else 0
            band = _core.spectrum.Band(pixels.wave, glob, local, width)
        band.add_diagonal(pixels.variance)
        if self.truncation != "none":
            band.add_outer(q * rows[:, m + 1], pixels.residual)
        return _State(rows, row_slopes, extinction, series, scale, flux, factors, band, norm)

    def _rv(self) -> float:
        rv = float(self.params.get("Rv", 3.1))
        if not rv > 0:
            raise ArgumentError(f"Rv must be positive: found {rv:g}")
        return rv

    def __call__(self, order: int = 0) -> tuple[Array, Array]:
        """Flux (N,) and covariance (N, N) of an order. The dense matrix is for looking at: the likelihood
        does not make it."""
        if self.starfish_compat:
            return self._starfish_call(order)
        state = self._state(order, self._weights(False), False)
        covariance = state.factors @ state.factors.T
        band = state.band.array
        n = len(state.flux)
        for d in range(min(band.shape[1], n)):
            below = np.arange(n - d)
            covariance[below + d, below] += band[: n - d, d]
            if d:
                covariance[below, below + d] += band[: n - d, d]
        return state.flux, covariance

    def flux_and_std(self, order: int = 0) -> tuple[Array, Array]:
        """The model and the standard deviation of data minus model, for each pixel."""
        if self.starfish_compat:
            flux, covariance = self._starfish_call(order)
            return flux, np.sqrt(covariance.diagonal())
        state = self._state(order, self._weights(False), False)
        return state.flux, np.sqrt((state.factors**2).sum(axis=1) + state.band.array[:, 0])

    # --- likelihood ---

    def log_likelihood(self, priors: Mapping[str, Prior] | None = None) -> float:
        """-1/2 (log|C| + r^T C^-1 r), without 2 pi as in Starfish, plus the log priors of parameters that the
        model has. Summed over orders."""
        prior = self._log_prior(priors)
        if not np.isfinite(prior):
            return float("-inf")
        try:
            if self.starfish_compat:
                self._lnprob = sum(self._starfish_log_likelihood(i) for i in range(len(self._pixels)))
            else:
                weights = self._weights(False)
                total = 0.0
                for i, pixels in enumerate(self._pixels):
                    state = self._state(i, weights, False)
                    residual = state.flux - pixels.flux
                    total += _core.spectrum.log_likelihood(residual, state.factors, state.band)
                    self.residuals.append(residual)
                self._lnprob = total
        except OutsideRegion:
            if self.outside == "error":
                raise
            self.rejected += 1
            return float("-inf")
        return self._lnprob + prior

    def log_likelihood_gradient(self, priors: Mapping[str, Prior] | None = None) -> tuple[float, Array]:
        """The log likelihood and its derivatives by the parameters, in the order of `labels`. Those of priors
        are differences."""
        if self.starfish_compat:
            raise ArgumentError("starfish_compat has no gradient: Starfish has none")
        if self.emulator.log_flux:
            raise ArgumentError("an emulator of log_flux has no gradient of the likelihood")
        prior = self._log_prior(priors)
        labels = self.labels
        total = dict.fromkeys(self.params, 0.0)
        value = 0.0
        try:
            weights = self._weights(True)
            for i in range(len(self._pixels)):
                value += self._order_gradient(i, weights, total)
        except OutsideRegion:
            if self.outside == "error":
                raise
            self.rejected += 1
            return float("-inf"), np.zeros(len(labels))
        self._lnprob = value
        for key, distribution in (priors or {}).items():
            if key in total:
                x = self.params[key]
                h = 1e-5 * max(1.0, abs(x))
                total[key] += float(distribution.logpdf(x + h) - distribution.logpdf(x - h)) / (2 * h)
        return value + prior, np.array([total[key] for key in labels])

    def _order_gradient(self, order: int, weights: _Weights, total: dict[str, float]) -> float:
        pixels, m = self._pixels[order], self.emulator.ncomps
        state = self._state(order, weights, True)
        assert state.slopes is not None and weights.mean_slope is not None
        assert weights.covariance_slope is not None
        residual = state.flux - pixels.flux
        value, g = _core.spectrum.log_likelihood_slopes(residual, state.factors, state.band)
        self.residuals.append(residual)
        x, spread = state.rows[:, :m], state.rows[:, m + 1]
        p = state.extinction * state.series * np.ones(len(residual))
        q = state.scale * p
        base = x @ weights.mean + state.rows[:, m]
        by_flux, by_factors = g.residual, g.factors[:, :m]
        by_norm_error = 0.0
        if state.norm[1] > 0:
            by_norm_error = float(g.factors[:, m] @ state.flux)
            by_flux = by_flux + g.factors[:, m] * state.norm[1]
        back = by_factors @ weights.root.T  # derivative by q X
        by_q = by_flux * base + np.einsum("nk,nk->n", back, x)
        by_rows = np.zeros_like(state.rows)
        if self.truncation != "none":
            by_spread = g.outer(q * spread, pixels.residual)
            by_q += by_spread * spread
            by_rows[:, m + 1] = q * by_spread
        by_p = state.scale * by_q
        by_base = q * by_flux
        by_log_scale = float(by_q @ p) * state.scale
        key = self._key("log_scale", order)
        matched = key not in self.params
        if matched:  # scale = integral of the data / integral of p base
            w = pixels.integral_weights()
            by_integral = -by_log_scale / float(w @ (p * base))
            by_p += by_integral * w * base
            by_base = by_base + by_integral * w * p
        else:
            total[key] += by_log_scale
        by_rows[:, :m] = np.outer(by_base, weights.mean) + q[:, np.newaxis] * back
        by_rows[:, m] = by_base
        if "Av" in self.params:
            a, b = pixels.extinction()
            along, rv = p @ (by_p * a), self._rv()
            across = p @ (by_p * b)
            total["Av"] -= _LN_MAGNITUDE * float(along + across / rv)
            if "Rv" in self.params:
                total["Rv"] += _LN_MAGNITUDE * self.params["Av"] * float(across) / rv**2
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
        by_mean = x.T @ by_base
        by_covariance = 0.5 * np.linalg.solve(weights.root.T, ((q[:, np.newaxis] * x).T @ by_factors).T).T
        norm_slopes = None
        if self.norm and not matched:
            norm_slopes = self.emulator.norm_factor_slope(self.grid_params)
        for d, name in enumerate(self.emulator.param_names):
            slope = float(by_mean @ weights.mean_slope[:, d])
            slope += float(np.sum(by_covariance * weights.covariance_slope[d]))
            if norm_slopes is not None:
                slope += by_log_scale * float(norm_slopes[0][d])
                if state.norm[1] > 0:
                    slope += by_norm_error * float(norm_slopes[1][d]) / (2 * state.norm[1])
            total[name] += slope
        glob, local = self._kernels(order)
        if glob is not None or local:
            by_kernels = g.kernels(pixels.wave, glob, local)
            if glob is not None:
                key = self._key("global_cov", order)
                total[f"{key}:log_amp"] += float(by_kernels[0])
                total[f"{key}:log_ls"] += float(by_kernels[1])
                by_kernels = by_kernels[2:]
            key = self._key("local_cov", order)
            for i in range(len(local)):
                for name, slope in zip(
                    ("log_amp", "mu", "log_sigma"), by_kernels[3 * i : 3 * i + 3], strict=True
                ):
                    total[f"{key}:{i}:{name}"] += float(slope)
        return float(value)

    def _log_prior(self, priors: Mapping[str, Prior] | None) -> float:
        total = 0.0
        for key, prior in (priors or {}).items():
            if key in self.params:
                total += float(np.sum(prior.logpdf(self[key])))
        return total

    # --- Starfish's covariance, for comparison ---

    def _starfish_parts(self, order: int) -> tuple[Array, Array, Array, Array]:
        """Flux, the rows X, the covariance of the weights, and all other covariances, as Starfish 0.4.2 has
        them."""
        pixels, emulator = self._pixels[order], self.emulator
        m = emulator.ncomps
        sampler = _sampler(emulator.wl, emulator.bulk_fluxes)
        coefficients = sampler.coefficients(self.params.get("vsini", 0.0))
        rows = sampler.sample(coefficients, self._value("vz", order, 0.0), pixels.log_wave).T
        if "Av" in self.params:
            a, b = pixels.extinction()
            rows = rows * np.exp(-_LN_MAGNITUDE * self.params["Av"] * (a + b / 3.1))
        coefficients = self._series(self._key("cheb", order))
        if coefficients.size:
            rows = rows * (1.0 + coefficients @ pixels.chebyshev(len(coefficients)))
        mean, covariance = emulator(self.grid_params)
        x = rows[:m] * rows[m + 1]
        flux = mean @ x + rows[m]
        norm = emulator.norm_factor(self.grid_params) if self.norm else 1.0
        log_scale = self._value("log_scale", order)
        if log_scale is None:
            w = pixels.integral_weights()
            scale = float(w @ pixels.flux / (w @ flux))
        else:
            scale = float(np.exp(log_scale)) * norm
        self._log_scale = float(np.log(scale / norm))
        glob, local = self._kernels(order)
        band = _core.spectrum.Band(pixels.wave, glob, local, 0)
        band.add_diagonal(pixels.variance)
        n = len(flux)
        noise = np.zeros((n, n))
        for d in range(min(band.array.shape[1], n)):
            below = np.arange(n - d)
            noise[below + d, below] = noise[below, below + d] = band.array[: n - d, d]
        return scale * flux, scale * x, covariance, noise

    def _starfish_call(self, order: int) -> tuple[Array, Array]:
        flux, x, covariance, noise = self._starfish_parts(order)
        return flux, x.T @ np.linalg.solve(covariance, x) + noise

    def _starfish_log_likelihood(self, order: int) -> float:
        flux, covariance = self._starfish_call(order)
        covariance[np.diag_indices_from(covariance)] += 1e-10
        residual = flux - self._pixels[order].flux
        self.residuals.append(residual)
        sign, log_det = np.linalg.slogdet(covariance)
        if sign <= 0:
            return float("-inf")
        return -0.5 * float(log_det + residual @ np.linalg.solve(covariance, residual))

    # --- fitting ---

    def train(self, priors: Mapping[str, Prior] | None = None, **kwargs: Any) -> Any:
        """The parameters of the largest posterior, by scipy.optimize.minimize: L-BFGS-B with exact gradients
        in scaled parameters, within the library's box, unless `kwargs` name a method. Changes the model where
        it succeeds; returns scipy's result with x in the parameters' own units."""
        optimize = need("scipy.optimize", "SpectrumModel.train")
        priors = dict(priors or {})
        for key, prior in priors.items():
            if key not in self.params:
                raise ArgumentError(f"Invalid priors. {key} not a valid key.")
            if not callable(getattr(prior, "logpdf", None)):
                raise ArgumentError(f"Invalid priors. {key} does not have a `logpdf` method")
            if not np.all(np.isfinite(prior.logpdf(self[key]))):
                raise RuntimeError(f"{key}'s logpdf evaluated to {prior.logpdf(self[key])}")
        labels, start = self.labels, self.get_param_vector()
        if not labels:
            raise ArgumentError("all parameters are frozen")
        by_gradient = not ("method" in kwargs or self.starfish_compat or self.emulator.log_flux)
        if not by_gradient:
            kwargs.setdefault("method", "Nelder-Mead")

            def negative(x: Array) -> float:
                self.set_param_vector(x)
                try:
                    return -self.log_likelihood(priors)
                except OutsideRegion:
                    return float("inf")

            result = optimize.minimize(negative, start, **kwargs)
        else:
            result = self._train_by_gradient(optimize, priors, labels, start, kwargs)
        self.set_param_vector(result.x if result.success else start)
        return result

    def _train_by_gradient(
        self,
        optimize: Any,
        priors: dict[str, Prior],
        labels: tuple[str, ...],
        start: Array,
        kwargs: dict[str, Any],
    ) -> Any:
        box = dict(
            zip(
                self.emulator.param_names,
                zip(self.emulator.min_params, self.emulator.max_params, strict=True),
                strict=True,
            )
        )
        box |= {"vsini": (0.0, np.inf), "Rv": (0.1, np.inf)}
        bounds = np.array([box.get(key, (-np.inf, np.inf)) for key in labels])

        def gradient(x: Array) -> tuple[float, Array]:
            self.set_param_vector(np.clip(x, bounds[:, 0], bounds[:, 1]))
            try:
                value, slope = self.log_likelihood_gradient(priors)
            except (OutsideRegion, ArithmeticError):
                return 1e25, np.zeros(len(x))
            return (-value, -slope) if np.isfinite(value) else (1e25, np.zeros(len(x)))

        scale = np.ones(len(labels))
        for _ in range(2):  # widths of the posterior, at the start and again where that led to
            for i in range(len(labels)):
                # Small against the width, large against rounding.
                h = 1e-4 * max(abs(start[i]), 1.0)
                step = h * (np.arange(len(labels)) == i)
                up = gradient(np.clip(start + step, bounds[:, 0], bounds[:, 1]))[1][i]
                down = gradient(np.clip(start - step, bounds[:, 0], bounds[:, 1]))[1][i]
                curvature = abs(up - down) / (2 * h)
                scale[i] = 1 / np.sqrt(curvature) if curvature > 0 else max(abs(start[i]), 1.0)

            def scaled(y: Array, unit: Array) -> tuple[float, Array]:
                value, slope = gradient(y * unit)
                return value, slope * unit

            settings: dict[str, Any] = {
                "method": "L-BFGS-B",
                "options": {"maxiter": 500, "maxls": 50},
            } | kwargs
            result = optimize.minimize(
                scaled,
                start / scale,
                args=(scale.copy(),),
                jac=True,
                bounds=bounds / scale[:, np.newaxis],
                **settings,
            )
            start = np.clip(result.x * scale, bounds[:, 0], bounds[:, 1])
            result.x = start
            result.jac = result.jac / scale
        result.pop("hess_inv", None)
        # A line search that rounding has stopped, at the optimum.
        if not result.success and np.max(np.abs(result.jac * scale)) < 0.05:
            result.success = True
        return result

    # --- files and looks ---

    def save(self, filename: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Parameters, what is frozen, and metadata, in Starfish's TOML."""
        meta: dict[str, Any] = {"name": self.name, "data": self.data_name}
        if self.emulator.name is not None:
            meta["emulator"] = self.emulator.name
        meta |= dict(metadata or {})
        lines = [f"frozen = {_toml(self.frozen)}", ""]
        _write_table(lines, "parameters", self.params.as_dict())
        _write_table(lines, "metadata", meta)
        path = Path(filename)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text("\n".join(lines) + "\n")
        temporary.replace(path)

    def load(self, filename: str | os.PathLike[str]) -> None:
        """What `save` of this class or of Starfish wrote, for this emulator and data."""
        tomllib = need("tomllib" if sys.version_info >= (3, 11) else "tomli", "reading TOML")
        try:
            content = tomllib.loads(Path(filename).read_text())
            flat = flatten(content["parameters"])
            frozen = [str(name) for name in content["frozen"]]
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise FormatError(f"{filename}: not the state of a model: {error}") from error
        for key in flat:
            self._check_key(key)
        missing = [key for key in self.emulator.param_names if key not in flat]
        if missing:
            raise FormatError(f"{filename}: without the emulator's parameter '{missing[0]}'")
        self.params = Params(flat)
        self.frozen = frozen

    def plot(self, order: int = 0, axes: Any = None) -> Any:
        """Data and model, and the residual with bands of 1, 2 and 3 sigma; returns the axes."""
        from . import plots

        return plots.model(self, order, axes)

    def __repr__(self) -> str:
        lines = [
            self.name,
            "-" * len(self.name),
            f"Data: {self.data_name}",
            f"Emulator: {self.emulator.name}",
            f"Log Likelihood: {self._lnprob}",
            "",
            "Parameters",
        ]
        for key, value in self.get_param_dict().items():
            if key == "global_cov":
                lines += ["  global_cov:", *(f"    {k}: {v}" for k, v in value.items())]
            elif key in ("local_cov", "orders"):
                lines.append(f"  {key}:")
                lines += [
                    f"    {i}: " + ", ".join(f"{k}: {v}" for k, v in item.items())
                    for i, item in enumerate(value)
                ]
            elif key == "cheb":
                lines.append(f"  cheb: {list(value.values())}")
            else:
                lines.append(f"  {key}: {value}")
        if "log_scale" not in self.params:
            self.flux_and_std()
            lines.append(f"  log_scale: {self._log_scale} (fit)")
        frozen = [key for key in self.frozen if key not in ("global_cov", "local_cov")]
        if frozen:
            lines += ["", "Frozen Parameters", *(f"  {key}: {self[key]}" for key in frozen)]
        return "\n".join(lines)


def _sampler(wl: Array, rows: Array) -> Any:
    """The operator of rows on wavelengths that are uniform in their logarithm."""
    steps = np.diff(np.log(wl))
    step = float(np.mean(steps))
    # Of a pixel, over the whole range.
    drift = np.abs(np.log(wl) - np.log(wl[0]) - step * np.arange(len(wl))).max() / step
    if drift > 1e-3:
        raise ArgumentError(
            f"the emulator's wavelengths are not uniform in ln(lambda): they drift by {drift:.2g} pixels "
            f"({C_KMS * steps.min():.4g} to {C_KMS * steps.max():.4g} km/s a pixel); resample first"
        )
    return _core.spectrum.RowSampler(float(np.log(wl[0])), step, rows)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    if isinstance(value, (list, tuple, np.ndarray)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    quoted = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{quoted}"'


def _write_table(lines: list[str], name: str, table: Mapping[str, Any], brackets: str = "[]") -> None:
    lines.append(f"{brackets[: len(brackets) // 2]}{name}{brackets[len(brackets) // 2 :]}")
    nested = {}
    for key, value in table.items():
        if isinstance(value, Mapping) or (
            isinstance(value, list) and value and isinstance(value[0], Mapping)
        ):
            nested[key] = value
        else:
            lines.append(f"{_toml(key)} = {_toml(value)}")
    for key, value in nested.items():
        if isinstance(value, Mapping):
            _write_table(lines, f"{name}.{key}", value)
        else:
            for item in value:
                _write_table(lines, f"{name}.{key}", item, "[[]]")
    lines.append("")
