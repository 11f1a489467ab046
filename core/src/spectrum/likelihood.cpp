// SPDX-License-Identifier: BSD-3-Clause
// Likelihood with C = B + U U^T, B = L L^T of groups of pixels that are coupled by a few states (after Foreman-Mackey
// et al. 2017, by groups).
//   V = L^-1 U, y = L^-1 r, A = 1 + V^T V
//   log|C| = 2 sum log L_ii + log|A|,  r^T C^-1 r = y^T y - (V^T y)^T A^-1 (V^T y)
// Orders have U in common and a B each: the products of [y | V] are summed over them.
// With S the covariance of the states that the pixels before a group explain, and c what these say of the right-hand
// sides Y, each group in turn takes
//   L L^T = B_gg - u S u^T,  [z | W^T] = L^-1 ([Y | v] - u D),  D = [c | S T^T],  [c | S] <- T D + W [z | W^T]
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "spectrum/groups.hpp"
#include "zelos/simd/vector_math.hpp"
#include "zelos/spectrum.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// Pixels of a group that no local kernel holds together.
constexpr int64_t kGroup = 8;

constexpr int64_t padded(int64_t n) { return (n + simd::kLanes - 1) / simd::kLanes * simd::kLanes; }

// out +-= sum_k coefficients[k step] rows[k ld], for `columns` numbers rounded up to whole registers.
template <class Pack, int kPacks, bool kAdd>
ZELOS_ALWAYS_INLINE void accumulate_packs(double* out, int64_t terms, const double* coefficients, int64_t step,
                                          const double* rows, int64_t ld) {
  constexpr int kLanes = simd::lanes<Pack>;
  Pack sum[kPacks];
  for (int p = 0; p < kPacks; ++p) sum[p] = simd::load<Pack>(out + p * kLanes);
  for (int64_t k = 0; k < terms; ++k) {
    const double f = kAdd ? coefficients[k * step] : -coefficients[k * step];
    for (int p = 0; p < kPacks; ++p) sum[p] += f * simd::load<Pack>(rows + k * ld + p * kLanes);
  }
  for (int p = 0; p < kPacks; ++p) simd::store(out + p * kLanes, sum[p]);
}

template <class Pack, bool kAdd>
ZELOS_ALWAYS_INLINE void accumulate(double* out, int64_t columns, int64_t terms, const double* coefficients,
                                    int64_t step, const double* rows, int64_t ld) {
  constexpr int kLanes = simd::lanes<Pack>;
  int64_t at = 0;
  for (; at + 3 * kLanes < columns; at += 4 * kLanes) {
    accumulate_packs<Pack, 4, kAdd>(out + at, terms, coefficients, step, rows + at, ld);
  }
  for (; at + kLanes < columns; at += 2 * kLanes) {
    accumulate_packs<Pack, 2, kAdd>(out + at, terms, coefficients, step, rows + at, ld);
  }
  if (at < columns) accumulate_packs<Pack, 1, kAdd>(out + at, terms, coefficients, step, rows + at, ld);
}

ZELOS_ALWAYS_INLINE void transpose(const double* from, int64_t rows, int64_t columns, int64_t ld, double* to,
                                   int64_t ldt) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) to[j * ldt + i] = from[i * ld + j];
  }
}

// What a likelihood works on. Rows are padded to whole registers, so that all of them can be written up to there.
struct Recursion {
  int64_t pixels, sides, states;  // N, k + 1, d
  int64_t width, ld, ldu;         // sides + states, its row, a row of states
  std::vector<Process> processes;
  std::vector<Patch> patches;
  std::vector<Group> groups;
  VectorXd variance;
  bool kept;                          // what the backward pass needs
  double* r = nullptr;                // (N, ld): [Y | v], then [z | W^T]
  double* u = nullptr;                // (N, ldu)
  double *e = nullptr, *d = nullptr;  // (groups, d, ld): [c | S] and D at the start of a group
  double* roots = nullptr;            // L^T of each group, (n, padded(n))
  std::vector<std::array<Transition, 2>> transitions;

  int64_t next(std::size_t g) const { return g + 1 < groups.size() ? groups[g + 1].first : -1; }
  int64_t largest() const {
    int64_t n = 0;
    for (const auto& group : groups) n = std::max(n, group.count);
    return n;
  }
};

void covariance_of_group(const Recursion& a, const Group& group, double* block, int64_t lds) {
  std::fill(block, block + group.count * lds, 0.0);
  for (int64_t i = 0; i < group.count; ++i) block[i * lds + i] = a.variance[group.first + i];
  if (!group.patched) return;
  for (const auto& patch : a.patches) {
    if (patch.first < group.first || patch.first >= group.first + group.count) continue;
    const int64_t offset = patch.first - group.first;
    for (int64_t j = 0; j < patch.count; ++j) {
      double* row = block + (offset + j) * lds + offset;
      for (int64_t i = j; i < patch.count; ++i) row[i] += patch(j, i);
    }
  }
}

// Sum of the logarithms of the diagonals of L; exponents apart, so that one logarithm is enough.
struct LogProduct {
  double mantissa = 1.0;
  int64_t exponent = 0;
  void add(double x) {
    mantissa *= x;
    if (mantissa > 1e-150 && mantissa < 1e150) return;  // the square root of a double is within
    int e = 0;
    mantissa = std::frexp(mantissa, &e);
    exponent += e;
  }
  double value() const { return std::log(mantissa) + static_cast<double>(exponent) * std::log(2.0); }
};

// False where a pivot is not positive.
template <class Pack>
ZELOS_ALWAYS_INLINE bool forward(Recursion& a, double& log_pivots) {
  constexpr int kLanes = simd::lanes<Pack>;
  const int64_t ld = a.ld, ldu = a.ldu, d = a.states, nd = d * ld;
  const int64_t most = a.largest();
  std::vector<double> x(static_cast<std::size_t>(most * ldu + simd::kLanes));
  std::vector<double> turned(static_cast<std::size_t>(std::max<int64_t>(d, 1) * padded(most) + simd::kLanes));
  LogProduct product;
  double* root = a.roots;
  for (std::size_t g = 0; g < a.groups.size(); ++g) {
    const Group& group = a.groups[g];
    const int64_t n = group.count, lds = padded(n), next = a.next(g);
    double* r = a.r + group.first * ld;
    double* u = a.u + (a.kept ? group.first * ldu : 0);
    double* e = a.e + (a.kept ? static_cast<int64_t>(g) * nd : 0);
    double* after = a.e + (a.kept ? static_cast<int64_t>(g + 1) * nd : nd);
    double* dd = a.d + (a.kept ? static_cast<int64_t>(g) * nd : 0);
    if (d == 0 && n == 1 && !group.patched) {  // independent of all others
      const double variance = a.variance[group.first];
      if (!(variance > 0.0) || !std::isfinite(variance)) return false;
      const double pivot = std::sqrt(variance), inverse = 1.0 / pivot;
      product.add(pivot);
      root[0] = pivot;
      for (int64_t j = 0; j < ld; j += kLanes) simd::store(r + j, inverse * simd::load<Pack>(r + j));
      if (a.kept) root += lds;
      continue;
    }
    auto& transitions = a.transitions[a.kept && d > 0 ? g : 0];
    covariance_of_group(a, group, root, lds);
    for (std::size_t p = 0; p < a.processes.size(); ++p) {
      const auto at = static_cast<int64_t>(p) * kStates;
      generate(a.processes[p], group, next, root, lds, u + at, ldu, r + a.sides + at, ld, transitions[p]);
    }
    if (d > 0) {
      std::fill(x.begin(), x.begin() + n * ldu, 0.0);
      for (int64_t i = 0; i < n; ++i) {
        accumulate<Pack, true>(x.data() + i * ldu, d, d, u + i * ldu, 1, e + a.sides, ld);
      }
      transpose(u, n, d, ldu, turned.data(), lds);
      for (int64_t i = 0; i < n; ++i) {
        const int64_t from = i / kLanes * kLanes;
        accumulate<Pack, false>(root + i * lds + from, n - from, d, x.data() + i * ldu, 1, turned.data() + from, lds);
      }
      for (int64_t m = 0; m < d; ++m) {
        double* row = dd + m * ld;
        std::copy_n(e + m * ld, a.sides, row);
        std::fill(row + a.sides, row + ld, 0.0);
        for (std::size_t p = 0; p < a.processes.size() && next >= 0; ++p) {
          const double* s = e + m * ld + a.sides + static_cast<int64_t>(p) * kStates;
          double* to = row + a.sides + static_cast<int64_t>(p) * kStates;
          for (int64_t i = 0; i < kStates; ++i) {
            double sum = 0.0;
            for (int64_t j = 0; j < kStates; ++j) sum += s[j] * transitions[p](i, j);
            to[i] = sum;
          }
        }
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      const int64_t from = i / kLanes * kLanes;
      double* row = root + i * lds;
      accumulate<Pack, false>(row + from, n - from, i, root + i, lds, root + from, lds);
      if (!(row[i] > 0.0) || !std::isfinite(row[i])) return false;
      const double pivot = std::sqrt(row[i]), inverse = 1.0 / pivot;
      product.add(pivot);
      for (int64_t j = from; j < i; ++j) row[j] = 0.0;
      row[i] = pivot;
      for (int64_t j = i + 1; j < n; ++j) row[j] *= inverse;
      double* side = r + i * ld;
      accumulate<Pack, false>(side, a.width, d, u + i * ldu, 1, dd, ld);
      accumulate<Pack, false>(side, a.width, i, root + i, lds, r, ld);
      for (int64_t j = 0; j < a.width; ++j) side[j] *= inverse;
    }
    if (d > 0 && next >= 0) {
      std::fill(after, after + nd, 0.0);
      for (int64_t m = 0; m < d; ++m) {
        const int64_t block = m / kStates * kStates;
        const Transition& t = transitions[static_cast<std::size_t>(m / kStates)];
        accumulate<Pack, true>(after + m * ld, a.width, kStates, &t(m - block, 0), 1, dd + block * ld, ld);
        accumulate<Pack, true>(after + m * ld, a.width, n, r + a.sides + m, ld, r, ld);
      }
      if (!a.kept) std::copy(after, after + nd, e);
    }
    if (a.kept) root += n * lds;
  }
  log_pivots = product.value();
  return true;
}

// Derivatives by what the forward pass was given: by z (N, ld; the columns of the sides) and -log|L| they become those
// by Y in the same place; by the kernels in `by_scale` and `by_length` of each process, and in `by_patch`.
struct Backward {
  double* r = nullptr;
  std::vector<VectorXd> by_scale;
  std::vector<double> by_length;
  VectorXd by_variance;
  std::vector<Eigen::Vector3d> by_patch;
};

template <class Pack>
ZELOS_ALWAYS_INLINE void backward(const Recursion& a, const VectorXd& wave, const std::vector<LocalKernel>& local,
                                  Backward& out) {
  constexpr int kLanes = simd::lanes<Pack>;
  const int64_t ld = a.ld, ldu = a.ldu, d = a.states, nd = d * ld, w = a.width;
  const int64_t most = a.largest(), ldm = padded(most);
  const auto make = [](int64_t rows, int64_t columns) {
    return std::vector<double>(static_cast<std::size_t>(rows * columns + simd::kLanes), 0.0);
  };
  std::vector<double> by_e = make(d, ld), by_d = make(d, ld), flipped = make(ld, std::max<int64_t>(ldu, ldm));
  std::vector<double> by_u = make(most, ldu), x = make(most, ldu), y = make(most, ldu), sum = make(1, ldu);
  std::vector<double> by_root = make(most, ldm), lower = make(most, ldm), q = make(most, ldm),
                      by_block = make(most, ldm);
  int64_t root_at = 0;
  for (const auto& group : a.groups) root_at += group.count * padded(group.count);
  for (std::size_t g = a.groups.size(); g-- > 0;) {
    const Group& group = a.groups[g];
    const int64_t n = group.count, lds = padded(n), next = a.next(g);
    root_at -= n * lds;
    const double* root = a.roots + root_at;
    const double* r = a.r + group.first * ld;
    const double* u = a.u + group.first * ldu;
    const double* e = a.e + static_cast<int64_t>(g) * nd;
    const double* dd = a.d + static_cast<int64_t>(g) * nd;
    double* by = out.r + group.first * ld;
    if (d == 0 && n == 1 && !group.patched) {
      const double inverse = 1.0 / root[0];
      double sum = -inverse;
      for (int64_t j = 0; j < w; ++j) {
        by[j] *= inverse;
        sum -= r[j] * by[j];
      }
      out.by_variance[group.first] = 0.5 * inverse * sum;
      continue;
    }
    const auto& transitions = a.transitions[d > 0 ? g : 0];
    std::array<Transition, 2> by_transition = {Transition::Zero(), Transition::Zero()};
    // [c | S] of the next group = T D + W [z | W^T]
    std::fill(by_d.begin(), by_d.end(), 0.0);
    if (next >= 0 && d > 0) {
      transpose(by_e.data(), d, w, ld, flipped.data(), ldu);
      for (int64_t i = 0; i < n; ++i) {
        accumulate<Pack, true>(by + i * ld, w, d, r + i * ld + a.sides, 1, by_e.data(), ld);
        // These columns are the last of a row, which is padded.
        std::fill(x.begin(), x.begin() + ldu, 0.0);
        accumulate<Pack, true>(x.data(), d, w, r + i * ld, 1, flipped.data(), ldu);
        for (int64_t m = 0; m < d; ++m) by[i * ld + a.sides + m] += x[static_cast<std::size_t>(m)];
      }
      for (int64_t m = 0; m < d; ++m) {
        const int64_t block = m / kStates * kStates;
        const Transition& t = transitions[static_cast<std::size_t>(m / kStates)];
        accumulate<Pack, true>(by_d.data() + m * ld, w, kStates, &t(0, m - block), kStates, by_e.data() + block * ld,
                               ld);
      }
      for (std::size_t p = 0; p < a.processes.size(); ++p) {
        const int64_t block = static_cast<int64_t>(p) * kStates;
        for (int64_t m = 0; m < kStates; ++m) {
          for (int64_t k = 0; k < kStates; ++k) {
            const double *left = by_e.data() + (block + m) * ld, *right = dd + (block + k) * ld;
            double sum = 0.0;
            for (int64_t j = 0; j < w; ++j) sum += left[j] * right[j];
            by_transition[p](m, k) += sum;
          }
        }
      }
    }
    // [z | W^T] = L^-1 ([Y | v] - u D)
    for (int64_t i = n - 1; i >= 0; --i) {
      accumulate<Pack, false>(by + i * ld, w, n - 1 - i, root + i * lds + i + 1, 1, by + (i + 1) * ld, ld);
      const double inverse = 1.0 / root[i * lds + i];
      for (int64_t j = 0; j < w; ++j) by[i * ld + j] *= inverse;
    }
    transpose(by, n, w, ld, flipped.data(), lds);
    for (int64_t j = 0; j < n; ++j) {
      const int64_t from = j / kLanes * kLanes;
      double* row = by_root.data() + j * lds;
      std::fill(row, row + lds, 0.0);
      accumulate<Pack, false>(row + from, n - from, w, r + j * ld, 1, flipped.data() + from, lds);
      for (int64_t i = from; i < j; ++i) row[i] = 0.0;
      for (int64_t i = n; i < lds; ++i) row[i] = 0.0;
      row[j] -= 1.0 / root[j * lds + j];
    }
    if (d > 0) {
      transpose(dd, d, w, ld, flipped.data(), ldu);
      std::fill(by_u.begin(), by_u.begin() + n * ldu, 0.0);
      for (int64_t i = 0; i < n; ++i) {
        accumulate<Pack, false>(by_u.data() + i * ldu, d, w, by + i * ld, 1, flipped.data(), ldu);
      }
      for (int64_t m = 0; m < d; ++m) {
        accumulate<Pack, false>(by_d.data() + m * ld, w, n, u + m, ldu, by, ld);
      }
    }
    // L L^T = block: 1/2 L^-T (P + P^T) L^-1, P the lower triangle of L^T by_root with half its diagonal.
    transpose(root, n, n, lds, lower.data(), lds);
    std::fill(q.begin(), q.begin() + n * lds, 0.0);
    for (int64_t j = 0; j < n; ++j) {
      accumulate<Pack, true>(q.data() + j * lds, n, n - j, by_root.data() + j * lds + j, 1, lower.data() + j * lds,
                             lds);
    }
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < j; ++i)
        q[static_cast<std::size_t>(j * lds + i)] = q[static_cast<std::size_t>(i * lds + j)];
    }
    for (int turn = 0; turn < 2; ++turn) {
      for (int64_t i = n - 1; i >= 0; --i) {
        accumulate<Pack, false>(q.data() + i * lds, n, n - 1 - i, root + i * lds + i + 1, 1, q.data() + (i + 1) * lds,
                                lds);
        const double inverse = 1.0 / root[i * lds + i];
        for (int64_t j = 0; j < n; ++j) q[static_cast<std::size_t>(i * lds + j)] *= inverse;
      }
      transpose(q.data(), n, n, lds, by_block.data(), lds);
      std::copy_n(by_block.data(), n * lds, q.data());
    }
    for (int64_t i = 0; i < n * lds; ++i) by_block[static_cast<std::size_t>(i)] *= 0.5;
    // block = C - u S u^T, D = [c | S T^T]
    if (d > 0) {
      std::fill(x.begin(), x.begin() + n * ldu, 0.0);
      std::fill(y.begin(), y.begin() + n * ldu, 0.0);
      for (int64_t i = 0; i < n; ++i) {
        accumulate<Pack, true>(x.data() + i * ldu, d, d, u + i * ldu, 1, e + a.sides, ld);
        accumulate<Pack, true>(y.data() + i * ldu, d, n, by_block.data() + i * lds, 1, u, ldu);
      }
      for (auto& value : x) value *= 2.0;
      for (int64_t i = 0; i < n; ++i) {
        accumulate<Pack, false>(by_u.data() + i * ldu, d, n, by_block.data() + i * lds, 1, x.data(), ldu);
      }
      std::fill(by_e.begin(), by_e.end(), 0.0);
      for (int64_t m = 0; m < d; ++m) {
        double* to = by_e.data() + m * ld;
        std::copy_n(by_d.data() + m * ld, a.sides, to);
        std::fill(sum.begin(), sum.end(), 0.0);
        accumulate<Pack, false>(sum.data(), d, n, u + m, ldu, y.data(), ldu);
        std::copy_n(sum.data(), d, to + a.sides);
        for (std::size_t p = 0; p < a.processes.size() && next >= 0; ++p) {
          const int64_t block = static_cast<int64_t>(p) * kStates;
          const double *by_s = by_d.data() + m * ld + a.sides + block, *s = e + m * ld + a.sides + block;
          for (int64_t k = 0; k < kStates; ++k) {
            for (int64_t j = 0; j < kStates; ++j) {
              to[a.sides + block + j] += by_s[k] * transitions[p](k, j);
              by_transition[p](k, j) += by_s[k] * s[j];
            }
          }
        }
      }
    }
    for (std::size_t p = 0; p < a.processes.size(); ++p) {
      const auto at = static_cast<int64_t>(p) * kStates;
      out.by_length[p] += degenerate(a.processes[p], group, next, by_block.data(), lds, by_u.data() + at, ldu,
                                     by + a.sides + at, ld, by_transition[p], out.by_scale[p].data());
    }
    for (int64_t i = 0; i < n; ++i) out.by_variance[group.first + i] = by_block[static_cast<std::size_t>(i * lds + i)];
    for (std::size_t i = 0; i < a.patches.size() && group.patched; ++i) {
      const Patch& patch = a.patches[i];
      if (patch.count == 0 || patch.first < group.first || patch.first >= group.first + n) continue;
      out.by_patch[i] = patch.slopes(wave, local[i], group.first, by_block.data(), lds);
    }
  }
}

// out (k, ld) += rows^T rows of (n, ld) numbers: the upper triangle, some rows at a time.
template <class Pack>
ZELOS_ALWAYS_INLINE void products(const double* rows, int64_t n, int64_t ld, int64_t k, double* out) {
  constexpr int kLanes = simd::lanes<Pack>;
  constexpr int64_t kAtOnce = 64;
  for (int64_t first = 0; first < n; first += kAtOnce) {
    const int64_t count = std::min(kAtOnce, n - first);
    const double* some = rows + first * ld;
    for (int64_t i = 0; i < k; ++i) {
      const int64_t from = i / kLanes * kLanes;
      accumulate<Pack, true>(out + i * ld + from, k - from, count, some + i, ld, some + from, ld);
    }
  }
}

// out = rows matrix, of (n, ld) numbers of which k count, and a matrix (k, ld).
template <class Pack>
ZELOS_ALWAYS_INLINE void multiply(const double* rows, int64_t n, int64_t ld, int64_t k, const double* matrix,
                                  double* out) {
  std::fill_n(out, n * ld, 0.0);
  for (int64_t i = 0; i < n; ++i) accumulate<Pack, true>(out + i * ld, k, k, rows + i * ld, 1, matrix, ld);
}

#define ZELOS_EACH_ISA(RESULT, NAME, SIGNATURE, ARGUMENTS)                                   \
  ZELOS_TARGET_AVX512 RESULT NAME##_avx512 SIGNATURE { return NAME<simd::Pack8> ARGUMENTS; } \
  ZELOS_TARGET_AVX2 RESULT NAME##_avx2 SIGNATURE { return NAME<simd::Pack4> ARGUMENTS; }     \
  RESULT NAME##_base SIGNATURE { return NAME<simd::Pack2> ARGUMENTS; }                       \
  RESULT run_##NAME SIGNATURE {                                                              \
    switch (simd::isa()) {                                                                   \
      case simd::Isa::kAvx512:                                                               \
        return NAME##_avx512 ARGUMENTS;                                                      \
      case simd::Isa::kAvx2:                                                                 \
        return NAME##_avx2 ARGUMENTS;                                                        \
      default:                                                                               \
        return NAME##_base ARGUMENTS;                                                        \
    }                                                                                        \
  }
ZELOS_EACH_ISA(bool, forward, (Recursion & a, double& log_pivots), (a, log_pivots))
ZELOS_EACH_ISA(void, backward,
               (const Recursion& a, const VectorXd& wave, const std::vector<LocalKernel>& local, Backward& out),
               (a, wave, local, out))
ZELOS_EACH_ISA(void, products, (const double* rows, int64_t n, int64_t ld, int64_t k, double* out),
               (rows, n, ld, k, out))
ZELOS_EACH_ISA(void, multiply,
               (const double* rows, int64_t n, int64_t ld, int64_t k, const double* matrix, double* out),
               (rows, n, ld, k, matrix, out))
#undef ZELOS_EACH_ISA

// Arrays of one call. Fresh pages would cost as much as the numbers in them: each thread keeps its block, but a huge
// one only until the next call. Each array may be written a register beyond its end.
class Workspace {
 public:
  using Sizes = std::array<int64_t, 6>;

  static std::size_t total(const Sizes& sizes) {
    std::size_t total = 0;
    for (const int64_t size : sizes) total += space(size);
    return total;
  }

  explicit Workspace(std::size_t total) {
    constexpr std::size_t kKept = std::size_t{1} << 23;  // doubles
    thread_local std::vector<double> block;
    if (block.size() < total || (block.size() > kKept && total <= kKept)) {
      block = std::vector<double>();
      block.resize(total);
    }
    next_ = block.data();
  }

  // The arrays after those of the call before.
  std::array<double*, 6> take(const Sizes& sizes) {
    std::array<double*, 6> arrays{};
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      arrays[i] = next_;
      next_ += space(sizes[i]);
    }
    return arrays;
  }

 private:
  static std::size_t space(int64_t size) { return static_cast<std::size_t>(padded(size) + 2 * simd::kLanes); }

  double* next_;
};

[[noreturn]] void fail(const std::string& message) { throw Error(ZELOS_E_ARGUMENT, "spectral likelihood: " + message); }

VectorXd velocity(const VectorXd& wave) {
  if (wave.size() < 1 || !(wave[0] > 0.0)) fail("wavelengths are positive");
  for (Index i = 1; i < wave.size(); ++i) {
    if (!(wave[i] > wave[i - 1])) fail("wavelengths ascend: pixel " + std::to_string(i) + " does not");
  }
  // From the first: what rounding leaves is a fraction of the order's extent.
  return kLightSpeed / 4.0 * ((wave.array() - wave[0]) / wave[0]).log1p();
}

// The global kernel's numbers, as a process.
struct Global {
  Steps steps;
  VectorXd scale;
  double length = 0.0;

  Global(const VectorXd& position, const GlobalKernel& kernel) : length(std::exp(kernel.log_length)) {
    if (!std::isfinite(kernel.log_amplitude)) fail("the global kernel's log_amp is finite");
    if (!(length > 0.0) || !std::isfinite(length)) fail("the global kernel's length scale is positive and finite");
    steps = Steps(position, length);
    scale.setConstant(position.size(), std::exp(0.5 * kernel.log_amplitude));
  }
  Process process(const VectorXd& position) const {
    return {position.data(), length, steps.decay.data(), steps.cosine.data(), steps.sine.data(), scale.data()};
  }
};

}  // namespace

Pixels::Pixels(VectorXd wave, VectorXd variance, double correlation_length)
    : wave_(std::move(wave)),
      variance_(std::move(variance)),
      position_(velocity(wave_)),
      correlation_length_(correlation_length) {
  if (variance_.size() != wave_.size() || !variance_.allFinite() || (variance_.array() < 0.0).any()) {
    fail("the variance of each pixel is finite and not negative");
  }
  if (!(correlation_length >= 0.0) || !std::isfinite(correlation_length)) {
    fail("the correlation length is finite and not negative");
  }
  if (correlation_length > 0.0) {
    const Steps steps(position_, correlation_length);
    decay_ = steps.decay;
    cosine_ = steps.cosine;
    sine_ = steps.sine;
  }
}

void Pixels::check(const PixelCovariance& covariance) const {
  if (covariance.factors.rows() != size()) {
    fail("expected factors of " + std::to_string(size()) + " pixels, found " +
         std::to_string(covariance.factors.rows()));
  }
  if (covariance.spread.size() != 0 && covariance.spread.size() != size()) {
    fail("expected a spread of " + std::to_string(size()) + " pixels, found " +
         std::to_string(covariance.spread.size()));
  }
  if (!covariance.factors.allFinite() || !covariance.spread.allFinite()) {
    fail("the emulator's covariance is not finite");
  }
}

// An order on its way through a likelihood.
struct Pixels::Work {
  const Pixels& pixels;
  const VectorXd& residual;
  const PixelCovariance& covariance;
  bool correlated;
  std::optional<Global> global;
  Recursion a;
  Workspace::Sizes sizes{};

  Work(const ModelledOrder& order, bool kept)
      : pixels(order.pixels), residual(order.residual), covariance(order.covariance) {
    pixels.check(covariance);
    const Index n = pixels.size();
    if (residual.size() != n) fail("expected a residual of " + std::to_string(n) + " pixels");
    if (!residual.allFinite()) fail("a residual is not finite");
    a.pixels = n;
    a.sides = factors() + 1;
    a.kept = kept;
    a.variance = pixels.variance_;
    correlated = spreads() && pixels.correlation_length_ > 0.0;
    const double* position = pixels.position_.data();
    if (spreads() && !correlated) a.variance.array() += covariance.spread.array().square();
    if (correlated) {
      a.processes.push_back({position, pixels.correlation_length_, pixels.decay_.data(), pixels.cosine_.data(),
                             pixels.sine_.data(), covariance.spread.data()});
    }
    if (covariance.has_global) {
      global.emplace(pixels.position_, covariance.global);
      a.processes.push_back(global->process(pixels.position_));
    }
    for (const auto& kernel : covariance.local) a.patches.emplace_back(pixels.wave_, kernel);
    a.states = kStates * static_cast<int64_t>(a.processes.size());
    a.groups = make_groups(n, a.patches, a.states > 0 ? kGroup : 1);
    a.width = a.sides + a.states;
    a.ld = padded(a.width);
    a.ldu = padded(std::max<int64_t>(a.states, 1));
    const auto count = static_cast<int64_t>(a.groups.size()), most = a.largest();
    int64_t roots = most * padded(most);
    if (kept) {
      roots = 0;
      for (const auto& group : a.groups) roots += group.count * padded(group.count);
    }
    sizes = {n * a.ld,
             (kept ? n : most) * a.ldu,
             (kept ? count + 1 : 2) * a.states * a.ld,
             (kept ? count : 1) * a.states * a.ld,
             roots,
             kept ? n * a.ld : 0};
  }

  Index factors() const { return covariance.factors.cols(); }
  bool spreads() const { return covariance.spread.size() > 0; }

  // Adds log|L| and the products of the columns of [y | V].
  void forward(Workspace& workspace, double& log_pivots, MatrixXd& gram) {
    const auto arrays = workspace.take(sizes);
    a.r = arrays[0];
    a.u = arrays[1];
    a.e = arrays[2];
    a.d = arrays[3];
    a.roots = arrays[4];
    by_r_ = arrays[5];
    const Index n = a.pixels, k = factors();
    for (Index i = 0; i < n; ++i) {
      double* row = a.r + i * a.ld;
      row[0] = residual[i];
      const double* factors = covariance.factors.data() + i * k;
      for (Index j = 0; j < k; ++j) row[1 + j] = factors[j];
      for (Index j = a.sides; j < a.ld; ++j) row[j] = 0.0;
    }
    std::fill_n(a.e, a.states * a.ld, 0.0);
    a.transitions.resize(a.kept && a.states > 0 ? a.groups.size() : 1);
    double own = 0.0;
    if (!run_forward(a, own)) {
      throw Error(ZELOS_E_NUMERIC, "spectral likelihood: the covariance of the pixels is not positive definite");
    }
    log_pivots += own;
    RowMatrix upper = RowMatrix::Zero(a.sides, a.ld);
    run_products(a.r, n, a.ld, a.sides, upper.data());
    gram.topLeftCorner(a.sides, a.sides) += upper.leftCols(a.sides);
  }

  // `by_products`: [y | V] times it are the derivatives by [y | V].
  LikelihoodSlopes backward(const MatrixXd& by_products) const {
    const Index n = a.pixels;
    RowMatrix matrix = RowMatrix::Zero(a.sides, a.ld);
    matrix.leftCols(a.sides) = by_products.topLeftCorner(a.sides, a.sides);
    Backward back;
    back.r = by_r_;
    run_multiply(a.r, n, a.ld, a.sides, matrix.data(), back.r);
    back.by_scale.assign(a.processes.size(), VectorXd::Zero(n));
    back.by_length.assign(a.processes.size(), 0.0);
    back.by_variance.setZero(n);
    back.by_patch.assign(a.patches.size(), Eigen::Vector3d::Zero());
    run_backward(a, pixels.wave_, covariance.local, back);
    LikelihoodSlopes slopes;
    using Map = Eigen::Map<const RowMatrix, 0, Eigen::OuterStride<>>;
    const Map by(back.r, n, a.width, Eigen::OuterStride<>(a.ld));
    slopes.residual = by.col(0);
    slopes.factors = by.middleCols(1, factors());
    if (correlated) {
      slopes.spread = back.by_scale.front();
    } else if (spreads()) {
      slopes.spread = 2.0 * covariance.spread.cwiseProduct(back.by_variance);
    }
    slopes.kernels.resize((global ? 2 : 0) + 3 * static_cast<Index>(a.patches.size()));
    Index at = 0;
    if (global) {
      slopes.kernels[at++] = 0.5 * back.by_scale.back().dot(global->scale);
      slopes.kernels[at++] = back.by_length.back();
    }
    for (const auto& patch : back.by_patch) {
      slopes.kernels.segment<3>(at) = patch;
      at += 3;
    }
    return slopes;
  }

 private:
  double* by_r_ = nullptr;
};

double log_likelihood(const std::vector<ModelledOrder>& orders, std::vector<LikelihoodSlopes>* slopes) {
  if (orders.empty()) fail("expected at least one order");
  const bool kept = slopes != nullptr;
  std::vector<Pixels::Work> works;
  works.reserve(orders.size());
  Index k = 0;
  std::size_t most = 0, sum = 0;
  for (const auto& order : orders) {
    const auto& work = works.emplace_back(order, kept);
    const std::size_t total = Workspace::total(work.sizes);
    k = std::max(k, work.factors());
    most = std::max(most, total);
    sum += total;
  }
  MatrixXd gram = MatrixXd::Zero(k + 1, k + 1);  // its upper triangle counts
  double log_pivots = 0.0;
  Workspace all(kept ? sum : most);
  for (auto& work : works) {
    Workspace own = all;  // without slopes, where the order before had been
    work.forward(kept ? all : own, log_pivots, gram);
  }

  const double yy = gram(0, 0);
  const VectorXd vy = gram.row(0).tail(k).transpose();
  MatrixXd inner = gram.bottomRightCorner(k, k).transpose();  // the lower triangle counts
  inner.diagonal().array() += 1.0;
  const Eigen::LLT<MatrixXd> llt(inner);
  if (llt.info() != Eigen::Success) {
    throw Error(ZELOS_E_NUMERIC, "spectral likelihood: the covariance of the weights is not positive definite");
  }
  const VectorXd t = llt.solve(vy);
  const double log_det = 2.0 * (log_pivots + llt.matrixLLT().diagonal().array().log().sum());
  const double value = -0.5 * (log_det + yy - vy.dot(t));
  if (!std::isfinite(value)) throw Error(ZELOS_E_NUMERIC, "spectral likelihood: not finite");
  if (!kept) return value;

  // ((-1, t^T), (t, -A^-1 - t t^T))
  MatrixXd by_products(k + 1, k + 1);
  by_products(0, 0) = -1.0;
  by_products.row(0).tail(k) = t.transpose();
  by_products.col(0).tail(k) = t;
  by_products.bottomRightCorner(k, k) = -llt.solve(MatrixXd::Identity(k, k)) - t * t.transpose();
  slopes->clear();
  for (const auto& work : works) slopes->push_back(work.backward(by_products));
  return value;
}

MatrixXd Pixels::dense(const PixelCovariance& covariance) const {
  check(covariance);
  const Index n = size();
  MatrixXd c = covariance.factors * covariance.factors.transpose();
  c.diagonal() += variance_;
  const auto add = [&](double length, const VectorXd& scale) {
    for (Index j = 0; j < n; ++j) {
      for (Index i = 0; i < n; ++i) {
        const double q = std::abs(position_[i] - position_[j]) / length, s = std::sqrt(3.0) * q;
        c(i, j) += 0.5 * scale[i] * scale[j] * (1.0 + s) * std::exp(-s) * (1.0 + std::cos(kTaper * q));
      }
    }
  };
  if (covariance.spread.size() > 0) {
    if (correlation_length_ > 0.0) {
      add(correlation_length_, covariance.spread);
    } else {
      c.diagonal().array() += covariance.spread.array().square();
    }
  }
  if (covariance.has_global) {
    const Global global(position_, covariance.global);
    add(global.length, global.scale);
  }
  for (const auto& kernel : covariance.local) {
    const Patch patch(wave_, kernel);
    for (Index j = 0; j < patch.count; ++j) {
      for (Index i = 0; i < patch.count; ++i) c(patch.first + i, patch.first + j) += patch(i, j);
    }
  }
  return c;
}

VectorXd Pixels::diagonal(const PixelCovariance& covariance) const {
  check(covariance);
  VectorXd c = variance_ + covariance.factors.rowwise().squaredNorm();
  if (covariance.spread.size() > 0) c.array() += covariance.spread.array().square();
  if (covariance.has_global) c.array() += std::exp(covariance.global.log_amplitude);
  for (const auto& kernel : covariance.local) {
    const Patch patch(wave_, kernel);
    for (Index i = 0; i < patch.count; ++i) c[patch.first + i] += patch(i, i);
  }
  return c;
}

}  // namespace zelos::spectrum
