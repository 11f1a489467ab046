// SPDX-License-Identifier: BSD-3-Clause
// bound_query.hpp: a bound question as the runtime sees it. Everything that can be done before the numbers are known is
// done when it is bound (bind.cpp); an evaluation only streams through memory (point.cpp: from the caller's values to
// the features; evaluate.cpp: from the features to the outputs). query.cpp is the public face.
//
// Tangents: an evaluation carries n_tangents directional derivatives along, each a contiguous row. Jacobian: one for
// each bound name; JVP: one. A VJP contracts the Jacobian.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "runtime/model.hpp"
#include "runtime/names.hpp"
#include "runtime/tiled_matrix.hpp"
#include "transforms/cubic_pieces.hpp"

namespace zelos {

/// Which piece of a spline each requested point falls into, and where: found at each evaluation where the axis is
/// stretched, else once. Shared by the outputs that are alike in this.
struct SplineMap {
  const OutputModel::Segment* like = nullptr;
  std::vector<double> axis;    ///< as requested
  std::vector<double> points;  ///< the same, padded with its last value
  CubicPieces pieces;
  IntervalTable intervals;
  int64_t n_padded = 0;
  int64_t n_full = 0;          ///< points before the stretch tapers off
  int64_t n_inside = 0;        ///< points up to the segment's end; the rest lie between it and the next segment
  std::vector<double> speed;   ///< du / d feature
  std::vector<int64_t> piece;  ///< without a stretch
  AlignedBuffer offset;        ///< without a stretch
  int64_t piece_at = 0, offset_at = 0;  ///< workspace, with a stretch: int64 pieces, offsets

  bool stretched() const { return like->stretch.has_value(); }
};

/// The requested points of one segment.
struct Part {
  const OutputModel::Segment* segment = nullptr;
  int64_t first = 0, n = 0;         ///< of the node's values
  int64_t first_weight = 0;         ///< of the output's weights
  std::vector<TiledMatrix> blocks;  ///< the constant part stands in the first
  int spline_map = -1;
};

struct Node {
  int output = 0;
  std::vector<std::vector<double>> axes;
  int64_t n = 0, n_padded = 0;
  std::vector<Part> parts;  ///< ascending; a part's padding is overwritten by the next
  int other[2] = {-1, -1};
  std::vector<AlignedBuffer> log_axes;  ///< per point transform that needs one
  /// Per point transform that needs it: the points of its axis, and which of them a value belongs to.
  struct Along {
    std::vector<double> points;
    std::vector<int32_t> at;
  };
  std::vector<Along> alongs;
  int64_t values_at = 0, tangents_at = 0;
};

struct Query::Impl {
  std::shared_ptr<const Emulator::Impl> model;
  std::vector<std::string> names;
  NamePlan plan;
  std::vector<Query::Block> blocks;
  std::vector<Physics> physics;
  std::vector<int> request_node;
  int64_t size = 0;

  std::vector<Node> nodes;  ///< dependencies first
  std::vector<SplineMap> spline_maps;
  std::vector<char> needs_feature;
  std::vector<char> solve_feature;
  std::vector<char> needs_output;
  std::vector<int> held;  ///< per bound name: the entry of plan.fixed that depends on it, or -1

  // Workspace layout, in doubles.
  int64_t slots_at = 0, slot_tangents_at = 0, features_at = 0, feature_tangents_at = 0, scratch_at = 0, jacobian_at = 0;
  std::vector<int64_t> weights_at, weight_tangents_at;
  int64_t temporary_at = 0, field_at = 0, field_stride = 0, background_at = 0;
  int64_t workspace_size = 0;

  /// The predicted error of all outputs together, whichever are asked for, decides whether a point is inside.
  bool judges() const { return std::isfinite(model->region.tolerance); }
  int64_t n_names() const { return static_cast<int64_t>(names.size()); }
  int64_t n_features() const { return static_cast<int64_t>(model->features.size()); }

  void build(const std::vector<Request>& requests);
  int add_node(int output, const std::vector<std::vector<double>>& axes);
  int add_spline_map(const OutputModel::Segment& segment, const std::vector<double>& axis);
  void mark_feature(int feature, std::vector<char>* marks) const;
  void lay_out();
  void find_held();
  void refuse_held(const double* direction) const;

  // The evaluation. `w` is the workspace's memory.
  Verdict read_values(const double* values, double* slots) const;
  Verdict tell(const double* values, double* numbers, int32_t* told, double* w) const;
  Verdict prepare(const double* values, int n_tangents, const double* seeds, double* w) const;
  /// After prepare(): whether the canonical parameters are there, wherever the point lies.
  bool is_known(const Verdict& verdict, const double* w) const;
  /// After prepare(): whether an error can be told: of other physics than that of the training none is known.
  bool has_error(const Verdict& verdict, const double* w) const {
    return verdict.reason != Verdict::Reason::fixed_parameter && is_known(verdict, w);
  }
  bool solve(const NamePlan::Step& step, int n_tangents, double* w, Verdict* verdict) const;
  void evaluate_feature(int index, int n_tangents, double* w) const;
  /// After prepare(): the features that are not parameters, as far as they are needed.
  void evaluate_features(int n_tangents, double* w) const {
    for (int64_t i = static_cast<int64_t>(plan.canonical.size()); i < n_features(); ++i) {
      if (needs_feature[i]) evaluate_feature(static_cast<int>(i), n_tangents, w);
    }
  }
  void evaluate_weights(int output, int n_tangents, double* w) const;
  void evaluate_spline_map(const SplineMap& map, double* w) const;
  void evaluate_part(const Node& node, const Part& part, int n_tangents, double* w) const;
  void evaluate_background(const PointTransform& transform, const Node::Along& along, int n_tangents, double* w,
                           PointContext* context) const;
  void evaluate_node(const Node& node, int n_tangents, double* w) const;
  Verdict run(const double* values, int n_tangents, const double* seeds, double* w) const;
  /// With a tangent along every bound name.
  Verdict run_along_names(const double* values, double* w) const;
  /// v[n_weights of the output] at the features in `w`; false where the family predicts none.
  bool variances(int output, double* w, double* v) const;
  bool predicted(int output, double* w, double* error) const;
  void copy_values(const double* w, double* out) const;
};

struct Workspace::Impl {
  AlignedBuffer memory;
};

}  // namespace zelos
