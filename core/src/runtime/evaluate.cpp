// SPDX-License-Identifier: BSD-3-Clause
// evaluate.cpp: from the features to the outputs.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/kernels.hpp"
#include "runtime/bound_query.hpp"

namespace zelos {

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

void Query::Impl::evaluate_spline_map(const SplineMap& map, double* w) const {
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
  // Whole registers of points: those beyond the segment's end were dealt with above.
  const int64_t whole = o.stretch->monotone(s) ? map.n_inside / 8 * 8 : 0;
  find_ascending_intervals(u, whole, breakpoints.data(), map.pieces.n, piece, offset);
  find_intervals(u + whole, map.n_inside - whole, breakpoints.data(), map.intervals.first.data(), map.intervals.origin,
                 map.intervals.inverse_step, piece + whole, offset + whole);
}

void Query::Impl::evaluate_part(const Node& node, const Part& part, int n_tangents, double* w) const {
  const int64_t n_weights = model->outputs[node.output].n_weights(), f = n_features();
  const double* weights = w + weights_at[node.output] + part.first_weight;
  const double* weight_tangents = w + weight_tangents_at[node.output] + part.first_weight;
  double* values = w + node.values_at + part.first;
  double* tangents = w + node.tangents_at + part.first;
  const auto expand = [&](int k, int64_t rows, double* out) {
    const double* x = k < 0 ? weights : weight_tangents + k * n_weights;
    for (size_t b = 0; b < part.blocks.size(); ++b) {
      const TiledMatrix& m = part.blocks[b];
      tiled_product(m.tiles.data(), rows, m.columns, x, b > 0 ? out : k < 0 ? m.start.data() : nullptr, out);
      x += m.columns;
    }
  };
  if (part.spline_map < 0) {
    for (int k = -1; k < n_tangents; ++k) expand(k, part.n, k < 0 ? values : tangents + k * node.n_padded);
    return;
  }
  const SplineMap& map = spline_maps[part.spline_map];
  const auto* piece = map.stretched() ? reinterpret_cast<const int64_t*>(w + map.piece_at) : map.piece.data();
  const double* offset = map.stretched() ? w + map.offset_at : map.offset.data();
  const double* speed = map.speed.data();
  const int64_t n_used = piece[map.n_padded - 1] + 1;  // ascending: no piece beyond is asked for
  const int64_t stride = field_stride;
  double* coefficients = w + field_at;
  double* c = coefficients + 2 * stride;
  double* scratch = coefficients + 10 * stride;
  double* slope = n_tangents > 0 && map.stretched() ? w + temporary_at : nullptr;
  for (int k = -1; k < n_tangents; ++k) {
    expand(k, n_used + 3, coefficients);
    map.pieces.polynomials(coefficients, n_used, stride, scratch, c);
    double* row = k < 0 ? values : tangents + k * node.n_padded;
    piecewise_cubic(c, stride, piece, offset, map.n_padded, row, k < 0 ? slope : nullptr);
    const double ds = k < 0 || !map.stretched() ? 0 : (w + feature_tangents_at)[k * f + part.segment->stretch_feature];
    if (ds == 0) continue;
    for (int64_t i = 0; i < part.n; ++i) row[i] += slope[i] * speed[i] * ds;
  }
}

void Query::Impl::evaluate_background(const PointTransform& transform, const Node::Along& along, int n_tangents,
                                      double* w, PointContext* context) const {
  const int64_t n = static_cast<int64_t>(along.points.size());
  double* values = w + background_at;
  double* tangents = values + n;
  double* gradient = tangents + n_tangents * n;
  double inputs[kBackgroundInputs];
  transform.source.read(w + features_at, inputs);
  background(transform.quantity, inputs, along.points.data(), n, values, n_tangents > 0 ? gradient : nullptr);
  for (int64_t i = 0; i < n; ++i) values[i] *= transform.power;
  for (int k = 0; k < n_tangents; ++k) {
    const double* df = w + feature_tangents_at + k * n_features();
    for (int64_t i = 0; i < n; ++i) {
      tangents[k * n + i] = transform.power * transform.source.chain(gradient + i * kBackgroundInputs, df);
    }
  }
  context->at = along.at.data();
  context->background = values;
  context->background_tangents = tangents;
  context->n_background = n;
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
    if (output.point_transforms[i].kind == PointTransform::Kind::background) {
      evaluate_background(output.point_transforms[i], node.alongs[i], n_tangents, w, &context);
    }
    undo(output.point_transforms[i], context, values, tangents);
  }
}

bool Query::Impl::variances(int index, double* w, double* v) const {
  for (const auto& segment : model->outputs[index].segments) {
    for (const auto& block : segment.blocks) {
      if (!block.regressor->variance(w + features_at, v, w + scratch_at)) return false;
      v += block.regressor->n_outputs();
    }
  }
  return true;
}

/// The expected sum of squares; false where the family predicts none.
bool Query::Impl::predicted(int index, double* w, double* error) const {
  const OutputModel& output = model->outputs[index];
  double* v = w + weights_at[index];
  if (!variances(index, w, v)) return false;
  *error = output.truncation_error;
  for (int64_t i = 0; i < output.n_weights(); ++i) *error += v[i];
  return true;
}

Verdict Query::Impl::run(const double* values, int n_tangents, const double* seeds, double* w) const {
  Verdict verdict = prepare(values, n_tangents, seeds, w);
  if (!verdict.inside()) return verdict;
  evaluate_features(n_tangents, w);
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
  for (const SplineMap& map : spline_maps) {
    if (map.stretched()) evaluate_spline_map(map, w);
  }
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

}  // namespace zelos
