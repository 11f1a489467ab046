// SPDX-License-Identifier: BSD-3-Clause
#include "family_bench.hpp"
#include "polynomial/evidence.hpp"
#include "support/left_out_variance.hpp"
#include "vector_kernels.hpp"

extern "C" const zelos_family* zelos_family_polynomial(void);

namespace {

using namespace family_bench;
using Catch::Matchers::Contains;

const zelos_family* const kFamily = zelos_family_polynomial();

// Degree 3 in all, every output exactly a cubic.
void cubic(const Eigen::VectorXd& x, double* y) {
  y[0] = 1.0 + 2.0 * x[0] - x[1] * x[2] + 0.5 * x[0] * x[1] * x[2];
  y[1] = x[2] * x[2] * x[2] - 0.1 * x[1];
  y[2] = -3.0 + x[0] * x[0];
}

void smooth(const Eigen::VectorXd& x, double* y) {
  y[0] = std::exp(0.5 * x[0] - 0.3 * x[1]) * std::cos(x[2]);
  y[1] = 1.0 / (3.0 + x[0] + 0.5 * x[1] * x[2]);
  y[2] = std::sin(2.0 * x[0] + x[2]);
}

double legendre(int n, double x) {
  const double p[5] = {1.0, x, 1.5 * x * x - 0.5, 2.5 * x * x * x - 1.5 * x,
                       (35.0 * x * x * x * x - 30.0 * x * x + 3.0) / 8.0};
  return std::sqrt(2.0 * n + 1.0) * p[n];
}

// The basis from the stored multi-indices, by the closed forms of P_0 .. P_4.
Eigen::MatrixXd dense_basis(const State& state, const RowMatrix& x) {
  const State::Array& index = state.array("multi_index");
  Eigen::MatrixXd phi = Eigen::MatrixXd::Ones(x.rows(), index.shape[0]);
  for (Eigen::Index i = 0; i < x.rows(); ++i) {
    for (int64_t t = 0; t < index.shape[0]; ++t) {
      for (int64_t j = 0; j < index.shape[1]; ++j) {
        phi(i, t) *= legendre(static_cast<int>(index.data[static_cast<size_t>(t * index.shape[1] + j)]), x(i, j));
      }
    }
  }
  return phi;
}

}  // namespace

TEST_CASE("polynomial: least squares is exact on polynomials of its degree", "[family][polynomial]") {
  const RowMatrix x = random_points(60, 3, 1);
  const Trained trained = train(kFamily, x, apply(x, 3, cubic), {R"({"degree": 3, "shrinkage": "none"})"});
  REQUIRE(trained.status == ZELOS_OK);
  Opened model(kFamily, trained.state);
  const RowMatrix queries = 1.1 * random_points(50, 3, 2);
  const RowMatrix expected = apply(queries, 3, cubic);
  for (Eigen::Index i = 0; i < queries.rows(); ++i) {
    const Eigen::VectorXd y = model.predict(queries.row(i));
    CHECK((y.transpose() - expected.row(i)).lpNorm<Eigen::Infinity>() < 1e-12);
    const Eigen::VectorXd q = queries.row(i);
    const RowMatrix j = model.jacobian(q);
    CHECK(j(0, 0) == Approx(2.0 + 0.5 * q[1] * q[2]).epsilon(1e-11));
    CHECK(j(1, 2) == Approx(3.0 * q[2] * q[2]).margin(1e-11));
  }
}

TEST_CASE("polynomial: shrinkage reproduces a polynomial to the rounding of its noise floor", "[family][polynomial]") {
  const RowMatrix x = random_points(80, 3, 1);
  const Trained trained = train(kFamily, x, apply(x, 3, cubic), {R"({"degree": 4})"});
  REQUIRE(trained.status == ZELOS_OK);
  Opened model(kFamily, trained.state);
  const RowMatrix queries = random_points(50, 3, 2);
  const RowMatrix expected = apply(queries, 3, cubic);
  for (Eigen::Index i = 0; i < queries.rows(); ++i) {
    CHECK((model.predict(queries.row(i)).transpose() - expected.row(i)).lpNorm<Eigen::Infinity>() < 1e-6);
  }
}

TEST_CASE("polynomial: shrinkage beats least squares when the terms are many", "[family][polynomial]") {
  const RowMatrix x = random_points(60, 3, 3);
  const RowMatrix y = apply(x, 3, smooth);
  const RowMatrix queries = random_points(200, 3, 4);
  const RowMatrix expected = apply(queries, 3, smooth);
  const auto error = [&](const std::string& params) {
    const Trained trained = train(kFamily, x, y, {params});
    REQUIRE(trained.status == ZELOS_OK);
    Opened model(kFamily, trained.state);
    double sum = 0.0;
    for (Eigen::Index i = 0; i < queries.rows(); ++i) {
      sum += (model.predict(queries.row(i)).transpose() - expected.row(i)).squaredNorm();
    }
    return std::sqrt(sum / static_cast<double>(queries.rows()));
  };
  const double plain = error(R"({"degree": 5, "shrinkage": "none"})");
  const double shrunk = error(R"({"degree": 5, "groups": 0})");
  CHECK(shrunk < 0.5 * plain);
  CHECK(shrunk < 5e-3);
}

TEST_CASE("polynomial: an input of two values has no second power, and the columns that are left are independent",
          "[family][polynomial]") {
  RowMatrix x = random_points(40, 3, 6);
  for (Eigen::Index i = 0; i < x.rows(); ++i) x(i, 1) = x(i, 1) > 0.2 ? 1 : -1;
  const auto set = zelos::family::index_set(3, 3, {1.0, 1.0, 1.0}, 1.0, 100);
  const auto kept = zelos::family::independent_terms(set, x);
  // Of 20: 10 without the input of two values, 6 with it once, 3 squared, 1 cubed.
  CHECK(set.size() == 20);
  CHECK(kept.size() == 16);
  const auto rank = [&](const std::vector<zelos::family::MultiIndex>& terms) {
    return Eigen::FullPivHouseholderQR<Eigen::MatrixXd>(zelos::family::LegendreBasis(terms).design(x)).rank();
  };
  CHECK(rank(set) == 16);
  CHECK(rank(kept) == 16);
}

TEST_CASE("polynomial: evidence, its gradient and the posterior against dense algebra", "[family][polynomial]") {
  const RowMatrix x = random_points(30, 2, 5);
  const RowMatrix y3 = apply(x, 3, [](const Eigen::VectorXd& p, double* y) {
    const Eigen::Vector3d q(p[0], p[1], 0.3);
    smooth(q, y);
  });
  const Eigen::MatrixXd y = y3.leftCols(2);
  const std::vector<zelos::family::MultiIndex> set = zelos::family::index_set(2, 3, {1.0, 1.0}, 1.0, 100);
  const zelos::family::LegendreBasis basis(set);
  const Eigen::MatrixXd phi = basis.design(x);
  const Eigen::MatrixXd alpha = basis.to_rows();
  zelos::family::Evidence evidence(phi, y, alpha);
  const Eigen::Vector3d theta(3.0, -0.7, -1.1);

  const auto dense = [&](const Eigen::VectorXd& t) {
    const Eigen::VectorXd lambda = (t[0] + 2.0 * (alpha * t.tail(2)).array()).exp();
    const Eigen::MatrixXd m =
        Eigen::MatrixXd::Identity(30, 30) + phi * Eigen::MatrixXd(lambda.asDiagonal()) * phi.transpose();
    const Eigen::LDLT<Eigen::MatrixXd> ldlt(m);
    const double log_det = ldlt.vectorD().array().log().sum();
    double sum = 0.0;
    for (int o = 0; o < 2; ++o) sum += 30.0 * std::log(y.col(o).dot(ldlt.solve(y.col(o))) / 30.0) + log_det;
    return sum / 120.0;
  };
  Eigen::VectorXd gradient;
  CHECK(evidence(theta, gradient) == Approx(dense(theta)).epsilon(1e-11));
  for (int k = 0; k < 3; ++k) {
    Eigen::VectorXd up = theta, down = theta;
    up[k] += 1e-4;
    down[k] -= 1e-4;
    CHECK(gradient[k] == Approx((dense(up) - dense(down)) / 2e-4).epsilon(1e-6));
  }
  const auto posterior = evidence.posterior(theta);
  const Eigen::VectorXd lambda = (theta[0] + 2.0 * (alpha * theta.tail(2)).array()).exp();
  Eigen::MatrixXd precision = phi.transpose() * phi;
  precision.diagonal() += lambda.cwiseInverse();
  const Eigen::MatrixXd covariance = precision.inverse();
  CHECK((posterior.coefficients - covariance * phi.transpose() * y).norm() < 1e-11);
  const Eigen::MatrixXd factor = posterior.factor.triangularView<Eigen::Lower>();
  CHECK((factor.transpose() * factor - covariance).norm() < 1e-11 * covariance.norm());
}

TEST_CASE("polynomial: variance is the posterior variance of the prediction", "[family][polynomial]") {
  const RowMatrix x = random_points(50, 3, 6);
  RowMatrix y = apply(x, 3, cubic);
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(0.0, 0.01);
  for (Eigen::Index i = 0; i < y.size(); ++i) y.data()[i] += normal(random);
  const Trained trained = train(kFamily, x, y, {R"({"degree": 3, "groups": 2, "variance": "posterior"})"});
  REQUIRE(trained.status == ZELOS_OK);
  Opened model(kFamily, trained.state);

  const auto settings = nlohmann::json::parse(trained.state.settings);
  const RowMatrix queries = random_points(5, 3, 8);
  const Eigen::MatrixXd phi = dense_basis(trained.state, x);
  const Eigen::MatrixXd phi_query = dense_basis(trained.state, queries);
  const State::Array& index = trained.state.array("multi_index");
  for (const auto& group : settings.at("groups")) {
    Eigen::MatrixXd precision = phi.transpose() * phi;
    for (Eigen::Index t = 0; t < phi.cols(); ++t) {
      double lambda = group.at("signal_to_noise").get<double>();
      for (size_t j = 0; j < 3; ++j) {
        lambda *= std::pow(group.at("ratio")[j].get<double>(), 2.0 * index.data[static_cast<size_t>(t) * 3 + j]);
      }
      precision(t, t) += 1.0 / lambda;
    }
    const Eigen::MatrixXd covariance = precision.inverse();
    for (const int o : group.at("outputs")) {
      const double noise = trained.state.array("noise_variance").data[static_cast<size_t>(o)];
      CHECK(std::sqrt(noise) == Approx(0.01).epsilon(0.6));
      const Eigen::VectorXd c = covariance * phi.transpose() * y.col(o);
      for (Eigen::Index i = 0; i < queries.rows(); ++i) {
        Eigen::VectorXd variance;
        REQUIRE(model.variance(queries.row(i), variance) == ZELOS_OK);
        const double expected = noise * phi_query.row(i).dot(covariance * phi_query.row(i).transpose());
        CHECK(variance[o] == Approx(expected).epsilon(1e-8));
        CHECK(model.predict(queries.row(i))[o] == Approx(phi_query.row(i).dot(c)).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("polynomial: leave-one-out errors are those of refits", "[family][polynomial]") {
  const bool shrinkage = GENERATE(true, false);
  const RowMatrix x = random_points(50, 3, 6);
  RowMatrix y = apply(x, 3, cubic);
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(0.0, 0.01);
  for (Eigen::Index i = 0; i < y.size(); ++i) y.data()[i] += normal(random);
  const Trained trained =
      train(kFamily, x, y, {shrinkage ? R"({"degree": 3, "groups": 1})" : R"({"degree": 3, "shrinkage": "none"})"});
  REQUIRE(trained.status == ZELOS_OK);
  const Eigen::MatrixXd phi = dense_basis(trained.state, x);
  Eigen::VectorXd penalty = Eigen::VectorXd::Zero(phi.cols());
  if (shrinkage) {
    const auto group = nlohmann::json::parse(trained.state.settings).at("groups")[0];
    const State::Array& index = trained.state.array("multi_index");
    for (Eigen::Index t = 0; t < phi.cols(); ++t) {
      double lambda = group.at("signal_to_noise").get<double>();
      for (size_t j = 0; j < 3; ++j) {
        lambda *= std::pow(group.at("ratio")[j].get<double>(), 2.0 * index.data[static_cast<size_t>(t) * 3 + j]);
      }
      penalty[t] = 1.0 / lambda;
    }
  }
  Eigen::MatrixXd errors(50, 3);
  for (Eigen::Index i = 0; i < 50; ++i) {
    Eigen::MatrixXd rest(49, phi.cols()), rest_y(49, 3);
    rest << phi.topRows(i), phi.bottomRows(49 - i);
    rest_y << y.topRows(i), y.bottomRows(49 - i);
    Eigen::MatrixXd normal_matrix = rest.transpose() * rest;
    normal_matrix.diagonal() += penalty;
    errors.row(i) = y.row(i) - phi.row(i) * normal_matrix.ldlt().solve(rest.transpose() * rest_y);
  }
  const zelos::family::LeftOutVariance::Fit expected = zelos::family::LeftOutVariance::fit(x, errors);
  const State::Array& terms = trained.state.array("variance_terms");
  for (Eigen::Index k = 0; k < 6; ++k) {
    CHECK(terms.data[static_cast<size_t>(k)] == Approx(expected.variance_terms.data()[k]).epsilon(1e-6).margin(1e-12));
  }
}

TEST_CASE("polynomial: jacobian against central differences", "[family][polynomial]") {
  const RowMatrix x = random_points(150, 3, 9);
  const Trained trained = train(kFamily, x, apply(x, 3, smooth), {R"({"degree": 6})"});
  REQUIRE(trained.status == ZELOS_OK);
  Opened model(kFamily, trained.state);
  const RowMatrix queries = random_points(10, 3, 10);
  for (Eigen::Index i = 0; i < queries.rows(); ++i) {
    Eigen::VectorXd y;
    const RowMatrix exact = model.jacobian(queries.row(i), &y);
    CHECK((y - model.predict(queries.row(i))).norm() == 0.0);
    CHECK((exact - numeric_jacobian(model, queries.row(i), 1e-3)).norm() < 1e-8 * exact.norm());
  }
}

TEST_CASE("polynomial: index sets by weights and q-norm", "[family][polynomial]") {
  const auto count = [](int degree, const std::vector<double>& w, double q) {
    return zelos::family::index_set(static_cast<int>(w.size()), degree, w, q, 10000).size();
  };
  CHECK(count(4, {1, 1, 1}, 1.0) == 35);
  CHECK(count(6, {1, 1, 1, 1, 1, 1}, 1.0) == 924);
  CHECK(count(4, {1, 2}, 1.0) == 9);
  // a^(1/2) + b^(1/2) <= 2: 5 + 4 on the axes, and (1, 1).
  CHECK(count(4, {1, 1}, 0.5) == 10);
}

TEST_CASE("polynomial: terms below the scale of every output are dropped", "[family][polynomial]") {
  const RowMatrix x = random_points(80, 3, 1);
  const RowMatrix y = apply(x, 3, cubic);
  const double y_scale[3] = {0.01, 0.01, 0.01};
  TrainSettings settings = {R"({"degree": 5})"};
  const Trained full = train(kFamily, x, y, settings);
  settings.y_scale = y_scale;
  const Trained pruned = train(kFamily, x, y, settings);
  REQUIRE(pruned.status == ZELOS_OK);
  CHECK(full.state.array("multi_index").shape[0] == 56);
  CHECK(pruned.state.array("multi_index").shape[0] < 20);
  Opened model(kFamily, pruned.state);
  for (Eigen::Index i = 0; i < x.rows(); ++i) {
    CHECK((model.predict(x.row(i)).transpose() - y.row(i)).lpNorm<Eigen::Infinity>() < 1e-5);
  }
  Eigen::VectorXd variance;
  CHECK(model.variance(x.row(0), variance) == ZELOS_OK);
}

TEST_CASE("polynomial: deterministic, and resumed equals uninterrupted", "[family][polynomial]") {
  const RowMatrix x = random_points(60, 3, 11);
  const RowMatrix y = apply(x, 3, smooth);
  TrainSettings settings = {R"({"groups": 3})"};
  const Trained whole = train(kFamily, x, y, settings);
  REQUIRE(whole.status == ZELOS_OK);
  CHECK(whole.checkpoints.size() == 3);
  settings.threads = 2;
  CHECK(train(kFamily, x, y, settings).state == whole.state);

  settings.threads = 1;
  settings.stop_after = 0;
  const Trained stopped = train(kFamily, x, y, settings);
  CHECK(stopped.status == ZELOS_E_CANCELLED);
  REQUIRE(!stopped.checkpoints.empty());
  settings.stop_after = -1;
  settings.resume = &stopped.checkpoints.back();
  const Trained resumed = train(kFamily, x, y, settings);
  REQUIRE(resumed.status == ZELOS_OK);
  CHECK(resumed.checkpoints.size() < whole.checkpoints.size());
  CHECK(resumed.state == whole.state);

  settings.params = R"({"groups": 2})";
  const Trained other = train(kFamily, x, y, settings);
  CHECK(other.status == ZELOS_E_ARGUMENT);
  CHECK_THAT(other.message, Contains("checkpoint"));
}

TEST_CASE("polynomial: wrong params and states are named", "[family][polynomial]") {
  const RowMatrix x = random_points(20, 3, 1);
  const RowMatrix y = apply(x, 3, cubic);
  const auto message = [&](const std::string& params) {
    const Trained trained = train(kFamily, x, y, {params});
    CHECK(trained.status == ZELOS_E_ARGUMENT);
    return trained.message;
  };
  CHECK_THAT(message(R"({"degre": 3})"), Contains("degre") && Contains("known"));
  CHECK_THAT(message(R"({"degree": 2.5})"), Contains("degree") && Contains("2.5"));
  CHECK_THAT(message(R"({"degree_weights": [1, 2]})"), Contains("degree_weights") && Contains("3 numbers"));
  CHECK_THAT(message(R"({"shrinkage": "lasso"})"), Contains("shrinkage") && Contains("lasso"));
  CHECK_THAT(message(R"({"degree": 4, "shrinkage": "none"})"), Contains("35 terms") && Contains("20"));
  RowMatrix bad = y;
  bad(3, 1) = std::nan("");
  CHECK_THAT(train(kFamily, x, bad).message, Contains("row 3, column 1"));

  Trained good = train(kFamily, x, y);
  REQUIRE(good.status == ZELOS_OK);
  good.state.arrays[1].shape[1] -= 1;
  std::vector<zelos_array> views;
  const zelos_state view = good.state.view(views);
  zelos_model* model = nullptr;
  zelos_error error = {sizeof(zelos_error), 0, ""};
  CHECK(kFamily->open(nullptr, &view, &model, &error) == ZELOS_E_FORMAT);
  CHECK_THAT(error.message, Contains("coefficients"));
}

TEST_CASE("vector kernels: every variant against scalar code and the portable variant", "[family][kernels]") {
  using namespace zelos::family;
  constexpr int64_t n = 264, d = 5, rows = 7;
  std::mt19937_64 random(12);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  const auto fill = [&](size_t size) {
    std::vector<double> v(size);
    for (double& e : v) e = uniform(random);
    return v;
  };
  const std::vector<double> a = fill(rows * n), b = fill(d * n), u = fill(d);
  for (int variant = 0; const VectorKernels* k = vector_kernels_variant(variant); ++variant) {
    INFO(k->name);
    std::vector<double> e(n), e0(n);
    for (int64_t i = 0; i < n; ++i) e[static_cast<size_t>(i)] = -700.0 + 1400.0 * static_cast<double>(i) / n;
    e0 = e;
    k->exponential(e.data(), n);
    for (size_t i = 0; i < e.size(); ++i) CHECK(std::abs(e[i] / std::exp(e0[i]) - 1.0) < 1e-15);

    std::vector<double> out(rows * d, 1.0);
    k->multiply_add(a.data(), n, rows, b.data(), n, d, n, out.data(), d, 1);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < d; ++c) {
        double sum = 1.0;
        for (int64_t i = 0; i < n; ++i) sum += a[static_cast<size_t>(r * n + i)] * b[static_cast<size_t>(c * n + i)];
        CHECK(std::abs(out[static_cast<size_t>(r * d + c)] - sum) < 1e-12);
      }
    }
    double sum = 0.0;
    for (size_t i = 0; i < 261; ++i) sum += a[i] * b[i];
    CHECK(std::abs(k->dot(a.data(), b.data(), 261) - sum) < 1e-12);

    for (const Correlation kind : {Correlation::kSquaredExponential, Correlation::kMatern52}) {
      const std::vector<double> w = {0.25, 1.0, 2.0, 0.5, 3.0};
      std::vector<double> squares(n * d), value(n), slope(n), alone(n);
      k->square_differences(b.data(), n, n, u.data(), d, squares.data(), n);
      k->correlate(kind, squares.data(), n, n, w.data(), d, 1.0, false, value.data(), slope.data());
      k->correlate(kind, squares.data(), n, n, w.data(), d, 1.0, false, alone.data(), nullptr);
      std::vector<double> twice(value);
      k->correlate(kind, squares.data(), n, n, w.data(), d, 0.5, true, twice.data(), nullptr);
      for (size_t i = 0; i < twice.size(); ++i) CHECK(twice[i] == Approx(1.5 * value[i]).epsilon(1e-14));
      CHECK(alone == value);
      for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
        double r2 = 0.0;
        for (size_t j = 0; j < d; ++j) r2 += w[j] * std::pow(u[j] - b[j * n + i], 2);
        const double r = std::sqrt(r2), s = std::sqrt(5.0) * r;
        const bool gauss = kind == Correlation::kSquaredExponential;
        CHECK(value[i] == Approx(gauss ? std::exp(-0.5 * r2) : (1 + s + s * s / 3) * std::exp(-s)).epsilon(1e-12));
        CHECK(slope[i] == Approx(gauss ? -std::exp(-0.5 * r2) : -5.0 / 3.0 * (1 + s) * std::exp(-s)).epsilon(1e-12));
      }
    }
  }
}
