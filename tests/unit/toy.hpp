// SPDX-License-Identifier: BSD-3-Clause
// toy.hpp: a "code" of formulas and an emulator of it that uses every transform, kind of feature,
// segment and family. Trains in a second; the formulas are the truth that the runtime is compared
// with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "zelos/emulator.hpp"
#include "zelos/training.hpp"

namespace toy {

/// A folder that goes with its owner.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// ombh2, omch2, H0, tau, logA, ns.
using Point = std::vector<double>;

/// The spec of everything.
extern const char* const kSpec;
/// One output, two parameters, polynomials: trains in milliseconds. Has an ellipsoid hull.
extern const char* const kSmallSpec;

const std::vector<double>& axis(const std::string& name);
/// The formula of an output at one point of its axes; for "derived", x is the label's index.
double truth(const std::string& output, const Point& point, double x, double y = 0);
extern const std::vector<std::string> kDerived;

/// n points that fill the box widened by the spec's margin, and every output of the formulas there.
/// Parameters that the spec does not vary have the value in the middle of their range.
struct Runs {
  Runs(const zelos::Spec& spec, int64_t n);
  zelos::TrainingRuns view;
  std::vector<double> parameters;
  std::map<std::string, std::vector<double>> values;
};

/// The middle of the box, moved by `shift` (a fraction of the range) alternately up and down.
Point interior(const zelos::Emulator& emulator, double shift);

/// Trains `spec` on n points of the formulas.
void train(const std::string& spec, int64_t n, const std::filesystem::path& file,
           const zelos::TrainOptions& options = {});

/// Artifacts of kSpec and kSmallSpec, trained once in a process.
const std::filesystem::path& artifact();
const std::filesystem::path& small_artifact();

std::string slurp(const std::filesystem::path& file);

}  // namespace toy
