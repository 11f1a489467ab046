// SPDX-License-Identifier: BSD-3-Clause
#include "family_bench.hpp"
#include "support/left_out_variance.hpp"

extern "C" const zelos_family* zelos_family_gaussian_process(void);
extern "C" const zelos_family* zelos_family_polynomial(void);

namespace {

using namespace family_bench;
using Catch::Matchers::Contains;
using zelos::family::LeftOutVariance;

// Rougher towards one corner, so that errors grow there.
void uneven(const Eigen::VectorXd& x, double* y) {
  y[0] = 10.0 * std::exp(0.8 * x[0] - 0.5 * x[1]) * std::cos(2.0 * x[2]);
  y[1] = 1.0 / (2.2 + x[0] + 0.8 * x[1] * x[2]);
}

// Monomials up to degree 2: another basis of the same space.
Eigen::MatrixXd quadratic(const RowMatrix& x) {
  const Eigen::Index d = x.cols();
  Eigen::MatrixXd h(x.rows(), 1 + d + d * (d + 1) / 2);
  h.col(0).setOnes();
  Eigen::Index column = 1;
  for (Eigen::Index j = 0; j < d; ++j) h.col(column++) = x.col(j);
  for (Eigen::Index j = 0; j < d; ++j) {
    for (Eigen::Index k = j; k < d; ++k) h.col(column++) = x.col(j).cwiseProduct(x.col(k));
  }
  return h;
}

double leverage(const RowMatrix& x, const RowMatrix& at) {
  const Eigen::MatrixXd h = quadratic(x), q = quadratic(at);
  return (q * (h.transpose() * h).ldlt().solve(q.transpose()))(0, 0);
}

RowMatrix without(const RowMatrix& m, Eigen::Index row) {
  RowMatrix out(m.rows() - 1, m.cols());
  out << m.topRows(row), m.bottomRows(m.rows() - 1 - row);
  return out;
}

}  // namespace

TEST_CASE("left-out variance: leverages of refits, calibrated, the most likely of its kind", "[family]") {
  const RowMatrix x = random_points(90, 3, 1);
  std::mt19937_64 random(2);
  std::normal_distribution<double> normal;
  Eigen::MatrixXd errors(90, 2);
  Eigen::VectorXd left_out(90);
  for (Eigen::Index i = 0; i < 90; ++i) {
    left_out[i] = leverage(without(x, i), x.row(i));
    errors(i, 0) = 0.3 * std::sqrt(left_out[i]) * normal(random);
    errors(i, 1) = 2.0 * normal(random);
  }
  const LeftOutVariance::Fit fit = LeftOutVariance::fit(x, errors);
  std::vector<zelos_array> arrays = {{"leverage_factor", fit.leverage_factor.data(), 2, {10, 10, 0, 0}},
                                     {"variance_terms", fit.variance_terms.data(), 2, {2, 2, 0, 0}}};
  const zelos_state state = {sizeof(zelos_state), 2, arrays.data(), "{}"};
  const LeftOutVariance variance(state, 3, 2);
  std::vector<double> work(static_cast<size_t>(variance.workspace()));
  const RowMatrix queries = 1.2 * random_points(20, 3, 3);
  for (Eigen::Index i = 0; i < queries.rows(); ++i) {
    const double expected = leverage(x, queries.row(i)) / left_out.mean();
    double found[2];
    const Eigen::VectorXd query = queries.row(i);
    variance.evaluate(query.data(), found, work.data());
    for (Eigen::Index o = 0; o < 2; ++o) {
      CHECK(found[o] == Approx(fit.variance_terms(o, 0) * std::pow(expected, fit.variance_terms(o, 1))));
    }
  }
  const Eigen::ArrayXd scaled = left_out.array() / left_out.mean();
  for (Eigen::Index o = 0; o < 2; ++o) {
    const Eigen::ArrayXd square = errors.col(o).array().square();
    const auto loss = [&](double scale, double power) {
      const Eigen::ArrayXd v = scale * scaled.pow(power);
      return (v.log() + square / v).mean();
    };
    const double scale = fit.variance_terms(o, 0), power = fit.variance_terms(o, 1);
    CHECK((square / (scale * scaled.pow(power))).mean() == Approx(1.0).epsilon(1e-10));
    for (const double factor : {0.5, 0.9, 1.0, 1.1, 2.0}) {
      for (double other = 0.0; other <= 8.0; other += 0.05) {
        CHECK(loss(scale, power) < loss(factor * scale, other) + 0.01);
      }
    }
  }
  // Errors that follow the leverage, and errors that don't.
  CHECK(fit.variance_terms(0, 1) == Approx(1.0).margin(0.4));
  CHECK(fit.variance_terms(1, 1) == Approx(0.0).margin(0.4));
}

TEST_CASE("left-out variance: beside an input of two values the others keep their second degree", "[family]") {
  RowMatrix x = random_points(90, 3, 1);
  for (Eigen::Index i = 0; i < x.rows(); ++i) x(i, 1) = x(i, 1) > 0.3 ? 1 : -1;
  std::mt19937_64 random(2);
  std::normal_distribution<double> normal;
  const Eigen::MatrixXd h = quadratic(x);
  const Eigen::MatrixXd inverse = (h.transpose() * h).completeOrthogonalDecomposition().pseudoInverse();
  const Eigen::ArrayXd l = (h * inverse).cwiseProduct(h).rowwise().sum().array(), left_out = l / (1 - l);
  CHECK(l.sum() == Approx(9));
  Eigen::MatrixXd errors(90, 1);
  for (Eigen::Index i = 0; i < 90; ++i) errors(i, 0) = 0.3 * std::sqrt(left_out[i]) * normal(random);
  const LeftOutVariance::Fit fit = LeftOutVariance::fit(x, errors);
  std::vector<zelos_array> arrays = {{"leverage_factor", fit.leverage_factor.data(), 2, {10, 10, 0, 0}},
                                     {"variance_terms", fit.variance_terms.data(), 2, {1, 2, 0, 0}}};
  const zelos_state state = {sizeof(zelos_state), 2, arrays.data(), "{}"};
  const LeftOutVariance variance(state, 3, 1);
  std::vector<double> work(static_cast<size_t>(variance.workspace()));
  RowMatrix queries = random_points(20, 3, 3);
  for (Eigen::Index i = 0; i < queries.rows(); ++i) {
    queries(i, 1) = i % 2 == 0 ? 1 : -1;
    const Eigen::MatrixXd q = quadratic(queries.row(i));
    const double expected = (q * inverse * q.transpose())(0, 0) / left_out.mean();
    double found = 0;
    const Eigen::VectorXd query = queries.row(i);
    variance.evaluate(query.data(), &found, work.data());
    CHECK(found == Approx(fit.variance_terms(0, 0) * std::pow(expected, fit.variance_terms(0, 1))));
  }
}

TEST_CASE("left-out variance: few points, no errors", "[family]") {
  const LeftOutVariance::Fit few = LeftOutVariance::fit(random_points(3, 2, 1), Eigen::MatrixXd::Constant(3, 1, 0.5));
  CHECK(few.leverage_factor.size() == 1);
  CHECK(few.variance_terms(0, 0) == Approx(0.25));
  const LeftOutVariance::Fit none = LeftOutVariance::fit(random_points(30, 2, 1), Eigen::MatrixXd::Zero(30, 1));
  CHECK(none.variance_terms.isZero(0.0));
}

TEST_CASE("left-out variance: errors at new points are as large as predicted", "[family]") {
  const bool polynomial = GENERATE(false, true);
  const std::string params = polynomial ? GENERATE(R"({"degree": 4})", R"({"degree": 3, "shrinkage": "none"})")
                                        : GENERATE(R"({"kernel": "matern52", "groups": 0})", R"({"groups": 1})");
  INFO(params);
  const RowMatrix x = random_points(150, 3, 5);
  const Trained trained =
      train(polynomial ? zelos_family_polynomial() : zelos_family_gaussian_process(), x, apply(x, 2, uneven), {params});
  INFO(trained.message);
  REQUIRE(trained.status == ZELOS_OK);
  Opened model(polynomial ? zelos_family_polynomial() : zelos_family_gaussian_process(), trained.state);
  const RowMatrix queries = random_points(1000, 3, 6);
  const RowMatrix truth = apply(queries, 2, uneven);
  Eigen::ArrayXd ratio = Eigen::ArrayXd::Zero(2);
  for (Eigen::Index i = 0; i < queries.rows(); ++i) {
    Eigen::VectorXd variance;
    REQUIRE(model.variance(queries.row(i), variance) == ZELOS_OK);
    REQUIRE((variance.array() > 0.0).all());
    ratio += (model.predict(queries.row(i)) - truth.row(i).transpose()).array().square() / variance.array() / 1000.0;
  }
  // The errors of these smooth functions range over five decades, and few points are in the
  // corners.
  CHECK(ratio.minCoeff() > 0.2);
  CHECK(ratio.maxCoeff() < 5.0);
  Eigen::VectorXd centre, corner;
  REQUIRE(model.variance(Eigen::Vector3d(0, 0, 0), centre) == ZELOS_OK);
  REQUIRE(model.variance(Eigen::Vector3d(1, 1, 1), corner) == ZELOS_OK);
  CHECK((corner.array() > 2.0 * centre.array()).all());
}

TEST_CASE("left-out variance: damaged states are refused", "[family]") {
  const zelos_family* family = GENERATE(zelos_family_gaussian_process(), zelos_family_polynomial());
  const RowMatrix x = random_points(60, 3, 7);
  const Trained trained = train(family, x, apply(x, 2, uneven));
  REQUIRE(trained.status == ZELOS_OK);
  for (const std::string name : {"leverage_factor", "variance_terms"}) {
    State bad = trained.state;
    for (State::Array& a : bad.arrays) {
      if (a.name == name) a.shape.back() -= 1;
    }
    std::vector<zelos_array> views;
    const zelos_state view = bad.view(views);
    zelos_model* model = nullptr;
    zelos_error error = {sizeof(zelos_error), 0, ""};
    CHECK(family->open(nullptr, &view, &model, &error) == ZELOS_E_FORMAT);
    CHECK_THAT(std::string(error.message), Contains(name));
  }
  const Trained none = train(family, x, apply(x, 2, uneven), {R"({"variance": "none"})"});
  Opened model(family, none.state);
  Eigen::VectorXd variance;
  std::string message;
  CHECK(model.variance(x.row(0), variance, &message) == ZELOS_E_MISSING);
  CHECK_THAT(message, Contains("variance: none"));
  CHECK(train(family, x, apply(x, 2, uneven), {R"({"variance": "some"})"}).status == ZELOS_E_ARGUMENT);
}
