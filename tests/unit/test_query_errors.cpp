// SPDX-License-Identifier: BSD-3-Clause
// What can't be bound is refused with a message that names it, before any number is computed.
#include <catch2/catch.hpp>
#include <cmath>

#include "failure.hpp"
#include "toy.hpp"
#include "zelos/error.hpp"

namespace {

using zelos::Emulator;
using zelos::Request;
using Names = std::vector<std::string>;

const Emulator& emulator() {
  static const Emulator opened = Emulator::open(toy::artifact());
  return opened;
}

std::string refusal(const Names& names, const std::vector<Request>& requests) {
  return failure(ZELOS_E_ARGUMENT, [&] { emulator().query(names, requests); });
}

const Names kNames{"ombh2", "omch2", "H0", "tau", "logA", "ns"};

}  // namespace

TEST_CASE("names that are missing, unknown, given twice or in conflict are named", "[runtime][names]") {
  struct Case {
    Names names;
    std::vector<const char*> in_message;
  };
  const auto c =
      GENERATE(Case{{"ombh2", "omch2", "H0", "tau", "logA"}, {"ns", "missing"}}, Case{{}, {"ombh2", "ns", "nothing"}},
               Case{{"ombh2", "omch2", "tau", "logA", "ns"}, {"H0", "thetastar", "missing"}},
               Case{{"ombh2", "omch2", "H0", "tau", "logA", "ns", "mnnu"}, {"mnnu", "mnu"}},
               Case{{"ombh2", "omch2", "H0", "tau", "logA", "ns", "nrun"}, {"nrun", "toy", "H0 (or thetastar"}},
               Case{{"ombh2", "omch2", "H0", "tau", "logA", "ns", ""}, {"''"}},
               Case{{"ombh2", "omch2", "H0", "tau", "logA", "ns", "ns"}, {"'ns' and 'ns'"}},
               Case{{"ombh2", "omch2", "H0", "tau", "logA", "ns", "As"}, {"'logA' and 'As'", "same quantity"}},
               Case{{"ombh2", "omch2", "H0", "h", "tau", "logA", "ns"}, {"'H0' and 'h'"}},
               Case{{"ombh2", "omch2", "H0", "thetastar", "tau", "logA", "ns"}, {"thetastar", "conflict"}},
               Case{{"ombh2", "Omega_b", "omch2", "H0", "tau", "logA", "ns"}, {"Omega_b", "conflict"}},
               Case{{"Omega_b", "omch2", "thetastar", "tau", "logA", "ns"}, {"ombh2", "missing"}},
               Case{{"mnu", "Omega_k", "omk", "ombh2", "omch2", "H0", "tau", "logA", "ns"}, {"'Omega_k' and 'omk'"}},
               Case{{"Ombh2", "omch2", "H0", "tau", "logA", "ns"}, {"'Ombh2'", "ombh2"}});
  const std::string message = refusal(c.names, {{"Cl.tt", {}}});
  for (const char* part : c.in_message) CHECK_THAT(message, Catch::Contains(part));
}

TEST_CASE("more names than a query holds are refused", "[runtime][names]") {
  CHECK_THAT(refusal(Names(65, "ombh2"), {{"Cl.tt", {}}}), Catch::Contains("64") && Catch::Contains("65"));
}

TEST_CASE("outputs and axes that are not there are named", "[runtime]") {
  const double nan = std::nan("");
  struct Case {
    Request request;
    std::vector<const char*> in_message;
  };
  const auto c = GENERATE_COPY(
      Case{{"Cl.t", {}}, {"'Cl.t'", "Cl.tt"}}, Case{{"", {}}, {"''", "Cl.tt"}},
      Case{{"Cl.tt", {{}, {}}}, {"Cl.tt", "1", "2"}}, Case{{"Pk.linear", {{0.1}}}, {"Pk.linear", "2", "1"}},
      Case{{"Cl.tt", {{1.9}}}, {"Cl.tt", "ell = 1.9", "[2, 150]"}}, Case{{"Cl.tt", {{2, 151}}}, {"ell = 151"}},
      Case{{"Pk.linear", {{0.0009}, {}}}, {"k = 0.0009", "[0.001, 1]"}}, Case{{"Pk.linear", {{}, {3.1}}}, {"z = 3.1"}},
      Case{{"Cl.tt", {{2, 2.5}}}, {"Cl.tt", "ell = 2.5", "whole"}},
      Case{{"Cl.tt", {{2, nan}}}, {"Cl.tt", "ell", "nan"}}, Case{{"Cl.tt", {{HUGE_VAL}}}, {"ell"}},
      Case{{"Cl.tt", {{30, 20}}}, {"ell", "ascending", "30 before 20"}},
      Case{{"Cl.tt", {{30, 30}}}, {"ell", "ascending"}}, Case{{"Pk.linear", {{}, {1, 0.5}}}, {"z", "ascending"}},
      Case{{"derived", {{0.5}}}, {"derived", "index"}}, Case{{"derived", {{3}}}, {"derived"}});
  const std::string message = refusal(kNames, {c.request});
  for (const char* part : c.in_message) CHECK_THAT(message, Catch::Contains(part));
}

TEST_CASE("points that differ from an end by round-off are taken for the end", "[runtime]") {
  const auto query = emulator().query(
      kNames, {{"Pk.linear", {{0.001 * (1 - 1e-15), 1 + 1e-15}, {}}}, {"Pk.linear", {{0.001, 1}, {}}}});
  zelos::Workspace workspace = query.workspace();
  std::vector<double> out(query.size());
  const toy::Point point = toy::interior(emulator(), 0.1);
  REQUIRE(query.evaluate(point.data(), out.data(), workspace).inside());
  CHECK(std::equal(out.begin(), out.begin() + 10, out.begin() + 10));
}

TEST_CASE("a query may ask for nothing but the verdict", "[runtime]") {
  const auto query = emulator().query(kNames, {});
  CHECK(query.size() == 0);
  CHECK(query.blocks().empty());
  zelos::Workspace workspace = query.workspace();
  toy::Point point = toy::interior(emulator(), 0.1);
  CHECK(query.evaluate(point.data(), nullptr, workspace).inside());
  point[0] = 1;
  CHECK(query.evaluate(point.data(), nullptr, workspace).reason == zelos::Verdict::Reason::box);
}

TEST_CASE("an opened artifact says what it is", "[runtime]") {
  CHECK(emulator().name() == "toy");
  CHECK(emulator().version() == "1.2.0");
  CHECK(emulator().id().size() == 64);
  REQUIRE(emulator().parameters().size() == 6);
  CHECK(emulator().parameters()[2].name == "H0");
  CHECK(emulator().parameters()[2].unit == "km/s/Mpc");
  CHECK(emulator().parameters()[2].synonyms == Names{"h"});
  CHECK(emulator().parameters()[0].latex == "\\Omega_b h^2");
  REQUIRE(emulator().outputs().size() == 9);
  Names names, families;
  for (const zelos::Output& output : emulator().outputs())
    names.push_back(output.name), families.push_back(output.family);
  CHECK(names == Names{"Cl.tt", "Cl.ee", "Cl.te", "Pk.linear", "Pk.nonlinear", "Hubble", "signal", "flux", "derived"});
  CHECK(families[4] == "gaussian_process");
  CHECK(families[6] == "neural_network");
  CHECK(families[0] == "polynomial");
  const zelos::Output& pk = emulator().outputs()[3];
  REQUIRE(pk.axes.size() == 2);
  CHECK(pk.axes[0].name == "k");
  CHECK(pk.axes[0].unit == "1/Mpc");
  CHECK(pk.axes[1].values == std::vector<double>{0, 0.5, 1, 2, 3});
  CHECK(emulator().outputs()[5].unit == "km/s/Mpc");
  CHECK(emulator().outputs()[8].axes[0].labels == Names{"thetastar", "sigma8", "omegam"});
  CHECK(emulator().fixed().size() == 3);
  CHECK(emulator().solvable() == std::vector<std::pair<std::string, std::string>>{{"thetastar", "H0"}});
}
