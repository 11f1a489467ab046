// SPDX-License-Identifier: BSD-3-Clause
/// Numerics of spectral emulators and of likelihoods of spectra.
///
/// A library of model spectra on M grid points is emulated as F(p) = mean + sum_k w_k(p) X_k with
/// Gaussian processes for the m weights w_k of a principal component analysis (Czekala et al. 2015,
/// ApJ 812, 128, appendix). The likelihood of an observed spectrum marginalises over the weights:
/// its covariance is low-rank plus banded, and no dense matrix of pixels is ever made.
///
/// Wavelengths are in any unit, velocities in km/s. All functions are pure and thread-safe, all
/// objects immutable after construction. Failures are zelos::Error: ZELOS_E_ARGUMENT for shapes,
/// values that are not finite and parameters outside their range, ZELOS_E_NUMERIC for a matrix that
/// is not positive definite.
#pragma once

#include <Eigen/Dense>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "zelos/error.hpp"
#include "zelos/export.hpp"

namespace zelos::spectrum {

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr double kLightSpeed = 299792.458;  ///< km/s

// --- Gaussian processes of the weights ---

enum class Kernel { squared_exponential, matern52 };

/// Density of Gamma(shape, rate); {1, 0} is flat.
struct GammaPrior {
  double shape = 1.0;
  double rate = 0.0;
};

/// How a parameter enters the kernels and the mean. All but `linear` need positive values.
enum class Scale { linear, logarithm, reciprocal };

/// What the processes are conditioned on.
struct WeightData {
  RowMatrix points;           ///< (M, D): grid points
  RowMatrix weights;          ///< (M, m): w_hat = (Phi^T Phi)^-1 Phi^T F, one column for each eigenspectrum
  Eigen::MatrixXd gram;       ///< (m, m): inner products of the eigenspectra; empty: the identity
  std::vector<Scale> scales;  ///< of each parameter; empty: all linear. Length scales are of what it makes.
  Kernel kernel = Kernel::squared_exponential;
  /// Each component has a nugget of its own (independent processes) instead of the shared 1 / lambda_xi.
  bool own_noise = false;
  /// Polynomial mean of each process in the points scaled to [-1, 1], of this total degree (at most 3); -1: none. Its
  /// coefficients have a flat prior and are integrated out.
  int mean_degree = -1;
  /// Kronecker algebra where the points are a complete grid, in any order, and the kernel a product over the axes
  /// (squared_exponential): the same numbers for M (n_1 + .. + n_D) operations instead of M^3. false: never.
  bool grid_algebra = true;
};

struct WeightTraining {
  Eigen::VectorXd start;                  ///< hyperparameters of the first start
  std::vector<GammaPrior> length_priors;  ///< one for each dimension of the points, or none
  GammaPrior noise_prior;                 ///< of lambda_xi, or of each 1 / nugget
  /// The length scales of a component keep the ratios that they have at the start.
  bool keep_ratios = false;
  /// The first, then random ones. With a shared noise and no `gram`, those are of each component by itself, at the
  /// noise that the first start has found; all components then go on together from the best of each, while that gains.
  int n_starts = 3;
  int max_iterations = 1000;  ///< of each start
  double tolerance = 1e-3;    ///< of the largest component of the gradient of log posterior
  std::uint64_t seed = 0;     ///< of the starts after the first
  int n_threads = 1;
  /// Called after evaluations: evaluations so far, best log posterior, its hyperparameters; false stops.
  std::function<bool(int, double, const Eigen::VectorXd&)> progress;
};

struct WeightOptimum {
  Eigen::VectorXd hyperparameters;
  double log_posterior = 0.0;  ///< log likelihood plus log priors
  double gradient_norm = 0.0;  ///< largest component of the projected gradient there
  /// gradient_norm <= tolerance, or a new start of the solver from there gains less than 1e-4: rounding of a sharp
  /// likelihood leaves more in the gradient than `tolerance` asks.
  bool converged = false;
  bool stopped = false;  ///< `progress` said so
  int evaluations = 0;
  /// Best log posterior of each start; where components are tried by themselves, the sum of what they reached.
  std::vector<double> start_values;
};

struct WeightProblem;

/// Gaussian processes of the weights before they have hyperparameters, which are natural logarithms in one vector:
///   shared noise   (log lambda_xi, log v_1 .. log v_m, log l_11 .. log l_1D, .. log l_mD)
///   own noise      (log n_1 .. log n_m, log v_1 .. log v_m, log l_11 .. log l_mD)
/// with variances v, length scales l and nuggets n.
class ZELOS_API WeightModel {
 public:
  explicit WeightModel(WeightData data);

  Eigen::Index hyperparameter_count() const noexcept;
  /// The points are a complete grid and `grid_algebra` applies.
  bool on_grid() const noexcept;

  /// log L = -1/2 (log|V| + w^T V^-1 w) without 2 pi, V = (Phi^T Phi)^-1 / lambda_xi + blockdiag(v_i k_i): eq. A23.
  /// With a polynomial mean, the restricted likelihood. With Phi^T Phi = 1 (no `gram`) V falls apart into m blocks,
  /// which is exact; otherwise V of size m M is factorised whole (a polynomial mean is then an error).
  /// `gradient`, if not null, is resized to the hyperparameters. Where 1 / lambda_xi is so small against v that double
  /// precision would lose digits, the sums are done in extended precision: always on a grid, else without a gradient
  /// and up to 1000 points.
  double log_likelihood(const Eigen::VectorXd& hyperparameters, Eigen::VectorXd* gradient = nullptr,
                        int n_threads = 1) const;

  /// The hyperparameters of the largest posterior density, by L-BFGS-B with exact gradients. The same input gives the
  /// same output, whatever n_threads.
  WeightOptimum train(const WeightTraining& training) const;

 private:
  friend class WeightProcess;
  std::shared_ptr<const WeightProblem> problem_;
};

/// The conditioned processes.
class ZELOS_API WeightProcess {
 public:
  /// `neighbours` > 0: a prediction is conditioned on that many grid points, the nearest ones in length scales, which
  /// takes neighbours^3 operations instead of M^2 and no memory. Without a `gram` only; not used on a grid.
  WeightProcess(const WeightModel& model, const Eigen::VectorXd& hyperparameters, int neighbours = 0,
                int n_threads = 1);
  ~WeightProcess();
  WeightProcess(WeightProcess&&) noexcept;
  WeightProcess(const WeightProcess&) = delete;
  WeightProcess& operator=(const WeightProcess&) = delete;
  WeightProcess& operator=(WeightProcess&&) = delete;

  Eigen::Index components() const noexcept;
  Eigen::Index dimensions() const noexcept;

  struct Prediction {
    Eigen::VectorXd mean;                           ///< (m)
    Eigen::MatrixXd covariance;                     ///< (m, m), diagonal unless there is a `gram`
    RowMatrix mean_slope;                           ///< (m, D), if asked for
    std::vector<Eigen::MatrixXd> covariance_slope;  ///< D of (m, m), if asked for
  };
  /// eqs. A27-A28, without the noise. Slopes are those of the neighbours that are nearest now.
  Prediction predict(const Eigen::VectorXd& point, bool slopes = false) const;

  /// Predictions of K points together: mean (m K), covariance (m K, m K), component-major as Starfish has it. With
  /// neighbours: conditioned on those of all points together.
  void predict_jointly(const RowMatrix& points, Eigen::VectorXd& mean, Eigen::MatrixXd& covariance) const;

  /// What the weights of the chosen grid points (all, if none are given) would be predicted to be without that point:
  /// errors (K, m) and their predicted variances, noise included. Without a `gram` only.
  void left_out(const std::vector<Eigen::Index>& chosen, RowMatrix& errors, RowMatrix& variances) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// --- rotation, Doppler shift and resampling: one linear operator on the rows of a model ---

/// Rows of a model on a grid of wavelengths that is uniform in ln(lambda). Rotational broadening (Gray 2005, limb
/// darkening 0.6) multiplies the Fourier transform; the same transform makes the coefficients of an interpolating
/// quintic B-spline. The rows are continued smoothly, not periodically, beyond the ends.
class ZELOS_API RowSampler {
 public:
  /// rows (R, P), P >= 6; the wavelength of column p is exp(log_first + p log_step).
  RowSampler(double log_first, double log_step, const RowMatrix& rows);
  ~RowSampler();
  RowSampler(RowSampler&&) noexcept;
  RowSampler(const RowSampler&) = delete;
  RowSampler& operator=(const RowSampler&) = delete;
  RowSampler& operator=(RowSampler&&) = delete;

  Eigen::Index rows() const noexcept { return n_rows_; }

  /// Spline coefficients (padded length, stride) at v sin i in km/s; vsini = 0 does not broaden. With `slope`, their
  /// derivatives with respect to vsini.
  RowMatrix coefficients(double vsini, RowMatrix* slope = nullptr) const;

  /// Samples (N, R) at ln(wavelength) `at`; a model that moves away with velocity vz is seen at
  /// lambda sqrt((c + vz) / (c - vz)). `slope` (N, R), if not null, is the derivative with respect to vz.
  /// A wavelength outside the shifted grid is ZELOS_E_ARGUMENT.
  void sample(const RowMatrix& coefficients, double vz, const Eigen::VectorXd& at, RowMatrix& out,
              RowMatrix* slope = nullptr) const;

 private:
  double log_first_, log_step_;
  Eigen::Index n_rows_, n_columns_, length_, stride_;
  struct Spectra;  // Fourier transforms of the rows, over that of the B-spline
  std::unique_ptr<Spectra> spectra_;
};

// --- likelihood: the covariance of the pixels is semiseparable, plus blocks, plus low rank ---

struct LocalKernel {
  double log_amplitude;  ///< ln of the variance at the centre
  double centre;         ///< wavelength
  double log_width;      ///< ln of the standard deviation in km/s
};

/// Matern 3/2 times a cosine that falls to zero at six length scales:
///   K_ij = a (1 + s) exp(-s) (1 + cos(pi r / 6 l)) / 2,  s = sqrt(3) r / l,  r = (c / 4) |ln lambda_i - ln lambda_j|
/// Starfish's kernel (its metric (c / 2) |lambda_i - lambda_j| / (lambda_i + lambda_j) is equal up to a relative 1e-6
/// within 250 km/s) but that it is not cut off at six length scales: beyond them 5e-6 a is never exceeded. Unlike the
/// one that is cut off it is positive definite, and a process of six states, so that a likelihood takes O(N) whatever
/// the length.
struct GlobalKernel {
  double log_amplitude;
  double log_length;  ///< ln of km/s
};

/// The covariance of one order's pixels:
///   C = diag(variance) + diag(s) R diag(s) + K_global + sum K_local + U U^T
/// with R the global kernel's correlation at a fixed length, s its standard deviations. A local kernel is
///   a exp(-(r_i^2 + r_j^2) / 2 sigma^2) (1 + cos(pi max(r_i, r_j) / 4 sigma)) / 2,  r = c |lambda - mu| / mu <= 4
///   sigma
struct PixelCovariance {
  Eigen::VectorXd spread;  ///< s (N); empty: 0
  bool has_global = false;
  GlobalKernel global{};
  std::vector<LocalKernel> local;
  RowMatrix factors;  ///< U (N, k)
};

/// How rows at the pixels of an order (N, m + 2: X, the mean, the standard deviation of what these leave out) make its
/// spectrum:
///   flux = q (X w + mean),  U = q [X root | (X w + mean) e],  s = q times the last row
struct RowCombination {
  Eigen::VectorXd weights;   ///< w (m)
  Eigen::MatrixXd root;      ///< (m, m), their covariance is root root^T; (m, 1): the diagonal of a diagonal one
  Eigen::VectorXd factor;    ///< q (N): extinction, series, scale
  double scale_error = 0.0;  ///< e, the standard deviation of ln q; 0: without that column
  bool spreads = true;       ///< false: s is empty
};

/// Sets the flux, and `spread` and `factors` of the covariance.
ZELOS_API void combine(const Eigen::Ref<const RowMatrix>& rows, const RowCombination& combination,
                       Eigen::VectorXd& flux, PixelCovariance& covariance);

/// Derivatives by what `combine` was given.
struct CombinationSlopes {
  Eigen::VectorXd factor;   ///< (N), by q
  RowMatrix rows;           ///< (N, m + 2)
  Eigen::VectorXd weights;  ///< (m)
  Eigen::MatrixXd root;     ///< (m, m), by all of root
};

/// The derivatives, given those by the flux (N), by s (N, or empty) and by U (N, m or more: the first m count; its last
/// column is the flux times e).
ZELOS_API CombinationSlopes combine_slopes(const Eigen::Ref<const RowMatrix>& rows, const RowCombination& combination,
                                           const Eigen::Ref<const Eigen::VectorXd>& by_flux,
                                           const Eigen::Ref<const Eigen::VectorXd>& by_spread,
                                           const Eigen::Ref<const RowMatrix>& by_factors);

/// Derivatives of log L by what one order is.
struct LikelihoodSlopes {
  Eigen::VectorXd residual;  ///< (N)
  Eigen::VectorXd spread;    ///< (N); empty if `PixelCovariance::spread` is
  RowMatrix factors;         ///< (N, k)
  Eigen::VectorXd
      kernels;  ///< by (log_amplitude, log_length) if global; (log_amplitude, centre, log_width) of each local
};

struct ModelledOrder;

/// The pixels of one order, and what is the same at all parameters.
class ZELOS_API Pixels {
 public:
  /// wave (N) ascends strictly; variance (N) of the noise, not negative; correlation_length of R in km/s, 0: R = 1.
  Pixels(Eigen::VectorXd wave, Eigen::VectorXd variance, double correlation_length);

  Eigen::Index size() const noexcept { return wave_.size(); }

  /// C, dense (N, N): for looking at.
  Eigen::MatrixXd dense(const PixelCovariance& covariance) const;

  /// The diagonal of C.
  Eigen::VectorXd diagonal(const PixelCovariance& covariance) const;

 private:
  struct Work;
  friend ZELOS_API double log_likelihood(const std::vector<ModelledOrder>& orders,
                                         std::vector<LikelihoodSlopes>* slopes);
  void check(const PixelCovariance& covariance) const;

  Eigen::VectorXd wave_, variance_, position_;
  double correlation_length_;
  Eigen::VectorXd decay_, cosine_, sine_;  // of R, from pixel i to i + 1
};

/// An order at some parameters. It refers to what it is made of.
struct ModelledOrder {
  const Pixels& pixels;
  const Eigen::VectorXd& residual;  ///< r (N)
  const PixelCovariance& covariance;
};

/// -1/2 (log|C| + r^T C^-1 r) of all orders (one at least) together. They have noise, R and kernels of their own, and
/// the errors of the emulator in common: column j of each U belongs to the same random number, so that
///   C = blockdiag(C_1 - U_1 U_1^T, C_2 - U_2 U_2^T, ..) + U U^T,  U = (U_1; U_2; ..)
/// An order may have fewer columns: its last ones are zero. `slopes`, if not null, become those of each order.
/// The pixels go by in groups: those under one local kernel (or under several that overlap), and eight otherwise. Time
/// O(N (d + k)^2 + sum n^3) with d <= 12 states and n the sizes of the groups; memory O(N (d + k)), N the pixels of the
/// longest order, with `slopes` of all.
ZELOS_API double log_likelihood(const std::vector<ModelledOrder>& orders,
                                std::vector<LikelihoodSlopes>* slopes = nullptr);

// --- file ---

/// What a spectral emulator's file holds: a JSON object and named matrices of finite numbers.
struct StoredEmulator {
  std::string document;
  std::map<std::string, RowMatrix> arrays;
};

/// Writes atomically, in the container of zelos' artifacts (docs/artifact-format.md); returns the SHA-256 of the body.
/// ZELOS_E_IO, ZELOS_E_ARGUMENT.
ZELOS_API std::string write_emulator(const std::filesystem::path& path, const StoredEmulator& emulator);

/// Opening a file runs no code from it. ZELOS_E_IO; ZELOS_E_FORMAT if it is damaged or not a spectral emulator's.
ZELOS_API StoredEmulator read_emulator(const std::filesystem::path& path);

}  // namespace zelos::spectrum
