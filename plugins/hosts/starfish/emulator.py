# SPDX-License-Identifier: BSD-3-Clause
"""The emulator of a library of spectra, with the interface of Starfish.emulator.Emulator (0.4)."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from ..errors import ArgumentError, OutsideRegion
from . import chunk, draws, files, training
from .chunk import WholeRange
from .grid import C_KMS, Array, GridFile, GridLike, in_memory, text
from .instrument import Instrument
from .normalisation import FactorProcess
from .pca import decompose
from .region import Region
from .streamed import decompose_file
from .training import Progress, Settings, Training, threads
from .validation import HeldOut, Validation, held_out, validate

log = logging.getLogger(__name__)

KERNELS = ("squared_exponential", "matern52")
SCALES = ("linear", "logarithm", "reciprocal")


class Kind(NamedTuple):
    """What the processes are: `Emulator.set_kind`."""

    independent: bool
    kernel: str
    mean_degree: int
    scales: dict[str, str]


class State(NamedTuple):
    """What a training changes."""

    kind: Kind
    hyperparams: dict[str, float]
    trained: bool
    started: bool


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
    scales:             of parameters that do not enter the kernel and the mean as they are: {"T":
                        "reciprocal"}
                        or "logarithm". Length scales are of what they make.
    log_flux:           flux_mean, eigenspectra and the residual are of the logarithm of the flux.
    neighbours:         a prediction is conditioned on that many grid points, the nearest; 0: on all. For
                        libraries of thousands of points; not used on a complete grid.

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
        scales: Mapping[str, str] | None = None,
        log_flux: bool = False,
        neighbours: int = 0,
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
        self.whole: WholeRange | None = None
        # Of the full range: truncation leaves the weights, and what they were made from, as they are.
        gram = self.eigenspectra @ self.eigenspectra.T
        orthonormal = np.abs(gram - np.eye(self.ncomps)).max() < 1e-9
        self.gram = np.zeros((0, 0)) if orthonormal else gram
        self._model: Any = None
        self._process: Any = None
        self._factors: FactorProcess | None = None
        self.neighbours = neighbours
        self.training: Training | None = None
        self.provenance: dict[str, Any] = {}
        self._trained = False
        #: Training begins with the present hyperparameters, not with a guess.
        self.started = False
        self.hyperparams: dict[str, float] = {}
        self._kind = Kind(False, KERNELS[0], -1, {})
        self.set_kind(nuggets is not None, kernel, mean_degree, scales or {})
        if nuggets is None:
            self.lambda_xi = lambda_xi
        else:
            self.nuggets = nuggets
        self.variances = np.full(self.ncomps, 1e4) if variances is None else array(variances)
        self.lengthscales = (
            np.tile(3 * self._separations(), (self.ncomps, 1))
            if lengthscales is None
            else array(lengthscales)
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

    def set_kind(self, independent: bool, kernel: str, mean_degree: int, scales: Mapping[str, str]) -> None:
        """What the processes are; the hyperparameters' keys follow. An emulator whose kind changes is
        untrained; on other scales length scales mean something else, so that those of the constructor
        return."""
        if kernel not in KERNELS:
            raise ArgumentError(f"kernel: expected {' or '.join(KERNELS)}, found '{kernel}'")
        for name, scale in scales.items():
            if name not in self.param_names or scale not in SCALES:
                raise ArgumentError(
                    f"scales: expected {', '.join(SCALES)} for some of {', '.join(self.param_names)}, found "
                    f"'{scale}' for '{name}'"
                )
        moved = {name: scale for name, scale in scales.items() if scale != "linear"}
        old, self._kind = self._kind, Kind(independent, kernel, mean_degree, moved)
        noise = [f"log_nugget:{i}" for i in range(self.ncomps)] if independent else ["log_lambda_xi"]
        dims = range(len(self.param_names))
        keys = [
            *noise,
            *(f"log_variance:{i}" for i in range(self.ncomps)),
            *(f"log_lengthscale:{i}:{j}" for i in range(self.ncomps) for j in dims),
        ]
        if list(self.hyperparams) != keys:
            before = self.hyperparams
            start = -before["log_lambda_xi"] if "log_lambda_xi" in before else 0.0
            default = {key: start for key in noise if key.startswith("log_nugget")}
            self.hyperparams = {key: before.get(key, default.get(key, 0.0)) for key in keys}
        self._model = self._process = self._factors = None
        if self._kind != old:
            self.trained = False
        if moved != old.scales:
            self.started = False
            self.lengthscales = np.tile(3 * self._separations(), (self.ncomps, 1))

    @property
    def independent(self) -> bool:
        """As in the constructor; so are the next three. Setting one is `set_kind`."""
        return self._kind.independent

    @independent.setter
    def independent(self, value: bool) -> None:
        self.set_kind(value, self.kernel, self.mean_degree, self.scales)

    @property
    def kernel(self) -> str:
        return self._kind.kernel

    @kernel.setter
    def kernel(self, value: str) -> None:
        self.set_kind(self.independent, value, self.mean_degree, self.scales)

    @property
    def mean_degree(self) -> int:
        return self._kind.mean_degree

    @mean_degree.setter
    def mean_degree(self, value: int) -> None:
        self.set_kind(self.independent, self.kernel, value, self.scales)

    @property
    def scales(self) -> Mapping[str, str]:
        """Of those parameters whose scale is not linear."""
        return MappingProxyType(self._kind.scales)

    @scales.setter
    def scales(self, value: Mapping[str, str]) -> None:
        self.set_kind(self.independent, self.kernel, self.mean_degree, value)

    @property
    def neighbours(self) -> int:
        """As in the constructor."""
        return self._neighbours

    @neighbours.setter
    def neighbours(self, value: int) -> None:
        if value < 0:
            raise ArgumentError(f"neighbours: expected a number of grid points, or 0 for all, found {value}")
        self._neighbours = int(value)
        self._process = self._factors = None

    @property
    def trained(self) -> bool:
        """Whether it may predict."""
        return self._trained

    @trained.setter
    def trained(self, value: bool) -> None:
        self._trained = value
        self.started = self.started or value

    @property
    def state(self) -> State:
        """What a training changes."""
        return State(self._kind, dict(self.hyperparams), self.trained, self.started)

    @state.setter
    def state(self, value: State) -> None:
        self.set_kind(*value.kind)
        self.set_param_dict(value.hyperparams)
        self.trained, self.started = value.trained, value.started

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
        files.save_hyperparameters(self, filename)

    def load_hyperparameters(self, filename: str | os.PathLike[str]) -> None:
        """What `save_hyperparameters` wrote, for the same library and number of components."""
        files.load_hyperparameters(self, filename)

    # --- the processes ---

    def weight_model(self, rows: Any = None) -> Any:
        """The processes before they have hyperparameters (zelos/spectrum.hpp: WeightModel), of some grid
        points or of all."""
        if rows is None and self._model is not None:
            return self._model
        w_hat = self.w_hat.reshape(self.ncomps, -1).T
        points = self.grid_points if rows is None else self.grid_points[rows]
        model = _core.spectrum.WeightModel(
            points,
            w_hat if rows is None else w_hat[rows],
            self.gram,
            self.kernel,
            self.independent,
            self.mean_degree,
            [self.scales.get(name, "linear") for name in self.param_names],
        )
        if rows is None:
            self._model = model
        return model

    @property
    def on_grid(self) -> bool:
        """The library is a complete grid and the kernel a product, so that all is exact at little cost."""
        return bool(self.weight_model().on_grid)

    @property
    def process(self) -> Any:
        """The conditioned processes (zelos/spectrum.hpp: WeightProcess), factorised when first needed."""
        if self._process is None:
            self._process = _core.spectrum.WeightProcess(
                self.weight_model(), self.get_param_vector(), self.neighbours, threads(None)
            )
        return self._process

    def on_scales(self, points: Array) -> Array:
        """Points (K, D) as they enter the kernel."""
        u = np.array(points, dtype=np.float64)
        for d, name in enumerate(self.param_names):
            scale = self.scales.get(name, "linear")
            if scale == "logarithm":
                u[:, d] = np.log(u[:, d])
            elif scale == "reciprocal":
                u[:, d] = 1 / u[:, d]
        return u

    def _separations(self) -> Array:
        return np.array([_largest_step(column) for column in self.on_scales(self.grid_points).T])

    @property
    def scattered(self) -> bool:
        """The library's points are on no grid, not even one with holes."""
        return self._region.scattered

    @property
    def spans(self) -> Array:
        """(D,): the ranges of the parameters, on their scales."""
        spans: Array = np.maximum(np.ptp(self.on_scales(self.grid_points), axis=0), self._separations())
        return spans

    @property
    def iPhiPhi(self) -> Array:
        """(mM, mM): inverse of Phi^T Phi. For inspection; nothing is computed with it."""
        gram = self.gram if self.gram.size else np.eye(self.ncomps)
        return np.asarray(np.kron(np.linalg.inv(gram), np.eye(len(self.grid_points))))

    @property
    def v11(self) -> Array:
        """(mM, mM): covariance of the weights on the grid. For inspection; nothing is computed with it."""
        count = len(self.grid_points)
        v11 = self.iPhiPhi * np.repeat(self.nuggets, count)[:, np.newaxis]
        for i, (v, scale) in enumerate(zip(self.variances, self.lengthscales, strict=True)):
            block = v * correlation(self.kernel, self.on_scales(self.grid_points) / scale)
            v11[i * count : (i + 1) * count, i * count : (i + 1) * count] += block
        return v11

    def log_likelihood(self) -> float:
        """Of the hyperparameters, without 2 pi and without priors: eq. A23 of Czekala et al. (2015).
        In extended precision where the covariance's condition asks for it: several times slower."""
        return float(self.weight_model().log_likelihood(self.get_param_vector(), threads(None)))

    def log_likelihood_gradient(self) -> tuple[float, Array]:
        """The log likelihood in double precision and its derivatives by the hyperparameters."""
        value, gradient = self.weight_model().log_likelihood_gradient(self.get_param_vector(), threads(None))
        return float(value), np.asarray(gradient)

    def altered_prior(self, shape: float = 1.0, rate: float = 1e-4) -> tuple[float, float]:
        """(a', b') of the Gamma density of lambda_xi: its prior (a, b) times the likelihood of what the
        components leave of the library, over the whole range of wavelengths: a' of eq. A24, and b' of eq. A25
        with the residuals of spectra that the components were not made from. ArgumentError without
        `residual_variance`, which Starfish's files do not have."""
        pixels, points, left = len(self.whole_wl), len(self.grid_points), chunk.left_out(self)
        if not left > 0:
            raise ArgumentError(
                "lambda_xi_prior='altered': the emulator has no residual variance (a file of Starfish holds "
                "none): give (shape, rate), or make it by Emulator.from_grid"
            )
        return shape + 0.5 * points * (pixels - self.ncomps), rate + 0.5 * points * left

    # --- training ---

    def train(
        self,
        method: str | None = None,
        *,
        kernel: str | None = None,
        mean_degree: int | None = None,
        scales: Mapping[str, str] | None = None,
        keep_ratios: bool = False,
        points: int | None = None,
        max_iter: int = 1000,
        n_starts: int | None = None,
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
        kernel, mean_degree, scales:  as in the constructor; None: as the emulator is.
        keep_ratios:  a component's length scales keep their ratios: of a fresh emulator, those of the
                      parameters' ranges. For axes of few nodes, which say little about their length scale.
        points:       so many of the grid's points, well spread, decide the hyperparameters; the processes are
                      conditioned on all. None: all of them up to 1200, and of a complete grid.
        max_iter:     iterations of each start (`options={"maxiter": n}` does the same).
        n_starts:     the present hyperparameters, then random ones: with "joint" of each component by itself,
                      at the lambda_xi that the first start has found, before all go on from the best of each.
                      None: 4 of "joint" if the emulator has not been trained, else 1.
        tolerance:    of the gradient. A component g where the posterior is sigma wide is g sigma^2 away from
                      the optimum; rounding leaves about 0.2 where lambda_xi is large.
        lengthscale_priors:  (shape, rate) of a Gamma density for each parameter; none: flat.
        lambda_xi_prior:     (shape, rate) of a Gamma density of lambda_xi (of 1 / nugget); "altered":
                             `altered_prior`.
        checkpoint:   a JSON file, written after every `checkpoint_every` evaluations; with `resume` the
                      training starts from what is there.
        progress:     called with (evaluations, log posterior); False stops.

        Training that has not converged warns and says by how much. An exception leaves the emulator as it
        was; but Ctrl-C leaves one that was untrained with the best so far, from which the next training
        starts. The checkpoint has the best so far whatever the emulator was.
        """
        settings = Settings(
            method,
            kernel,
            mean_degree,
            scales,
            keep_ratios,
            points,
            int((options or {}).get("maxiter", max_iter)),
            n_starts,
            tolerance,
            lengthscale_priors,
            lambda_xi_prior,
            checkpoint,
            checkpoint_every,
            resume,
            progress,
            seed,
            threads,
        )
        self.training = training.train(self, settings)
        self._factors = None  # they go by the settings of the training
        self.log.info(self)
        return self.training

    def start_from(self, other: Emulator) -> None:
        """Takes the hyperparameters of a trained emulator with the same parameters as the start of the
        training, until which this one is untrained: each component those of the other's component that it
        overlaps most, on the pixels that both have."""
        training.start_from(self, other)

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
        and of the residual, correlated as in the likelihood; points have residuals of their own (Starfish
        always draws the weights, and has no residual). `norm`: in the library's units."""
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
            normals = (random.normal(size=(2, len(self.wl), len(points))) for _ in range(3))
            residual = draws.correlated(self.wl, self.residual_length, normals)
            flux += residual.T * np.sqrt(self.residual_variance)
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
        factor, error = self._factor_process().predict(points)
        if np.ndim(params) == 1:
            return float(factor[0]), float(error[0])
        return factor, error

    def norm_factor_slope(self, point: Array) -> tuple[Array, Array]:
        """Derivatives (D,) of the logarithm of the factor and of its variance."""
        return self._factor_process().slopes(point)

    def _factor_process(self) -> FactorProcess:
        if self._factors is None:
            self._factors = FactorProcess(self)
        return self._factors

    def get_index(self, params: Any) -> Any:
        """Index of the grid point that is nearest to the parameters (sum of the absolute differences)."""
        points = np.atleast_2d(params)
        marks = np.abs(self.grid_points - np.expand_dims(points, 1)).sum(axis=-1)
        return marks.argmin(axis=1).squeeze()

    def left_out_errors(self, rows: Any = None) -> tuple[Array, Array]:
        """What each grid point's weights (of `rows`, if given) would be predicted to be without that point:
        errors (K, m) and their predicted standard deviations. On a grid this is the error in a hole of twice
        the spacing."""
        self.require_trained()
        chosen = [] if rows is None else [int(row) for row in rows]
        errors, variances = self.process.left_out(chosen)
        return errors, np.sqrt(variances)

    def held_out(self) -> HeldOut:
        """Error and scatter over the expected one, when each inner node of an axis is left out in turn (of
        scattered points: an eighth of them), with the hyperparameters as they are."""
        return held_out(self)

    def calibrate(self) -> float:
        """Scales variances and noise by one factor, so that errors of left-out nodes are as large as
        predicted; means stay as they are. Returns the factor of the standard deviations."""
        factor = self.held_out().z
        shift = 2 * float(np.log(factor))
        self._put({f"log_variance:{i}": self[f"log_variance:{i}"] + shift for i in range(self.ncomps)})
        if self.independent:
            self._put({f"log_nugget:{i}": self[f"log_nugget:{i}"] + shift for i in range(self.ncomps)})
        else:
            self._put({"log_lambda_xi": self["log_lambda_xi"] - shift})
        self.provenance["calibration"] = factor
        return factor

    def validate(self, grid: GridLike | str | os.PathLike[str]) -> Validation:
        """The emulator against spectra that it was not made from, on its wavelengths; of a truncated emulator
        on those that it had before."""
        return validate(self, in_memory(grid))

    # --- truncation ---

    def determine_chunk_log(self, wavelength: Any, buffer: float = 50) -> None:
        """Truncates the spectra to the least power-of-two fraction that encloses the wavelengths and a buffer
        (Angstrom). All that is kept by pixel stays in step, and the processes stay as they are; so does what
        spectra are relative to, their mean over the whole range (`whole_wl`)."""
        chunk.truncate(self, wavelength, buffer)

    @property
    def truncated(self) -> bool:
        return self.whole is not None

    @property
    def whole_wl(self) -> Array:
        """Wavelengths before truncation: spectra are over their means over all of them."""
        return self.wl if self.whole is None else self.whole.wl

    @property
    def kept(self) -> slice:
        """Which of `whole_wl` the emulator has."""
        first = 0 if self.whole is None else self.whole.first
        return slice(first, first + len(self.wl))

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
        instrument: Instrument | None = None,
        name: str | None = None,
        svd_solver: str = "full",
        memory: float = 2e9,
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
        instrument:     truncates, broadens and resamples the library first.
        svd_solver:     "full" alone; others of scikit-learn are approximations.
        memory:         bytes. A file with more than that is read spectrum by spectrum, in several passes; the
                        number of components is then an integer. Predictions are conditioned on the nearest 40
                        points if there are more than 2000 of them that are no complete grid.
        """
        if svd_solver not in ("full", "auto"):
            raise ArgumentError(f"svd_solver: expected full, found '{svd_solver}'")
        source = GridFile(grid, wl_range, instrument) if isinstance(grid, (str, os.PathLike)) else None
        if source is not None and source.bytes > memory:
            library: Any = source
            c = decompose_file(source, n_components, whiten_pixels, log_flux)
        else:
            library = in_memory(grid if source is None else source)
            if source is None and wl_range is not None:
                library = library.truncate(wl_range)
            if source is None and instrument is not None:
                library = instrument.observe(library)
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
        if len(library.grid_points) > 2000 and not emulator.on_grid:
            emulator.neighbours = 40
        emulator.provenance = {
            "made_by": "zelos.starfish.Emulator.from_grid",
            "zelos": _core.version(),
            "zelos_commit": _core.commit(),
            "n_components": n_components,
            "whiten_pixels": whiten_pixels,
            "log_flux": log_flux,
            "wl_range": None if wl_range is None else list(wl_range),
            "instrument": None if instrument is None else instrument.description(),
            "explained_variance": c.explained,
            "source": os.fspath(grid) if isinstance(grid, (str, os.PathLike)) else type(grid).__name__,
        }
        return emulator

    def save(self, filename: str | os.PathLike[str]) -> None:
        """One file that vouches for itself: all arrays, hyperparameters, the training, provenance. It is HDF5
        behind a header of 512 bytes; `save_starfish` writes Starfish's layout."""
        files.save(self, filename)

    @classmethod
    def load(cls, filename: str | os.PathLike[str]) -> Emulator:
        """A file of `save`, or one of Starfish."""
        return files.load(cls, filename)

    def save_starfish(self, filename: str | os.PathLike[str]) -> None:
        """Starfish's layout, which Starfish.emulator.Emulator.load reads. It has no room for a residual, a
        nugget for each weight, another kernel, a polynomial mean, other scales or the whole range of a
        truncated emulator: the last five are ArgumentErrors."""
        files.save_starfish(self, filename)

    def __getstate__(self) -> dict[str, Any]:
        """Of pickles and deep copies: the factorised processes are made anew when they are needed."""
        return self.__dict__ | {"_model": None, "_process": None, "_factors": None}

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

    def plot_errors(self) -> Any:
        """By component: size of the weight, error with inner nodes left out, predicted error; the last
        point is what the components leave out."""
        from . import plots

        return plots.errors(self)

    def plot_z_scores(self) -> Any:
        """Errors of weights with inner nodes left out, over their predicted standard deviations."""
        from . import plots

        return plots.z_scores(self)

    def plot_reconstruction(self, params: Any = None, flux: Any = None) -> Any:
        """A spectrum with its 2 sigma band; with the true flux (of mean 1) the difference as well.
        Default: the middle of the library."""
        from . import plots

        return plots.reconstruction(self, params, flux)

    def write_page(self, filename: str | os.PathLike[str]) -> None:
        """All plots and figures as one self-contained HTML page."""
        from .page import write_page

        write_page(self, filename)


def correlation(kernel: str, u: Array) -> Array:
    """(M, M), of points (M, D) in length scales."""
    square = ((u[:, np.newaxis] - u[np.newaxis]) ** 2).sum(axis=-1)
    if kernel == "matern52":
        s = np.sqrt(5 * square)
        return np.asarray((1 + s + s**2 / 3) * np.exp(-s))
    return np.asarray(np.exp(-0.5 * square))


def _largest_step(column: Array) -> float:
    axis = np.unique(column)
    return float(np.diff(axis).max()) if len(axis) > 1 else 1.0


def _batch(mu: Array, variances: Array, emulator: Emulator, reinterpret: bool) -> tuple[Array, Array]:
    if not reinterpret:
        return mu, variances
    m = emulator.ncomps
    return np.squeeze(mu.reshape(m, -1).T), np.squeeze(variances.reshape(m, -1).T)
