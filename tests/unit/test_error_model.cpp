// SPDX-License-Identifier: BSD-3-Clause
#include <Eigen/Dense>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "artifact/container.hpp"
#include "failure.hpp"
#include "runtime/model.hpp"
#include "toy.hpp"
#include "zelos/error.hpp"
#include "zelos/error_model.hpp"

namespace {

using Catch::Matchers::Contains;
using zelos::Emulator;
using zelos::ErrorEstimate;
using zelos::ErrorModel;
using zelos::Query;
using Reason = zelos::Verdict::Reason;

const std::vector<std::string> kNames{"omch2", "logA"};
const std::vector<double> kPoint{0.125, 3.1};

/// The small toy with polynomials whose errors are left out one by one.
struct Small {
  toy::TemporaryFolder folder;
  Emulator emulator;
  explicit Small(const std::string& family = "{type: polynomial, params: {degree: 2}}") : emulator(make(family)) {}

  Emulator make(const std::string& family) {
    std::string spec = toy::kSmallSpec;
    spec = spec.substr(0, spec.find("emulator_fn:")) + "emulator_fn: " + family + "\nregion: {hull: box}\n";
    toy::train(spec, 60, folder / "small.h5");
    return Emulator::open(folder / "small.h5");
  }
  Query query(const std::vector<zelos::Request>& requests) const { return emulator.query(kNames, requests); }
};

ErrorEstimate estimate(const ErrorModel& model, const Query& query, const std::vector<double>& point = kPoint) {
  zelos::Workspace workspace = query.workspace();
  ErrorEstimate found;
  REQUIRE(model.evaluate(point.data(), &found, workspace).inside());
  return found;
}

double expected_error(const Query& query, const std::vector<double>& point = kPoint) {
  zelos::Workspace workspace = query.workspace();
  double error = 0;
  REQUIRE(query.predicted_error(point.data(), &error, workspace).inside());
  return error;
}

}  // namespace

TEST_CASE("the error model of an ideal experiment expects what predicted_error does", "[error_model]") {
  const Small small;
  const Query query = small.query({{"Pk.linear", {}}});
  const ErrorModel model(query, {});
  CHECK(model.n_left_out() == 60);
  CHECK(model.calibration() > 0.3);
  CHECK(model.calibration() < 3);
  for (const std::vector<double>& x : {kPoint, std::vector<double>{0.14, 3.2}}) {
    const ErrorEstimate found = estimate(model, query, x);
    CHECK(found.mean == Approx(expected_error(query, x)).epsilon(1e-6));
    CHECK(found.quantile > found.mean);
  }
}

TEST_CASE("a covariance that is the whitening's gives the ideal experiment", "[error_model]") {
  const Small small;
  const Query query = small.query({{"Pk.linear", {}}});
  zelos::Workspace workspace = query.workspace();
  std::vector<double> values(query.size());
  REQUIRE(query.evaluate(kPoint.data(), values.data(), workspace).inside());
  // Up to the rounding of the basis, which is then not quite orthonormal.
  const auto& segment = small.emulator.info().at("outputs").at(0).at("segments").at(0);
  REQUIRE(segment.at("whiten").contains("sigma"));
  const double sigma = segment.at("whiten").at("sigma").get<double>();
  const int64_t n = query.size();
  Eigen::MatrixXd covariance = Eigen::MatrixXd::Zero(n, n);
  for (int64_t i = 0; i < n; ++i) covariance(i, i) = std::pow(sigma * values[i], 2);
  zelos::Likelihood likelihood{std::vector<double>(covariance.data(), covariance.data() + n * n), {}, kPoint};
  const ErrorEstimate ideal = estimate(ErrorModel(query, {}), query),
                      same = estimate(ErrorModel(query, likelihood), query);
  CHECK(same.mean == Approx(ideal.mean).epsilon(1e-3));
  CHECK(same.quantile == Approx(ideal.quantile).epsilon(1e-3));

  // The same data in other words: twice the sum and the difference of neighbours, with the covariance that they have.
  Eigen::MatrixXd mix = Eigen::MatrixXd::Identity(n, n);
  for (int64_t i = 0; i + 1 < n; i += 2) mix.block(i, i, 2, 2) << 2, 2, 1, -1;
  const Eigen::MatrixXd mixed = mix * covariance * mix.transpose();
  using RowMatrix = Eigen::Matrix<double, -1, -1, Eigen::RowMajor>;
  const RowMatrix rows = mix;
  likelihood.covariance.assign(mixed.data(), mixed.data() + n * n);
  likelihood.matrix.assign(rows.data(), rows.data() + n * n);
  const ErrorEstimate other = estimate(ErrorModel(query, likelihood), query);
  CHECK(other.mean == Approx(same.mean).epsilon(1e-6));
  CHECK(other.quantile == Approx(same.quantile).epsilon(1e-6));

  // Four times the covariance: a quarter of delta chi^2.
  for (double& c : likelihood.covariance) c *= 4;
  CHECK(estimate(ErrorModel(query, likelihood), query).quantile == Approx(other.quantile / 4));
}

TEST_CASE("without errors of points left out the quantile is that of normal errors", "[error_model]") {
  const Small small("{type: polynomial, params: {degree: 2, variance: posterior}}");
  const Query query = small.query({{"Pk.linear", {}}});
  const ErrorModel model(query, {});
  CHECK(model.n_left_out() == 0);
  CHECK(model.calibration() == 1);
  const ErrorEstimate found = estimate(model, query);
  CHECK(found.quantile > found.mean);
  CHECK(found.quantile < 4 * found.mean);  // 3.84: a single weight
}

TEST_CASE("an artifact of before errors were kept is calibrated when it is migrated", "[error_model]") {
  const Small small("{type: gaussian_process, params: {kernel: squared_exponential, groups: 2}}");
  const std::filesystem::path whole = small.folder / "small.h5", older = small.folder / "older.h5";
  zelos::artifact::Contents contents = zelos::artifact::read(whole).contents;
  size_t n_errors = 0;
  for (auto array = contents.arrays.begin(); array != contents.arrays.end();) {
    const std::string& path = array->first;
    const bool errors = path.size() > 16 && path.compare(path.size() - 16, 16, "/left_out_errors") == 0;
    n_errors += errors ? 1 : 0;
    array = errors ? contents.arrays.erase(array) : std::next(array);
  }
  REQUIRE(n_errors == 2);
  zelos::artifact::write(older, contents);
  const Query query = small.query({{"Pk.linear", {}}});
  const ErrorModel model(query, {});
  const Emulator before = Emulator::open(older);
  const Query old_query = before.query(kNames, {{"Pk.linear", {}}});
  CHECK(ErrorModel(old_query, {}).n_left_out() == 0);

  const std::string id = zelos::migrate(older, small.folder / "migrated.h5");
  const Emulator after = Emulator::open(small.folder / "migrated.h5");
  CHECK(after.id() == id);
  const Query new_query = after.query(kNames, {{"Pk.linear", {}}});
  const ErrorModel migrated(new_query, {});
  CHECK(migrated.n_left_out() == 60);
  CHECK(migrated.calibration() == Approx(model.calibration()).epsilon(0.02));
  CHECK(migrated.calibration() != 1);
  for (const std::vector<double>& x : {kPoint, std::vector<double>{0.14, 3.2}}) {
    const ErrorEstimate found = estimate(migrated, new_query, x), expected = estimate(model, query, x);
    CHECK(found.mean == expected.mean);
    CHECK(found.quantile == Approx(expected.quantile).epsilon(0.02));
  }
  const auto& arrays = after.impl().opened.contents.arrays;
  for (const auto& [path, array] : contents.arrays) {
    CAPTURE(path);
    CHECK(std::equal(array.data.begin(), array.data.end(), arrays.at(path).data.begin(), arrays.at(path).data.end()));
    CHECK(arrays.at(path).storage == array.storage);
  }
  CHECK(after.impl().opened.contents.document == contents.document);
}

TEST_CASE("what the PCA drops has to be known at points, or small, for a calibration", "[error_model]") {
  const Small small;
  zelos::artifact::Contents contents = zelos::artifact::read(small.folder / "small.h5").contents;
  REQUIRE(contents.arrays.erase("outputs/Pk.linear/segment0/truncation") == 1);
  const double expected = expected_error(small.query({{"Pk.linear", {}}}));
  for (const double share : {0.02, 0.5}) {
    for (nlohmann::json& output : contents.document["outputs"]) {
      if (output["name"] == "Pk.linear") output["truncation_error"] = share * expected;
    }
    const std::filesystem::path file = small.folder / "mean.h5";
    zelos::artifact::write(file, contents);
    const Emulator emulator = Emulator::open(file);
    const Query query = emulator.query(kNames, {{"Pk.linear", {}}});
    const ErrorModel model(query, {});
    CAPTURE(share);
    CHECK((model.n_left_out() > 0) == (share < 0.1));
  }
}

TEST_CASE("where a family predicts no error neither mean nor quantile is known", "[error_model]") {
  const Small small("{type: polynomial, params: {degree: 2, variance: none}}");
  const Query query = small.query({{"Pk.linear", {}}});
  const ErrorModel model(query, {});
  const ErrorEstimate found = estimate(model, query);
  CHECK(std::isnan(found.mean));
  CHECK(std::isnan(found.quantile));
  zelos::Workspace workspace = query.workspace();
  CHECK(model.verdict(kPoint.data(), 1e9, workspace).reason == Reason::error_bound);
}

TEST_CASE("a verdict with a tolerance is that of the region, then that of the quantile", "[error_model]") {
  const Small small;
  const Query query = small.query({{"Pk.linear", {}}});
  const ErrorModel model(query, {});
  zelos::Workspace workspace = query.workspace();
  const double quantile = estimate(model, query).quantile;
  CHECK(model.verdict(kPoint.data(), 1.001 * quantile, workspace).inside());
  const zelos::Verdict verdict = model.verdict(kPoint.data(), 0.5 * quantile, workspace);
  CHECK(verdict.reason == Reason::error_bound);
  CHECK(verdict.value == Approx(quantile));
  CHECK(verdict.upper == Approx(0.5 * quantile));
  CHECK(verdict.excess == Approx(1));
  const std::vector<double> outside{0.3, 3.1}, nan{std::nan(""), 3.1};
  CHECK(model.verdict(outside.data(), 1e9, workspace).reason == Reason::box);
  ErrorEstimate untouched{-7, -7};
  CHECK(model.evaluate(nan.data(), &untouched, workspace).reason == Reason::not_finite);
  CHECK(untouched.mean == -7);
}

TEST_CASE("a likelihood that does not fit is refused", "[error_model]") {
  const Small small;
  const Query query = small.query({{"Pk.linear", {}}});
  const auto n = static_cast<size_t>(query.size());
  const auto refused = [&](const zelos::Likelihood& likelihood) {
    return failure(ZELOS_E_ARGUMENT, [&] { ErrorModel(query, likelihood); });
  };
  CHECK_THAT(refused({std::vector<double>(4, 1.0), {}, {}}), Contains("covariance: expected"));
  CHECK_THAT(refused({std::vector<double>(n * n, 1.0), {}, {}}), Contains("positive definite"));
  CHECK_THAT(refused({{1.0, 0.0, 0.0, 1.0}, std::vector<double>(n, 1.0), {}}), Contains("matrix: expected 2 x"));
  CHECK_THAT(refused({{1.0}, std::vector<double>(n, 1.0), {0.12}}), Contains("reference: expected 2 values"));
  const double inf = std::numeric_limits<double>::infinity();
  CHECK_THAT(refused({{1.0}, std::vector<double>(n, 1.0), {inf, 3.0}}), Contains("omch2"));
  CHECK_THAT(refused({{1.0}, std::vector<double>(n, inf), {}}), Contains("finite"));
}
