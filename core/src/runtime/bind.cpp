// SPDX-License-Identifier: BSD-3-Clause
// bind.cpp: from names and requests to a bound query.
#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "base/text.hpp"
#include "runtime/bound_query.hpp"
#include "runtime/resample.hpp"
#include "transforms/cubic_spline.hpp"

namespace zelos {
namespace {

constexpr int64_t kLine = 8;  // doubles
constexpr int64_t aligned(int64_t n) { return (n + kLine - 1) / kLine * kLine; }

std::vector<double> subset_or_throw(const std::string& emulator, const OutputModel& output, size_t axis,
                                    const std::vector<double>& wanted) {
  const Output::Axis& native = output.axes[axis].axis;
  if (wanted.empty()) return native.values;
  // Points that differ from an end of the range by round-off alone are taken for that end.
  const double slack = 1e-12 * std::max(std::abs(native.values.front()), std::abs(native.values.back()));
  std::vector<double> points(wanted);
  const std::string where = "emulator " + emulator + ", output " + output.description->name + ": " + native.name;
  const bool multipoles = native.name == "ell";  // the runs say nothing of what lies between them
  for (double& x : points) {
    if (!(x >= native.values.front() - slack && x <= native.values.back() + slack)) {
      throw Error(ZELOS_E_ARGUMENT, where + " = " + to_text(x) + " is outside [" + to_text(native.values.front()) +
                                        ", " + to_text(native.values.back()) + "]");
    }
    if (multipoles && std::abs(x - std::round(x)) > slack) {
      throw Error(ZELOS_E_ARGUMENT, where + " = " + to_text(x) + ": multipoles are whole numbers");
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

/// Coefficients times weights and then a cubic at each of n points, or a matrix with a row for each point.
bool cheaper_in_pieces(const OutputModel::Segment& segment, int64_t n) {
  if (segment.breakpoints.empty()) return false;
  constexpr int64_t kCubic = 8;  // a cubic at a point costs as much as so many multiplications of a matrix
  return (segment.mean.size() + kTile) * segment.n_weights() + n * kCubic < n * segment.n_weights();
}

}  // namespace

bool includes(const std::vector<double>& have, const std::vector<double>& wanted) {
  return std::includes(have.begin(), have.end(), wanted.begin(), wanted.end());
}

Eigen::MatrixXd pick(const std::vector<double>& have, const std::vector<double>& wanted, const Eigen::MatrixXd& field) {
  Eigen::MatrixXd rows(static_cast<int64_t>(wanted.size()), field.cols());
  for (size_t i = 0; i < wanted.size(); ++i) {
    rows.row(static_cast<int64_t>(i)) = field.row(std::lower_bound(have.begin(), have.end(), wanted[i]) - have.begin());
  }
  return rows;
}

Eigen::MatrixXd resample(const AxisModel& axis, const std::vector<double>& wanted, const Eigen::MatrixXd& field) {
  const std::vector<double>& native = axis.axis.values;
  if (wanted == native) return field;
  if (includes(native, wanted)) return pick(native, wanted, field);
  const std::vector<double> nodes = axis.mapped();
  const CubicSpline spline = CubicSpline::through_nodes(nodes);
  return spline.design(axis.map(wanted)) * spline.interpolate(nodes, field);
}

void Query::Impl::mark_feature(int feature, std::vector<char>* marks) const {
  if ((*marks)[feature]) return;
  (*marks)[feature] = 1;
  const Feature& f = model->features[feature];
  for (const int of : f.of) mark_feature(of, marks);
  if (f.amplitude >= 0) mark_feature(f.amplitude, marks);
  if (f.regressor) {
    for (const int of : f.regressor->inputs()) mark_feature(of, marks);
  }
}

int Query::Impl::add_spline_map(const OutputModel::Segment& segment, const std::vector<double>& axis) {
  const auto same_stretch = [&](const OutputModel::Segment& o) {
    if (!segment.stretch || !o.stretch) return segment.stretch.has_value() == o.stretch.has_value();
    return o.stretch_feature == segment.stretch_feature && o.stretch_reference == segment.stretch_reference &&
           o.stretch->x0 == segment.stretch->x0 && o.stretch->x_full == segment.stretch->x_full &&
           o.stretch->x_end == segment.stretch->x_end;
  };
  for (size_t i = 0; i < spline_maps.size(); ++i) {
    const SplineMap& map = spline_maps[i];
    if (map.axis == axis && map.like->breakpoints == segment.breakpoints && same_stretch(*map.like)) {
      return static_cast<int>(i);
    }
  }
  SplineMap map;
  map.like = &segment;
  map.axis = axis;
  map.n_padded = aligned(static_cast<int64_t>(axis.size()));
  map.points = axis;
  map.points.resize(map.n_padded, axis.back());
  map.pieces = CubicPieces(segment.breakpoints);
  if (segment.stretch) {
    const Stretch& s = *segment.stretch;
    map.n_full = std::upper_bound(map.points.begin(), map.points.end(), s.x_full) - map.points.begin();
    map.n_inside = std::upper_bound(map.points.begin(), map.points.end(), s.x_end) - map.points.begin();
    for (const double x : map.points) map.speed.push_back(s.derivative_s(x) / segment.stretch_reference);
    map.intervals = IntervalTable(segment.breakpoints);
  } else {
    map.offset = AlignedBuffer(map.n_padded);
    const auto first = segment.breakpoints.begin();
    for (int64_t i = 0; i < map.n_padded; ++i) {
      // Beyond the ends the outer pieces go on.
      const auto above = std::upper_bound(first + 1, segment.breakpoints.end() - 1, map.points[i]);
      map.piece.push_back(above - first - 1);
      map.offset[i] = map.points[i] - *(above - 1);
    }
  }
  spline_maps.push_back(std::move(map));
  return static_cast<int>(spline_maps.size()) - 1;
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
    int64_t inner = 1;
    const int64_t length = static_cast<int64_t>(axes[t.axis].size());
    for (size_t a = t.axis + 1; a < axes.size(); ++a) inner *= static_cast<int64_t>(axes[a].size());
    AlignedBuffer log_axis;
    if (t.kind == PointTransform::Kind::tilt) {
      log_axis = AlignedBuffer(node.n_padded);
      for (int64_t i = 0; i < node.n; ++i) log_axis[i] = std::log(axes[t.axis][i / inner % length] / t.pivot);
    }
    node.log_axes.push_back(std::move(log_axis));
    Node::Along along;
    if (t.kind == PointTransform::Kind::background) {
      for (const int of : t.source.feature) {
        if (of >= 0) mark_feature(of, &needs_feature);
      }
      along.points = axes[t.axis];
      along.at.assign(node.n_padded, 0);
      for (int64_t i = 0; i < node.n; ++i) along.at[i] = static_cast<int32_t>(i / inner % length);
    }
    node.alongs.push_back(std::move(along));
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
    if (segment.stretch) mark_feature(segment.stretch_feature, &needs_feature);
    const bool pieces = segment.stretch || cheaper_in_pieces(segment, part.n);
    if (pieces) part.spline_map = add_spline_map(segment, points[0]);
    const Eigen::VectorXd mean = pieces ? segment.mean : Eigen::VectorXd(resample_field(segment, points, segment.mean));
    for (const auto& block : segment.blocks) {
      const Eigen::MatrixXd basis = pieces ? block.basis : resample_field(segment, points, block.basis);
      part.blocks.emplace_back(basis, part.blocks.empty() ? mean : Eigen::VectorXd::Zero(mean.size()));
    }
    node.parts.push_back(std::move(part));
  }
  nodes.push_back(std::move(node));
  return static_cast<int>(nodes.size()) - 1;
}

void Query::Impl::build(const std::vector<Request>& requests) {
  plan = plan_names(*model, names);
  for (const NamePlan::Told& told : plan.told) physics.push_back(told.physics);
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
  for (SplineMap& map : spline_maps) {
    if (!map.stretched()) continue;
    map.piece_at = take(map.n_padded);
    map.offset_at = take(map.n_padded);
  }
  int64_t temporary = 0, field = 0, along_axis = 0;
  for (Node& node : nodes) {
    for (const Node::Along& along : node.alongs) {
      along_axis = std::max(along_axis, static_cast<int64_t>(along.points.size()) * (1 + t + kBackgroundInputs));
    }
    node.values_at = take(node.n_padded);
    node.tangents_at = take(node.n_padded * t);
    temporary = std::max(temporary, node.n_padded);
    for (const Part& part : node.parts) {
      if (part.spline_map >= 0) field = std::max(field, aligned(part.blocks[0].rows + kTile));
    }
  }
  temporary_at = take(temporary);
  background_at = take(along_axis);
  field_stride = field;
  field_at = take(12 * field);
  workspace_size = at;
}

}  // namespace zelos
