// SPDX-License-Identifier: BSD-3-Clause
// fallback.hpp: the real code behind an emulator, for the points that the emulator may not answer. The code comes from
// a plugin (zelos/abi/zelos_fallback.h); the C API has the same functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "zelos/emulator.hpp"
#include "zelos/error.hpp"
#include "zelos/export.hpp"

namespace zelos {

/// A real code with the settings that an emulator was trained with. Safe from any number of threads; copying is cheap
/// (shared ownership).
class ZELOS_API Fallback {
 public:
  struct Options {
    /// JSON object for the plugin. That of "python": python, workers, threads, retries, timeout, ...
    std::string settings = "{}";
    /// Take a code whose version or settings are not those of the training.
    bool any_version = false;
    /// Folder in which answers are kept and looked for (cache.hpp); empty: none. Not with a fallback that interpolates
    /// between runs of a code (a grid): they would be taken for the code's answers.
    std::filesystem::path cache;
    /// Id of a plugin -> JSON object: settings that it gets where `settings` has no others. For hosts that know the
    /// plugin (its interpreter, say), whichever the user's name leads to.
    std::map<std::string, std::string> defaults = {};
  };

  /// What it did since it was opened.
  struct Statistics {
    int64_t points = 0;      ///< asked for, those that failed included
    int64_t runs = 0;        ///< answered by a run of the code
    int64_t from_cache = 0;  ///< answered by the cache
    int64_t repeated = 0;    ///< answered by a run that was just made for the same point
    int64_t failed = 0;
    double seconds = 0;                      ///< in all of them together
    std::map<std::string, int64_t> reasons;  ///< what left the region, a parameter or a reason -> points
    std::string last_failure;                ///< why a point failed
    std::string cache_failure;  ///< why an answer could not be kept in the cache; it was given all the same
  };

  /// Opens the fallback of an emulator. `name` is
  ///   - the path of a plugin, if it has a '/' or ends in ".so";
  ///   - or NAME of a plugin `zelos_fallback_NAME.so` in a folder of ZELOS_FALLBACK_PATH (absolute, separated by
  ///   colons)
  ///     or in `zelos_fallbacks` beside the library;
  ///   - else the name of a code ("camb", "classy"), for the plugin "python".
  /// The code gets the settings of the training runs and has to report what the artifact's provenance says: code,
  /// version and every setting. Throws Error: ZELOS_E_ARGUMENT with what differs, an unknown option, or a cache with a
  /// fallback that interpolates; ZELOS_E_MISSING
  /// (no such plugin or code, a library that is no plugin); ZELOS_E_FORMAT (another ABI version, a damaged library);
  /// ZELOS_E_IO.
  static Fallback open(const Emulator& emulator, const std::string& name, const Options& options);
  static Fallback open(const Emulator& emulator, const std::string& name) { return open(emulator, name, Options()); }

  const std::string& code() const;
  const std::string& version() const;
  /// How many canonical parameters the emulator has.
  int64_t n_canonical() const;
  /// What differs from the training, where any_version lets it pass.
  const std::vector<std::string>& differences() const;

  /// out[query.size()]: the answer of the real code to a query of the emulator it was opened for, at the physics of the
  /// point. The code runs as it did in the training: axes other than the emulator's are asked of it where they leave
  /// its settings unchanged; what lies between the native points of the others (CAMB's spectra depend on the redshifts
  /// at which the power is wanted) is interpolated, as in the emulator. `why` is the emulator's verdict, for the
  /// statistics. Throws Error: ZELOS_E_OUTSIDE (a value is not finite, a point that has no meaning for the code, or one
  /// that this fallback does not cover), ZELOS_E_NUMERIC (the code failed), ZELOS_E_CANCELLED (it took too long),
  /// ZELOS_E_IO (it died), ZELOS_E_ARGUMENT (a query of another emulator). `out` is untouched then: nothing is ever
  /// answered by the emulator instead. canonical[emulator.parameters().size()], if not null, gets the canonical
  /// parameters of the point: those that were solved for as the code solved for them (NaN if it does not say).
  void evaluate(const Query& query, const double* values, double* out, const Verdict& why = {},
                double* canonical = nullptr) const;

  Statistics statistics() const;

  struct Impl;

 private:
  explicit Fallback(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

/// An answer of a real code as a cache holds it.
struct CachedAnswer {
  std::string code, version, settings_sha256;
  std::vector<std::pair<std::string, double>> parameters;  ///< as the code was given them
  std::vector<Output> outputs;                             ///< names, units, axes and labels; `family` is empty
  std::vector<std::vector<double>> values;                 ///< of each output, C order
};

/// Calls `visit` with every answer in a cache folder, in the order of the files' names; what is damaged or half written
/// is left out. Throws Error(ZELOS_E_IO) if the folder can't be read, and what `visit` throws.
ZELOS_API void read_cache(const std::filesystem::path& folder, const std::function<void(const CachedAnswer&)>& visit);

}  // namespace zelos
