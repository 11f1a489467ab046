// SPDX-License-Identifier: BSD-3-Clause
#include "family_bench.hpp"
#include "gaussian_process/likelihood.hpp"

extern "C" const zelos_family* zelos_family_gaussian_process(void);

namespace {

using namespace family_bench;
using Catch::Matchers::Contains;
using zelos::family::Correlation;
using zelos::family::KernelTerms;

const zelos_family* const kFamily = zelos_family_gaussian_process();

void smooth(const Eigen::VectorXd& x, double* y) {
  y[0] = 10.0 * std::exp(0.5 * x[0] - 0.3 * x[1]) * std::cos(x[2]);
  y[1] = 1.0 / (3.0 + x[0] + 0.5 * x[1] * x[2]);
  y[2] = std::sin(4.0 * x[2]) + 0.1 * x[0];
  y[3] = 2.0 * std::exp(0.4 * x[0] - 0.3 * x[1]) * std::sin(1.0 + x[2]);
}

double correlation(Correlation kind, const Eigen::VectorXd& a, const Eigen::VectorXd& b, const Eigen::VectorXd& l) {
  const double r = ((a - b).array() / l.array()).matrix().norm();
  if (kind == Correlation::kSquaredExponential) return std::exp(-0.5 * r * r);
  return (1.0 + std::sqrt(5.0) * r + 5.0 / 3.0 * r * r) * std::exp(-std::sqrt(5.0) * r);
}

Eigen::MatrixXd correlations(Correlation kind, const RowMatrix& a, const RowMatrix& b, const Eigen::VectorXd& l) {
  Eigen::MatrixXd c(a.rows(), b.rows());
  for (Eigen::Index i = 0; i < a.rows(); ++i) {
    for (Eigen::Index j = 0; j < b.rows(); ++j) c(i, j) = correlation(kind, a.row(i), b.row(j), l);
  }
  return c;
}

// Monomials up to degree 2: another basis of the same space as the family's.
Eigen::MatrixXd quadratic_trend(const RowMatrix& x) {
  const Eigen::Index d = x.cols();
  Eigen::MatrixXd h(x.rows(), 1 + d + d * (d + 1) / 2);
  for (Eigen::Index i = 0; i < x.rows(); ++i) {
    Eigen::Index column = 0;
    h(i, column++) = 1.0;
    for (Eigen::Index j = 0; j < d; ++j) h(i, column++) = x(i, j);
    for (Eigen::Index j = 0; j < d; ++j) {
      for (Eigen::Index k = j; k < d; ++k) h(i, column++) = x(i, j) * x(i, k);
    }
  }
  return h;
}

// The universal-kriging equations, written out.
struct Dense {
  Eigen::MatrixXd c, h, inverse, normal, trend, weights;
  Eigen::VectorXd signal;

  Dense(Correlation kind, const RowMatrix& x, const Eigen::MatrixXd& trend_columns, const Eigen::MatrixXd& y,
        const Eigen::VectorXd& length, double noise)
      : Dense(correlations(kind, x, x, length) + noise * Eigen::MatrixXd::Identity(x.rows(), x.rows()), trend_columns,
              y) {}

  Dense(const Eigen::MatrixXd& covariance, const Eigen::MatrixXd& trend_columns, const Eigen::MatrixXd& y)
      : c(covariance), h(trend_columns) {
    inverse = c.ldlt().solve(Eigen::MatrixXd::Identity(c.rows(), c.rows()));
    normal = h.transpose() * inverse * h;
    trend = normal.ldlt().solve(h.transpose() * inverse * y);
    const Eigen::MatrixXd rest = y - h * trend;
    weights = c.ldlt().solve(rest);
    signal.resize(y.cols());
    for (Eigen::Index o = 0; o < y.cols(); ++o) {
      signal[o] = rest.col(o).dot(weights.col(o)) / static_cast<double>(c.rows() - h.cols());
    }
  }

  double negative_log_likelihood() const {
    const double log_det = c.ldlt().vectorD().array().log().sum() + normal.ldlt().vectorD().array().log().sum();
    const auto n = static_cast<double>(c.rows());
    const auto m = static_cast<double>(signal.size());
    return 0.5 * ((n - static_cast<double>(h.cols())) * signal.array().log().sum() + m * log_det) / (n * m);
  }
};

// Length scales and noise-to-signal ratio of an output, read back from the state.
void hyperparameters(const State& state, int64_t output, Eigen::VectorXd& length, double& noise) {
  const auto settings = nlohmann::json::parse(state.settings);
  const auto group = settings.at("outputs")[static_cast<size_t>(output)].at("group").get<size_t>();
  const State::Array& all = state.array("length_scales");
  const auto d = static_cast<size_t>(all.shape[1]);
  length = Eigen::Map<const Eigen::VectorXd>(all.data.data() + group * d, static_cast<Eigen::Index>(d));
  noise = settings.at("groups")[group].at("noise_to_signal").get<double>();
}

size_t group_count(const State& state) { return nlohmann::json::parse(state.settings).at("groups").size(); }

}  // namespace

TEST_CASE("gaussian_process: likelihood and gradient against dense algebra", "[family][gaussian_process]") {
  for (const Correlation kind : {Correlation::kSquaredExponential, Correlation::kMatern52}) {
    const RowMatrix x = random_points(70, 3, 1);
    const Eigen::MatrixXd y = apply(x, 4, smooth).leftCols(3);
    const Eigen::MatrixXd h = quadratic_trend(x);
    zelos::family::Likelihood likelihood(kind, KernelTerms::single(3), x, h, y);
    Eigen::VectorXd theta(4);
    theta << 0.3, -0.2, 0.1, -6.0;
    const auto dense = [&](const Eigen::VectorXd& t) {
      return Dense(kind, x, h, y, t.head(3).array().exp(), std::exp(t[3])).negative_log_likelihood();
    };
    Eigen::VectorXd gradient;
    CHECK(likelihood(theta, gradient) == Approx(dense(theta)).epsilon(1e-10));
    for (Eigen::Index k = 0; k < 4; ++k) {
      const auto difference = [&](double step) {
        Eigen::VectorXd up = theta, down = theta;
        up[k] += step;
        down[k] -= step;
        return (dense(up) - dense(down)) / (2.0 * step);
      };
      const double expected = (4.0 * difference(1e-3) - difference(2e-3)) / 3.0;
      CHECK(gradient[k] == Approx(expected).epsilon(1e-6));
    }
  }
}

// An additive function: terms that know of it need fewer points.
void additive(const Eigen::VectorXd& x, double* y) {
  y[0] = std::exp(std::sin(3.0 * x[0]) * x[1]) + std::cos(4.0 * x[2] + 2.0 * x[3]);
  y[1] = std::sin(5.0 * x[0] * x[1]) + std::exp(x[2]) / (1.5 + x[3]) + 1e-3 * x[0] * x[3];
}

TEST_CASE("gaussian_process: a sum of terms, likelihood and gradient against dense algebra",
          "[family][gaussian_process]") {
  const KernelTerms terms({{0, 1}, {3, 2}, {0, 1, 2, 3}});
  REQUIRE(terms.n_theta() == 2 + 2 + 4 + 2 + 1);
  for (const Correlation kind : {Correlation::kSquaredExponential, Correlation::kMatern52}) {
    const RowMatrix x = random_points(60, 4, 1);
    const Eigen::MatrixXd y = apply(x, 2, additive);
    const Eigen::MatrixXd h = quadratic_trend(x);
    zelos::family::Likelihood likelihood(kind, terms, x, h, y);
    Eigen::VectorXd theta(11);
    theta << 0.3, -0.2, 0.1, 0.4, 0.8, 0.7, 0.9, 1.1, -0.5, -2.0, -6.0;
    const auto dense = [&](const Eigen::VectorXd& t) {
      Eigen::MatrixXd c = Eigen::MatrixXd::Identity(60, 60) * std::exp(t[10]);
      const double amplitude[] = {1.0, std::exp(t[8]), std::exp(t[9])};
      const double total = amplitude[0] + amplitude[1] + amplitude[2];
      const std::vector<std::vector<int>> inputs{{0, 1}, {3, 2}, {0, 1, 2, 3}};
      for (Eigen::Index k = 0, at = 0; k < 3; ++k) {
        const auto d = static_cast<Eigen::Index>(inputs[static_cast<size_t>(k)].size());
        RowMatrix part(60, d);
        for (Eigen::Index j = 0; j < d; ++j)
          part.col(j) = x.col(inputs[static_cast<size_t>(k)][static_cast<size_t>(j)]);
        c += amplitude[k] / total * correlations(kind, part, part, t.segment(at, d).array().exp());
        at += d;
      }
      return Dense(c, h, y).negative_log_likelihood();
    };
    Eigen::VectorXd gradient;
    CHECK(likelihood(theta, gradient) == Approx(dense(theta)).epsilon(1e-10));
    for (Eigen::Index k = 0; k < theta.size(); ++k) {
      const auto difference = [&](double step) {
        Eigen::VectorXd up = theta, down = theta;
        up[k] += step;
        down[k] -= step;
        return (dense(up) - dense(down)) / (2.0 * step);
      };
      const double expected = (4.0 * difference(1e-3) - difference(2e-3)) / 3.0;
      CHECK(gradient[k] == Approx(expected).epsilon(1e-6).margin(1e-9));
    }
  }
}

TEST_CASE("gaussian_process: a sum of terms predicts an additive function better, with exact derivatives and variance",
          "[family][gaussian_process]") {
  const RowMatrix x = random_points(200, 4, 21);
  const RowMatrix y = apply(x, 2, additive);
  const RowMatrix queries = random_points(60, 4, 22);
  const RowMatrix expected = apply(queries, 2, additive);
  const auto rms = [&](Opened& model) {
    double sum = 0.0;
    for (Eigen::Index i = 0; i < queries.rows(); ++i) {
      sum += (model.predict(queries.row(i)).transpose() - expected.row(i)).squaredNorm();
    }
    return std::sqrt(sum / static_cast<double>(expected.size()));
  };
  const std::string shared = R"("groups": 0, "variance": "posterior", "noise_to_signal_bounds": [1e-6, 1.0])";
  const Trained plain = train(kFamily, x, y, {"{" + shared + "}"});
  const Trained sum = train(kFamily, x, y, {R"({"terms": [[0, 1], [2, 3], [0, 1, 2, 3]], )" + shared + "}"});
  INFO(sum.message);
  REQUIRE(plain.status == ZELOS_OK);
  REQUIRE(sum.status == ZELOS_OK);
  Opened plain_model(kFamily, plain.state), model(kFamily, sum.state);
  CHECK(rms(model) < 0.3 * rms(plain_model));
  // The stored hyperparameters, put into the dense equations, give the same mean and variance.
  const State::Array& length = sum.state.array("length_scales");
  const State::Array& amplitude = sum.state.array("amplitudes");
  const auto groups = nlohmann::json::parse(sum.state.settings).at("groups");
  for (size_t g = 0; g < 2; ++g) {
    const auto o = groups[g].at("outputs")[0].get<Eigen::Index>();
    const auto kernel = [&](const RowMatrix& a, const RowMatrix& b) {
      Eigen::MatrixXd c = Eigen::MatrixXd::Zero(a.rows(), b.rows());
      const std::vector<std::vector<int>> inputs{{0, 1}, {2, 3}, {0, 1, 2, 3}};
      for (size_t t = 0; t < 3; ++t) {
        const auto d = static_cast<Eigen::Index>(inputs[t].size());
        RowMatrix pa(a.rows(), d), pb(b.rows(), d);
        Eigen::VectorXd l(d);
        for (Eigen::Index j = 0; j < d; ++j) {
          pa.col(j) = a.col(inputs[t][static_cast<size_t>(j)]);
          pb.col(j) = b.col(inputs[t][static_cast<size_t>(j)]);
          l[j] = length.data[(3 * g + t) * 4 + static_cast<size_t>(inputs[t][static_cast<size_t>(j)])];
        }
        c += amplitude.data[3 * g + t] * correlations(Correlation::kSquaredExponential, pa, pb, l);
      }
      return c;
    };
    const double noise = groups[g].at("noise_to_signal").get<double>();
    const Dense dense(kernel(x, x) + noise * Eigen::MatrixXd::Identity(200, 200), quadratic_trend(x), y.col(o));
    const Eigen::MatrixXd k = kernel(queries, x), own = kernel(queries, queries), h = quadratic_trend(queries);
    const Eigen::MatrixXd r = h.transpose() - dense.h.transpose() * dense.inverse * k.transpose();
    const Eigen::VectorXd mean = h * dense.trend + k * dense.weights;
    for (Eigen::Index i = 0; i < 10; ++i) {
      CHECK(model.predict(queries.row(i))[o] == Approx(mean[i]).epsilon(1e-6));
      Eigen::VectorXd variance;
      REQUIRE(model.variance(queries.row(i), variance) == ZELOS_OK);
      const double ratio = own(i, i) - k.row(i) * dense.inverse * k.row(i).transpose() +
                           r.col(i).dot(dense.normal.ldlt().solve(r.col(i)));
      CHECK(variance[o] == Approx(dense.signal[0] * ratio).epsilon(1e-2).margin(1e-6 * dense.signal[0]));
    }
  }
  for (Eigen::Index i = 0; i < 5; ++i) {
    const RowMatrix exact = model.jacobian(queries.row(i)), numeric = numeric_jacobian(model, queries.row(i), 1e-3);
    for (Eigen::Index o = 0; o < 2; ++o) CHECK((exact.row(o) - numeric.row(o)).norm() < 1e-6 * exact.row(o).norm());
  }
}

TEST_CASE("gaussian_process: terms that are not lists of inputs are refused", "[family][gaussian_process]") {
  const RowMatrix x = random_points(40, 2, 23);
  const RowMatrix y = apply(x, 1, [](const Eigen::VectorXd& p, double* v) { v[0] = p[0]; });
  for (const char* terms : {"[0, 1]", "[[0], [2]]", "[[0, 0], [1]]", "[[0]]", "[[]]", "[[0.5, 1]]"}) {
    const Trained refused = train(kFamily, x, y, {std::string(R"({"terms": )") + terms + "}"});
    CHECK(refused.status == ZELOS_E_ARGUMENT);
    CHECK_THAT(refused.message, Contains("'terms'"));
  }
}

TEST_CASE("gaussian_process: leave-one-out errors against refits", "[family][gaussian_process]") {
  const RowMatrix x = random_points(40, 2, 2);
  const Eigen::MatrixXd y = apply(x, 1, [](const Eigen::VectorXd& p, double* v) { v[0] = std::sin(3 * p[0] + p[1]); });
  Eigen::Vector3d theta(0.0, 0.4, -7.0);
  zelos::family::Likelihood likelihood(Correlation::kMatern52, KernelTerms::single(2), x, quadratic_trend(x), y);
  const Eigen::VectorXd length = theta.head(2).array().exp();
  double sum = 0.0;
  for (Eigen::Index i = 0; i < 40; ++i) {
    RowMatrix rest(39, 2), left = x.row(i);
    Eigen::MatrixXd y_rest(39, 1);
    for (Eigen::Index j = 0, row = 0; j < 40; ++j) {
      if (j == i) continue;
      rest.row(row) = x.row(j);
      y_rest.row(row++) = y.row(j);
    }
    const Dense refit(Correlation::kMatern52, rest, quadratic_trend(rest), y_rest, length, std::exp(theta[2]));
    const double prediction = (quadratic_trend(left) * refit.trend +
                               correlations(Correlation::kMatern52, left, rest, length) * refit.weights)(0, 0);
    sum += std::pow(prediction - y(i, 0), 2);
  }
  CHECK(likelihood.leave_one_out(theta)[0] == Approx(sum / 40.0).epsilon(1e-7));
  CHECK(likelihood.fit(theta).left_out_errors.squaredNorm() == Approx(sum).epsilon(1e-7));
}

TEST_CASE("gaussian_process: mean, variance and jacobian against dense algebra", "[family][gaussian_process]") {
  const std::string kernel = GENERATE("squared_exponential", "matern52");
  const std::string groups = GENERATE("0", "2", "\"auto\"");
  const Correlation kind = kernel == "matern52" ? Correlation::kMatern52 : Correlation::kSquaredExponential;
  const RowMatrix x = random_points(301, 3, 3);
  const RowMatrix y = apply(x, 4, smooth);
  const Trained trained =
      train(kFamily, x, y,
            {R"({"kernel": ")" + kernel + R"(", "variance": "posterior", "hyper_points": 100, "groups": )" + groups +
             R"(, "noise_to_signal_bounds": [1e-7, 1.0]})"});
  INFO(trained.message);
  REQUIRE(trained.status == ZELOS_OK);
  Opened model(kFamily, trained.state);
  const RowMatrix queries = 1.05 * random_points(4, 3, 4);
  for (int64_t o = 0; o < 4; ++o) {
    Eigen::VectorXd length;
    double noise = 0.0;
    hyperparameters(trained.state, o, length, noise);
    const Dense dense(kind, x, quadratic_trend(x), y.col(o), length, noise);
    CHECK(trained.state.array("signal_variance").data[static_cast<size_t>(o)] == Approx(dense.signal[0]).epsilon(1e-6));
    const Eigen::MatrixXd h = quadratic_trend(queries);
    const Eigen::MatrixXd k = correlations(kind, queries, x, length);
    const Eigen::VectorXd mean = h * dense.trend + k * dense.weights;
    const Eigen::MatrixXd r = h.transpose() - dense.h.transpose() * dense.inverse * k.transpose();
    for (Eigen::Index i = 0; i < queries.rows(); ++i) {
      CHECK(model.predict(queries.row(i))[o] == Approx(mean[i]).epsilon(1e-7));
      Eigen::VectorXd variance;
      REQUIRE(model.variance(queries.row(i), variance) == ZELOS_OK);
      const double expected = dense.signal[0] * (1.0 - k.row(i) * dense.inverse * k.row(i).transpose() +
                                                 r.col(i).dot(dense.normal.ldlt().solve(r.col(i))));
      CHECK(variance[o] == Approx(expected).epsilon(1e-3).margin(1e-7 * dense.signal[0]));
    }
  }
  for (Eigen::Index i = 0; i < queries.rows(); ++i) {
    Eigen::VectorXd value;
    const RowMatrix exact = model.jacobian(queries.row(i), &value);
    CHECK((value - model.predict(queries.row(i))).norm() < 1e-11 * value.norm());
    const RowMatrix numeric = numeric_jacobian(model, queries.row(i), 1e-3);
    for (Eigen::Index o = 0; o < 4; ++o) CHECK((exact.row(o) - numeric.row(o)).norm() < 1e-6 * exact.row(o).norm());
  }
}

TEST_CASE("gaussian_process: with a tiny noise it interpolates, and predicts held-out points",
          "[family][gaussian_process]") {
  const RowMatrix x = random_points(250, 3, 5);
  const RowMatrix y = apply(x, 4, smooth);
  const Trained trained =
      train(kFamily, x, y, {R"({"kernel": "matern52", "hyper_points": 150, "length_scale_bounds": [0.1, 1.0],
                                     "noise_to_signal_bounds": [1e-10, 1e-10]})"});
  REQUIRE(trained.status == ZELOS_OK);
  Opened model(kFamily, trained.state);
  for (Eigen::Index i = 0; i < x.rows(); i += 10) {
    CHECK((model.predict(x.row(i)).transpose() - y.row(i)).lpNorm<Eigen::Infinity>() < 1e-6);
  }
  const Trained searched = train(kFamily, x, y, {R"({"hyper_points": 150, "groups": 0})"});
  REQUIRE(searched.status == ZELOS_OK);
  Opened best(kFamily, searched.state);
  const RowMatrix queries = random_points(100, 3, 6);
  const RowMatrix expected = apply(queries, 4, smooth);
  double sum = 0.0;
  for (Eigen::Index i = 0; i < queries.rows(); ++i) {
    sum += (best.predict(queries.row(i)).transpose() - expected.row(i)).squaredNorm();
  }
  CHECK(std::sqrt(sum / 100.0) < 1e-3);
}

TEST_CASE("gaussian_process: finds the noise of noisy data and says that it converged", "[family][gaussian_process]") {
  const RowMatrix x = random_points(300, 2, 7);
  RowMatrix y =
      apply(x, 1, [](const Eigen::VectorXd& p, double* v) { v[0] = std::sin(4 * p[0]) * std::cos(3 * p[1]); });
  std::mt19937_64 random(8);
  std::normal_distribution<double> normal(0.0, 0.05);
  for (Eigen::Index i = 0; i < y.size(); ++i) y.data()[i] += normal(random);
  const Trained trained = train(kFamily, x, y);
  REQUIRE(trained.status == ZELOS_OK);
  const auto output = nlohmann::json::parse(trained.state.settings).at("outputs")[0];
  CHECK(std::sqrt(output.at("noise_variance").get<double>()) == Approx(0.05).epsilon(0.15));
  CHECK(output.at("converged").get<bool>());
  CHECK(output.at("gradient_norm").get<double>() <= 1e-5);
}

TEST_CASE("gaussian_process: auto groups join outputs of one shape and keep others apart",
          "[family][gaussian_process]") {
  const RowMatrix x = random_points(150, 2, 9);
  const RowMatrix y = apply(x, 6, [](const Eigen::VectorXd& p, double* v) {
    for (int o = 0; o < 3; ++o) v[o] = (1.0 + o) * std::sin(5.0 * p[0] + 0.5 * o) + 0.2 * p[1];
    for (int o = 3; o < 6; ++o) v[o] = (1.0 + o) * std::sin(5.0 * p[1] + 0.5 * o) + 0.2 * p[0];
  });
  TrainSettings settings = {R"({"groups": "auto", "group_tolerance": 1.0})"};
  const Trained joined = train(kFamily, x, y, settings);
  REQUIRE(joined.status == ZELOS_OK);
  CHECK(group_count(joined.state) >= 2);
  CHECK(group_count(joined.state) < 6);
  const auto stored = nlohmann::json::parse(joined.state.settings);
  for (const auto& group : stored.at("groups")) {
    const auto outputs = group.at("outputs").get<std::vector<int>>();
    CHECK((outputs.back() < 3) == (outputs.front() < 3));
  }
  const std::vector<double> y_scale(6, 100.0);
  settings.y_scale = y_scale.data();
  CHECK(group_count(train(kFamily, x, y, settings).state) == 1);
}

TEST_CASE("gaussian_process: weights are rounded where y_scale says that nothing is lost",
          "[family][gaussian_process]") {
  const RowMatrix x = random_points(150, 3, 21);
  const RowMatrix y = apply(x, 4, smooth);
  TrainSettings settings = {R"({"groups": 1})"};
  const Trained exact = train(kFamily, x, y, settings);
  const std::vector<double> y_scale(4, 1e-3);
  settings.y_scale = y_scale.data();
  const Trained rounded = train(kFamily, x, y, settings);
  REQUIRE(rounded.status == ZELOS_OK);
  const double step = std::exp2(std::floor(std::log2(1e-7 / std::sqrt(150.0))));
  for (const double weight : rounded.state.array("weights").data) CHECK(std::fmod(weight, step) == 0.0);
  CHECK(rounded.state.array("weights").data != exact.state.array("weights").data);
  Opened before(kFamily, exact.state), after(kFamily, rounded.state);
  const RowMatrix fresh = random_points(50, 3, 22);
  double square = 0;
  for (Eigen::Index i = 0; i < fresh.rows(); ++i) {
    square += (after.predict(fresh.row(i).transpose()) - before.predict(fresh.row(i).transpose())).squaredNorm();
  }
  CHECK(std::sqrt(square / (50 * 4)) < 5e-5 * 1e-3);
}

TEST_CASE("gaussian_process: errors of points left out follow from an older state", "[family][gaussian_process]") {
  const std::string params =
      GENERATE(R"({"groups": 2})", R"({"kernel": "matern52", "trend_degree": 1})", R"({"terms": [[2, 0], [0, 1, 2]]})",
               R"({"noise_to_signal_bounds": [1e-10, 1e-9]})");
  CAPTURE(params);
  const RowMatrix x = random_points(140, 3, 23);
  const RowMatrix y = apply(x, 4, smooth);
  const std::vector<double> y_scale(4, 0.1);
  const Trained trained = train(kFamily, x, y, {params, 1, 1, nullptr, -1, y_scale.data()});
  REQUIRE(trained.status == ZELOS_OK);
  const State& whole = trained.state;
  State older = whole;
  older.arrays.erase(std::find_if(older.arrays.begin(), older.arrays.end(),
                                  [](const State::Array& a) { return a.name == ZELOS_LEFT_OUT_ERRORS; }));
  REQUIRE(older.arrays.size() + 1 == whole.arrays.size());
  const auto* extension = static_cast<const zelos_migrate*>(kFamily->get_extension(ZELOS_EXT_MIGRATE));
  REQUIRE(extension != nullptr);
  zelos_error error = {sizeof(zelos_error), 0, ""};
  const auto migrate = [&](const State& state, State* out) {
    std::vector<zelos_array> views;
    const zelos_state view = state.view(views);
    return extension->migrate(nullptr, &view, keep_state, out, &error);
  };
  State restored;
  REQUIRE(migrate(older, &restored) == ZELOS_OK);
  CHECK(restored.settings == whole.settings);
  for (const State::Array& array : whole.arrays) {
    CAPTURE(array.name);
    const State::Array& found = restored.array(array.name);
    CHECK(found.shape == array.shape);
    if (array.name != ZELOS_LEFT_OUT_ERRORS) {
      CHECK(found == array);
      continue;
    }
    // The weights are rounded, what training had was not; both are in steps of 1/32.
    size_t other = 0;
    double largest = 0;
    for (size_t i = 0; i < array.data.size(); ++i) {
      largest = std::max(largest, std::abs(found.data[i] - array.data[i]));
      other += found.data[i] != array.data[i] ? 1 : 0;
    }
    CHECK(largest <= 1.0 / 32.0);
    CHECK(other < array.data.size() / 20);
  }
  State same;
  REQUIRE(migrate(whole, &same) == ZELOS_OK);
  CHECK(same == whole);

  // A kernel that is not the weights': the variance that training stored gives it away.
  State bad = older;
  auto settings = nlohmann::json::parse(bad.settings);
  for (auto& group : settings["groups"]) group["noise_to_signal"] = 1e3 * group["noise_to_signal"].get<double>() + 0.1;
  bad.settings = settings.dump();
  CHECK(migrate(bad, &same) == ZELOS_E_FORMAT);
  CHECK_THAT(std::string(error.message), Contains("mean square"));
  settings.erase("groups");
  bad.settings = settings.dump();
  CHECK(migrate(bad, &same) == ZELOS_E_FORMAT);
  CHECK_THAT(std::string(error.message), Contains("noise_to_signal"));
  bad = older;
  bad.arrays.pop_back();
  CHECK(migrate(bad, &same) == ZELOS_E_FORMAT);
}

TEST_CASE("gaussian_process: what has no errors of points left out is migrated as it is",
          "[family][gaussian_process]") {
  const std::string params = GENERATE(R"({"variance": "posterior"})", R"({"variance": "none"})");
  const RowMatrix x = random_points(60, 3, 24);
  const Trained trained = train(kFamily, x, apply(x, 4, smooth), {params});
  REQUIRE(trained.status == ZELOS_OK);
  std::vector<zelos_array> views;
  const zelos_state view = trained.state.view(views);
  const auto* extension = static_cast<const zelos_migrate*>(kFamily->get_extension(ZELOS_EXT_MIGRATE));
  State out;
  REQUIRE(extension->migrate(nullptr, &view, keep_state, &out, nullptr) == ZELOS_OK);
  CHECK(out == trained.state);
}

TEST_CASE("gaussian_process: deterministic, and resumed equals uninterrupted", "[family][gaussian_process]") {
  const std::string groups = GENERATE("3", "\"auto\"");
  const RowMatrix x = random_points(120, 3, 11);
  const RowMatrix y = apply(x, 4, smooth);
  TrainSettings settings = {R"({"hyper_points": 60, "starts": 2, "groups": )" + groups + "}"};
  const Trained whole = train(kFamily, x, y, settings);
  REQUIRE(whole.status == ZELOS_OK);
  settings.threads = 2;
  CHECK(train(kFamily, x, y, settings).state == whole.state);
  settings.threads = 1;
  settings.seed = 2;
  CHECK_FALSE(train(kFamily, x, y, settings).state == whole.state);
  settings.seed = 1;

  for (const int stop : {0, static_cast<int>(whole.checkpoints.size()) - 1}) {
    settings.resume = nullptr;
    settings.stop_after = stop;
    const Trained stopped = train(kFamily, x, y, settings);
    CHECK(stopped.status == ZELOS_E_CANCELLED);
    REQUIRE(static_cast<int>(stopped.checkpoints.size()) == stop + 1);
    settings.stop_after = -1;
    settings.resume = &stopped.checkpoints.back();
    const Trained resumed = train(kFamily, x, y, settings);
    REQUIRE(resumed.status == ZELOS_OK);
    CHECK(resumed.checkpoints.size() + stopped.checkpoints.size() == whole.checkpoints.size());
    CHECK(resumed.state == whole.state);

    settings.seed = 3;
    const Trained other = train(kFamily, x, y, settings);
    CHECK(other.status == ZELOS_E_ARGUMENT);
    CHECK_THAT(other.message, Contains("checkpoint"));
    settings.seed = 1;
  }
}

TEST_CASE("gaussian_process: wrong params and states are named", "[family][gaussian_process]") {
  const RowMatrix x = random_points(30, 3, 1);
  const RowMatrix y = apply(x, 4, smooth);
  const auto message = [&](const std::string& params) {
    const Trained trained = train(kFamily, x, y, {params});
    CHECK(trained.status == ZELOS_E_ARGUMENT);
    return trained.message;
  };
  CHECK_THAT(message(R"({"kernal": "matern52"})"), Contains("kernal") && Contains("known"));
  CHECK_THAT(message(R"({"kernel": "matern32"})"), Contains("matern52") && Contains("matern32"));
  CHECK_THAT(message(R"({"groups": "few"})"), Contains("groups") && Contains("few"));
  CHECK_THAT(message(R"({"groups": -1})"), Contains("groups") && Contains("-1"));
  CHECK_THAT(message(R"({"length_scale_bounds": [1, 0.1]})"), Contains("length_scale_bounds"));
  CHECK_THAT(message(R"({"hyper_points": 10})"), Contains("10 terms"));

  Trained good = train(kFamily, x, y, {R"({"groups": 1})"});
  REQUIRE(good.status == ZELOS_OK);
  const auto refused = [&](const State& state) {
    std::vector<zelos_array> views;
    const zelos_state view = state.view(views);
    zelos_model* model = nullptr;
    zelos_error error = {sizeof(zelos_error), 0, ""};
    CHECK(kFamily->open(nullptr, &view, &model, &error) == ZELOS_E_FORMAT);
    return std::string(error.message);
  };
  for (const char* name : {"weights", "points", "order", "trend_coefficients"}) {
    State bad = good.state;
    for (State::Array& a : bad.arrays) {
      if (a.name == name) a.shape.back() -= 1;
    }
    CHECK_THAT(refused(bad), Contains(name) || Contains("trend"));
  }
  State bad = good.state;
  for (State::Array& a : bad.arrays) {
    if (a.name == "order") a.data[0] = 7.0;
  }
  CHECK_THAT(refused(bad), Contains("permutation"));
}
