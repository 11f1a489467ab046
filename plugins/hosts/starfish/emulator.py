# SPDX-License-Identifier: BSD-3-Clause
"""The emulator of a library of spectra, with the interface of Starfish.emulator.Emulator (0.4)."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..errors import ArgumentError, FileError, FormatError, OutsideRegion
from .grid import C_KMS, Array, GridLike, Region, in_memory, text
from .optional import need
from .pca import decompose

log = logging.getLogger(__name__)

KERNELS = ("squared_exponential", "matern52")
#: scipy's methods, which scripts written for Starfish may name.
_SCIPY_METHODS = {"nelder-mead", "powell", "cg", "bfgs", "l-bfgs-b", "tnc", "cobyla", "slsqp", "trust-constr"}
_ZELOS_MAGIC = b"ZELOS\r\n\x1a"
_DOCUMENT_VERSION = 1

Progress = Callable[[int, float], bool | None]


@dataclass
class Training:
    """How the hyperparameters came about.

    converged:      the largest component of the gradient is at most the tolerance, or rounding leaves
                    no more to gain.
    gradient_norm:  that component, of the log posterior by the logarithms of the hyperparameters.
    start_values:   log posterior that each start reached, if it ended.
    history:        (evaluations, log posterior) as it rose.
    """

    converged: bool
    gradient_norm: float
    log_posterior: float
    evaluations: int
    seconds: float
    start_values: list[float]
    settings: dict[str, Any]
    history: list[tuple[int, float]] = field(default_factory=list)


class Emulator:
    """Gaussian processes of the weights of a library's principal components (Czekala et al. 2015, appendix).

    A spectrum over its mean flux is flux_mean + (w @ eigenspectra) * flux_std + residual; the processes give
    w(params) with a covariance, `residual_variance` is the variance of what the components leave out,
    measured on spectra that they were not made from.

    Made by `from_grid` or `load`. The arguments of the constructor are Starfish's; beyond them:

    residual_variance:  (P,); zero if not given.
    residual_length:    correlation length of the residual, km/s in the metric of the global kernel.
    independent:        False: all weights share the noise 1 / lambda_xi (Habib et al.; Starfish's emulator).
                        True: each weight has a nugget of its own.
    kernel:             "squared_exponential" or "matern52".
    mean_degree:        degree of a polynomial mean of each weight, integrated out; -1: none.
    log_flux:           flux_mean, eigenspectra and the residual are of the logarithm of the flux.

    Hyperparameters are `hyperparams`, natural logarithms: log_lambda_xi (or log_nugget:i), log_variance:i,
    log_lengthscale:i:j. An emulator is not thread-safe while it is changed.
    """

    def __init__(
        self,
        grid_points: Any,
        param_names: Sequence[str],
        wavelength: Any,
        weights: Any,
        eigenspectra: Any,
        w_hat: Any,
        flux_mean: Any,
        flux_std: Any,
        factors: Any,
        lambda_xi: float = 1.0,
        variances: Any = None,
        lengthscales: Any = None,
        name: str | None = None,
        *,
        residual_variance: Any = None,
        residual_length: float = 0.0,
        nuggets: Any = None,
        kernel: str = "squared_exponential",
        mean_degree: int = -1,
        log_flux: bool = False,
    ) -> None:
        def array(value: Any) -> Array:
            return np.array(value, dtype=np.float64)

        self.log = logging.getLogger(type(self).__name__)
        self.grid_points = array(grid_points)
        self.param_names = [text(n) for n in param_names]
        self.wl = array(wavelength)
        self.weights = array(weights)
        self.eigenspectra = array(eigenspectra)
        self.w_hat = array(w_hat)
        self.flux_mean = array(flux_mean)
        self.flux_std = array(flux_std)
        self.factors = array(factors)
        self.residual_variance = (
            np.zeros_like(self.flux_mean) if residual_variance is None else array(residual_variance)
        )
        self.residual_length = float(residual_length)
        self.log_flux = log_flux
        self.name = name
        self.ncomps = len(self.eigenspectra)
        self._check_shapes()
        self.dv = C_KMS * float(np.min(np.diff(self.wl) / self.wl[:-1]))
        self.min_params = self.grid_points.min(axis=0)
        self.max_params = self.grid_points.max(axis=0)
        self._grid_sep = np.array([_largest_step(column) for column in self.grid_points.T])
        self._region = Region(self.grid_points, self.param_names)
        # Of the full range: truncation leaves the weights, and what they were made from, as they are.
        gram = self.eigenspectra @ self.eigenspectra.T
        orthonormal = np.abs(gram - np.eye(self.ncomps)).max() < 1e-9
        self._gram = np.zeros((0, 0)) if orthonormal else gram
        self._factor_process: Any = None
        self._data: Any = None
        self._process: Any = None
        self.training: Training | None = None
        self.provenance: dict[str, Any] = {}
        self._trained = False
        self.hyperparams: dict[str, float] = {}
        self._set_kind(nuggets is not None, kernel, mean_degree)
        if nuggets is None:
            self.lambda_xi = lambda_xi
        else:
            self.nuggets = nuggets
        self.variances = np.full(self.ncomps, 1e4) if variances is None else array(variances)
        self.lengthscales = (
            np.tile(3 * self._grid_sep, (self.ncomps, 1)) if lengthscales is None else array(lengthscales)
        )

    def _check_shapes(self) -> None:
        points, pixels, m = len(self.grid_points), len(self.wl), len(self.eigenspectra)
        expected = {
            "grid_points": (points, len(self.param_names)),
            "weights": (points, m),
            "eigenspectra": (m, pixels),
            "w_hat": (points * m,),
            "flux_mean": (pixels,),
            "flux_std": (pixels,),
            "factors": (points,),
            "residual_variance": (pixels,),
        }
        for name, shape in expected.items():
            found = getattr(self, name)
            if found.shape != shape:
                raise ArgumentError(f"{name}: expected the shape {shape}, found {found.shape}")
            if not np.all(np.isfinite(found)):
                raise ArgumentError(f"{name}: a value is not finite")

    # --- hyperparameters ---

    def _set_kind(self, independent: bool, kernel: str, mean_degree: int) -> None:
        """What the processes are; the hyperparameters' keys follow."""
        if kernel not in KERNELS:
            raise ArgumentError(f"kernel: expected {' or '.join(KERNELS)}, found '{kernel}'")
        self.independent, self.kernel, self.mean_degree = independent, kernel, mean_degree
        noise = [f"log_nugget:{i}" for i in range(self.ncomps)] if independent else ["log_lambda_xi"]
        dims = range(len(self.param_names))
        keys = [
            *noise,
            *(f"log_variance:{i}" for i in range(self.ncomps)),
            *(f"log_lengthscale:{i}:{j}" for i in range(self.ncomps) for j in dims),
        ]
        if list(self.hyperparams) != keys:
            old = self.hyperparams
            start = -old["log_lambda_xi"] if "log_lambda_xi" in old else 0.0
            default = {key: start for key in noise if key.startswith("log_nugget")}
            self.hyperparams = {key: old.get(key, default.get(key, 0.0)) for key in keys}
        self._data = None
        self._process = None

    @property
    def lambda_xi(self) -> float:
        """The precision that all weights share."""
        if self.independent:
            raise ArgumentError("lambda_xi: independent processes have nuggets instead")
        return float(np.exp(self.hyperparams["log_lambda_xi"]))

    @lambda_xi.setter
    def lambda_xi(self, value: float) -> None:
        if self.independent:
            raise ArgumentError("lambda_xi: independent processes have nuggets instead")
        self._put({"log_lambda_xi": float(np.log(value))})

    @property
    def nuggets(self) -> Array:
        """(m,): the noise variance of each weight, 1 / lambda_xi if it is shared."""
        if not self.independent:
            return np.full(self.ncomps, 1.0 / self.lambda_xi)
        return np.asarray(np.exp([self.hyperparams[f"log_nugget:{i}"] for i in range(self.ncomps)]))

    @nuggets.setter
    def nuggets(self, values: Any) -> None:
        if not self.independent:
            raise ArgumentError("nuggets: joint processes have lambda_xi instead")
        self._put({f"log_nugget:{i}": float(np.log(v)) for i, v in enumerate(values)})

    @property
    def variances(self) -> Array:
        """(m,)"""
        return np.asarray(np.exp([self.hyperparams[f"log_variance:{i}"] for i in range(self.ncomps)]))

    @variances.setter
    def variances(self, values: Any) -> None:
        self._put({f"log_variance:{i}": float(np.log(v)) for i, v in enumerate(values)})

    @property
    def lengthscales(self) -> Array:
        """(m, D)"""
        values = [v for key, v in self.hyperparams.items() if key.startswith("log_lengthscale:")]
        return np.asarray(np.exp(np.reshape(values, (self.ncomps, -1))))

    @lengthscales.setter
    def lengthscales(self, values: Any) -> None:
        self._put(
            {
                f"log_lengthscale:{i}:{j}": float(np.log(v))
                for i, row in enumerate(values)
                for j, v in enumerate(row)
            }
        )

    def _put(self, params: Mapping[str, float]) -> None:
        for key, value in params.items():
            if not np.isfinite(value):
                raise ArgumentError(f"{key}: expected the logarithm of a positive number, found {value}")
        self.hyperparams.update(params)
        self._process = None

    def __getitem__(self, key: str) -> float:
        return self.hyperparams[key]

    def get_param_dict(self) -> dict[str, float]:
        """The hyperparameters; as in Starfish not a copy, so change them by `set_param_dict`."""
        return self.hyperparams

    def set_param_dict(self, params: Mapping[str, float]) -> None:
        """Unknown keys are ignored, as in Starfish."""
        self._put({key: float(value) for key, value in params.items() if key in self.hyperparams})

    def get_param_vector(self) -> Array:
        return np.array(list(self.hyperparams.values()))

    def set_param_vector(self, params: Any) -> None:
        if len(params) != len(self.hyperparams):
            raise ArgumentError(
                f"params must match length of parameters (get_param_vector()): expected "
                f"{len(self.hyperparams)}, found {len(params)}"
            )
        self._put({key: float(value) for key, value in zip(self.hyperparams, params, strict=True)})

    def save_hyperparameters(self, filename: str | os.PathLike[str]) -> None:
        """As JSON, with what they belong to."""
        content = {
            "kernel": self.kernel,
            "mean_degree": self.mean_degree,
            "independent": self.independent,
            "trained": self._trained,
            "hyperparameters": self.hyperparams,
        }
        Path(filename).write_text(json.dumps(content, indent=1) + "\n")

    def load_hyperparameters(self, filename: str | os.PathLike[str]) -> None:
        """What `save_hyperparameters` wrote, for the same library and number of components."""
        try:
            content = json.loads(Path(filename).read_text())
            values = {str(k): float(v) for k, v in content["hyperparameters"].items()}
            kind = bool(content["independent"]), str(content["kernel"]), int(content["mean_degree"])
            trained = bool(content["trained"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{filename}: not hyperparameters of an emulator: {error}") from error
        before = self.independent, self.kernel, self.mean_degree
        self._set_kind(*kind)
        if set(values) != set(self.hyperparams):
            self._set_kind(*before)
            raise ArgumentError(
                f"{filename}: hyperparameters of another emulator: expected {len(self.hyperparams)} for "
                f"{self.ncomps} components of {len(self.param_names)} parameters, found {len(values)}"
            )
        self._put({key: values[key] for key in self.hyperparams})
        self._trained = trained

    # --- the processes ---

    def _weight_data(self) -> Any:
        if self._data is None:
            w_hat = self.w_hat.reshape(self.ncomps, -1).T
            self._data = _core.spectrum.WeightData(
                self.grid_points, w_hat, self._gram, self.kernel, self.independent, self.mean_degree
            )
        return self._data

    @property
    def process(self) -> Any:
        """The conditioned processes (zelos/spectrum.hpp: WeightProcess), factorised when first needed."""
        if self._process is None:
            self._process = _core.spectrum.WeightProcess(self._weight_data(), self.get_param_vector())
        return self._process

    @property
    def iPhiPhi(self) -> Array:
        """(mM, mM): inverse of Phi^T Phi. For inspection; nothing is computed with it."""
        gram = self._gram if self._gram.size else np.eye(self.ncomps)
        return np.asarray(np.kron(np.linalg.inv(gram), np.eye(len(self.grid_points))))

    @property
    def v11(self) -> Array:
        """(mM, mM): covariance of the weights on the grid. For inspection; nothing is computed with it."""
        count = len(self.grid_points)
        v11 = self.iPhiPhi * np.repeat(self.nuggets, count)[:, np.newaxis]
        for i, (v, scale) in enumerate(zip(self.variances, self.lengthscales, strict=True)):
            u = self.grid_points / scale
            square = ((u[:, np.newaxis] - u[np.newaxis]) ** 2).sum(axis=-1)
            if self.kernel == "matern52":
                s = np.sqrt(5 * square)
                block = v * (1 + s + s**2 / 3) * np.exp(-s)
            else:
                block = v * np.exp(-0.5 * square)
            v11[i * count : (i + 1) * count, i * count : (i + 1) * count] += block
        return v11

    def log_likelihood(self) -> float:
        """Of the hyperparameters, without 2 pi and without priors: eq. A23 of Czekala et al. (2015).
        In extended precision, several times slower, where the covariance's condition asks for it."""
        return float(
            _core.spectrum.weight_log_likelihood(self._weight_data(), self.get_param_vector(), _threads(None))
        )

    def log_likelihood_gradient(self) -> tuple[float, Array]:
        """The log likelihood in double precision and its derivatives by the hyperparameters."""
        value, gradient = _core.spectrum.weight_log_likelihood_gradient(
            self._weight_data(), self.get_param_vector(), _threads(None)
        )
        return float(value), np.asarray(gradient)

    def altered_prior(self, shape: float = 1.0, rate: float = 1e-4) -> tuple[float, float]:
        """(a', b') of the Gamma density of lambda_xi: its prior (a, b) times the likelihood of what the
        components leave of the library (eqs. A24-A25). Needs the whole range of wavelengths."""
        pixels, points = len(self.wl), len(self.grid_points)
        return (
            shape + 0.5 * points * (pixels - self.ncomps),
            rate + 0.5 * points * float(np.sum(self.residual_variance / self.flux_std**2)),
        )

    # --- training ---

    def train(
        self,
        method: str | None = None,
        *,
        kernel: str | None = None,
        mean_degree: int | None = None,
        max_iter: int = 1000,
        n_starts: int = 1,
        tolerance: float = 0.5,
        lengthscale_priors: Sequence[tuple[float, float]] | None = None,
        lambda_xi_prior: tuple[float, float] | str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 25,
        resume: bool = False,
        progress: Progress | None = None,
        seed: int = 0,
        threads: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Training:
        """Finds the hyperparameters of the largest posterior density, by L-BFGS-B with exact gradients.

        method:       "joint": one lambda_xi (Starfish's likelihood); "independent": a nugget for each weight;
                      None: as the emulator is. A method of scipy.optimize, which scripts for Starfish may
                      name, is ignored with a warning.
        kernel, mean_degree:  as in the constructor; None: as the emulator is.
        max_iter:     iterations of each start (`options={"maxiter": n}` does the same).
        n_starts:     the present hyperparameters, then random ones.
        tolerance:    of the gradient. A component g where the posterior is sigma wide is g sigma^2 away from
                      the optimum; rounding leaves about 0.2 where lambda_xi is large.
        lengthscale_priors:  (shape, rate) of a Gamma density for each parameter; none: flat.
        lambda_xi_prior:     (shape, rate) of a Gamma density of lambda_xi (of 1 / nugget); "altered":
                             `altered_prior`.
        checkpoint:   a JSON file, written after every `checkpoint_every` evaluations; with `resume` the
                      training starts from what is there.
        progress:     called with (evaluations, log posterior); False stops.

        Training that has not converged warns and says by how much. Ctrl-C stops it and keeps the best so far.
        """
        if method is not None and method.lower() in _SCIPY_METHODS:
            warnings.warn(f"method '{method}' is ignored: training is by L-BFGS-B", stacklevel=2)
            method = None
        if method not in (None, "joint", "independent"):
            raise ArgumentError(f"method: expected joint or independent, found '{method}'")
        max_iter = int((options or {}).get("maxiter", max_iter))
        self._set_kind(
            self.independent if method is None else method == "independent",
            self.kernel if kernel is None else kernel,
            self.mean_degree if mean_degree is None else mean_degree,
        )
        if resume:
            if checkpoint is None:
                raise ArgumentError("resume: which checkpoint?")
            if Path(checkpoint).exists():
                self.load_hyperparameters(checkpoint)
        elif not self._trained:
            self._put(self._first_guess())
        prior = self.altered_prior() if lambda_xi_prior == "altered" else lambda_xi_prior
        if isinstance(prior, str):
            raise ArgumentError(f"lambda_xi_prior: expected (shape, rate) or 'altered', found '{prior}'")
        if prior is not None and prior[1] > 0:
            # A start far out in the prior's exponential tail would never come back.
            mean = prior[0] / prior[1]
            if self.independent:
                self.nuggets = np.full(self.ncomps, 1 / mean)
            else:
                self.lambda_xi = mean
        history: list[tuple[int, float]] = []
        began = time.monotonic()
        start = self.get_param_vector()

        def report(evaluations: int, value: float, best: Array) -> bool:
            if np.isfinite(value) and (not history or value > history[-1][1]):
                history.append((evaluations, value))
            if checkpoint is not None and evaluations % checkpoint_every == 0 and np.isfinite(value):
                self._put(dict(zip(self.hyperparams, best.tolist(), strict=True)))
                self._save_checkpoint(Path(checkpoint))
            return progress is None or progress(evaluations, value) is not False

        try:
            optimum = _core.spectrum.train_weights(
                self._weight_data(),
                start,
                [tuple(p) for p in lengthscale_priors or ()],
                prior,
                n_starts,
                max_iter,
                tolerance,
                seed,
                _threads(threads),
                report,
            )
        except KeyboardInterrupt:
            if checkpoint is not None:
                self._save_checkpoint(Path(checkpoint))
            raise
        self.set_param_vector(optimum["hyperparameters"])
        self._trained = True
        self.training = Training(
            converged=optimum["converged"],
            gradient_norm=optimum["gradient_norm"],
            log_posterior=optimum["log_posterior"],
            evaluations=optimum["evaluations"],
            seconds=time.monotonic() - began,
            start_values=[v for v in optimum["start_values"] if np.isfinite(v)],
            settings={
                "method": "independent" if self.independent else "joint",
                "kernel": self.kernel,
                "mean_degree": self.mean_degree,
                "max_iter": max_iter,
                "n_starts": n_starts,
                "tolerance": tolerance,
                "seed": seed,
            },
            history=history,
        )
        if checkpoint is not None:
            self._save_checkpoint(Path(checkpoint))
        if not optimum["converged"]:
            warnings.warn(
                f"the training has not converged: the largest component of the gradient is "
                f"{optimum['gradient_norm']:.3g}, the tolerance {tolerance:g}; train again or raise max_iter",
                stacklevel=2,
            )
        self.log.info(self)
        return self.training

    def _first_guess(self) -> dict[str, float]:
        """Where the training of a fresh emulator starts: the scatter of the weights, the range of the
        parameters."""
        power = np.maximum((self.weights**2).mean(axis=0), 1e-300)
        span = np.maximum(np.ptp(self.grid_points, axis=0), self._grid_sep)
        guess = {f"log_variance:{i}": float(np.log(10 * p)) for i, p in enumerate(power)}
        if self.independent:
            guess |= {f"log_nugget:{i}": float(np.log(1e-6 * p)) for i, p in enumerate(power)}
        else:
            guess["log_lambda_xi"] = float(np.log(1e4 / power[0]))
        for i in range(self.ncomps):
            guess |= {f"log_lengthscale:{i}:{j}": float(np.log(0.7 * s)) for j, s in enumerate(span)}
        return guess

    def start_from(self, other: Emulator) -> None:
        """Takes the hyperparameters of a trained emulator with the same parameters as the start of the
        training: each component those of the other's component that it overlaps most, on the pixels that both
        have."""
        if self.param_names != other.param_names:
            raise ArgumentError(f"expected an emulator of {self.param_names}, found {other.param_names}")
        _, mine, theirs = np.intersect1d(np.round(self.wl, 6), np.round(other.wl, 6), return_indices=True)
        if len(mine) < 6:
            raise ArgumentError("the emulators have fewer than six wavelengths in common")
        # In flux, since the two scale their pixels differently.
        a = self.eigenspectra[:, mine] * self.flux_std[mine]
        b = other.eigenspectra[:, theirs] * other.flux_std[theirs]
        size = np.linalg.norm(a, axis=1)[:, np.newaxis] * np.linalg.norm(b, axis=1)
        nearest = np.argmax(np.abs(a @ b.T) / size, axis=1)
        self._set_kind(other.independent, other.kernel, other.mean_degree)
        ratio = (self.weights**2).mean(axis=0) / (other.weights**2).mean(axis=0)[nearest]
        self.variances = other.variances[nearest] * ratio
        self.lengthscales = other.lengthscales[nearest]
        if self.independent:
            self.nuggets = other.nuggets[nearest] * ratio
        else:
            self.lambda_xi = other.lambda_xi
        self._trained = True  # so that `train` starts from here

    def _save_checkpoint(self, path: Path) -> None:
        temporary = path.with_name(path.name + ".tmp")
        self.save_hyperparameters(temporary)
        temporary.replace(path)

    # --- prediction ---

    def require_trained(self) -> None:
        if not self._trained:
            raise ArgumentError("Before calling the emulator you must train it: Emulator.train()")

    def require_inside(self, points: Array) -> None:
        """OutsideRegion, which is a ValueError, for a point that the library does not surround."""
        if points.ndim != 2 or points.shape[1] != len(self.param_names):
            raise ArgumentError(
                f"expected the parameters {', '.join(self.param_names)}, found {points.shape[-1]} numbers"
            )
        for row, point in enumerate(points):
            reason = self._region.why_outside(point)
            if reason:
                raise OutsideRegion(
                    f"Querying emulator outside of original parameter range: {reason}", row=row
                )

    def __call__(
        self, params: Any, full_cov: bool = True, reinterpret_batch: bool = False
    ) -> tuple[Array, Array]:
        """Mean and covariance of the weights.

        params (D,): mu (m,), cov (m, m). params (K, D): mu (m K,), cov (m K, m K), component after component.
        full_cov=False: the variances instead of cov; then reinterpret_batch=True: both (K, m).
        """
        points = np.atleast_2d(np.asarray(params, dtype=np.float64))
        if full_cov and reinterpret_batch:
            raise ArgumentError("Cannot reshape the full_covariance matrix for many parameters.")
        self.require_trained()
        self.require_inside(points)
        if len(points) == 1:
            mu, cov = self.process.predict(points[0])
        elif full_cov:
            mu, cov = self.process.predict_jointly(points)
        else:
            pairs = [self.process.predict(point) for point in points]
            mu = np.array([pair[0] for pair in pairs]).T.ravel()
            return _batch(
                mu, np.array([np.diag(pair[1]) for pair in pairs]).T.ravel(), self, reinterpret_batch
            )
        return (mu, cov) if full_cov else _batch(mu, np.diag(cov).copy(), self, reinterpret_batch)

    @property
    def bulk_fluxes(self) -> Array:
        """(m + 2, P): eigenspectra, flux_mean, flux_std."""
        return np.vstack([self.eigenspectra, self.flux_mean, self.flux_std])

    def load_flux(self, params: Any, norm: bool = False, sample: bool = False, seed: Any = None) -> Array:
        """The spectrum at the parameters, (P,) or (K, P): its mean, or with `sample` a draw of the weights
        and of the residual (Starfish always draws the weights, and has no residual). `norm`: in the library's
        units."""
        points = np.atleast_2d(np.asarray(params, dtype=np.float64))
        if sample:
            random = np.random.default_rng(seed)
            mu, cov = self(points)
            weights = random.multivariate_normal(mu, cov, method="cholesky").reshape(self.ncomps, -1).T
        else:
            mu, _ = self(points, full_cov=False)
            weights = mu.reshape(self.ncomps, -1).T
        flux = weights @ (self.eigenspectra * self.flux_std) + self.flux_mean
        if sample:
            flux += random.normal(size=flux.shape) * np.sqrt(self.residual_variance)
        if self.log_flux:
            flux = np.exp(flux)
        if norm:
            flux *= np.reshape(self.norm_factor(points), (-1, 1))
        return np.asarray(np.squeeze(flux))

    def flux_variance(self, params: Any) -> Array:
        """(P,): variance of the spectrum of mean flux 1 at one point, by the weights and by the residual;
        with `log_flux` to first order."""
        mu, cov = self(np.asarray(params, dtype=np.float64))
        _, x, residual = self.rows_at(mu)
        return np.asarray(np.einsum("ip,ij,jp->p", x, cov, x) + residual**2)

    def rows_at(self, weights: Array) -> tuple[Array, Array, Array]:
        """mean (P,), X (m, P) and the residual's standard deviation (P,) of flux = mean + w @ X; with
        `log_flux` the tangent at these weights."""
        x = self.eigenspectra * self.flux_std
        residual = np.sqrt(self.residual_variance)
        if not self.log_flux:
            return self.flux_mean, x, residual
        base = np.exp(self.flux_mean + weights @ x)
        return base * (1 - weights @ x), base * x, base * residual

    def norm_factor(self, params: Any) -> Any:
        """The mean flux of the library's spectrum: a Gaussian process of its logarithm. Starfish interpolates
        it linearly."""
        return self.norm_factor_with_error(params)[0]

    def norm_factor_with_error(self, params: Any) -> tuple[Any, Any]:
        """The factor, and the standard deviation of its logarithm."""
        points = np.atleast_2d(np.asarray(params, dtype=np.float64))
        self.require_inside(points)
        process = self._factors_process()
        found = [process.predict(point) for point in points]
        factor = np.exp([mean[0] for mean, _ in found])
        error = np.sqrt([cov[0, 0] for _, cov in found])
        if np.ndim(params) == 1:
            return float(factor[0]), float(error[0])
        return factor, error

    def norm_factor_slope(self, point: Array) -> tuple[Array, Array]:
        """Derivatives (D,) of the logarithm of the factor and of its variance."""
        _, _, slope, variance = self._factors_process().predict_slopes(point)
        return slope[0], np.array([v[0, 0] for v in variance])

    def _factors_process(self) -> Any:
        if self._factor_process is None:
            if np.any(self.factors <= 0):
                raise ArgumentError("factors: the mean flux of a spectrum of the library is not positive")
            logs = np.log(self.factors)[:, np.newaxis]
            dims = len(self.param_names)
            terms = (dims + 1) * (dims + 2) // 2
            degree = 2 if len(logs) > 2 * terms else 0
            data = _core.spectrum.WeightData(
                self.grid_points, logs, np.zeros((0, 0)), "squared_exponential", True, degree
            )
            span = np.maximum(np.ptp(self.grid_points, axis=0), self._grid_sep)
            power = max(float(np.var(logs)), 1e-12)
            start = np.concatenate([np.log([1e-6 * power, power]), np.log(0.7 * span)])
            optimum = _core.spectrum.train_weights(
                data, start, [], None, 2, 300, 0.5, 0, _threads(None), None
            )
            self._factor_process = _core.spectrum.WeightProcess(data, optimum["hyperparameters"])
        return self._factor_process

    def get_index(self, params: Any) -> Any:
        """Index of the grid point that is nearest to the parameters (sum of the absolute differences)."""
        points = np.atleast_2d(params)
        marks = np.abs(self.grid_points - np.expand_dims(points, 1)).sum(axis=-1)
        return marks.argmin(axis=1).squeeze()

    def left_out_errors(self) -> tuple[Array, Array]:
        """What each grid point's weights would be predicted to be without that point: errors (M, m) and their
        predicted standard deviations. On a grid this is the error in a hole of twice the spacing."""
        self.require_trained()
        errors, variances = self.process.left_out()
        return errors, np.sqrt(variances)

    # --- truncation ---

    def determine_chunk_log(self, wavelength: Any, buffer: float = 50) -> None:
        """Truncates the spectra to the least power-of-two fraction that encloses the wavelengths and a buffer
        (Angstrom). All that is kept by pixel stays in step, and the processes stay as they are."""
        wave = np.asarray(wavelength, dtype=np.float64)
        low, high = wave.min() - buffer, wave.max() + buffer
        if low < self.wl[0] or high > self.wl[-1]:
            raise ArgumentError(
                f"wavelengths with their buffer ({low:.2f} to {high:.2f}) reach beyond the emulator's "
                f"({self.wl[0]:.2f} to {self.wl[-1]:.2f})"
            )
        needed = int(np.count_nonzero((self.wl >= low) & (self.wl <= high)))
        chunk = len(self.wl)
        while chunk / 2 > needed:
            chunk //= 2
        if chunk == len(self.wl):
            return
        centre = int(np.argmin(np.abs(self.wl - (low + high) / 2)))
        first = min(max(centre - chunk // 2, 0), len(self.wl) - chunk)
        if self.wl[first] > low or self.wl[first + chunk - 1] < high:
            return  # wavelengths are not uniform enough for this chunk: all are kept
        kept = slice(first, first + chunk)
        self.wl = self.wl[kept]
        self.eigenspectra = self.eigenspectra[:, kept]
        self.flux_mean, self.flux_std = self.flux_mean[kept], self.flux_std[kept]
        self.residual_variance = self.residual_variance[kept]

    # --- making, saving, loading ---

    @classmethod
    def from_grid(
        cls,
        grid: GridLike | str | os.PathLike[str],
        n_components: float | int | None = 0.99,
        *,
        whiten_pixels: bool = True,
        log_flux: bool = False,
        wl_range: tuple[float, float] | None = None,
        name: str | None = None,
        svd_solver: str = "full",
    ) -> Emulator:
        """Principal components of a library: a `Grid`, a file in Starfish's layout, or an object with
        `fluxes`, `grid_points`, `param_names` and `wl`.

        n_components:   their number, or the fraction of the variance that they explain; see
                        `choose_components`.
        whiten_pixels:  each pixel is divided by its scatter before the decomposition, as in Starfish; without
                        it the components minimise the error of the flux.
        log_flux:       the logarithms of the spectra are decomposed. Often more accurate; the likelihood then
                        takes the tangent of the exponential, and has no gradient.
        wl_range:       truncates the library first.
        svd_solver:     "full" alone; others of scikit-learn are approximations.
        """
        if svd_solver not in ("full", "auto"):
            raise ArgumentError(f"svd_solver: expected full, found '{svd_solver}'")
        library = in_memory(grid)
        if wl_range is not None:
            library = library.truncate(wl_range)
        c = decompose(library, n_components, whiten_pixels, log_flux)
        log.info("%d components explain %.4f %% of the variance", len(c.eigenspectra), 100 * c.explained)
        emulator = cls(
            library.grid_points,
            library.param_names,
            library.wl,
            c.weights,
            c.eigenspectra,
            c.weights.T.ravel(),
            c.mean,
            c.std,
            c.factors,
            name=name,
            residual_variance=c.residual_variance,
            residual_length=c.residual_length,
            log_flux=log_flux,
        )
        emulator.provenance = {
            "made_by": "zelos.starfish.Emulator.from_grid",
            "zelos": _core.version(),
            "zelos_commit": _core.commit(),
            "n_components": n_components,
            "whiten_pixels": whiten_pixels,
            "log_flux": log_flux,
            "explained_variance": c.explained,
            "source": os.fspath(grid) if isinstance(grid, (str, os.PathLike)) else type(grid).__name__,
        }
        return emulator

    def save(self, filename: str | os.PathLike[str]) -> None:
        """One file that vouches for itself: all arrays, hyperparameters, the training, provenance. It is HDF5
        behind a header of 512 bytes; `save_starfish` writes Starfish's layout."""
        document = {
            "version": _DOCUMENT_VERSION,
            "name": self.name,
            "param_names": self.param_names,
            "kernel": self.kernel,
            "mean_degree": self.mean_degree,
            "independent": self.independent,
            "trained": self._trained,
            "hyperparameters": self.hyperparams,
            "residual_length": self.residual_length,
            "log_flux": self.log_flux,
            "training": None if self.training is None else asdict(self.training),
            "provenance": self.provenance,
        }
        arrays = {name: np.atleast_2d(getattr(self, name)) for name in _ARRAYS}
        if self._gram.size:
            arrays["gram"] = self._gram
        _core.spectrum.write_emulator(
            os.path.expandvars(os.fspath(filename)), json.dumps(document, allow_nan=False), arrays
        )

    @classmethod
    def load(cls, filename: str | os.PathLike[str]) -> Emulator:
        """A file of `save`, or one of Starfish."""
        path = os.path.expandvars(os.fspath(filename))
        try:
            with Path(path).open("rb") as file:
                head = file.read(len(_ZELOS_MAGIC))
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
        return cls._load_own(path) if head == _ZELOS_MAGIC else cls._load_starfish(path)

    @classmethod
    def _load_own(cls, path: str) -> Emulator:
        text_of, arrays = _core.spectrum.read_emulator(path)
        document = json.loads(text_of)
        try:
            if document["version"] != _DOCUMENT_VERSION:
                raise FormatError(
                    f"{path}: expected version {_DOCUMENT_VERSION} of a spectral emulator, found "
                    f"{document['version']}; a newer zelos reads it"
                )
            flat = {name: arrays[name] for name in _ARRAYS}
            for name in _FLAT:
                flat[name] = flat[name].ravel()
            wl = flat.pop("wl")
            emulator = cls(
                param_names=document["param_names"],
                wavelength=wl,
                name=document["name"],
                residual_length=document["residual_length"],
                log_flux=document["log_flux"],
                **flat,
            )
            # As it was made, not as it may have been truncated since.
            emulator._gram = arrays.get("gram", np.zeros((0, 0)))
            emulator._set_kind(document["independent"], document["kernel"], document["mean_degree"])
            values = document["hyperparameters"]
            emulator._put({key: float(values[key]) for key in emulator.hyperparams})
            emulator._trained = bool(document["trained"])
            emulator.provenance = dict(document["provenance"])
            if document["training"] is not None:
                emulator.training = Training(**document["training"])
                emulator.training.history = [(int(n), float(v)) for n, v in emulator.training.history]
        except (KeyError, TypeError) as error:
            raise FormatError(f"{path}: a spectral emulator without or with a wrong {error}") from error
        return emulator

    @classmethod
    def _load_starfish(cls, path: str) -> Emulator:
        h5py = need("h5py", "reading Starfish's files")
        try:
            with h5py.File(path, "r") as base:
                hyper = base["hyperparameters"]
                names = [text(n) for n in base["grid_points"].attrs["names"]]
                fields: dict[str, Any] = {
                    name: np.array(base[name][()], dtype=np.float64)
                    for name in (
                        "grid_points",
                        "wavelength",
                        "weights",
                        "eigenspectra",
                        "flux_mean",
                        "flux_std",
                        "w_hat",
                        "factors",
                    )
                }
                emulator = cls(
                    param_names=names,
                    lambda_xi=float(hyper["lambda_xi"][()]),
                    variances=hyper["variances"][()],
                    lengthscales=hyper["lengthscales"][()],
                    name=text(base.attrs["name"])
                    if "name" in base.attrs
                    else str(Path(path).with_suffix("")),
                    **fields,
                )
                emulator._trained = bool(base.attrs["trained"])
        except OSError as error:
            raise FileError(f"{path}: {error}") from error
        except KeyError as error:
            raise FormatError(f"{path}: not an emulator in Starfish's layout: {error}") from error
        emulator.provenance = {"source": Path(path).name, "made_by": "Starfish"}
        return emulator

    def save_starfish(self, filename: str | os.PathLike[str]) -> None:
        """Starfish's layout, which Starfish.emulator.Emulator.load reads. It has no room for a residual, a
        nugget for each weight, another kernel or a polynomial mean: the last three are ArgumentErrors."""
        if self.log_flux:
            raise ArgumentError("Starfish's layout has no logarithms of fluxes: from_grid(log_flux=False)")
        if self.independent or self.kernel != "squared_exponential" or self.mean_degree >= 0:
            raise ArgumentError(
                "Starfish's layout holds joint processes with a squared exponential kernel and no mean: "
                "train(method='joint', kernel='squared_exponential', mean_degree=-1)"
            )
        h5py = need("h5py", "writing Starfish's files")
        path = Path(os.path.expandvars(os.fspath(filename)))
        temporary = path.with_name(path.name + ".tmp")
        with h5py.File(temporary, "w") as base:
            points = base.create_dataset("grid_points", data=self.grid_points, compression=9)
            points.attrs["names"] = self.param_names
            waves = base.create_dataset("wavelength", data=self.wl, compression=9)
            waves.attrs["units"] = "Angstrom"
            for name in ("weights", "eigenspectra", "flux_mean", "flux_std", "w_hat", "factors"):
                base.create_dataset(name, data=getattr(self, name), compression=9)
            base["eigenspectra"].attrs["units"] = "erg/cm^2/s/Angstrom"
            base.attrs["trained"] = self._trained
            if self.name is not None:
                base.attrs["name"] = self.name
            hyper = base.create_group("hyperparameters")
            hyper.create_dataset("lambda_xi", data=self.lambda_xi)
            hyper.create_dataset("variances", data=self.variances, compression=9)
            hyper.create_dataset("lengthscales", data=self.lengthscales, compression=9)
        temporary.replace(path)

    def __repr__(self) -> str:
        lines = ["Emulator", "-" * 8]
        if self.name is not None:
            lines.append(f"Name: {self.name}")
        lines.append(f"Trained: {self._trained}")
        if self.independent:
            lines += ["Nuggets:", *(f"\t{v:.3g}" for v in self.nuggets)]
        else:
            lines.append(f"lambda_xi: {self.lambda_xi:.3f}")
        lines += ["Variances:", *(f"\t{v:.2f}" for v in self.variances)]
        lines += [
            "Lengthscales:",
            *("\t[ " + " ".join(f"{s:.2f} " for s in row) + "]" for row in self.lengthscales),
        ]
        return "\n".join([*lines, f"Log Likelihood: {self.log_likelihood():.2f}"]) + "\n"

    # --- plots: each returns matplotlib's figure ---

    def plot_eigenspectra(self) -> Any:
        from . import plots

        return plots.eigenspectra(self)

    def plot_weights(self, component: int = 0) -> Any:
        """The weight along each axis through the middle of the library, with 2 sigma bands."""
        from . import plots

        return plots.weights(self, component)

    def plot_training(self) -> Any:
        from . import plots

        return plots.training(self)


_ARRAYS = (
    "grid_points",
    "wl",
    "weights",
    "eigenspectra",
    "w_hat",
    "flux_mean",
    "flux_std",
    "factors",
    "residual_variance",
)
_FLAT = ("wl", "w_hat", "flux_mean", "flux_std", "factors", "residual_variance")


def _largest_step(column: Array) -> float:
    axis = np.unique(column)
    return float(np.diff(axis).max()) if len(axis) > 1 else 1.0


def _threads(given: int | None) -> int:
    return given if given is not None else len(os.sched_getaffinity(0))


def _batch(mu: Array, variances: Array, emulator: Emulator, reinterpret: bool) -> tuple[Array, Array]:
    if not reinterpret:
        return mu, variances
    m = emulator.ncomps
    return np.squeeze(mu.reshape(m, -1).T), np.squeeze(variances.reshape(m, -1).T)
