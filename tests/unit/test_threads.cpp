// SPDX-License-Identifier: BSD-3-Clause
// One emulator, one query, many threads: bit for bit the serial answers. Run under the thread
// sanitizer too.
#include <catch2/catch.hpp>
#include <cmath>
#include <thread>

#include "toy.hpp"

TEST_CASE("eight threads on one query give the serial bits", "[threads]") {
  const zelos::Emulator emulator = zelos::Emulator::open(toy::artifact());
  const std::vector<std::string> names{"ombh2", "omch2", "thetastar", "tau", "As", "ns"};
  std::vector<zelos::Request> requests;
  for (const zelos::Output& output : emulator.outputs()) requests.push_back({output.name, {}});
  const zelos::Query query = emulator.query(names, requests);
  constexpr int kPoints = 24, kThreads = 8;
  const size_t n = static_cast<size_t>(query.size());
  std::vector<double> points;
  for (int i = 0; i < kPoints; ++i) {
    toy::Point p = toy::interior(emulator, 0.018 * i);
    p[2] = toy::truth("derived", p, 0);
    p[4] = 1e-10 * std::exp(p[4]);
    points.insert(points.end(), p.begin(), p.end());
  }
  const auto work = [&](std::vector<double>* out, std::vector<double>* jacobian) {
    zelos::Workspace workspace = query.workspace();
    out->assign(kPoints * n, 0);
    jacobian->assign(kPoints * n * 6, 0);
    int inside = 0;
    for (int i = 0; i < kPoints; ++i) {
      inside += query.jacobian(&points[i * 6], &(*out)[i * n], &(*jacobian)[i * n * 6], workspace).inside() ? 1 : 0;
    }
    return inside;
  };
  std::vector<double> serial, serial_jacobian;
  REQUIRE(work(&serial, &serial_jacobian) == kPoints);
  std::vector<std::vector<double>> outs(kThreads), jacobians(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&, t] { work(&outs[t], &jacobians[t]); });
  for (std::thread& t : threads) t.join();
  for (int t = 0; t < kThreads; ++t) {
    CHECK((outs[t] == serial));
    CHECK((jacobians[t] == serial_jacobian));
  }
}

TEST_CASE("threads that open, bind and close at once do not meet", "[threads]") {
  const std::filesystem::path file = toy::small_artifact();
  std::vector<double> answers(8);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < answers.size(); ++t) {
    threads.emplace_back([&, t] {
      const zelos::Query query = zelos::Emulator::open(file).query({"omch2", "logA"}, {{"derived", {}}});
      zelos::Workspace workspace = query.workspace();
      const std::vector<double> point{0.12, 3.0};
      query.evaluate(point.data(), &answers[t], workspace);
    });
  }
  for (std::thread& t : threads) t.join();
  for (const double answer : answers) CHECK(answer == answers[0]);
  CHECK(answers[0] == Approx(toy::truth("derived", {0.0225, 0.12, 70, 0.06, 3.0, 0.965}, 1)).epsilon(1e-4));
}
