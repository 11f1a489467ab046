// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <random>

#include "failure.hpp"
#include "zelos/spectrum.hpp"

namespace {

using namespace zelos::spectrum;
using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

class Random {
 public:
  double uniform(double low, double high) { return std::uniform_real_distribution<>(low, high)(generator_); }
  double normal() { return std::normal_distribution<>()(generator_); }
  VectorXd normals(Index n) {
    return VectorXd::NullaryExpr(n, [this] { return normal(); });
  }
  RowMatrix normals(Index rows, Index columns) {
    return RowMatrix::NullaryExpr(rows, columns, [this] { return normal(); });
  }

 private:
  std::mt19937_64 generator_{5};
};

constexpr double kPi = 3.14159265358979323846;

// The kernels as the header writes them, for each pair of pixels.
MatrixXd dense_kernels(const VectorXd& wave, const GlobalKernel* global, const std::vector<LocalKernel>& local) {
  const Index n = wave.size();
  MatrixXd k = MatrixXd::Zero(n, n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) {
      if (global != nullptr) {
        const double l = std::exp(global->log_length);
        const double r = kLightSpeed / 4 * std::abs(std::log1p((wave[i] - wave[j]) / wave[j]));
        const double s = std::sqrt(3.0) * r / l;
        k(i, j) += std::exp(global->log_amplitude) * (1 + s) * std::exp(-s) * 0.5 * (1 + std::cos(kPi * r / (6 * l)));
      }
      for (const auto& kernel : local) {
        const double sigma = std::exp(kernel.log_width);
        const double ri = kLightSpeed / kernel.centre * std::abs(wave[i] - kernel.centre);
        const double rj = kLightSpeed / kernel.centre * std::abs(wave[j] - kernel.centre);
        const double r = std::max(ri, rj);
        if (r > 4 * sigma) continue;
        k(i, j) += std::exp(kernel.log_amplitude - (ri * ri + rj * rj) / (2 * sigma * sigma)) * 0.5 *
                   (1 + std::cos(kPi * r / (4 * sigma)));
      }
    }
  }
  return k;
}

double dense_log_likelihood(const VectorXd& r, const MatrixXd& c) {
  const Eigen::LLT<MatrixXd> llt(c);
  return -llt.matrixLLT().diagonal().array().log().sum() - 0.5 * r.dot(llt.solve(r));
}

struct Case {
  Index pixels, factors;
  double residual_length;  // < 0: no residual
  bool global;
  int local;
  double log_length;
};

}  // namespace

TEST_CASE("spectral covariance and likelihood equal the dense computation") {
  // Length scales from far below a pixel to far above all of them, local kernels apart, overlapping and at an end.
  const Case c =
      GENERATE(Case{300, 5, -1, false, 0, 0}, Case{301, 3, -1, true, 0, -0.5}, Case{400, 8, 2.0, true, 2, 1.0},
               Case{333, 12, 7.0, true, 1, 2.6}, Case{40, 2, 0.0, true, 0, 6.0}, Case{200, 0, -1, false, 2, 0},
               Case{1, 1, 1.0, true, 0, 0}, Case{500, 40, 3.0, true, 3, 2.0}, Case{77, 4, 5.0, false, 0, 0},
               Case{50, 1, 1.0, true, 0, -6.0});
  Random random;
  VectorXd wave(c.pixels), variance(c.pixels);
  for (Index i = 0; i < c.pixels; ++i) {
    // Gaps, as masks leave them.
    wave[i] = 5100.0 * std::exp(1.1e-5 * (i + random.uniform(0.0, 0.8) + (i > c.pixels / 3 ? 40.0 : 0.0)));
    variance[i] = random.uniform(0.01, 0.03);
  }
  PixelCovariance covariance;
  covariance.has_global = c.global;
  covariance.global = {-4.0, c.log_length};
  for (int k = 0; k < c.local; ++k) {
    covariance.local.push_back({-3.0 + k, wave[c.pixels / (k + 2)] + 0.01, 2.0 + 0.7 * k});
  }
  if (c.residual_length >= 0) covariance.spread = 0.1 * random.normals(c.pixels);  // 0 and signs are possible
  covariance.factors = 0.2 * random.normals(c.pixels, c.factors);
  const Pixels pixels(wave, variance, std::max(c.residual_length, 0.0));

  MatrixXd expected = dense_kernels(wave, c.global ? &covariance.global : nullptr, covariance.local);
  expected += covariance.factors * covariance.factors.transpose();
  expected.diagonal() += variance;
  MatrixXd correlation = MatrixXd::Identity(c.pixels, c.pixels);
  if (c.residual_length > 0) {
    const GlobalKernel unit{0.0, std::log(c.residual_length)};
    correlation = dense_kernels(wave, &unit, {});
  }
  if (c.residual_length >= 0) {
    expected += covariance.spread.asDiagonal() * correlation * covariance.spread.asDiagonal();
  }
  CHECK((pixels.dense(covariance) - expected).cwiseAbs().maxCoeff() <= 1e-12);
  CHECK((pixels.diagonal(covariance) - expected.diagonal()).cwiseAbs().maxCoeff() <= 1e-14);

  const VectorXd residual = random.normals(c.pixels);
  const double value = dense_log_likelihood(residual, expected);
  const std::vector<ModelledOrder> order{{pixels, residual, covariance}};
  CHECK(log_likelihood(order) == Approx(value).epsilon(1e-11));
  std::vector<LikelihoodSlopes> of_orders;
  CHECK(log_likelihood(order, &of_orders) == Approx(value).epsilon(1e-11));
  REQUIRE(of_orders.size() == 1);
  const LikelihoodSlopes& slopes = of_orders.front();

  const MatrixXd inverse = expected.inverse();
  const VectorXd alpha = inverse * residual;
  const MatrixXd w = alpha * alpha.transpose() - inverse;
  const double scale = w.cwiseAbs().maxCoeff();
  CHECK((slopes.residual + alpha).cwiseAbs().maxCoeff() <= 1e-9 * alpha.cwiseAbs().maxCoeff());
  if (c.factors > 0) CHECK((slopes.factors - w * covariance.factors).cwiseAbs().maxCoeff() <= 1e-8 * scale);
  if (c.residual_length >= 0) {
    const VectorXd by_spread = w.cwiseProduct(correlation) * covariance.spread;
    CHECK((slopes.spread - by_spread).cwiseAbs().maxCoeff() <= 1e-9 * scale);
  } else {
    CHECK(slopes.spread.size() == 0);
  }
  // Each kernel's parameters by differences of the dense matrix.
  const auto sum = [&](const GlobalKernel& global, const std::vector<LocalKernel>& local) {
    return 0.5 * w.cwiseProduct(dense_kernels(wave, c.global ? &global : nullptr, local)).sum();
  };
  Index at = 0;
  const auto compare = [&](double up, double down, double h) {
    CHECK(slopes.kernels[at++] == Approx((up - down) / (2 * h)).epsilon(1e-5).margin(1e-6 * scale));
  };
  const auto& global = covariance.global;
  const auto& local = covariance.local;
  if (c.global) {
    compare(sum({global.log_amplitude + 1e-5, global.log_length}, local),
            sum({global.log_amplitude - 1e-5, global.log_length}, local), 1e-5);
    compare(sum({global.log_amplitude, global.log_length + 1e-5}, local),
            sum({global.log_amplitude, global.log_length - 1e-5}, local), 1e-5);
  }
  for (std::size_t k = 0; k < local.size(); ++k) {
    for (double LocalKernel::*parameter :
         {&LocalKernel::log_amplitude, &LocalKernel::centre, &LocalKernel::log_width}) {
      const double h = 1e-6;
      auto up = local, down = local;
      up[k].*parameter += h;
      down[k].*parameter -= h;
      compare(sum(global, up), sum(global, down), h);
    }
  }
  CHECK(at == slopes.kernels.size());
}

TEST_CASE("orders have the errors of the weights in common") {
  // Columns, states and kernels differ from order to order.
  struct Shape {
    Index pixels, factors;
    double residual_length;  // < 0: no residual
    bool global;
    int local;
  };
  const std::vector<Shape> shapes{{120, 4, 2.0, true, 1},
                                  {90, 5, -1.0, false, 0},
                                  {7, 0, 0.0, false, 0},
                                  {150, 5, 1.0, false, 2},
                                  {60, 3, -1.0, true, 0}};
  Random random;
  std::vector<Pixels> pixels;
  std::vector<VectorXd> residuals;
  std::vector<PixelCovariance> covariances;
  for (const auto& shape : shapes) {
    const VectorXd wave = 5100.0 * (VectorXd::LinSpaced(shape.pixels, 0.0, 1.1e-5 * shape.pixels)).array().exp();
    PixelCovariance covariance;
    covariance.has_global = shape.global;
    covariance.global = {-4.0, 1.0};
    for (int k = 0; k < shape.local; ++k) {
      covariance.local.push_back({-3.0, wave[shape.pixels / (k + 2)], 2.0});
    }
    if (shape.residual_length >= 0) covariance.spread = 0.1 * random.normals(shape.pixels);
    covariance.factors = 0.3 * random.normals(shape.pixels, shape.factors);
    pixels.emplace_back(wave, VectorXd::Constant(shape.pixels, 0.02), std::max(shape.residual_length, 0.0));
    covariances.push_back(covariance);
    residuals.push_back(random.normals(shape.pixels));
  }
  const auto n_orders = shapes.size();
  const auto orders = [&] {
    std::vector<ModelledOrder> result;
    for (std::size_t i = 0; i < n_orders; ++i) result.push_back({pixels[i], residuals[i], covariances[i]});
    return result;
  };
  // One dense matrix of all pixels.
  const auto dense = [&] {
    Index total = 0;
    for (const auto& shape : shapes) total += shape.pixels;
    MatrixXd c = MatrixXd::Zero(total, total), u = MatrixXd::Zero(total, 5);
    VectorXd r(total);
    Index at = 0;
    for (std::size_t i = 0; i < n_orders; ++i) {
      const Index n = shapes[i].pixels;
      PixelCovariance own = covariances[i];
      own.factors.resize(n, 0);
      c.block(at, at, n, n) = pixels[i].dense(own);
      u.block(at, 0, n, shapes[i].factors) = covariances[i].factors;
      r.segment(at, n) = residuals[i];
      at += n;
    }
    return dense_log_likelihood(r, c + u * u.transpose());
  };
  const double value = dense();
  CHECK(log_likelihood(orders()) == Approx(value).epsilon(1e-12));
  double apart = 0.0;
  for (const auto& order : orders()) apart += log_likelihood({order});
  CHECK(std::abs(apart - value) > 10.0);
  std::vector<LikelihoodSlopes> slopes;
  CHECK(log_likelihood(orders(), &slopes) == Approx(value).epsilon(1e-12));
  REQUIRE(slopes.size() == n_orders);

  const auto check = [&](double slope, double& parameter) {
    constexpr double h = 1e-5;
    const double before = parameter;
    parameter = before + h;
    const double up = dense();
    parameter = before - h;
    const double down = dense();
    parameter = before;
    CHECK(slope == Approx((up - down) / (2 * h)).epsilon(1e-6).margin(1e-5));
  };
  for (std::size_t i = 0; i < n_orders; ++i) {
    const Index n = shapes[i].pixels, k = shapes[i].factors;
    REQUIRE(slopes[i].factors.rows() == n);
    REQUIRE(slopes[i].factors.cols() == k);
    check(slopes[i].residual[n / 2], residuals[i][n / 2]);
    if (k > 0) check(slopes[i].factors(n / 3, k - 1), covariances[i].factors(n / 3, k - 1));
    if (shapes[i].residual_length >= 0) check(slopes[i].spread[n / 4], covariances[i].spread[n / 4]);
    Index at = 0;
    if (shapes[i].global) {
      check(slopes[i].kernels[at++], covariances[i].global.log_amplitude);
      check(slopes[i].kernels[at++], covariances[i].global.log_length);
    }
    for (auto& kernel : covariances[i].local) {
      check(slopes[i].kernels[at], kernel.log_amplitude);
      check(slopes[i].kernels[at + 2], kernel.log_width);
      at += 3;
    }
    CHECK(at == slopes[i].kernels.size());
  }
}

TEST_CASE("rows of a model are rotated, shifted and sampled") {
  constexpr Index kPixels = 2000;
  constexpr double kStep = 1e-5;
  RowMatrix rows(2, kPixels);
  const double first = std::log(5000.0);
  // A line that is Gaussian in ln(lambda), and a constant.
  const auto line = [&](double at) { return std::exp(-0.5 * std::pow((at - first - 0.01) / 6e-5, 2)); };
  for (Index i = 0; i < kPixels; ++i) {
    rows(0, i) = line(first + kStep * static_cast<double>(i));
    rows(1, i) = 3.0;
  }
  const RowSampler sampler(first, kStep, rows);
  VectorXd at(300);
  for (Index i = 0; i < 300; ++i) at[i] = first + 0.0085 + 1.03e-5 * static_cast<double>(i);
  RowMatrix out, slope;
  sampler.sample(sampler.coefficients(0.0), 30.0, at, out);
  const double shift = 0.5 * std::log((kLightSpeed + 30.0) / (kLightSpeed - 30.0));
  for (Index i = 0; i < 300; ++i) {
    CHECK(out(i, 0) == Approx(line(at[i] - shift)).margin(2e-7));
    CHECK(out(i, 1) == Approx(3.0).epsilon(1e-12));
  }

  // Rotation against the integral over the profile (Gray 2005), limb darkening 0.6.
  const double vsini = 40.0;
  sampler.sample(sampler.coefficients(vsini), 0.0, at, out);
  for (Index i = 0; i < 300; i += 7) {
    double sum = 0.0, norm = 0.0;
    for (int k = 0; k < 4000; ++k) {
      const double angle = (k + 0.5) * kPi / 4000, x = std::cos(angle), root = std::sin(angle);
      const double weight = (2 * 0.4 * root + 0.5 * kPi * 0.6 * root * root) * root;
      sum += weight * line(at[i] - x * vsini / kLightSpeed);
      norm += weight;
    }
    CHECK(out(i, 0) == Approx(sum / norm).margin(2e-5));
  }

  RowMatrix change, up, down, by_vsini;
  const RowMatrix coefficients = sampler.coefficients(vsini, &change);
  sampler.sample(coefficients, 10.0, at, out, &slope);
  sampler.sample(coefficients, 10.0 + 1e-3, at, up);
  sampler.sample(coefficients, 10.0 - 1e-3, at, down);
  CHECK((slope - (up - down) / 2e-3).cwiseAbs().maxCoeff() <= 1e-6 * slope.cwiseAbs().maxCoeff());
  sampler.sample(change, 10.0, at, by_vsini);
  sampler.sample(sampler.coefficients(vsini + 1e-3), 10.0, at, up);
  sampler.sample(sampler.coefficients(vsini - 1e-3), 10.0, at, down);
  CHECK((by_vsini - (up - down) / 2e-3).cwiseAbs().maxCoeff() <= 1e-6 * by_vsini.cwiseAbs().maxCoeff());

  at[0] = first - 1e-4;
  CHECK(failure(ZELOS_E_ARGUMENT, [&] { sampler.sample(coefficients, 0.0, at, out); }).find("outside the emulator's") !=
        std::string::npos);
}

TEST_CASE("any number of rows is sampled at any number of pixels") {
  // Every row apart is what it is beside others, up to the last pixel.
  const Index count = GENERATE(1, 3, 7, 8, 9), pixels = GENERATE(1, 7, 8, 23);
  Random random;
  const RowMatrix rows = random.normals(count, 100);
  const RowSampler all(8.5, 1e-5, rows);
  const VectorXd at = VectorXd::LinSpaced(pixels, 8.5 + 99.0e-5 * (pixels == 1), 8.5 + 99.0e-5);
  RowMatrix out, slope, one, its;
  all.sample(all.coefficients(3.0), 0.0, at, out, &slope);
  for (Index r = 0; r < count; ++r) {
    const RowSampler apart(8.5, 1e-5, rows.row(r));
    apart.sample(apart.coefficients(3.0), 0.0, at, one, &its);
    CHECK((out.col(r) - one.col(0)).cwiseAbs().maxCoeff() <= 1e-12);
    CHECK((slope.col(r) - its.col(0)).cwiseAbs().maxCoeff() <= 1e-12 * (1.0 + its.cwiseAbs().maxCoeff()));
  }
  all.sample(all.coefficients(0.0), 0.0, at, out);
  for (Index r = 0; r < count; ++r) CHECK(out(pixels - 1, r) == Approx(rows(r, 99)).margin(1e-9));
}

TEST_CASE("rows combined to a spectrum, and derivatives") {
  const bool diagonal = GENERATE(false, true), spreads = GENERATE(false, true);
  const double error = GENERATE(0.0, 0.3);
  constexpr Index n = 13, m = 3;
  Random random;
  const RowMatrix rows = random.normals(n, m + 2);
  const RowCombination made{random.normals(m), random.normals(m, diagonal ? 1 : m), random.normals(n), error, spreads};
  VectorXd flux;
  PixelCovariance covariance;
  combine(rows, made, flux, covariance);
  const MatrixXd root = diagonal ? MatrixXd(made.root.col(0).asDiagonal()) : made.root;
  const VectorXd base = rows.leftCols(m) * made.weights + rows.col(m);
  CHECK((flux - made.factor.cwiseProduct(base)).norm() <= 1e-13);
  const MatrixXd by_weights = made.factor.asDiagonal() * rows.leftCols(m) * root;
  CHECK((covariance.factors.leftCols(m) - by_weights).norm() <= 1e-13);
  CHECK(covariance.factors.cols() == m + (error > 0.0 ? 1 : 0));
  if (error > 0.0) CHECK((covariance.factors.col(m) - error * flux).norm() <= 1e-13);
  CHECK(covariance.spread.size() == (spreads ? n : 0));
  if (spreads) CHECK((covariance.spread - made.factor.cwiseProduct(rows.col(m + 1))).norm() <= 1e-13);

  // Of a sum with fixed coefficients.
  const VectorXd a = random.normals(n), b = random.normals(spreads ? n : 0);
  const RowMatrix c = random.normals(n, m);
  const auto sum = [&](const RowMatrix& x, const RowCombination& y) {
    VectorXd f;
    PixelCovariance p;
    combine(x, y, f, p);
    return a.dot(f) + (spreads ? b.dot(p.spread) : 0.0) + c.cwiseProduct(p.factors.leftCols(m)).sum();
  };
  const auto by = combine_slopes(rows, made, a, b, c);
  const auto check = [&](double slope, auto&& change) {
    RowMatrix x = rows;
    RowCombination y = made;
    change(x, y, 1e-5);
    const double up = sum(x, y);
    change(x, y, -2e-5);
    CHECK(slope == Approx((up - sum(x, y)) / 2e-5).epsilon(1e-7).margin(1e-8));
  };
  for (Index i = 0; i < n; ++i) {
    check(by.factor[i], [&](auto&, auto& y, double h) { y.factor[i] += h; });
    for (Index j = 0; j < m + 2; ++j) check(by.rows(i, j), [&](auto& x, auto&, double h) { x(i, j) += h; });
  }
  for (Index j = 0; j < m; ++j) {
    check(by.weights[j], [&](auto&, auto& y, double h) { y.weights[j] += h; });
    for (Index k = 0; k < made.root.cols(); ++k) {
      check(by.root(j, diagonal ? j : k), [&](auto&, auto& y, double h) { y.root(j, k) += h; });
    }
  }
  CHECK(failure(ZELOS_E_ARGUMENT, [&] { combine(rows.leftCols(m), made, flux, covariance); }).find("found 3") !=
        std::string::npos);
}

TEST_CASE("likelihood of the weights: blocks, the whole matrix, and gradients") {
  Random random;
  WeightData data;
  data.points = random.normals(25, 2);
  data.weights = random.normals(25, 3);
  data.kernel = GENERATE(Kernel::squared_exponential, Kernel::matern52);
  VectorXd theta(10);
  theta << 2.0, 0.3, 0.1, -0.4, -0.2, 0.4, 0.1, 0.0, 0.5, -0.3;
  VectorXd gradient;
  const double blocks = WeightModel(data).log_likelihood(theta, &gradient);
  SECTION("equal") {
    data.gram = MatrixXd::Identity(3, 3);
    VectorXd whole;
    CHECK(WeightModel(data).log_likelihood(theta, &whole) == Approx(blocks).epsilon(1e-13));
    CHECK((whole - gradient).cwiseAbs().maxCoeff() <= 1e-11 * gradient.cwiseAbs().maxCoeff());
  }
  SECTION("gradients") {
    const int which = GENERATE(0, 1, 2, 3);
    if (which == 1) {
      data.gram = MatrixXd::Identity(3, 3);
      data.gram(0, 1) = data.gram(1, 0) = 0.4;
    }
    if (which >= 2) {
      data.own_noise = true;
      data.mean_degree = which == 3 ? 2 : -1;
      theta.resize(12);
      theta << -2.0, -1.0, -1.5, 0.3, 0.1, -0.4, -0.2, 0.4, 0.1, 0.0, 0.5, -0.3;
    }
    const WeightModel model(data);
    model.log_likelihood(theta, &gradient);
    for (Index i = 0; i < theta.size(); ++i) {
      VectorXd up = theta, down = theta;
      up[i] += 1e-5;
      down[i] -= 1e-5;
      const double difference = (model.log_likelihood(up) - model.log_likelihood(down)) / 2e-5;
      CHECK(gradient[i] == Approx(difference).epsilon(1e-6).margin(1e-7));
    }
    const WeightProcess process(model, theta);
    const VectorXd point = random.normals(2);
    const auto p = process.predict(point, true);
    for (Index d = 0; d < 2; ++d) {
      VectorXd up = point, down = point;
      up[d] += 1e-5;
      down[d] -= 1e-5;
      const auto above = process.predict(up), below = process.predict(down);
      CHECK((p.mean_slope.col(d) - (above.mean - below.mean) / 2e-5).cwiseAbs().maxCoeff() <= 1e-7);
      CHECK((p.covariance_slope[static_cast<std::size_t>(d)] - (above.covariance - below.covariance) / 2e-5)
                .cwiseAbs()
                .maxCoeff() <= 1e-7);
    }
  }
}

TEST_CASE("a complete grid: the same numbers by Kronecker algebra") {
  Random random;
  WeightData data;
  const VectorXd first = VectorXd::LinSpaced(5, 4.0, 6.0), third = VectorXd::LinSpaced(4, -1.0, 1.0);
  const Eigen::Vector3d second(1.0, 1.5, 3.0);
  data.points.resize(60, 3);
  std::vector<Index> order(60);
  std::iota(order.begin(), order.end(), Index{0});
  std::shuffle(order.begin(), order.end(), std::mt19937(3));
  for (Index k = 0; k < 60; ++k) {
    data.points.row(order[static_cast<std::size_t>(k)]) << first[k / 12], second[k / 4 % 3], third[k % 4];
  }
  data.weights = random.normals(60, 2);
  data.own_noise = GENERATE(false, true);
  data.mean_degree = GENERATE(-1, 0, 3);
  if (GENERATE(false, true)) data.scales = {Scale::reciprocal, Scale::logarithm, Scale::linear};
  const WeightModel grid(data);
  data.grid_algebra = false;
  const WeightModel dense(data);
  REQUIRE(grid.on_grid());
  REQUIRE_FALSE(dense.on_grid());
  VectorXd theta = VectorXd::Zero(grid.hyperparameter_count());
  for (Index i = 0; i < theta.size(); ++i) theta[i] = 0.3 * std::sin(static_cast<double>(7 * i));
  if (!data.scales.empty()) {
    for (Index i = 0; i < 2; ++i) theta[theta.size() - 6 + 3 * i] -= 3.0;
  }
  VectorXd by_grid, by_cholesky;
  const double value = dense.log_likelihood(theta, &by_cholesky);
  CHECK(grid.log_likelihood(theta, &by_grid) == Approx(value).epsilon(1e-12));
  CHECK((by_grid - by_cholesky).cwiseAbs().maxCoeff() <= 1e-11 * by_cholesky.cwiseAbs().maxCoeff());

  const WeightProcess fast(grid, theta), slow(dense, theta);
  RowMatrix points(2, 3);
  points << 4.7, 1.2, 0.3, 5.1, 2.0, -0.9;
  const auto p = fast.predict(points.row(0), true), q = slow.predict(points.row(0), true);
  CHECK((p.mean - q.mean).cwiseAbs().maxCoeff() <= 1e-11);
  CHECK((p.covariance - q.covariance).cwiseAbs().maxCoeff() <= 1e-11);
  CHECK((p.mean_slope - q.mean_slope).cwiseAbs().maxCoeff() <= 1e-10);
  for (std::size_t d = 0; d < 3; ++d) {
    CHECK((p.covariance_slope[d] - q.covariance_slope[d]).cwiseAbs().maxCoeff() <= 1e-10);
    VectorXd up = points.row(0), down = points.row(0);
    up[static_cast<Index>(d)] += 1e-5;
    down[static_cast<Index>(d)] -= 1e-5;
    const VectorXd difference = (fast.predict(up).mean - fast.predict(down).mean) / 2e-5;
    CHECK((p.mean_slope.col(static_cast<Index>(d)) - difference).cwiseAbs().maxCoeff() <= 1e-7);
  }
  VectorXd mean, other_mean;
  MatrixXd covariance, other;
  fast.predict_jointly(points, mean, covariance);
  slow.predict_jointly(points, other_mean, other);
  CHECK((mean - other_mean).cwiseAbs().maxCoeff() <= 1e-11);
  CHECK((covariance - other).cwiseAbs().maxCoeff() <= 1e-11);
  RowMatrix errors, variances, other_errors, other_variances;
  fast.left_out({}, errors, variances);
  slow.left_out({}, other_errors, other_variances);
  CHECK((errors - other_errors).cwiseAbs().maxCoeff() <= 1e-10);
  CHECK((variances - other_variances).cwiseAbs().maxCoeff() <= 1e-10);
}

TEST_CASE("a grid keeps its digits where the noise is small") {
  WeightData data;
  data.points.resize(30, 2);
  for (Index k = 0; k < 30; ++k) data.points.row(k) << static_cast<double>(k / 5), static_cast<double>(k % 5);
  data.weights = (data.points.rowwise().sum().array() * 0.3).sin();
  VectorXd theta(4);
  theta << std::log(GENERATE(1e6, 1e8)), std::log(10.0), std::log(2.0), std::log(3.0);
  const WeightModel grid(data);
  data.grid_algebra = false;
  VectorXd unused;
  const double extended = WeightModel(data).log_likelihood(theta);
  CHECK(grid.log_likelihood(theta) == Approx(extended).epsilon(1e-12));
  CHECK(grid.log_likelihood(theta, &unused) == Approx(extended).epsilon(1e-7));
}

TEST_CASE("predictions from neighbours") {
  Random random;
  WeightData data;
  data.points = random.normals(80, 2);
  data.weights = (data.points.array().sin().matrix() * MatrixXd::Random(2, 2)).array();
  data.mean_degree = GENERATE(-1, 2);
  data.kernel = Kernel::matern52;
  VectorXd theta(7);
  theta << std::log(1e6), 0.0, 0.2, 0.5, 0.7, 0.4, 0.6;
  const WeightModel model(data);
  const WeightProcess all(model, theta), most(model, theta, 79), some(model, theta, 25);
  const VectorXd point = VectorXd::Constant(2, 0.2);
  const auto exact = all.predict(point, true), near = some.predict(point, true);
  // Fewer points say less: the variance grows, and the mean stays within it.
  for (Index i = 0; i < 2; ++i) {
    CHECK(near.covariance(i, i) >= exact.covariance(i, i));
    CHECK(std::abs(near.mean[i] - exact.mean[i]) <= 4.0 * std::sqrt(near.covariance(i, i)));
  }
  CHECK((most.predict(point).mean - exact.mean).cwiseAbs().maxCoeff() <= 1e-4);
  VectorXd up = point, down = point;
  up[0] += 1e-5;
  down[0] -= 1e-5;
  const VectorXd slope = (some.predict(up).mean - some.predict(down).mean) / 2e-5;
  CHECK((near.mean_slope.col(0) - slope).cwiseAbs().maxCoeff() <= 1e-6);
  RowMatrix errors, variances, few_errors, few_variances;
  all.left_out({3, 70}, errors, variances);
  WeightProcess(model, theta, 78).left_out({3, 70}, few_errors, few_variances);
  CHECK((errors - few_errors).cwiseAbs().maxCoeff() <= 1e-2 * errors.cwiseAbs().maxCoeff() + 1e-4);
  CHECK(failure(ZELOS_E_ARGUMENT, [&] { all.left_out({80}, errors, variances); }).find("79") != std::string::npos);
}

TEST_CASE("a prediction from neighbours is that of a process of these alone") {
  // More components than lanes and an odd number of points.
  const Index count = GENERATE(1, 11), neighbours = GENERATE(23, 24);
  Random random;
  WeightData data;
  data.points = random.normals(60, 3);
  data.weights = random.normals(60, count);
  data.kernel = GENERATE(Kernel::matern52, Kernel::squared_exponential);
  data.mean_degree = GENERATE(-1, 1, 2);
  data.own_noise = true;
  VectorXd theta(count * 5);
  theta.head(count).setLinSpaced(-4.0, -2.0);
  theta.segment(count, count) = 0.3 * random.normals(count);
  theta.tail(3 * count).setLinSpaced(0.2, 0.8);
  const WeightModel model(data);
  const VectorXd point = VectorXd::Constant(3, 0.3);
  const auto found = WeightProcess(model, theta, static_cast<int>(neighbours)).predict(point, true);

  // The nearest, as the header says: in length scales, averaged by the power of the weights.
  VectorXd metric = VectorXd::Zero(3);
  for (Index i = 0; i < count; ++i) {
    const double part = data.weights.col(i).squaredNorm() / data.weights.squaredNorm();
    metric.array() += part * (-2.0 * theta.segment(2 * count + 3 * i, 3).array()).exp();
  }
  std::vector<Index> order(60);
  std::iota(order.begin(), order.end(), Index{0});
  const auto distance = [&](Index i) { return (data.points.row(i).transpose() - point).cwiseAbs2().dot(metric); };
  std::sort(order.begin(), order.end(), [&](Index i, Index j) { return distance(i) < distance(j); });
  WeightData near = data;
  near.points.resize(neighbours, 3);
  near.weights.resize(neighbours, count);
  for (Index k = 0; k < neighbours; ++k) {
    near.points.row(k) = data.points.row(order[static_cast<std::size_t>(k)]);
    near.weights.row(k) = data.weights.row(order[static_cast<std::size_t>(k)]);
  }
  const auto expected = WeightProcess(WeightModel(near), theta).predict(point, true);
  const auto same = [](const MatrixXd& a, const MatrixXd& b) {
    CHECK((a - b).cwiseAbs().maxCoeff() <= 1e-11 * (1.0 + b.cwiseAbs().maxCoeff()));
  };
  same(found.mean, expected.mean);
  same(found.covariance, expected.covariance);
  same(found.mean_slope, expected.mean_slope);
  for (std::size_t q = 0; q < 3; ++q) same(found.covariance_slope[q], expected.covariance_slope[q]);
}

TEST_CASE("spectral numerics refuse what they can't answer") {
  WeightData data;
  data.points = RowMatrix::Random(5, 2);
  data.weights = RowMatrix::Random(4, 1);
  CHECK(failure(ZELOS_E_ARGUMENT, [&] { WeightModel(data).log_likelihood(VectorXd::Zero(4)); }).find("5 grid points") !=
        std::string::npos);
  data.weights = RowMatrix::Random(5, 1);
  CHECK(failure(ZELOS_E_ARGUMENT, [&] { WeightModel(data).log_likelihood(VectorXd::Zero(3)); }).find("expected 4") !=
        std::string::npos);
  const VectorXd wave = VectorXd::LinSpaced(3, 5000.0, 5001.0), ones = VectorXd::Ones(3);
  PixelCovariance covariance;
  covariance.factors.resize(3, 0);
  CHECK(failure(ZELOS_E_NUMERIC, [&] {
          log_likelihood({{Pixels(wave, VectorXd::Zero(3), 0.0), ones, covariance}});
        }).find("positive definite") != std::string::npos);
  CHECK(failure(ZELOS_E_ARGUMENT, [&] { Pixels(ones, ones, 0.0); }).find("ascend") != std::string::npos);
  CHECK(failure(ZELOS_E_ARGUMENT, [&] { Pixels(wave, -ones, 0.0); }).find("negative") != std::string::npos);
  CHECK(failure(ZELOS_E_ARGUMENT, [&] {
          log_likelihood({{Pixels(wave, ones, 0.0), VectorXd::Ones(2), covariance}});
        }).find("3 pixels") != std::string::npos);
  covariance.spread = VectorXd::Ones(4);
  CHECK(failure(ZELOS_E_ARGUMENT, [&] {
          log_likelihood({{Pixels(wave, ones, 0.0), ones, covariance}});
        }).find("spread of 3") != std::string::npos);
  CHECK(failure(ZELOS_E_ARGUMENT, [&] { log_likelihood({}); }).find("at least one order") != std::string::npos);
}
