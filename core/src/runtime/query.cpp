// SPDX-License-Identifier: BSD-3-Clause
// query.cpp: the public face of a bound query.
#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/bound_query.hpp"

namespace zelos {

Workspace::Workspace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;
Workspace::~Workspace() = default;

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
  if (!impl_->has_error(verdict, w)) return verdict;
  impl_->evaluate_features(0, w);
  for (size_t r = 0; r < impl_->request_node.size(); ++r) {
    const int output = impl_->nodes[impl_->request_node[r]].output;
    if (!impl_->predicted(output, w, &error[r])) error[r] = std::numeric_limits<double>::quiet_NaN();
  }
  return verdict;
}

const std::vector<Physics>& Query::physics() const { return impl_->physics; }

Verdict Query::physics(const double* values, double* numbers, int32_t* told, Workspace& workspace) const {
  return impl_->tell(values, numbers, told, workspace.impl().memory.data());
}

Verdict Query::canonical(const double* values, double* parameters, Workspace& workspace) const {
  double* w = workspace.impl().memory.data();
  const Verdict verdict = impl_->prepare(values, 0, nullptr, w);
  if (!impl_->is_known(verdict, w)) return verdict;
  std::copy_n(w + impl_->features_at, impl_->plan.canonical.size(), parameters);
  return verdict;
}

}  // namespace zelos
