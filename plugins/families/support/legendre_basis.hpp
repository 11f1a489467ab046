// SPDX-License-Identifier: BSD-3-Clause
// legendre_basis.hpp: products of orthonormal Legendre polynomials on [-1, 1]^d.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "family_support.hpp"
#include "vector_kernels.hpp"

namespace zelos::family {

using MultiIndex = std::vector<int>;

/// All alpha with sum_j (weight_j alpha_j)^q <= degree^q, by rising total degree. 0 < q <= 1,
/// weights > 0. ZELOS_E_ARGUMENT if there are more than max_terms.
inline std::vector<MultiIndex> index_set(int n_inputs, int degree, const std::vector<double>& weights, double q,
                                         size_t max_terms) {
  std::vector<MultiIndex> set;
  MultiIndex alpha(static_cast<size_t>(n_inputs), 0);
  const double limit = std::pow(degree, q) * (1.0 + 1e-12) + 1e-12;
  const auto visit = [&](const auto& self, size_t j, double used) -> void {
    if (j == alpha.size()) {
      if (set.size() == max_terms) {
        throw Error(ZELOS_E_ARGUMENT, "degree " + std::to_string(degree) + " in " + std::to_string(n_inputs) +
                                          " inputs has more than " + std::to_string(max_terms) + " terms");
      }
      set.push_back(alpha);
      return;
    }
    for (int a = 0;; ++a) {
      const double next = used + (a == 0 ? 0.0 : std::pow(weights[j] * a, q));
      if (next > limit) break;
      alpha[j] = a;
      self(self, j + 1, next);
    }
    alpha[j] = 0;
  };
  visit(visit, 0, 0.0);
  const auto total = [](const MultiIndex& a) { return std::accumulate(a.begin(), a.end(), 0); };
  std::stable_sort(set.begin(), set.end(),
                   [&](const MultiIndex& a, const MultiIndex& b) { return total(a) < total(b); });
  return set;
}

/// The terms of `set` but for powers that repeat lower ones on the points x (n, inputs): an input that has k different
/// values, such as a step, has k independent powers.
inline std::vector<MultiIndex> independent_terms(std::vector<MultiIndex> set, const Eigen::Ref<const RowMatrix>& x) {
  int most = 0;
  for (const MultiIndex& alpha : set) most = std::max(most, *std::max_element(alpha.begin(), alpha.end()));
  for (Eigen::Index j = 0; j < x.cols(); ++j) {
    std::set<double> values;
    for (Eigen::Index i = 0; i < x.rows() && values.size() <= static_cast<size_t>(most); ++i) values.insert(x(i, j));
    const auto repeats = [&](const MultiIndex& alpha) {
      return alpha[static_cast<size_t>(j)] >= static_cast<int>(values.size());
    };
    set.erase(std::remove_if(set.begin(), set.end(), repeats), set.end());
  }
  return set;
}

/// phi_alpha(x) = prod_j sqrt(2 alpha_j + 1) P_alpha_j(x_j). Each term is the product of a parent
/// term (its last non-constant factor left out) and one factor, so the set must hold the parent of
/// each term, before the term.
class LegendreBasis {
 public:
  LegendreBasis() = default;

  /// ZELOS_E_FORMAT if a parent is missing or the set is empty.
  explicit LegendreBasis(const std::vector<MultiIndex>& indices) : indices_(indices) {
    if (indices.empty() || indices[0].empty()) throw Error(ZELOS_E_FORMAT, "polynomial basis without terms");
    n_inputs_ = static_cast<int64_t>(indices[0].size());
    std::map<MultiIndex, int32_t> position;
    for (const MultiIndex& alpha : indices) {
      Term term{0, -1, 0};
      MultiIndex parent = alpha;
      for (int64_t j = n_inputs_ - 1; j >= 0 && term.input < 0; --j) {
        const size_t at = static_cast<size_t>(j);
        if (alpha[at] < 0) throw Error(ZELOS_E_FORMAT, "polynomial basis with a negative degree");
        max_degree_ = std::max(max_degree_, alpha[at]);
        if (alpha[at] == 0) continue;
        term.input = static_cast<int32_t>(j);
        term.degree = alpha[at];
        parent[at] = 0;
      }
      if (term.input >= 0) {
        const auto found = position.find(parent);
        if (found == position.end()) throw Error(ZELOS_E_FORMAT, "polynomial basis lacks the parent of a term");
        term.parent = found->second;
      } else if (!position.empty()) {
        throw Error(ZELOS_E_FORMAT, "polynomial basis: the constant term should be the first");
      }
      position.emplace(alpha, static_cast<int32_t>(terms_.size()));
      terms_.push_back(term);
    }
    for (int n = 0; n <= max_degree_; ++n) {
      recurrence_.push_back({std::sqrt(2.0 * n + 1.0), (2.0 * n + 1.0) / (n + 1.0), n / (n + 1.0)});
    }
  }

  /// From the rows of a stored array.
  static LegendreBasis from_rows(const ConstRowMap& rows) {
    std::vector<MultiIndex> indices;
    for (Eigen::Index t = 0; t < rows.rows(); ++t) {
      MultiIndex alpha;
      for (Eigen::Index j = 0; j < rows.cols(); ++j) {
        const double a = rows(t, j);
        if (!(a >= 0.0 && a <= 1000.0 && a == std::floor(a))) {
          throw Error(ZELOS_E_FORMAT, "polynomial basis: a degree is not an integer from 0 to 1000");
        }
        alpha.push_back(static_cast<int>(a));
      }
      indices.push_back(std::move(alpha));
    }
    return LegendreBasis(indices);
  }

  RowMatrix to_rows() const {
    RowMatrix rows(terms(), n_inputs_);
    for (int64_t t = 0; t < terms(); ++t) {
      for (int64_t j = 0; j < n_inputs_; ++j) rows(t, j) = indices_[static_cast<size_t>(t)][static_cast<size_t>(j)];
    }
    return rows;
  }

  int64_t n_inputs() const { return n_inputs_; }
  int64_t terms() const { return static_cast<int64_t>(terms_.size()); }
  int64_t padded_terms() const { return padded(terms()); }
  const MultiIndex& index(int64_t term) const { return indices_[static_cast<size_t>(term)]; }
  /// The parent of a term, itself for the constant.
  int64_t parent(int64_t term) const { return terms_[static_cast<size_t>(term)].parent; }

  /// Doubles of scratch for the functions below.
  int64_t workspace() const { return padded(2 * n_inputs_ * (max_degree_ + 1)); }

  /// phi[padded_terms], the padding set to 0.
  void evaluate(const double* x, double* phi, double* work) const {
    const int64_t stride = max_degree_ + 1;
    for (int64_t j = 0; j < n_inputs_; ++j) line(x[j], work + j * stride, nullptr);
    phi[0] = 1.0;
    for (int64_t t = 1; t < terms(); ++t) {
      const Term& term = terms_[static_cast<size_t>(t)];
      phi[t] = phi[term.parent] * work[term.input * stride + term.degree];
    }
    std::fill(phi + terms(), phi + padded_terms(), 0.0);
  }

  /// phi as above and gradient[j * padded_terms + t] = d phi_t / d x_j.
  void evaluate_gradient(const double* x, double* phi, double* gradient, double* work) const {
    const int64_t stride = max_degree_ + 1;
    double* slopes = work + n_inputs_ * stride;
    for (int64_t j = 0; j < n_inputs_; ++j) line(x[j], work + j * stride, slopes + j * stride);
    phi[0] = 1.0;
    for (int64_t t = 1; t < terms(); ++t) {
      const Term& term = terms_[static_cast<size_t>(t)];
      phi[t] = phi[term.parent] * work[term.input * stride + term.degree];
    }
    std::fill(phi + terms(), phi + padded_terms(), 0.0);
    for (int64_t j = 0; j < n_inputs_; ++j) {
      double* along = gradient + j * padded_terms();
      along[0] = 0.0;
      for (int64_t t = 1; t < terms(); ++t) {
        const Term& term = terms_[static_cast<size_t>(t)];
        const int64_t at = term.input * stride + term.degree;
        along[t] = term.input == j ? phi[term.parent] * slopes[at] : along[term.parent] * work[at];
      }
      std::fill(along + terms(), along + padded_terms(), 0.0);
    }
  }

  /// Matrix (n, terms) of the basis at the rows of x.
  template <class Points>
  Eigen::MatrixXd design(const Points& x) const {
    Eigen::MatrixXd phi(x.rows(), terms());
    std::vector<double> point(static_cast<size_t>(n_inputs_));
    std::vector<double> row(static_cast<size_t>(padded_terms()));
    std::vector<double> work(static_cast<size_t>(workspace()));
    for (Eigen::Index i = 0; i < x.rows(); ++i) {
      for (int64_t j = 0; j < n_inputs_; ++j) point[static_cast<size_t>(j)] = x(i, j);
      evaluate(point.data(), row.data(), work.data());
      for (int64_t t = 0; t < terms(); ++t) phi(i, t) = row[static_cast<size_t>(t)];
    }
    return phi;
  }

 private:
  struct Term {
    int32_t parent;
    int32_t input;
    int32_t degree;
  };

  void line(double x, double* value, double* slope) const {
    double before = 0.0, now = 1.0, slope_before = 0.0, slope_now = 0.0;
    for (int n = 0; n <= max_degree_; ++n) {
      const Recurrence& r = recurrence_[static_cast<size_t>(n)];
      value[n] = r.norm * now;
      if (slope != nullptr) slope[n] = r.norm * slope_now;
      const double next = r.of_now * x * now - r.of_before * before;
      const double slope_next = slope_before + (2 * n + 1) * now;
      before = now;
      now = next;
      slope_before = slope_now;
      slope_now = slope_next;
    }
  }

  /// P_{n+1} = of_now x P_n - of_before P_{n-1}; roots and quotients are found once.
  struct Recurrence {
    double norm, of_now, of_before;
  };

  std::vector<MultiIndex> indices_;
  std::vector<Term> terms_;
  std::vector<Recurrence> recurrence_;  ///< of each degree
  int64_t n_inputs_ = 0;
  int max_degree_ = 0;
};

}  // namespace zelos::family
