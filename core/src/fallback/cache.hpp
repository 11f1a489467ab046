// SPDX-License-Identifier: BSD-3-Clause
/// cache.hpp: answers of real codes on the disk.
///
/// A cache is a folder; an answer is one file in it,
///
///     FOLDER/<two digits>/<64 digits>.h5
///
/// named by the SHA-256 of what it answers: the code, its version, the SHA-256 of its settings, the outputs with their
/// axes, the parameters. The file has the header and the body of an artifact (artifact/container.hpp): a digest that is
/// checked before HDF5 sees a byte, then `/document` (JSON: the same in words) and the arrays `parameters`,
/// `outputs/<i>/values`, `outputs/<i>/axes/<axis>`. It is written beside its place and renamed there, so any number of
/// processes on any number of machines may use one cache without a lock, and one that is killed leaves the others'
/// answers, and at most a `.tmp` file of its own. Every function may be called from any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fallback/plugin.hpp"

namespace zelos::fallback {

class Cache {
 public:
  /// Makes the folder if there is none. Throws Error(ZELOS_E_IO).
  explicit Cache(std::filesystem::path folder);

  /// What an answer is to. The settings' digest stands for everything that the code was configured with.
  struct Question {
    std::string code, version, settings_sha256;
    const std::vector<Output>* outputs;
    const Point* point;
  };

  /// The values of each output, if they are there, whole, and the answer to just this.
  std::optional<std::vector<std::vector<double>>> look_up(const Question& question) const;
  /// Throws Error(ZELOS_E_IO).
  void store(const Question& question, const std::vector<std::vector<double>>& values) const;

 private:
  std::filesystem::path file(const Question& question) const;
  std::filesystem::path folder_;
};

}  // namespace zelos::fallback
