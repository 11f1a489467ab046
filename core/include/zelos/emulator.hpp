// SPDX-License-Identifier: BSD-3-Clause
// emulator.hpp: open an artifact, ask what it is, evaluate it. The C API (zelos/abi/zelos.h) is a skin over this file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "zelos/error.hpp"
#include "zelos/export.hpp"

namespace zelos {

/// An input of the emulator. Canonical name; synonyms are resolved by Query.
struct Parameter {
  std::string name;
  std::string unit;
  std::string latex;
  double min, max;                    ///< the box of the region, inclusive
  std::vector<std::string> synonyms;  ///< other single names that are understood for it ("omega_b" for "ombh2")
};

/// A named quantity on its native axes, C order (the last axis runs fastest). A scalar set such as "derived" has one
/// axis whose labels are names.
struct Output {
  struct Axis {
    std::string name;                 ///< "ell", "k", "z", "wavelength", "name"
    std::string unit;                 ///< "", "1/Mpc", ...
    std::vector<double> values;       ///< ascending; 0, 1, 2, ... for a labelled axis
    std::vector<std::string> labels;  ///< names of a labelled axis, else empty
  };
  std::string name;
  std::string unit;
  std::string family;
  std::vector<Axis> axes;
  std::vector<std::string> units;  ///< per label, for a labelled axis
};

/// Why a point is, or is not, inside the region in which the emulator was validated.
struct Verdict {
  enum class Reason : int32_t {
    inside = 0,
    not_finite = 1,       ///< a value is NaN or infinite
    fixed_parameter = 2,  ///< a parameter that was held fixed in training has another value
    box = 3,              ///< a parameter left its range
    hull = 4,             ///< inside the box but outside the hull of the training points
    error_bound = 5,      ///< the predicted error of all outputs together is above the tolerance
    no_solution = 6,      ///< no parameter inside the box gives the value asked for (thetastar -> H0)
  };
  Reason reason = Reason::inside;
  std::string hull;       ///< for hull: "ellipsoid", "convex" or "cells"
  std::string parameter;  ///< the (canonical or fixed) parameter that failed; for hull the one that takes the point
                          ///< out most; empty for error_bound
  double value = 0;       ///< what was found: the parameter's value, the hull distance, the predicted error
  double lower = 0, upper = 0;  ///< what was allowed
  double excess = 0;  ///< by how much: > 0, in units of the range (box), the hull's size, a cell's width, the tolerance
  bool inside() const noexcept { return reason == Reason::inside; }
};

/// One sentence for people.
ZELOS_API std::string to_string(const Verdict& verdict);

/// One number of what a real code is told of a point, so that it computes the physics that was asked for.
struct Physics {
  enum class Kind : int32_t {
    parameter = 0,  ///< a canonical parameter of the emulator
    solved = 1,     ///< given in place of a canonical parameter ("thetastar"), which is not in the list: the real code
                    ///< solves for it, with all of its own physics
    fixed = 2,      ///< was held fixed in training
  };
  std::string name;  ///< the emulator's name for it
  Kind kind = Kind::parameter;
  double held = 0;  ///< fixed: the value of the training
};

/// Other names for the same number or for a one-to-one function of it: of "logA" "ln10^{10}A_s", "As", "A_s".
ZELOS_API std::vector<std::string> synonyms(const std::string& name);
/// A value of `name` as one of `other`, its synonym: (3.044, "logA", "As") gives 2.0989e-9. Throws
/// Error(ZELOS_E_ARGUMENT) if they are no synonyms.
ZELOS_API double convert(double value, const std::string& name, const std::string& other);

/// What a query asks for. Axes are given in the order of the output's axes; an empty axis means the native one.
struct Request {
  std::string output;
  std::vector<std::vector<double>> axes;
};

class Query;

/// An opened artifact: immutable, safe from any number of threads. Copying is cheap (shared ownership).
class ZELOS_API Emulator {
 public:
  struct Options {
    bool verify_probes = true;  ///< re-evaluate the stored probe points; a mismatch is ZELOS_E_FORMAT
  };
  /// Throws Error: ZELOS_E_IO, ZELOS_E_FORMAT (damaged, mislabelled, newer version), ZELOS_E_MISSING (unknown family).
  static Emulator open(const std::filesystem::path& path, const Options& options);
  static Emulator open(const std::filesystem::path& path) { return open(path, Options()); }
  static Emulator open(const void* bytes, size_t size, const std::string& name_for_messages, const Options& options);

  const std::string& name() const;
  const std::string& version() const;
  const std::string& id() const;  ///< SHA-256 of the artifact's body, hex
  const std::vector<Parameter>& parameters() const;
  const std::vector<Output>& outputs() const;
  /// Names and values of physics that was held fixed in training (mnu, nnu, omk, w, ...).
  const std::vector<std::pair<std::string, double>>& fixed() const;
  /// Parameters that may be given in place of a canonical one and are solved for ("thetastar" for "H0").
  const std::vector<std::pair<std::string, std::string>>& solvable() const;
  /// Everything that the file says of itself, as JSON: name, version, spec (text), provenance, accuracy, region, ...
  const nlohmann::json& info() const;

  /// Binds the names that the caller will hand over, and what it wants back. Throws Error(ZELOS_E_ARGUMENT) that names
  /// missing, unknown or conflicting parameters, unknown outputs, or axis values outside the native range.
  Query query(const std::vector<std::string>& parameter_names, const std::vector<Request>& requests) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit Emulator(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

/// Writes the artifact at `from`, of any format version, in the newest one: the same numbers, bit by bit, and what the
/// families can restore that older versions did not store (ZELOS_EXT_MIGRATE). `to` is replaced at once, or not at all;
/// it may be `from`. Returns the id of what was written. Throws Error as Emulator::open; ZELOS_E_FORMAT if a stored
/// state contradicts itself; ZELOS_E_IO if `to` can't be written.
ZELOS_API std::string migrate(const std::filesystem::path& from, const std::filesystem::path& to);

/// Scratch memory for one thread. Made by Query::workspace(); use it with that query only.
class ZELOS_API Workspace {
 public:
  Workspace(Workspace&&) noexcept;
  Workspace& operator=(Workspace&&) noexcept;
  ~Workspace();
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  friend class Query;
  explicit Workspace(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A bound question: immutable, safe from any number of threads (each with its own Workspace). Evaluation allocates
/// nothing and takes no lock. values: one number per bound parameter name, in that order.
class ZELOS_API Query {
 public:
  /// Length of the answer, and where each request's block begins in it.
  int64_t size() const;
  int64_t n_parameters() const;
  struct Block {
    int64_t offset;
    std::vector<int64_t> shape;
  };
  const std::vector<Block>& blocks() const;

  Workspace workspace() const;

  /// out[size()]. When the verdict is not inside, out is untouched. Throws Error(ZELOS_E_NUMERIC) if a result is not
  /// finite.
  Verdict evaluate(const double* values, double* out, Workspace& workspace) const;
  /// n points, row by row; verdicts[n] may be null. Rows that are outside are left untouched. Returns how many are
  /// inside.
  int64_t evaluate(int64_t n, const double* values, double* out, Verdict* verdicts, Workspace& workspace) const;
  /// out as above and jacobian[size() * n_parameters()], row-major: d out_i / d value_j, exact. The derivative is along
  /// the bound names: with "thetastar" bound in place of "H0", at constant thetastar. There is none with respect to
  /// what was held fixed in training: where such a name is bound, Error(ZELOS_E_ARGUMENT) names it. vjp alike.
  Verdict jacobian(const double* values, double* out, double* jacobian, Workspace& workspace) const;
  /// product[size()] = J * direction[n_parameters()]. direction is 0 along what was held fixed, or ZELOS_E_ARGUMENT.
  Verdict jvp(const double* values, const double* direction, double* out, double* product, Workspace& workspace) const;
  /// product[n_parameters()] = J^T * cotangent[size()].
  Verdict vjp(const double* values, const double* cotangent, double* out, double* product, Workspace& workspace) const;

  /// The verdict alone.
  Verdict verdict(const double* values, Workspace& workspace) const;
  /// Predicted error of each request's block, error[n_requests]: the expected sum over all values of the output of
  /// (error / sigma)^2, sigma being that of its whitening. For spectra whitened by cosmic variance this is the expected
  /// delta chi^2 of the ideal experiment; the artifact's accuracy section has the scale of all else ("predicted_error":
  /// the rms relative error where it is 1). NaN where the family predicts none. The point may be outside the region;
  /// nothing is written where it is not finite, has no solution for what is given in place of a parameter, or is of
  /// other physics than the training (`fixed`).
  Verdict predicted_error(const double* values, double* error, Workspace& workspace) const;
  /// What a real code is told of a point given by the bound names: the canonical parameters, what is given in place of
  /// one, and what was held fixed in training as far as its name is bound.
  const std::vector<Physics>& physics() const;
  /// numbers[physics().size()], wherever the point lies; told[physics().size()], if not null, is 0 for a fixed
  /// parameter at the value of the training, which the real code's settings have, and 1 else. Where the verdict is
  /// not_finite nothing is written; it is inside otherwise, for no region is asked.
  Verdict physics(const double* values, double* numbers, int32_t* told, Workspace& workspace) const;
  /// Canonical parameter values, in the order of Emulator::parameters(), of a point given by the bound names. They are
  /// given for a point outside as well; nothing is written where it is not finite, or one has no solution. Where the
  /// verdict is not inside and a parameter was solved for, the emulator's physics was used: with fixed_parameter, not
  /// that of the point.
  Verdict canonical(const double* values, double* parameters, Workspace& workspace) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  friend class Emulator;
  explicit Query(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace zelos
