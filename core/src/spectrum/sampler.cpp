// SPDX-License-Identifier: BSD-3-Clause
// Rotation, Doppler shift and resampling as one linear operator.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <unsupported/Eigen/FFT>

#include "spectrum/batch_fft.hpp"
#include "zelos/simd/vector_math.hpp"
#include "zelos/spectrum.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

constexpr double kPi = 3.14159265358979323846;
// Pixels that are sampled together.
constexpr int64_t kAtOnce = simd::kLanes;

[[noreturn]] void fail(const std::string& message) { throw Error(ZELOS_E_ARGUMENT, "spectral model: " + message); }

// The even 2^a 3^b 5^c, not smaller and at most an eighth larger, whose transform takes the least: each radix is a pass
// over all numbers.
Index fast_length(Index n) {
  Index best = 0;
  double least = 0.0;
  for (Index length = n + n % 2; best == 0 || length <= n + n / 8; length += 2) {
    Index rest = length, passes = 0;
    for (const Index factor : {4, 2, 3, 5}) {
      for (; rest % factor == 0; rest /= factor) ++passes;
    }
    const double cost = static_cast<double>(length) * static_cast<double>(passes);
    if (rest == 1 && (best == 0 || cost < least)) {
      best = length;
      least = cost;
    }
  }
  return best;
}

// Fourier transform of the rotational profile with limb darkening 0.6 and its derivative, u = 2 pi v sin(i) f
// (Gray 2005, eq. 18.14): J1(u)/u - 3 cos(u) / 2u^2 + 3 sin(u) / 2u^3.
double rotation(double u, double* slope) {
  if (u < 0.5) {  // the sum of the two power series; the closed form cancels
    // J1(u)/u = sum (-1)^k (u/2)^2k / (2 k! (k+1)!);  3/2 j1(u)/u = 3 sum (-1)^k (k+1) u^2k / (2k+3)!
    double value = 0.0, by_square = 0.0;
    const double s = u * u;
    double bessel = 0.5, spherical = 0.5, power = 1.0, below = 0.0;
    for (int k = 0; k < 10; ++k) {
      value += (bessel + spherical) * power;
      by_square += k * (bessel + spherical) * below;
      below = power;
      power *= s;
      bessel *= -1.0 / (4.0 * (k + 1.0) * (k + 2.0));
      spherical *= -(k + 2.0) / ((k + 1.0) * (2.0 * k + 4.0) * (2.0 * k + 5.0));
    }
    if (slope != nullptr) *slope = 2.0 * u * by_square;
    return value;
  }
  const double c = std::cos(u), s = std::sin(u), j1u = ::j1(u) / u;
  const double u2 = u * u;
  if (slope != nullptr) {
    // d(J1/u)/du = -J2/u,  J2 = 2 J1/u - J0
    *slope = -(2.0 * j1u - ::j0(u)) / u + 1.5 * (s / u2 + 3.0 * c / (u2 * u) - 3.0 * s / (u2 * u2));
  }
  return j1u - 1.5 * c / u2 + 1.5 * s / (u2 * u);
}

// The same from a table: cubic Hermite, to 2e-12.
class RotationTable {
 public:
  static const RotationTable& instance() {
    static const RotationTable table;
    return table;
  }

  double operator()(double u, double* slope) const {
    const double t = u * kInverseStep;
    const auto i = static_cast<std::size_t>(t);
    if (i + 1 >= nodes_.size()) return rotation(u, slope);
    const Node &a = nodes_[i], &b = nodes_[i + 1];
    const double x = t - static_cast<double>(i), h = 1.0 / kInverseStep;
    const double rise = b.value - a.value, p = h * a.slope - rise, q = rise - h * b.slope;
    if (slope != nullptr) *slope = (rise + (1.0 - 2.0 * x) * (p * (1.0 - x) + q * x) + x * (1.0 - x) * (q - p)) / h;
    return a.value + x * rise + x * (1.0 - x) * (p * (1.0 - x) + q * x);
  }

 private:
  static constexpr double kInverseStep = 256.0;
  static constexpr int kNodes = 64 * 256;

  struct Node {
    double value, slope;
  };

  RotationTable() : nodes_(kNodes) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      nodes_[i].value = rotation(static_cast<double>(i) / kInverseStep, &nodes_[i].slope);
    }
  }

  std::vector<Node> nodes_;
};

// Values of the six quintic B-splines that reach a point at fraction t of its interval, or their derivatives.
template <class Pack>
ZELOS_ALWAYS_INLINE void quintic(Pack t, double* b) {
  constexpr double f = 1.0 / 120.0;
  const Pack u = 1.0 - t, t2 = t * t, u2 = u * u, t4 = t2 * t2, u4 = u2 * u2;
  simd::store(b, f * (u4 * u));
  simd::store(b + kAtOnce, f * (26.0 + t * (-50.0 + t * (20.0 + t * (20.0 + t * (-20.0 + t * 5.0))))));
  simd::store(b + 2 * kAtOnce, f * (66.0 + t2 * (-60.0 + t2 * (30.0 - 10.0 * t))));
  simd::store(b + 3 * kAtOnce, f * (66.0 + u2 * (-60.0 + u2 * (30.0 - 10.0 * u))));
  simd::store(b + 4 * kAtOnce, f * (26.0 + u * (-50.0 + u * (20.0 + u * (20.0 + u * (-20.0 + u * 5.0))))));
  simd::store(b + 5 * kAtOnce, f * (t4 * t));
}

template <class Pack>
ZELOS_ALWAYS_INLINE void quintic_slope(Pack t, double* b) {
  constexpr double f = 1.0 / 24.0;
  const Pack u = 1.0 - t, t2 = t * t, u2 = u * u;
  simd::store(b, -f * (u2 * u2));
  simd::store(b + kAtOnce, f * (-10.0 + t * (8.0 + t * (12.0 + t * (-16.0 + t * 5.0)))));
  simd::store(b + 2 * kAtOnce, f * (t * (-24.0 + t2 * (24.0 - 10.0 * t))));
  simd::store(b + 3 * kAtOnce, -f * (u * (-24.0 + u2 * (24.0 - 10.0 * u))));
  simd::store(b + 4 * kAtOnce, -f * (-10.0 + u * (8.0 + u * (12.0 + u * (-16.0 + u * 5.0)))));
  simd::store(b + 5 * kAtOnce, f * (t2 * t2));
}

// out (count, rows) = `factor` times the splines b (6, kAtOnce) of coefficients (.., stride) from each pixel's cell on.
// Each row of `out` may be written up to the stride, but for those of the last kAtOnce pixels.
template <class Pack>
ZELOS_ALWAYS_INLINE void combine(const double* coefficients, int64_t stride, int64_t rows, const int64_t* cells,
                                 int64_t count, const double* b, double factor, bool last, double* out) {
  double sums[kAtOnce];
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t r = 0; r < stride; r += simd::lanes<Pack>) {
      const double* from = coefficients + cells[i] * stride + r;
      Pack sum = b[i] * simd::load<Pack>(from);
      for (int k = 1; k < 6; ++k) sum += b[k * kAtOnce + i] * simd::load<Pack>(from + k * stride);
      sum *= factor;
      if (!last || r + simd::lanes<Pack> <= rows) {
        simd::store(out + i * rows + r, sum);
      } else {
        simd::store(sums, sum);
        for (int64_t k = r; k < rows; ++k) out[i * rows + k] = sums[k - r];
      }
    }
  }
}

// Samples at columns x (n), and their derivatives by x times `factor`, if asked for.
template <class Pack>
ZELOS_ALWAYS_INLINE void samples(const double* coefficients, int64_t stride, int64_t rows, const double* x, int64_t n,
                                 double factor, double* out, double* slope) {
  double t[kAtOnce] = {}, b[6 * kAtOnce];
  int64_t cells[kAtOnce];
  for (int64_t first = 0; first < n; first += kAtOnce) {
    const int64_t count = std::min(kAtOnce, n - first);
    const bool last = first + 2 * kAtOnce > n;
    for (int64_t i = 0; i < count; ++i) {
      cells[i] = static_cast<int64_t>(x[first + i]);
      t[i] = x[first + i] - static_cast<double>(cells[i]);
    }
    for (int64_t i = 0; i < kAtOnce; i += simd::lanes<Pack>) quintic<Pack>(simd::load<Pack>(t + i), b + i);
    combine<Pack>(coefficients, stride, rows, cells, count, b, 1.0, last, out + first * rows);
    if (slope == nullptr) continue;
    for (int64_t i = 0; i < kAtOnce; i += simd::lanes<Pack>) quintic_slope<Pack>(simd::load<Pack>(t + i), b + i);
    combine<Pack>(coefficients, stride, rows, cells, count, b, factor, last, slope + first * rows);
  }
}

#define ZELOS_SIGNATURE                                                                                              \
  (const double* coefficients, int64_t stride, int64_t rows, const double* x, int64_t n, double factor, double* out, \
   double* slope)
ZELOS_TARGET_AVX512 void samples_avx512 ZELOS_SIGNATURE {
  samples<simd::Pack8>(coefficients, stride, rows, x, n, factor, out, slope);
}
ZELOS_TARGET_AVX2 void samples_avx2 ZELOS_SIGNATURE {
  samples<simd::Pack4>(coefficients, stride, rows, x, n, factor, out, slope);
}
void samples_base ZELOS_SIGNATURE { samples<simd::Pack2>(coefficients, stride, rows, x, n, factor, out, slope); }
#undef ZELOS_SIGNATURE

// A thread's memory for transforms: fresh pages would cost as much as these.
double* transform_memory(std::size_t size) {
  thread_local std::vector<double> memory;
  if (memory.size() < size) memory.resize(size);
  return memory.data();
}

// Rows are transformed in pairs a + i b, four pairs at a time: `spectra` has for each eight rows and each frequency the
// real parts of a, the imaginary ones, and those of b. The result's columns are those of a, then those of b.
using Pairs = simd::Pack4;
constexpr Index kPairs = simd::lanes<Pairs>;

ZELOS_ALWAYS_INLINE void to_rows(const BatchFft& fft, const double* spectra, const double* by, double* x, Index stride,
                                 double* out) {
  const Index n = fft.length, half = n / 2;
  double* y = x + 2 * kPairs * n;
  for (Index first = 0; first < stride; first += 2 * kPairs) {
    for (Index k = 0; k <= half; ++k, spectra += 4 * kPairs) {
      const double f = by[k];
      const Pairs ar = f * simd::load<Pairs>(spectra), ai = f * simd::load<Pairs>(spectra + kPairs);
      const Pairs br = f * simd::load<Pairs>(spectra + 2 * kPairs), bi = f * simd::load<Pairs>(spectra + 3 * kPairs);
      simd::store(x + 2 * kPairs * k, ar - bi);
      simd::store(x + 2 * kPairs * k + kPairs, ai + br);
      if (k == 0 || k == half) continue;
      double* mirror = x + 2 * kPairs * (n - k);  // of the conjugates
      simd::store(mirror, ar + bi);
      simd::store(mirror + kPairs, br - ai);
    }
    const double* rows = fft.inverse<Pairs>(x, y);
    // The B-spline of coefficient k is centred on k; two before the first and three behind the last are reached.
    for (Index i = 0; i < n + 6; ++i) {
      const Index column = i < 2 ? i + n - 2 : (i < n + 2 ? i - 2 : i - n - 2);
      double* to = out + i * stride + first;
      simd::store(to, simd::load<Pairs>(rows + 2 * kPairs * column));
      simd::store(to + kPairs, simd::load<Pairs>(rows + 2 * kPairs * column + kPairs));
    }
  }
}

ZELOS_TARGET_AVX2 void to_rows_avx2(const BatchFft& fft, const double* spectra, const double* by, double* x,
                                    Index stride, double* out) {
  to_rows(fft, spectra, by, x, stride, out);
}

void to_rows_base(const BatchFft& fft, const double* spectra, const double* by, double* x, Index stride, double* out) {
  to_rows(fft, spectra, by, x, stride, out);
}

}  // namespace

struct RowSampler::Spectra {
  BatchFft fft;
  std::vector<double> rows;
};

RowSampler::~RowSampler() = default;
RowSampler::RowSampler(RowSampler&&) noexcept = default;

RowSampler::RowSampler(double log_first, double log_step, const RowMatrix& rows)
    : log_first_(log_first), log_step_(log_step), n_rows_(rows.rows()), n_columns_(rows.cols()) {
  if (rows.rows() < 1 || rows.cols() < 6) fail("expected at least one row of six wavelengths");
  if (!(log_step > 0.0) || !std::isfinite(log_first)) fail("wavelengths ascend");
  if (!rows.allFinite()) fail("a flux of the model is not finite");
  // Behind the last wavelength each row goes smoothly to its first value, so that it is periodic.
  length_ = fast_length(n_columns_ + std::max<Index>(64, n_columns_ / 16));
  stride_ = (n_rows_ + simd::kLanes - 1) / simd::kLanes * simd::kLanes;
  spectra_ = std::make_unique<Spectra>();
  spectra_->fft = BatchFft(length_);
  spectra_->rows.assign(static_cast<std::size_t>(2 * stride_ * (length_ / 2 + 1)), 0.0);
  Eigen::FFT<double> fft;
  fft.SetFlag(Eigen::FFT<double>::HalfSpectrum);
  VectorXd padded(length_);
  Eigen::VectorXcd transform;
  for (Index r = 0; r < n_rows_; ++r) {
    padded.head(n_columns_) = rows.row(r).transpose();
    const double last = rows(r, n_columns_ - 1), first = rows(r, 0);
    const Index rest = length_ - n_columns_;
    for (Index i = 0; i < rest; ++i) {
      const double t = static_cast<double>(i + 1) / static_cast<double>(rest + 1);
      padded[n_columns_ + i] = last + (first - last) * t * t * (3.0 - 2.0 * t);
    }
    fft.fwd(transform, padded);
    for (Index i = 0; i <= length_ / 2; ++i) {
      const double w = 2.0 * kPi * static_cast<double>(i) / static_cast<double>(length_);
      const auto value = transform[i] * (120.0 / (66.0 + 52.0 * std::cos(w) + 2.0 * std::cos(2.0 * w)));
      const Index block = r / (2 * kPairs), within = r % (2 * kPairs);
      double* to = spectra_->rows.data() + (block * (length_ / 2 + 1) + i) * 4 * kPairs + within % kPairs +
                   within / kPairs * 2 * kPairs;
      to[0] = value.real();
      to[kPairs] = value.imag();
    }
  }
}

RowMatrix RowSampler::coefficients(double vsini, RowMatrix* slope) const {
  if (!(vsini >= 0.0) || !std::isfinite(vsini)) fail("vsini is finite and not negative");
  const Index half = length_ / 2 + 1;
  VectorXd factor = VectorXd::Ones(half), change = VectorXd::Zero(half);
  if (vsini > 0.0 || slope != nullptr) {
    const double per_velocity =
        2.0 * kPi / (kLightSpeed * std::expm1(log_step_)) / static_cast<double>(length_);  // of u, at frequency 1
    const RotationTable& table = RotationTable::instance();
    for (Index i = 0; i < half; ++i) {
      const double scale = per_velocity * static_cast<double>(i);
      double by_u = 0.0;
      factor[i] = table(scale * vsini, slope == nullptr ? nullptr : &by_u);
      change[i] = by_u * scale;
    }
  }
  const auto back = [&](const VectorXd& by) {
    RowMatrix result(length_ + 6, stride_);
    const auto& fft = spectra_->fft;
    double* memory = transform_memory(static_cast<std::size_t>(4 * kPairs * fft.length));
    const VectorXd scaled = by / static_cast<double>(fft.length);
    (simd::isa() == simd::Isa::kBase ? to_rows_base : to_rows_avx2)(fft, spectra_->rows.data(), scaled.data(), memory,
                                                                    stride_, result.data());
    return result;
  };
  if (slope != nullptr) *slope = back(change);
  return back(factor);
}

void RowSampler::sample(const RowMatrix& coefficients, double vz, const VectorXd& at, RowMatrix& out,
                        RowMatrix* slope) const {
  if (coefficients.rows() != length_ + 6 || coefficients.cols() != stride_) {
    fail("the coefficients are another model's");
  }
  if (!(std::abs(vz) < kLightSpeed)) fail("vz is smaller than the velocity of light");
  const Index n = at.size();
  out.resize(n, n_rows_);
  if (slope != nullptr) slope->resize(n, n_rows_);
  const double shift = 0.5 * std::log((kLightSpeed + vz) / (kLightSpeed - vz));
  // Position by vz: -1 / (step) dshift/dvz, dshift/dvz = c / (c^2 - vz^2).
  const double by_velocity = -kLightSpeed / (kLightSpeed * kLightSpeed - vz * vz) / log_step_;
  // Rounding of a logarithm at the very ends.
  const double tolerance = 1e-6, last = static_cast<double>(n_columns_ - 1);
  std::vector<double> columns(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) {
    const double x = (at[i] - shift - log_first_) / log_step_;
    if (!(x >= -tolerance && x <= last + tolerance)) {
      const auto edge = [&](double column) {
        return std::to_string(std::exp(log_first_ + shift + column * log_step_));
      };
      fail("the wavelength " + std::to_string(std::exp(at[i])) + " is outside the emulator's " + edge(0.0) + " to " +
           edge(last) + " (shifted by vz = " + std::to_string(vz) + " km/s)");
    }
    columns[static_cast<std::size_t>(i)] = std::clamp(x, 0.0, last);
  }
  const auto run = simd::isa() == simd::Isa::kAvx512 ? samples_avx512
                   : simd::isa() == simd::Isa::kAvx2 ? samples_avx2
                                                     : samples_base;
  run(coefficients.data(), stride_, n_rows_, columns.data(), n, by_velocity, out.data(),
      slope == nullptr ? nullptr : slope->data());
}

}  // namespace zelos::spectrum
