// SPDX-License-Identifier: BSD-3-Clause
// query.cpp: a bound question and its evaluation. Everything that can be done before the numbers are known is done in
// Query's construction; an evaluation only streams through memory.
//
// Tangents: an evaluation carries n_tangents directional derivatives along, each a contiguous row. Jacobian: one for
// each bound name; JVP: one. A VJP contracts the Jacobian.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "base/aligned_buffer.hpp"
#include "base/kernels.hpp"
#include "base/text.hpp"
#include "runtime/model.hpp"
#include "runtime/names.hpp"
#include "transforms/cubic_spline.hpp"

namespace zelos {
namespace {

constexpr int64_t kLine = 8;  // doubles
constexpr int64_t aligned(int64_t n) { return (n + kLine - 1) / kLine * kLine; }

/// A matrix in tiles, ready for tiled_product, with its constant part.
struct TiledMatrix {
  int64_t rows = 0, columns = 0;
  AlignedBuffer tiles, start;

  TiledMatrix() = default;
  TiledMatrix(const Eigen::MatrixXd& m, const Eigen::VectorXd& constant)
      : rows(m.rows()), columns(m.cols()), tiles(padded_rows(m.rows()) * m.cols()), start(padded_rows(m.rows())) {
    double* out = tiles.data();
    for (int64_t row = 0; row < rows; row += kTile) {
      for (int64_t k = 0; k < columns; ++k) {
        for (int64_t r = 0; r < kTile; ++r) *out++ = row + r < rows ? m(row + r, k) : 0.0;
      }
    }
    for (int64_t i = 0; i < rows; ++i) start[i] = constant[i];
  }
};

/// Spline coefficients -> cubic pieces in powers of the offset from the left breakpoint.
struct Pieces {
  int64_t n = 0;  ///< pieces
  std::vector<double> breakpoints;
  AlignedBuffer value, slope;  ///< [3][n + 1]: weights of coefficients i, i+1, i+2 in value and slope at breakpoint i
  AlignedBuffer inverse_width;

  Pieces() = default;
  explicit Pieces(const std::vector<double>& points) : n(static_cast<int64_t>(points.size()) - 1), breakpoints(points) {
    const CubicSpline spline = CubicSpline::on_breakpoints(points);
    value = AlignedBuffer(3 * (n + 1));
    slope = AlignedBuffer(3 * (n + 1));
    inverse_width = AlignedBuffer(n);
    const auto knot = [&](int64_t i) { return points[std::clamp<int64_t>(i, 0, n)]; };
    for (int64_t i = 0; i <= n; ++i) {
      double b[4];
      const int64_t first = spline.basis(points[i], b);
      // At the right end the basis is that of the last interval, whose first function has vanished.
      for (int j = 0; j < 4; ++j) {
        const int64_t k = first + j - i;
        if (k >= 0 && k < 3) value[k * (n + 1) + i] = b[j];
      }
      // s'(x) = sum_j 3 (c_{j+1} - c_j) / (t_{j+4} - t_{j+1}) B_{j,2}(x), at a breakpoint two terms remain.
      const double left = i > 0 ? knot(i) - knot(i - 1) : 0, right = i < n ? knot(i + 1) - knot(i) : 0;
      const double w0 = i == n ? 0 : right / (left + right), w1 = i == n ? 1 : left / (left + right);
      const double span0 = knot(i + 1) - knot(i - 2), span1 = knot(i + 2) - knot(i - 1);
      const double a = 3 * w0 / span0, c = 3 * w1 / span1;
      slope[i] = -a;
      slope[n + 1 + i] = a - c;
      slope[2 * (n + 1) + i] = c;
      if (i < n) inverse_width[i] = 1 / right;
    }
  }

  /// c[4][stride] from coef[n + 3]; node[2 * stride] is scratch.
  void polynomials(const double* coef, int64_t stride, double* node, double* c) const {
    double *v = node, *s = node + stride;
    for (int64_t i = 0; i <= n; ++i) {
      v[i] = value[i] * coef[i] + value[n + 1 + i] * coef[i + 1] + value[2 * (n + 1) + i] * coef[i + 2];
      s[i] = slope[i] * coef[i] + slope[n + 1 + i] * coef[i + 1] + slope[2 * (n + 1) + i] * coef[i + 2];
    }
    for (int64_t i = 0; i < n; ++i) {
      const double w = inverse_width[i], rise = (v[i + 1] - v[i]) * w;
      c[i] = v[i];
      c[stride + i] = s[i];
      c[2 * stride + i] = (3 * rise - 2 * s[i] - s[i + 1]) * w;
      c[3 * stride + i] = (s[i] + s[i + 1] - 2 * rise) * w * w;
    }
  }
};

/// Look-up of the interval that holds a value: the table's cells are at most as wide as the narrowest interval, so the
/// answer is the cell's entry or the next.
struct IntervalTable {
  std::vector<int64_t> first;
  double origin = 0, inverse_step = 0;

  IntervalTable() = default;
  explicit IntervalTable(const std::vector<double>& breakpoints) : origin(breakpoints.front()) {
    double narrowest = breakpoints.back() - breakpoints.front();
    for (size_t i = 1; i < breakpoints.size(); ++i)
      narrowest = std::min(narrowest, breakpoints[i] - breakpoints[i - 1]);
    const int64_t cells = static_cast<int64_t>(std::ceil((breakpoints.back() - origin) / narrowest)) + 1;
    const int64_t last = static_cast<int64_t>(breakpoints.size()) - 2;
    inverse_step = static_cast<double>(cells) / (breakpoints.back() - origin);
    int64_t j = 0;
    for (int64_t cell = 0; cell <= cells; ++cell) {
      // Round-off may put a value into the cell before its own.
      const double start = origin + (static_cast<double>(cell) - 1e-9) / inverse_step;
      while (j < last && breakpoints[j + 1] <= start) ++j;
      first.push_back(j);
    }
  }
};

/// Where requested points of a stretched axis fall, shared by the outputs that are stretched alike.
struct StretchMap {
  const OutputModel::Segment* like = nullptr;
  std::vector<double> axis;    ///< as requested
  std::vector<double> points;  ///< the same, padded with its last value
  Pieces pieces;
  IntervalTable intervals;
  int64_t n_padded = 0;
  int64_t n_full = 0;         ///< points before the stretch tapers off
  int64_t n_inside = 0;       ///< points up to the segment's end; the rest lie between it and the next segment
  std::vector<double> speed;  ///< du / d feature
  int64_t piece_at = 0, offset_at = 0;  ///< workspace: int64 pieces, offsets
};

/// The requested points of one segment.
struct Part {
  const OutputModel::Segment* segment = nullptr;
  int64_t first = 0, n = 0;         ///< of the node's values
  int64_t first_weight = 0;         ///< of the output's weights
  std::vector<TiledMatrix> blocks;  ///< the constant part stands in the first
  int stretch_map = -1;
};

struct Node {
  int output = 0;
  std::vector<std::vector<double>> axes;
  int64_t n = 0, n_padded = 0;
  std::vector<Part> parts;  ///< ascending; a part's padding is overwritten by the next
  int other[2] = {-1, -1};
  std::vector<AlignedBuffer> log_axes;  ///< per point transform that needs one
  int64_t values_at = 0, tangents_at = 0;
};

std::vector<double> subset_or_throw(const std::string& emulator, const OutputModel& output, size_t axis,
                                    const std::vector<double>& wanted) {
  const Output::Axis& native = output.axes[axis].axis;
  if (wanted.empty()) return native.values;
  // Points that differ from an end of the range by round-off alone are taken for that end.
  const double slack = 1e-12 * std::max(std::abs(native.values.front()), std::abs(native.values.back()));
  std::vector<double> points(wanted);
  const std::string where = "emulator " + emulator + ", output " + output.description->name + ": " + native.name;
  for (double& x : points) {
    if (!(x >= native.values.front() - slack && x <= native.values.back() + slack)) {
      throw Error(ZELOS_E_ARGUMENT, where + " = " + to_text(x) + " is outside [" + to_text(native.values.front()) +
                                        ", " + to_text(native.values.back()) + "]");
    }
    x = std::clamp(x, native.values.front(), native.values.back());
    if (output.axes[axis].coordinate == Coordinate::label &&
        !std::binary_search(native.values.begin(), native.values.end(), x)) {
      throw Error(ZELOS_E_ARGUMENT, "output " + output.description->name + ": a labelled axis is asked for by index");
    }
  }
  const auto at = std::adjacent_find(points.begin(), points.end(), std::greater_equal<>());
  if (at != points.end()) {
    throw Error(ZELOS_E_ARGUMENT,
                where + ": expected ascending points, found " + to_text(at[0]) + " before " + to_text(at[1]));
  }
  return points;
}

/// Rows of `field` (native points of an axis) -> rows at requested points.
Eigen::MatrixXd resample(const AxisModel& axis, const std::vector<double>& wanted, const Eigen::MatrixXd& field) {
  const std::vector<double>& native = axis.axis.values;
  if (wanted == native) return field;
  std::vector<int64_t> index;
  for (const double x : wanted) {
    const auto at = std::lower_bound(native.begin(), native.end(), x);
    if (at == native.end() || *at != x) break;
    index.push_back(at - native.begin());
  }
  Eigen::MatrixXd out(static_cast<int64_t>(wanted.size()), field.cols());
  if (index.size() == wanted.size()) {
    for (size_t i = 0; i < index.size(); ++i) out.row(i) = field.row(index[i]);
    return out;
  }
  const std::vector<double> nodes = axis.mapped();
  const CubicSpline spline = CubicSpline::through_nodes(nodes);
  return spline.design(axis.map(wanted)) * spline.interpolate(nodes, field);
}

Eigen::MatrixXd resample_field(const OutputModel::Segment& output, const std::vector<std::vector<double>>& axes,
                               const Eigen::MatrixXd& field) {
  if (!output.breakpoints.empty()) return CubicSpline::on_breakpoints(output.breakpoints).design(axes[0]) * field;
  if (output.axes.size() == 1) return resample(output.axes[0], axes[0], field);
  // Two axes: along the first with the second in the columns, then the other way round.
  const int64_t n0 = static_cast<int64_t>(output.axes[0].axis.values.size());
  const int64_t n1 = static_cast<int64_t>(output.axes[1].axis.values.size());
  const int64_t m0 = static_cast<int64_t>(axes[0].size()), m1 = static_cast<int64_t>(axes[1].size());
  Eigen::MatrixXd out(m0 * m1, field.cols());
  for (int64_t k = 0; k < field.cols(); ++k) {
    const Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>> native(field.col(k).data(), n0, n1);
    const Eigen::MatrixXd first = resample(output.axes[0], axes[0], native);
    const Eigen::MatrixXd both = resample(output.axes[1], axes[1], first.transpose());
    for (int64_t i = 0; i < m0; ++i) {
      for (int64_t j = 0; j < m1; ++j) out(i * m1 + j, k) = both(j, i);
    }
  }
  return out;
}

}  // namespace

struct Query::Impl {
  std::shared_ptr<const Emulator::Impl> model;
  std::vector<std::string> names;
  NamePlan plan;
  std::vector<Query::Block> blocks;
  std::vector<int> request_node;
  int64_t size = 0;

  std::vector<Node> nodes;  ///< dependencies first
  std::vector<StretchMap> stretch_maps;
  std::vector<char> needs_feature;
  std::vector<char> solve_feature;
  std::vector<char> needs_output;
  std::vector<int> held;  ///< per bound name: the entry of plan.fixed that depends on it, or -1

  // Workspace layout, in doubles.
  int64_t slots_at = 0, slot_tangents_at = 0, features_at = 0, feature_tangents_at = 0, scratch_at = 0, jacobian_at = 0;
  std::vector<int64_t> weights_at, weight_tangents_at;
  int64_t temporary_at = 0, field_at = 0, field_stride = 0;
  int64_t workspace_size = 0;

  /// The predicted error of all outputs together, whichever are asked for, decides whether a point is inside.
  bool judges() const { return std::isfinite(model->region.tolerance); }
  int64_t n_names() const { return static_cast<int64_t>(names.size()); }
  int64_t n_features() const { return static_cast<int64_t>(model->features.size()); }

  void build(const std::vector<Request>& requests);
  int add_node(int output, const std::vector<std::vector<double>>& axes);
  int add_stretch_map(const OutputModel::Segment& segment, const std::vector<double>& axis);
  void mark_feature(int feature, std::vector<char>* marks) const;
  void lay_out();
  void find_held();
  void refuse_held(const double* direction) const;

  // The evaluation. `w` is the workspace's memory.
  Verdict prepare(const double* values, int n_tangents, const double* seeds, double* w) const;
  bool solve(const NamePlan::Step& step, int n_tangents, double* w, Verdict* verdict) const;
  void evaluate_feature(int index, int n_tangents, double* w) const;
  void evaluate_weights(int output, int n_tangents, double* w) const;
  void evaluate_stretch(const StretchMap& map, double* w) const;
  void evaluate_part(const Node& node, const Part& part, int n_tangents, double* w) const;
  void evaluate_node(const Node& node, int n_tangents, double* w) const;
  Verdict run(const double* values, int n_tangents, const double* seeds, double* w) const;
  /// With a tangent along every bound name.
  Verdict run_along_names(const double* values, double* w) const;
  bool predicted(int output, double* w, double* error) const;
  void copy_values(const double* w, double* out) const;
};

struct Workspace::Impl {
  AlignedBuffer memory;
};

Workspace::Workspace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;
Workspace::~Workspace() = default;

// --- construction
// -------------------------------------------------------------------------------------------------------

void Query::Impl::mark_feature(int feature, std::vector<char>* marks) const {
  if ((*marks)[feature]) return;
  (*marks)[feature] = 1;
  const Feature& f = model->features[feature];
  for (const int of : f.of) mark_feature(of, marks);
  if (f.regressor) {
    for (const int of : f.regressor->inputs()) mark_feature(of, marks);
  }
}

int Query::Impl::add_stretch_map(const OutputModel::Segment& segment, const std::vector<double>& axis) {
  for (size_t i = 0; i < stretch_maps.size(); ++i) {
    const StretchMap& map = stretch_maps[i];
    const OutputModel::Segment& o = *map.like;
    if (map.axis == axis && o.breakpoints == segment.breakpoints && o.stretch_feature == segment.stretch_feature &&
        o.stretch_reference == segment.stretch_reference && o.stretch->x0 == segment.stretch->x0 &&
        o.stretch->x_full == segment.stretch->x_full && o.stretch->x_end == segment.stretch->x_end) {
      return static_cast<int>(i);
    }
  }
  StretchMap map;
  map.like = &segment;
  map.axis = axis;
  map.n_padded = aligned(static_cast<int64_t>(axis.size()));
  map.points = axis;
  map.points.resize(map.n_padded, axis.back());
  map.n_full = std::upper_bound(map.points.begin(), map.points.end(), segment.stretch->x_full) - map.points.begin();
  map.n_inside = std::upper_bound(map.points.begin(), map.points.end(), segment.stretch->x_end) - map.points.begin();
  for (const double x : map.points) map.speed.push_back(segment.stretch->derivative_s(x) / segment.stretch_reference);
  map.pieces = Pieces(segment.breakpoints);
  map.intervals = IntervalTable(segment.breakpoints);
  stretch_maps.push_back(std::move(map));
  return static_cast<int>(stretch_maps.size()) - 1;
}

int Query::Impl::add_node(int output_index, const std::vector<std::vector<double>>& axes) {
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].output == output_index && nodes[i].axes == axes) return static_cast<int>(i);
  }
  const OutputModel& output = model->outputs[output_index];
  Node node;
  node.output = output_index;
  node.axes = axes;
  node.n = 1;
  for (const auto& axis : axes) node.n *= static_cast<int64_t>(axis.size());
  node.n_padded = padded_rows(node.n) + kTile;
  needs_output[output_index] = 1;
  for (const PointTransform& t : output.point_transforms) {
    if (t.feature >= 0) mark_feature(t.feature, &needs_feature);
    for (int i = 0; i < 2; ++i) {
      if (t.other[i] < 0) continue;
      std::vector<std::vector<double>> other_axes;
      for (size_t a = 0; a < axes.size(); ++a) {
        other_axes.push_back(subset_or_throw(model->name, model->outputs[t.other[i]], a, axes[a]));
      }
      node.other[i] = add_node(t.other[i], other_axes);
    }
    AlignedBuffer log_axis;
    if (t.kind == PointTransform::Kind::tilt) {
      log_axis = AlignedBuffer(node.n_padded);
      int64_t inner = 1, length = static_cast<int64_t>(axes[t.axis].size());
      for (size_t a = t.axis + 1; a < axes.size(); ++a) inner *= static_cast<int64_t>(axes[a].size());
      for (int64_t i = 0; i < node.n; ++i) log_axis[i] = std::log(axes[t.axis][i / inner % length] / t.pivot);
    }
    node.log_axes.push_back(std::move(log_axis));
  }
  const int64_t inner = node.n / std::max<int64_t>(1, static_cast<int64_t>(axes[0].size()));
  int64_t first_weight = 0;
  for (size_t i = 0; i < output.segments.size(); ++i) {
    const OutputModel::Segment& segment = output.segments[i];
    for (const auto& block : segment.blocks) {
      for (const int input : block.regressor->inputs()) mark_feature(input, &needs_feature);
    }
    const auto begin = i == 0 ? axes[0].begin()
                              : std::lower_bound(axes[0].begin(), axes[0].end(), segment.axes[0].axis.values.front());
    const auto end = i + 1 == output.segments.size()
                         ? axes[0].end()
                         : std::lower_bound(begin, axes[0].end(), output.segments[i + 1].axes[0].axis.values.front());
    Part part;
    part.segment = &segment;
    part.first = (begin - axes[0].begin()) * inner;
    part.n = (end - begin) * inner;
    part.first_weight = first_weight;
    first_weight += segment.n_weights();
    if (part.n == 0) continue;
    std::vector<std::vector<double>> points = axes;
    points[0] = std::vector<double>(begin, end);
    if (segment.stretch) {
      mark_feature(segment.stretch_feature, &needs_feature);
      part.stretch_map = add_stretch_map(segment, points[0]);
    }
    const Eigen::VectorXd mean =
        segment.stretch ? segment.mean : Eigen::VectorXd(resample_field(segment, points, segment.mean));
    for (const auto& block : segment.blocks) {
      const Eigen::MatrixXd basis = segment.stretch ? block.basis : resample_field(segment, points, block.basis);
      part.blocks.emplace_back(basis, part.blocks.empty() ? mean : Eigen::VectorXd::Zero(mean.size()));
    }
    node.parts.push_back(std::move(part));
  }
  nodes.push_back(std::move(node));
  return static_cast<int>(nodes.size()) - 1;
}

void Query::Impl::build(const std::vector<Request>& requests) {
  plan = plan_names(*model, names);
  find_held();
  needs_feature.assign(model->features.size(), 0);
  solve_feature.assign(model->features.size(), 0);
  needs_output.assign(model->outputs.size(), 0);
  for (const NamePlan::Step& step : plan.steps) {
    if (step.op == NamePlan::Op::solve) mark_feature(model->solvable[step.solvable].feature, &solve_feature);
  }
  for (const Request& request : requests) {
    const int index = model->output_index(request.output);
    const OutputModel& output = model->outputs[index];
    if (!request.axes.empty() && request.axes.size() != output.axes.size()) {
      throw Error(ZELOS_E_ARGUMENT, "output " + request.output + " has " + std::to_string(output.axes.size()) +
                                        " axes; " + std::to_string(request.axes.size()) + " were given");
    }
    std::vector<std::vector<double>> axes;
    Query::Block block{size, {}};
    for (size_t a = 0; a < output.axes.size(); ++a) {
      axes.push_back(
          subset_or_throw(model->name, output, a, request.axes.empty() ? std::vector<double>{} : request.axes[a]));
      block.shape.push_back(static_cast<int64_t>(axes.back().size()));
    }
    const int node = add_node(index, axes);
    request_node.push_back(node);
    size += nodes[node].n;
    blocks.push_back(std::move(block));
  }
  if (judges()) {
    for (const OutputModel& output : model->outputs) {
      for (const auto& segment : output.segments) {
        for (const auto& block : segment.blocks) {
          for (const int input : block.regressor->inputs()) mark_feature(input, &needs_feature);
        }
      }
    }
  }
  lay_out();
}

void Query::Impl::find_held() {
  std::vector<uint64_t> depends(plan.n_slots, 0);  ///< per slot: bit i is the i-th bound name
  for (int64_t i = 0; i < n_names(); ++i) depends[i] = uint64_t{1} << i;
  for (const NamePlan::Step& step : plan.steps) {
    depends[step.out] = depends[step.a] | (step.b >= 0 ? depends[step.b] : 0);
    if (step.op != NamePlan::Op::solve) continue;
    for (const int slot : plan.solve_inputs) depends[step.out] |= slot >= 0 ? depends[slot] : 0;
  }
  held.assign(names.size(), -1);
  for (size_t j = 0; j < plan.fixed.size(); ++j) {
    for (size_t i = 0; i < names.size(); ++i) {
      if ((depends[plan.fixed[j].slot] >> i & 1) != 0) held[i] = static_cast<int>(j);
    }
  }
}

/// The training says nothing of how the outputs change with what it held fixed. direction: null for every name.
void Query::Impl::refuse_held(const double* direction) const {
  for (size_t i = 0; i < names.size(); ++i) {
    if (held[i] < 0 || (direction != nullptr && direction[i] == 0)) continue;
    const std::string& fixed = plan.fixed[held[i]].name;
    throw Error(ZELOS_E_ARGUMENT, "emulator " + model->name + ": parameter '" + names[i] + "'" +
                                      (names[i] == fixed ? "" : " (" + fixed + ")") +
                                      " was held fixed in training: no derivative with respect to it; leave it out");
  }
}

void Query::Impl::lay_out() {
  int64_t at = 0;
  const auto take = [&at](int64_t n) { return std::exchange(at, at + aligned(n)); };
  const int64_t t = std::max<int64_t>(1, n_names()), f = n_features();
  slots_at = take(plan.n_slots);
  slot_tangents_at = take(plan.n_slots * t);
  features_at = take(f);
  feature_tangents_at = take(f * t);
  int64_t scratch = 0, jacobian = 1;
  const auto regressor = [&](const Regressor& r) {
    scratch = std::max(scratch, r.scratch_size());
    jacobian = std::max(jacobian, r.n_outputs() * r.n_inputs());
  };
  for (const Feature& feature : model->features) {
    if (feature.regressor) regressor(*feature.regressor);
  }
  weights_at.resize(model->outputs.size());
  weight_tangents_at.resize(model->outputs.size());
  for (size_t i = 0; i < model->outputs.size(); ++i) {
    if (!needs_output[i] && !judges()) continue;
    for (const auto& segment : model->outputs[i].segments) {
      for (const auto& block : segment.blocks) regressor(*block.regressor);
    }
    weights_at[i] = take(model->outputs[i].n_weights());
    weight_tangents_at[i] = take(model->outputs[i].n_weights() * t);
  }
  scratch_at = take(scratch);
  jacobian_at = take(jacobian);
  for (StretchMap& map : stretch_maps) {
    map.piece_at = take(map.n_padded);
    map.offset_at = take(map.n_padded);
  }
  int64_t temporary = 0, field = 0;
  for (Node& node : nodes) {
    node.values_at = take(node.n_padded);
    node.tangents_at = take(node.n_padded * t);
    temporary = std::max(temporary, node.n_padded);
    for (const Part& part : node.parts) {
      if (part.stretch_map >= 0) field = std::max(field, aligned(part.blocks[0].rows + kTile));
    }
  }
  temporary_at = take(temporary);
  field_stride = field;
  field_at = take(8 * field);
  workspace_size = at;
}

// --- evaluation
// ---------------------------------------------------------------------------------------------------------

bool Query::Impl::solve(const NamePlan::Step& step, int n_tangents, double* w, Verdict* verdict) const {
  const SolvableParameter& s = model->solvable[step.solvable];
  double* features = w + features_at;
  double* tangents = w + feature_tangents_at;
  const int64_t d = static_cast<int64_t>(plan.solve_inputs.size()), f = n_features();
  const double* slots = w + slots_at;
  for (int64_t i = 0; i < d; ++i) {
    if (plan.solve_inputs[i] >= 0) features[i] = slots[plan.solve_inputs[i]];
  }
  // One tangent, along the unknown.
  const auto at = [&](double x, double* slope) {
    std::fill(tangents, tangents + f, 0.0);
    features[s.parameter] = x;
    tangents[s.parameter] = 1;
    for (int64_t i = d; i < f; ++i) {
      if (solve_feature[i]) evaluate_feature(static_cast<int>(i), 1, w);
    }
    *slope = tangents[s.feature];
    return features[s.feature];
  };
  const double target = slots[step.a];
  double lower = s.lower, upper = s.upper, slope = 0;
  const double at_lower = at(lower, &slope), at_upper = at(upper, &slope);
  const double sign = at_upper > at_lower ? 1 : -1;
  if (!(sign * (target - at_lower) >= 0 && sign * (at_upper - target) >= 0)) {
    // A parameter that left its range is the better answer: what the feature spans there means nothing.
    for (int64_t i = 0; i < d; ++i) {
      if (plan.solve_inputs[i] < 0) continue;
      *verdict = model->region.check_parameter(i, features[i]);
      if (!verdict->inside()) return false;
    }
    verdict->reason = std::isfinite(target) ? Verdict::Reason::no_solution : Verdict::Reason::not_finite;
    verdict->parameter = s.name;
    verdict->value = target;
    verdict->lower = std::min(at_lower, at_upper);
    verdict->upper = std::max(at_lower, at_upper);
    verdict->excess = std::max(verdict->lower - target, target - verdict->upper) / (verdict->upper - verdict->lower);
    return false;
  }
  // Newton, kept inside a bracket that shrinks.
  double x = lower + (upper - lower) * (target - at_lower) / (at_upper - at_lower);
  for (int iteration = 0; iteration < 60; ++iteration) {
    const double residual = at(x, &slope) - target;
    (sign * residual > 0 ? upper : lower) = x;
    double next = x - residual / slope;
    if (!(next >= lower && next <= upper)) next = 0.5 * (lower + upper);
    const double step_size = std::abs(next - x);
    x = next;
    if (step_size <= 4e-16 * std::abs(x)) break;
    if (step_size <= 1e-9 * std::abs(x) && iteration > 0) {
      const double last = at(x, &slope) - target;
      x -= last / slope;
      break;
    }
  }
  double* out = w + slots_at + step.out;
  *out = x;
  at(x, &slope);
  // Implicit derivative: dx = (dtarget - sum_j F_j dx_j) / F_x.
  const double* slot_tangents = w + slot_tangents_at;
  double derivative[64];
  for (int k = 0; k < n_tangents; ++k) derivative[k] = slot_tangents[k * plan.n_slots + step.a];
  if (n_tangents > 0) {
    for (int64_t j = 0; j < d; ++j) {
      if (plan.solve_inputs[j] < 0) continue;
      bool moves = false;
      for (int k = 0; k < n_tangents; ++k) moves |= slot_tangents[k * plan.n_slots + plan.solve_inputs[j]] != 0;
      if (!moves || !solve_feature[j]) continue;
      std::fill(tangents, tangents + f, 0.0);
      tangents[j] = 1;
      for (int64_t i = d; i < f; ++i) {
        if (solve_feature[i]) evaluate_feature(static_cast<int>(i), 1, w);
      }
      const double partial = tangents[s.feature];
      for (int k = 0; k < n_tangents; ++k) {
        derivative[k] -= partial * slot_tangents[k * plan.n_slots + plan.solve_inputs[j]];
      }
    }
    for (int k = 0; k < n_tangents; ++k) (w + slot_tangents_at)[k * plan.n_slots + step.out] = derivative[k] / slope;
  }
  return true;
}

void Query::Impl::evaluate_feature(int index, int n_tangents, double* w) const {
  const Feature& feature = model->features[index];
  double* f = w + features_at;
  double* df = w + feature_tangents_at;
  const int64_t stride = n_features();
  switch (feature.kind) {
    case Feature::Kind::parameter:
      return;
    case Feature::Kind::logarithm: {
      const double x = f[feature.of[0]];
      f[index] = std::log(x);
      for (int k = 0; k < n_tangents; ++k) df[k * stride + index] = df[k * stride + feature.of[0]] / x;
      return;
    }
    case Feature::Kind::linear: {
      f[index] = feature.constant;
      for (size_t i = 0; i < feature.of.size(); ++i) f[index] += feature.coefficients[i] * f[feature.of[i]];
      for (int k = 0; k < n_tangents; ++k) {
        double sum = 0;
        for (size_t i = 0; i < feature.of.size(); ++i) sum += feature.coefficients[i] * df[k * stride + feature.of[i]];
        df[k * stride + index] = sum;
      }
      return;
    }
    case Feature::Kind::emulated: {
      double* jacobian = n_tangents > 0 ? w + jacobian_at : nullptr;
      double y = 0;
      feature.regressor->evaluate(f, &y, jacobian, w + scratch_at);
      const double value = feature.exponential ? std::exp(y) : y;
      f[index] = value;
      for (int k = 0; k < n_tangents; ++k) {
        double sum = 0;
        for (int64_t i = 0; i < feature.regressor->n_inputs(); ++i) {
          sum += jacobian[i] * df[k * stride + feature.regressor->inputs()[i]];
        }
        df[k * stride + index] = feature.exponential ? value * sum : sum;
      }
      return;
    }
  }
}

Verdict Query::Impl::prepare(const double* values, int n_tangents, const double* seeds, double* w) const {
  Verdict verdict;
  double* slots = w + slots_at;
  double* tangents = w + slot_tangents_at;
  const int64_t n = n_names(), s = plan.n_slots;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(values[i])) {
      verdict.reason = Verdict::Reason::not_finite;
      verdict.parameter = names[i];
      verdict.value = values[i];
      return verdict;
    }
    slots[i] = values[i];
    for (int k = 0; k < n_tangents; ++k) tangents[k * s + i] = seeds[k * n + i];
  }
  for (const NamePlan::Step& step : plan.steps) {
    const double a = slots[step.a];
    const double b = step.b >= 0 ? slots[step.b] / 100 : 1;
    double da = 0, db = 0;  // derivatives of out with respect to a and b
    double& out = slots[step.out];
    switch (step.op) {
      case NamePlan::Op::affine:
        out = step.c0 * a, da = step.c0;
        break;
      case NamePlan::Op::log_amplitude:
        out = std::log(1e10 * a), da = 1 / a;
        break;
      case NamePlan::Op::exp_amplitude:
        out = 1e-10 * std::exp(a), da = out;
        break;
      case NamePlan::Op::times_h2:
        out = a * b * b, da = b * b, db = 2 * a * b / 100;
        break;
      case NamePlan::Op::over_h2:
        out = a / (b * b), da = 1 / (b * b), db = -2 * out / (b * 100);
        break;
      case NamePlan::Op::solve:
        if (!solve(step, n_tangents, w, &verdict)) return verdict;
        continue;
    }
    for (int k = 0; k < n_tangents; ++k) {
      tangents[k * s + step.out] = da * tangents[k * s + step.a] + (step.b >= 0 ? db * tangents[k * s + step.b] : 0.0);
    }
  }
  const int64_t f = n_features();
  double* features = w + features_at;
  double* feature_tangents = w + feature_tangents_at;
  for (size_t i = 0; i < plan.canonical.size(); ++i) {
    features[i] = slots[plan.canonical[i]];
    for (int k = 0; k < n_tangents; ++k) feature_tangents[k * f + i] = tangents[k * s + plan.canonical[i]];
  }
  for (const NamePlan::Fixed& fixed : plan.fixed) {
    const double found = slots[fixed.slot];
    // What conversions between names lose, and no more: a fixed value may be as small as A_s.
    const double slack = fixed.value == 0 ? 1e-12 : 1e-8 * std::abs(fixed.value);
    if (std::abs(found - fixed.value) <= slack) continue;
    verdict.reason = Verdict::Reason::fixed_parameter;
    verdict.parameter = fixed.name;
    verdict.value = found;
    verdict.lower = verdict.upper = fixed.value;
    verdict.excess = std::abs(found - fixed.value);
    return verdict;
  }
  return model->region.check(features);
}

void Query::Impl::evaluate_weights(int index, int n_tangents, double* w) const {
  const OutputModel& output = model->outputs[index];
  const double* features = w + features_at;
  const double* df = w + feature_tangents_at;
  double* weights = w + weights_at[index];
  const int64_t total = output.n_weights(), f = n_features();
  int64_t first = 0;
  for (const auto& segment : output.segments) {
    for (const auto& block : segment.blocks) {
      const Regressor& r = *block.regressor;
      double* jacobian = n_tangents > 0 ? w + jacobian_at : nullptr;
      r.evaluate(features, weights + first, jacobian, w + scratch_at);
      for (int k = 0; k < n_tangents; ++k) {
        double* dw = w + weight_tangents_at[index] + k * total + first;
        for (int64_t i = 0; i < r.n_outputs(); ++i) {
          double sum = 0;
          for (int64_t j = 0; j < r.n_inputs(); ++j) sum += jacobian[i * r.n_inputs() + j] * df[k * f + r.inputs()[j]];
          dw[i] = sum;
        }
      }
      first += r.n_outputs();
    }
  }
}

void Query::Impl::evaluate_stretch(const StretchMap& map, double* w) const {
  const OutputModel::Segment& o = *map.like;
  const double s = (w + features_at)[o.stretch_feature] / o.stretch_reference;
  auto* piece = reinterpret_cast<int64_t*>(w + map.piece_at);
  double* offset = w + map.offset_at;
  double* u = w + temporary_at;
  const std::vector<double>& breakpoints = map.pieces.breakpoints;
  // Strictly below the end, so that a last interval is found for it.
  const double end = std::nextafter(breakpoints.back(), breakpoints.front());
  const Stretch::Tail tail = o.stretch->tail(s);
  const double x0 = o.stretch->x0, x_full = o.stretch->x_full, front = breakpoints.front();
  const double* x = map.points.data();
  for (int64_t i = 0; i < map.n_full; ++i) u[i] = x0 + s * (x[i] - x0);
  for (int64_t i = map.n_full; i < map.n_padded; ++i) {
    const double delta = x[i] - x_full;
    u[i] = tail.c0 + delta * (s + delta * tail.c2);
  }
  for (int64_t i = 0; i < map.n_inside; ++i) u[i] = std::min(std::max(u[i], front), end);
  // Beyond the segment the last piece goes on: at most to the next segment's first point.
  const int64_t last = map.pieces.n - 1;
  for (int64_t i = map.n_inside; i < map.n_padded; ++i) {
    offset[i] = u[i] - breakpoints[last];
    piece[i] = last;
  }
  find_intervals(u, map.n_inside, breakpoints.data(), map.intervals.first.data(), map.intervals.origin,
                 map.intervals.inverse_step, piece, offset);
}

void Query::Impl::evaluate_part(const Node& node, const Part& part, int n_tangents, double* w) const {
  const int64_t n_weights = model->outputs[node.output].n_weights(), f = n_features();
  const double* weights = w + weights_at[node.output] + part.first_weight;
  const double* weight_tangents = w + weight_tangents_at[node.output] + part.first_weight;
  double* values = w + node.values_at + part.first;
  double* tangents = w + node.tangents_at + part.first;
  const auto expand = [&](int k, double* out) {
    const double* x = k < 0 ? weights : weight_tangents + k * n_weights;
    for (size_t b = 0; b < part.blocks.size(); ++b) {
      const TiledMatrix& m = part.blocks[b];
      tiled_product(m.tiles.data(), m.rows, m.columns, x, b > 0 ? out : k < 0 ? m.start.data() : nullptr, out);
      x += m.columns;
    }
  };
  if (part.stretch_map < 0) {
    for (int k = -1; k < n_tangents; ++k) expand(k, k < 0 ? values : tangents + k * node.n_padded);
    return;
  }
  const StretchMap& map = stretch_maps[part.stretch_map];
  const auto* piece = reinterpret_cast<const int64_t*>(w + map.piece_at);
  const double* offset = w + map.offset_at;
  const double* speed = map.speed.data();
  const int64_t stride = field_stride;
  double* coefficients = w + field_at;
  double* c = coefficients + 2 * stride;
  double* scratch = coefficients + 6 * stride;
  double* slope = n_tangents > 0 ? w + temporary_at : nullptr;
  for (int k = -1; k < n_tangents; ++k) {
    expand(k, coefficients);
    map.pieces.polynomials(coefficients, stride, scratch, c);
    double* row = k < 0 ? values : tangents + k * node.n_padded;
    piecewise_cubic(c, c + stride, c + 2 * stride, c + 3 * stride, piece, offset, map.n_padded, row,
                    k < 0 ? slope : nullptr);
    const double ds = k < 0 ? 0 : (w + feature_tangents_at)[k * f + part.segment->stretch_feature];
    if (ds == 0) continue;
    for (int64_t i = 0; i < part.n; ++i) row[i] += slope[i] * speed[i] * ds;
  }
}

void Query::Impl::evaluate_node(const Node& node, int n_tangents, double* w) const {
  const OutputModel& output = model->outputs[node.output];
  double* values = w + node.values_at;
  double* tangents = w + node.tangents_at;
  for (const Part& part : node.parts) evaluate_part(node, part, n_tangents, w);
  // Padding is transformed along: it must neither grow from one evaluation to the next nor divide by zero, for a host
  // may trap floating-point exceptions.
  std::fill(values + node.n, values + node.n_padded, 1.0);
  for (int k = 0; k < n_tangents; ++k) {
    std::fill(tangents + k * node.n_padded + node.n, tangents + (k + 1) * node.n_padded, 0.0);
  }
  PointContext context;
  context.n = node.n_padded;
  context.n_tangents = n_tangents;
  context.features = w + features_at;
  context.feature_tangents = w + feature_tangents_at;
  context.n_features = n_features();
  for (int i = 0; i < 2; ++i) {
    if (node.other[i] < 0) continue;
    context.other[i] = w + nodes[node.other[i]].values_at;
    context.other_tangents[i] = w + nodes[node.other[i]].tangents_at;
  }
  for (size_t i = output.point_transforms.size(); i-- > 0;) {
    context.log_axis = node.log_axes[i].data();
    undo(output.point_transforms[i], context, values, tangents);
  }
}

/// False where the family predicts none.
bool Query::Impl::predicted(int index, double* w, double* error) const {
  const OutputModel& output = model->outputs[index];
  *error = output.truncation_error;
  double* variance = w + weights_at[index];
  for (const auto& segment : output.segments) {
    for (const auto& block : segment.blocks) {
      if (!block.regressor->variance(w + features_at, variance, w + scratch_at)) return false;
      for (int64_t i = 0; i < block.regressor->n_outputs(); ++i) *error += variance[i];
    }
  }
  return true;
}

Verdict Query::Impl::run(const double* values, int n_tangents, const double* seeds, double* w) const {
  Verdict verdict = prepare(values, n_tangents, seeds, w);
  if (!verdict.inside()) return verdict;
  for (int64_t i = static_cast<int64_t>(plan.canonical.size()); i < n_features(); ++i) {
    if (needs_feature[i]) evaluate_feature(static_cast<int>(i), n_tangents, w);
  }
  if (judges()) {
    double error = 0, own = 0;
    for (size_t i = 0; i < needs_output.size(); ++i) {
      if (predicted(static_cast<int>(i), w, &own)) error += own;
    }
    if (!(error <= model->region.tolerance)) {
      verdict.reason = Verdict::Reason::error_bound;
      verdict.value = error;
      verdict.upper = model->region.tolerance;
      verdict.excess = error / model->region.tolerance - 1;
      return verdict;
    }
  }
  for (size_t i = 0; i < needs_output.size(); ++i) {
    if (needs_output[i]) evaluate_weights(static_cast<int>(i), n_tangents, w);
  }
  for (const StretchMap& map : stretch_maps) evaluate_stretch(map, w);
  for (const Node& node : nodes) evaluate_node(node, n_tangents, w);
  for (const int node : request_node) {
    if (!all_finite(w + nodes[node].values_at, nodes[node].n)) {
      throw Error(ZELOS_E_NUMERIC, "emulator " + model->name + ": output " +
                                       model->descriptions[nodes[node].output].name + " is not finite at this point");
    }
  }
  return verdict;
}

Verdict Query::Impl::run_along_names(const double* values, double* w) const {
  refuse_held(nullptr);
  const int n = static_cast<int>(n_names());
  double seeds[64 * 64];
  for (int i = 0; i < n * n; ++i) seeds[i] = i % (n + 1) == 0 ? 1.0 : 0.0;
  return run(values, n, seeds, w);
}

void Query::Impl::copy_values(const double* w, double* out) const {
  for (size_t r = 0; r < request_node.size(); ++r) {
    const Node& node = nodes[request_node[r]];
    std::memcpy(out + blocks[r].offset, w + node.values_at, node.n * sizeof(double));
  }
}

// --- public
// -------------------------------------------------------------------------------------------------------------

Query Emulator::query(const std::vector<std::string>& parameter_names, const std::vector<Request>& requests) const {
  auto impl = std::make_shared<Query::Impl>();
  impl->model = impl_;
  impl->names = parameter_names;
  if (parameter_names.size() > 64) {
    throw Error(ZELOS_E_ARGUMENT,
                "expected at most 64 parameter names, found " + std::to_string(parameter_names.size()));
  }
  impl->build(requests);
  return Query(impl);
}

int64_t Query::size() const { return impl_->size; }
int64_t Query::n_parameters() const { return impl_->n_names(); }
const std::vector<Query::Block>& Query::blocks() const { return impl_->blocks; }

Workspace Query::workspace() const {
  auto memory = std::make_unique<Workspace::Impl>();
  memory->memory = AlignedBuffer(impl_->workspace_size);
  return Workspace(std::move(memory));
}

Verdict Query::evaluate(const double* values, double* out, Workspace& workspace) const {
  double* w = workspace.impl().memory.data();
  const Verdict verdict = impl_->run(values, 0, nullptr, w);
  if (verdict.inside()) impl_->copy_values(w, out);
  return verdict;
}

int64_t Query::evaluate(int64_t n, const double* values, double* out, Verdict* verdicts, Workspace& workspace) const {
  int64_t inside = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Verdict verdict = evaluate(values + i * n_parameters(), out + i * size(), workspace);
    inside += verdict.inside() ? 1 : 0;
    if (verdicts != nullptr) verdicts[i] = verdict;
  }
  return inside;
}

Verdict Query::jacobian(const double* values, double* out, double* jacobian, Workspace& workspace) const {
  double* w = workspace.impl().memory.data();
  const int n = static_cast<int>(n_parameters());
  const Verdict verdict = impl_->run_along_names(values, w);
  if (!verdict.inside()) return verdict;
  impl_->copy_values(w, out);
  for (size_t r = 0; r < impl_->request_node.size(); ++r) {
    const Node& node = impl_->nodes[impl_->request_node[r]];
    double* rows = jacobian + impl_->blocks[r].offset * n;
    const double* tangents = w + node.tangents_at;
    for (int64_t i = 0; i < node.n; ++i) {
      for (int k = 0; k < n; ++k) rows[i * n + k] = tangents[k * node.n_padded + i];
    }
  }
  return verdict;
}

Verdict Query::jvp(const double* values, const double* direction, double* out, double* product,
                   Workspace& workspace) const {
  impl_->refuse_held(direction);
  double* w = workspace.impl().memory.data();
  const Verdict verdict = impl_->run(values, 1, direction, w);
  if (!verdict.inside()) return verdict;
  impl_->copy_values(w, out);
  for (size_t r = 0; r < impl_->request_node.size(); ++r) {
    const Node& node = impl_->nodes[impl_->request_node[r]];
    std::memcpy(product + impl_->blocks[r].offset, w + node.tangents_at, node.n * sizeof(double));
  }
  return verdict;
}

Verdict Query::vjp(const double* values, const double* cotangent, double* out, double* product,
                   Workspace& workspace) const {
  double* w = workspace.impl().memory.data();
  const int n = static_cast<int>(n_parameters());
  const Verdict verdict = impl_->run_along_names(values, w);
  if (!verdict.inside()) return verdict;
  impl_->copy_values(w, out);
  std::fill(product, product + n, 0.0);
  for (size_t r = 0; r < impl_->request_node.size(); ++r) {
    const Node& node = impl_->nodes[impl_->request_node[r]];
    const double* c = cotangent + impl_->blocks[r].offset;
    for (int k = 0; k < n; ++k) {
      const double* tangent = w + node.tangents_at + k * node.n_padded;
      double sum = 0;
      for (int64_t i = 0; i < node.n; ++i) sum += c[i] * tangent[i];
      product[k] += sum;
    }
  }
  return verdict;
}

Verdict Query::verdict(const double* values, Workspace& workspace) const {
  double* w = workspace.impl().memory.data();
  Verdict verdict = impl_->prepare(values, 0, nullptr, w);
  if (!verdict.inside() || !impl_->judges()) return verdict;
  return impl_->run(values, 0, nullptr, w);
}

Verdict Query::predicted_error(const double* values, double* error, Workspace& workspace) const {
  double* w = workspace.impl().memory.data();
  const Verdict verdict = impl_->prepare(values, 0, nullptr, w);
  if (verdict.reason == Verdict::Reason::not_finite || verdict.reason == Verdict::Reason::no_solution) return verdict;
  for (int64_t i = static_cast<int64_t>(impl_->plan.canonical.size()); i < impl_->n_features(); ++i) {
    if (impl_->needs_feature[i]) impl_->evaluate_feature(static_cast<int>(i), 0, w);
  }
  for (size_t r = 0; r < impl_->request_node.size(); ++r) {
    const int output = impl_->nodes[impl_->request_node[r]].output;
    if (!impl_->predicted(output, w, &error[r])) error[r] = std::numeric_limits<double>::quiet_NaN();
  }
  return verdict;
}

Verdict Query::canonical(const double* values, double* parameters, Workspace& workspace) const {
  double* w = workspace.impl().memory.data();
  const Verdict verdict = impl_->prepare(values, 0, nullptr, w);
  if (verdict.reason == Verdict::Reason::not_finite || verdict.reason == Verdict::Reason::no_solution) return verdict;
  std::copy_n(w + impl_->features_at, impl_->plan.canonical.size(), parameters);
  return verdict;
}

}  // namespace zelos
