// SPDX-License-Identifier: BSD-3-Clause
#include "toy.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace toy {
namespace {

constexpr double kPi = 3.14159265358979323846;

std::vector<double> range(double first, double last, int64_t n, bool logarithmic = false) {
  std::vector<double> values;
  for (int64_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i) / static_cast<double>(n - 1);
    values.push_back(logarithmic ? first * std::pow(last / first, t) : first + (last - first) * t);
  }
  values.back() = last;
  return values;
}

const std::map<std::string, std::vector<std::string>> kAxes{
    {"Cl.tt", {"ell"}},           {"Cl.ee", {"ell"}},     {"Cl.te", {"ell"}},         {"Pk.linear", {"k", "z"}},
    {"Pk.nonlinear", {"k", "z"}}, {"Hubble", {"z_fine"}}, {"signal", {"wavelength"}}, {"flux", {"wavelength"}}};

struct Box {
  const char* name;
  double low, high;
};
constexpr Box kBox[] = {{"ombh2", 0.02, 0.025}, {"omch2", 0.10, 0.14}, {"H0", 60, 80},
                        {"tau", 0.04, 0.08},    {"logA", 2.9, 3.2},    {"ns", 0.93, 1.0}};

double theta(const Point& p) {
  return 0.0104 * std::pow(p[0] / 0.0224, 0.08) * std::pow(p[1] / 0.12, 0.12) * std::pow(p[2] / 70, 0.2);
}

double spectrum(const Point& p, double ell, double contrast, double phase) {
  const double u = ell * theta(p) / 0.0104;
  const double bump = 1 + 0.2 * std::exp(-ell / (4 + 60 * p[3]));
  return 1e3 * std::exp(p[4] - 2 * p[3]) * std::pow(ell / 50, p[5] - 1) / (ell * (ell + 1)) * bump *
         (1 + contrast * (p[0] / 0.0224) * std::cos(2 * kPi * u / 60 + phase)) * std::exp(-ell * ell * p[1] / 8000);
}

double matter(const Point& p, double k, double z) {
  const double turn = 0.02 * p[1] / 0.12;
  return 20 * std::exp(p[4]) * std::pow(k / 0.05, p[5]) / std::pow(1 + k / turn, 2.5) / ((1 + z) * (1 + z));
}

}  // namespace

const std::vector<std::string> kDerived{"thetastar", "sigma8", "zrei", "omegam"};

const char* const kSpec = R"(
name: toy
version: 1.2.0
author: A. N. Author
description: Formulas in place of a code
config:
  code: formulas
  version: "1"
  fixed: {mnu: 0.06, omk: 0, w: -1}
parameters:
  ombh2: {range: [0.02, 0.025], latex: '\Omega_b h^2'}
  omch2: [0.10, 0.14]
  H0: {range: [60, 80], unit: km/s/Mpc}
  tau: [0.04, 0.08]
  logA: [2.9, 3.2]
  ns: [0.93, 1.0]
features:
  log_ombh2: {log: true, of: [ombh2]}
  log_omch2: {log: true, of: [omch2]}
  log_H0: {log: true, of: [H0]}
  amplitude: {coefficients: [1, -2], of: [logA, tau]}
  theta: {emulated: thetastar, of: [log_ombh2, log_omch2, log_H0], params: {degree: 3}, replaces: H0}
  log_distance: {background: transverse_comoving_distance, z: 1090}
  inverse_distance: {coefficients: [-1], of: [log_distance]}
  angle: {emulated: thetastar, of: [log_ombh2, log_omch2, log_H0], params: {degree: 3}, amplitude: inverse_distance}
  zre: {emulated: zrei, of: [ombh2, tau], logarithmic: false, params: {degree: 4}}
outputs:
  Cl.tt:
    transforms:
      - log
      - amplitude: {feature: amplitude}
      - pca: {range: [2, 29], weights: 6, whiten: cosmic_variance, features: [log_ombh2, log_omch2, theta, zre, ns]}
      - pca: {range: [30, 150], weights: 8, whiten: {cosmic_variance: 100},
              stretch: {feature: theta, reference: 0.0104, full: 90}, knots: [[30, 4]],
              features: [log_ombh2, log_omch2, theta, ns]}
  Cl.ee:
    transforms:
      - log
      - amplitude: {feature: amplitude}
      - pca: {range: [2, 89], weights: 9, whiten: {cosmic_variance: 100},
              stretch: {feature: theta, reference: 0.0104, full: 60}, knots: [[2, 2], [20, 4]]}
      - pca: {range: [90, 150], weights: 6, whiten: cosmic_variance, knots: [[90, 5]]}
  Cl.te:
    transforms:
      - correlation: {with: [Cl.tt, Cl.ee]}
      - pca: {weights: 8, whiten: {sigma: 1.0e-2}}
    features: [log_ombh2, log_omch2, theta, ns]
  Pk.linear:
    transforms:
      - log
      - amplitude: {feature: logA}
      - tilt: {feature: ns, axis: k, pivot: 0.05}
      - pca: {whiten: {sigma: 1.0e-2}}
    features: [log_omch2]
  Pk.nonlinear:
    transforms:
      - ratio: {with: Pk.linear}
      - log
      - pca: {weights: 3, whiten: {sigma: 1.0e-2}}
    features: [log_omch2, logA, ns]
    emulator_fn: {type: gaussian_process, params: {max_iterations: 20, hyper_points: 60, groups: 1}}
  Hubble:
    transforms: [{background: {}}, {pca: {weights: 3, whiten: {relative: 1.0e-4}}}]
    features: [log_ombh2, log_omch2, log_H0]
  signal:
    transforms: [{arcsinh: {scale: 2}}, {pca: {weights: 2, whiten: none}}]
    features: [tau, ns]
    emulator_fn:
      type: neural_network
      params: {n_layers: 2, layer_size: 8, activation: tanh, epochs: 60, lbfgs_iterations: 60}
  flux:
    transforms: [{amplitude: {feature: logA}}, {tilt: {pivot: 3, axis: wavelength}}, {pca: {weights: 3}}]
    features: [omch2, tau, angle]
  derived:
    transforms: [{pca: {rotate: false, whiten: {relative: 1.0e-5}}}]
derived: [thetastar, sigma8, omegam]
emulator_fn: {type: polynomial, params: {degree: 3, variance: none}}
training: {n: 160, seed: 5, margin: 0.04}
)";

const char* const kSmallSpec = R"(
name: small
version: 1.0.0
config: {code: formulas, fixed: {ns: 0.965}}
parameters: {omch2: [0.10, 0.14], logA: [2.9, 3.2]}
outputs:
  Pk.linear:
    transforms: [log, {pca: {weights: 2, whiten: {sigma: 1.0e-2}}}]
derived: [sigma8]
emulator_fn: {type: polynomial, params: {degree: 4, variance: posterior}}
training: {n: 40, seed: 3, margin: 0}
region: {hull: ellipsoid, margin: 0}
)";

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "zelos-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder " + name);
  path_ = name;
}
TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

const std::vector<double>& axis(const std::string& name) {
  static const std::map<std::string, std::vector<double>> axes{
      {"ell", range(2, 150, 149)}, {"k", range(1e-3, 1, 16, true)},  {"z", {0, 0.5, 1, 2, 3}},
      {"z_fine", range(0, 3, 13)}, {"wavelength", range(1, 10, 37)}, {"name", {0, 1, 2, 3}}};
  return axes.at(name);
}

double truth(const std::string& output, const Point& p, double x, double y) {
  const double om = (p[0] + p[1]) / (p[2] * p[2] * 1e-4);
  if (output == "Cl.tt") return spectrum(p, x, 0.3, 0);
  if (output == "Cl.ee") return 0.03 * spectrum(p, x, 0.3, kPi);
  if (output == "Cl.te") {
    return 0.6 * std::sin(2 * kPi * x * theta(p) / 0.0104 / 60) *
           std::sqrt(truth("Cl.tt", p, x) * truth("Cl.ee", p, x));
  }
  if (output == "Pk.linear") return matter(p, x, y);
  if (output == "Pk.nonlinear") {
    return matter(p, x, y) * (1 + std::exp(p[4] - 3) * std::pow(x / 0.3, 1.5) * p[5] / (1 + y));
  }
  if (output == "Hubble") return p[2] * std::sqrt(om * std::pow(1 + x, 3) + 1 - om);
  if (output == "signal") return 3 * std::sin(x + 20 * p[3]) * std::exp(p[5] - 0.965 - x / 8);
  if (output == "flux")
    return std::exp(p[4]) * std::pow(x / 3, p[5] - 1) * (1 + 0.2 * std::sin(2 * x * p[1] + 5 * p[3]));
  if (output == "derived") {
    if (x == 0) return theta(p);
    if (x == 1) return 0.8 * std::exp((p[4] - 3.05) / 2) * std::pow(p[1] / 0.12, 0.6);
    if (x == 2) return 30 * std::pow(p[3], 0.5) * std::pow(p[0] / 0.0224, -0.3) - 1;
    if (x == 3) return om;
  }
  throw std::out_of_range("no formula for " + output);
}

Runs::Runs(const zelos::Spec& spec, int64_t n) {
  // Additive recurrence with the powers of the generalised golden ratio (Roberts 2018).
  const size_t d = spec.parameters.size();
  double golden = 2;
  for (int i = 0; i < 50; ++i) golden = std::pow(1 + golden, 1 / (static_cast<double>(d) + 1));
  std::vector<Point> points;
  for (int64_t i = 0; i < n; ++i) {
    Point point;
    for (const Box& box : kBox) point.push_back((box.low + box.high) / 2);
    double power = 1;
    for (const zelos::ParameterSpec& p : spec.parameters) {
      power /= golden;
      const double t = std::fmod(0.5 + power * static_cast<double>(i + 1), 1.0), margin = spec.training.margin;
      const double x = p.lo + (p.hi - p.lo) * ((1 + 2 * margin) * t - margin);
      parameters.push_back(x);
      for (size_t j = 0; j < 6; ++j) {
        if (p.name == kBox[j].name) point[j] = x;
      }
    }
    points.push_back(point);
  }
  view.n_points = n;
  view.parameters = parameters.data();
  for (const auto& [name, names] : kAxes) {
    zelos::RunOutput run;
    run.name = name;
    run.unit = name == "Hubble" ? "km/s/Mpc" : "";
    for (const std::string& axis_name : names) {
      run.axis_names.push_back(axis_name == "z_fine" ? "z" : axis_name);
      run.axis_units.push_back(axis_name == "k" ? "1/Mpc" : "");
      run.axes.push_back(axis(axis_name));
    }
    std::vector<double>& y = values[name];
    for (const Point& p : points) {
      for (const double x0 : run.axes[0]) {
        if (names.size() == 1) y.push_back(truth(name, p, x0));
        if (names.size() == 2) {
          for (const double x1 : run.axes[1]) y.push_back(truth(name, p, x0, x1));
        }
      }
    }
    run.values = y.data();
    view.outputs.push_back(run);
  }
  zelos::RunOutput derived;
  derived.name = "derived";
  derived.axis_names = {"name"};
  derived.axis_units = {""};
  derived.axes = {axis("name")};
  derived.labels = kDerived;
  derived.label_units = {"", "", "", ""};
  for (const Point& p : points) {
    for (const double i : derived.axes[0]) values["derived"].push_back(truth("derived", p, i));
  }
  derived.values = values["derived"].data();
  view.outputs.push_back(derived);
}

Point interior(const zelos::Emulator& emulator, double shift) {
  Point point;
  for (const zelos::Parameter& p : emulator.parameters()) {
    point.push_back((p.min + p.max) / 2 + shift * (p.max - p.min));
    shift = -shift;
  }
  return point;
}

void train(const std::string& text, int64_t n, const std::filesystem::path& file, const zelos::TrainOptions& options) {
  const zelos::Spec spec = zelos::parse_spec(text, "toy.yaml");
  zelos::train(spec, Runs(spec, n).view, file, options);
}

namespace {

std::filesystem::path trained(const char* spec, int64_t n, const char* name) {
  static const TemporaryFolder folder;
  train(spec, n, folder / name);
  return folder / name;
}

}  // namespace

const std::filesystem::path& artifact() {
  static const std::filesystem::path file = trained(kSpec, 160, "toy.h5");
  return file;
}

const std::filesystem::path& small_artifact() {
  static const std::filesystem::path file = trained(kSmallSpec, 40, "small.h5");
  return file;
}

std::string slurp(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace toy
