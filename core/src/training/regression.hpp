// SPDX-License-Identifier: BSD-3-Clause
// regression.hpp: runs a family's training on standardised arrays, with checkpoints, and stores its state.
#pragma once

#include <Eigen/Dense>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "artifact/container.hpp"
#include "zelos/spec.hpp"
#include "zelos/training.hpp"

namespace zelos {

/// Feature values at the training points, by name.
class FeatureTable {
 public:
  /// may_rest: values that are all the same are no error.
  void add(const std::string& name, Eigen::VectorXd values, bool may_rest = false);
  bool has(const std::string& name) const { return columns_.count(name) != 0; }
  /// Throws with the nearest name.
  const Eigen::VectorXd& column(const std::string& name) const;
  Eigen::MatrixXd columns(const std::vector<std::string>& names) const;
  bool may_rest(const std::string& name) const { return resting_.count(name) != 0; }

 private:
  std::map<std::string, Eigen::VectorXd> columns_;
  std::set<std::string> resting_;
};

/// Throws Error(ZELOS_E_ARGUMENT) if the family's params are not what it understands, ZELOS_E_MISSING if there is no
/// such family or it can't be trained. who: what is to be fitted, for messages.
void check_family(const std::string& who, const EmulatorFunction& function, const std::vector<std::string>& inputs);

class RegressionRunner {
 public:
  RegressionRunner(const TrainOptions& options, int64_t seed) : options_(options), seed_(seed) {}

  /// How many fits there will be, for the progress of the whole.
  void expect(int64_t n) { expected_ = n; }

  /// Fits y (n x m) on the named features; arrays go to contents under `path`/{center,scale,model/...}. Returns the
  /// block's description {"family", "family_version", "settings", "inputs"}. negligible[m]: errors that don't matter.
  nlohmann::json fit(const std::string& title, const EmulatorFunction& function, const FeatureTable& features,
                     const std::vector<std::string>& inputs, const Eigen::MatrixXd& y,
                     const Eigen::VectorXd& negligible, const std::string& path, artifact::Contents* contents);

  /// What a fitted block answers at the training points (n x m).
  static Eigen::MatrixXd predict(const nlohmann::json& block, const std::string& path, const FeatureTable& features,
                                 const artifact::Contents& contents);

 private:
  const TrainOptions& options_;
  int64_t seed_;
  int64_t expected_ = 1, done_ = 0;
};

}  // namespace zelos
