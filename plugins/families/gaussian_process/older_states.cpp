// SPDX-License-Identifier: BSD-3-Clause
#include "older_states.hpp"

#include <cmath>

#include "left_out_variance.hpp"
#include "legendre_basis.hpp"
#include "likelihood.hpp"

namespace zelos::family {
namespace {

constexpr double kAgreement = 0.01;   ///< of mean squares
constexpr double kNegligible = 1e-6;  ///< of the largest variance: below, the rounding of the weights may matter

struct Kernel {
  KernelTerms terms;
  std::vector<Eigen::VectorXd> theta;  ///< of each group
};

Kernel stored_kernel(const zelos_state& state, Eigen::Index n_groups, Eigen::Index d) {
  const ConstRowMap length_scales = matrix(state, "length_scales");
  RowMatrix has_input = RowMatrix::Ones(1, d), amplitudes = RowMatrix::Ones(n_groups, 1);
  if (has_array(state, "terms")) {
    has_input = matrix(state, "terms");
    amplitudes = matrix(state, "amplitudes");
  }
  std::vector<std::vector<int64_t>> inputs(static_cast<size_t>(has_input.rows()));
  for (Eigen::Index t = 0; t < has_input.rows(); ++t) {
    for (Eigen::Index j = 0; j < d; ++j) {
      if (has_input(t, j) != 0.0) inputs[static_cast<size_t>(t)].push_back(j);
    }
  }
  Kernel kernel{KernelTerms(inputs), {}};
  const nlohmann::json groups = nlohmann::json::parse(state.settings_json).value("groups", nlohmann::json::array());
  for (Eigen::Index g = 0; g < n_groups; ++g) {
    const auto group = static_cast<size_t>(g);
    const double noise = group < groups.size() ? groups[group].value("noise_to_signal", 0.0) : 0.0;
    if (!(noise > 0.0)) {
      throw Error(ZELOS_E_FORMAT, "gaussian_process: settings: expected a 'noise_to_signal' above 0 for each of " +
                                      std::to_string(n_groups) + " groups");
    }
    Eigen::VectorXd theta(kernel.terms.n_theta());
    for (Eigen::Index t = 0; t < has_input.rows(); ++t) {
      const std::vector<int64_t>& of_term = inputs[static_cast<size_t>(t)];
      for (size_t k = 0; k < of_term.size(); ++k) {
        theta[kernel.terms.first_length(t) + static_cast<int64_t>(k)] =
            std::log(length_scales(g * has_input.rows() + t, of_term[k]));
      }
      if (t > 0) theta[kernel.terms.amplitude(t)] = std::log(amplitudes(g, t) / amplitudes(g, 0));
    }
    theta[kernel.terms.noise()] = std::log(noise);
    kernel.theta.push_back(std::move(theta));
  }
  return kernel;
}

void check(const RowMatrix& standard, const RowMatrix& variance_terms) {
  const double largest = variance_terms.col(0).maxCoeff();
  for (Eigen::Index o = 0; o < standard.cols(); ++o) {
    if (!(variance_terms(o, 0) > kNegligible * largest)) continue;
    const double found = standard.col(o).squaredNorm() / static_cast<double>(standard.rows());
    if (std::abs(found - 1.0) <= kAgreement) continue;
    throw Error(ZELOS_E_FORMAT, "gaussian_process: output " + std::to_string(o) +
                                    ": the leave-one-out errors that follow from the weights have " +
                                    std::to_string(found) + " times the mean square that is stored");
  }
}

}  // namespace

RowMatrix restore_left_out_errors(const zelos_state& state) {
  const RowMatrix x = matrix(state, "points");
  const RowMatrix weights = matrix(state, "weights"), variance_terms = matrix(state, "variance_terms");
  const ConstVectorMap group_size = vector(state, "group_size"), order = vector(state, "order");
  const auto kind = static_cast<Correlation>(static_cast<int>(vector(state, "kernel")[0]));
  const Eigen::MatrixXd trend = LegendreBasis::from_rows(matrix(state, "trend_index")).design(x);
  const Kernel kernel = stored_kernel(state, group_size.size(), x.cols());
  Eigen::MatrixXd errors(x.rows(), order.size());
  Eigen::Index row = 0;
  for (Eigen::Index g = 0; g < group_size.size(); ++g) {
    const auto size = static_cast<Eigen::Index>(group_size[g]);
    Likelihood likelihood(kind, kernel.terms, x, trend, Eigen::MatrixXd(x.rows(), 0));
    const Eigen::MatrixXd found = likelihood.left_out_errors(kernel.theta[static_cast<size_t>(g)],
                                                             weights.block(row, 0, size, x.rows()).transpose());
    for (Eigen::Index i = 0; i < size; ++i) errors.col(static_cast<Eigen::Index>(order[row + i])) = found.col(i);
    row += size;
  }
  RowMatrix standard = LeftOutVariance::standardise(x, errors, variance_terms);
  check(standard, variance_terms);
  return standard;
}

}  // namespace zelos::family
