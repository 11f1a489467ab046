// SPDX-License-Identifier: BSD-3-Clause
// Kernels of the residuals' covariance, added to a band.
#include <algorithm>
#include <cmath>
#include <string>

#include "zelos/simd/vector_math.hpp"
#include "zelos/spectrum.hpp"

namespace zelos::spectrum {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

constexpr double kPi = 3.14159265358979323846;
constexpr double kGlobalReach = 6.0;  // length scales
constexpr double kLocalReach = 4.0;   // standard deviations

[[noreturn]] void fail(const std::string& message) { throw Error(ZELOS_E_ARGUMENT, "spectral covariance: " + message); }

void check_wave(const VectorXd& wave) {
  if (wave.size() < 1 || !(wave[0] > 0.0)) fail("wavelengths are positive");
  for (Index i = 1; i < wave.size(); ++i) {
    if (!(wave[i] > wave[i - 1])) fail("wavelengths ascend: pixel " + std::to_string(i) + " does not");
  }
}

// Coordinate whose differences are the global kernel's distances.
VectorXd velocity(const VectorXd& wave) { return kLightSpeed / 4.0 * wave.array().log(); }

struct Extent {
  Index first = 0, count = 0;
  VectorXd r;  // distance of each pixel from the centre, km/s
};

Extent extent(const VectorXd& wave, const LocalKernel& kernel) {
  if (!(kernel.centre > 0.0) || !std::isfinite(kernel.log_amplitude) || !std::isfinite(kernel.log_width)) {
    fail("a local kernel has a positive centre, finite log_amp and log_sigma");
  }
  const double reach = kLocalReach * std::exp(kernel.log_width) * kernel.centre / kLightSpeed;
  Extent e;
  e.first = std::lower_bound(wave.begin(), wave.end(), kernel.centre - reach) - wave.begin();
  e.count = std::upper_bound(wave.begin(), wave.end(), kernel.centre + reach) - wave.begin() - e.first;
  e.r = kLightSpeed / kernel.centre * (wave.segment(e.first, e.count).array() - kernel.centre).abs();
  return e;
}

Index global_width(const VectorXd& x, double length) {
  if (!(length > 0.0) || !std::isfinite(length)) fail("the global kernel's length scale is positive and finite");
  Index width = 0, i = 0;
  for (Index j = 0; j < x.size(); ++j) {
    while (i + 1 < x.size() && x[i + 1] - x[j] <= kGlobalReach * length) ++i;
    width = std::max(width, i - j);
  }
  return width;
}

struct Step {
  VectorXd decay, cosine, sine;  // factors from pixel i to i + 1
};

// exp(-s) and cos(pi r / r0) of a difference are products of the factors between neighbours: N exponentials and N
// sines are enough. Rounding grows with the number of factors, to about width times epsilon.
template <class Pack, bool kSlopes>
ZELOS_ALWAYS_INLINE void global_band(const double* x, const double* decay, const double* cosine, const double* sine,
                                     Index n, double amplitude, double length, double* band, const double* slope,
                                     Index columns, Index width, double* gradient) {
  constexpr int kLanes = simd::lanes<Pack>;
  const double inverse = std::sqrt(3.0) / length, reach = kGlobalReach * length;
  Pack by_amplitude = {}, by_length = {};
  for (Index j = 0; j < n; j += kLanes) {
    Pack e = simd::splat<Pack>(1.0), c = e, s = {};
    const Pack start = simd::load<Pack>(x + j);
    for (Index d = 0; d <= width; ++d) {
      const Pack r = simd::load<Pack>(x + j + d) - start;
      const Pack u = inverse * r;
      const Pack matern = (1.0 + u) * e;
      Pack value = (0.5 * amplitude) * (1.0 + c) * matern;
      const Pack none = {};
      value = r <= reach ? value : none;
      const int lanes = static_cast<int>(std::min<Index>(kLanes, n - d - j));
      if constexpr (kSlopes) {
        Pack w = {};
        for (int l = 0; l < lanes; ++l) w[l] = slope[(j + l) * columns + d];
        by_amplitude += w * value;
        const Pack change = (0.5 * amplitude) * ((1.0 + c) * u * u * e + s * (kPi / reach) * r * matern);
        by_length += w * (r <= reach ? change : none);
      } else {
        for (int l = 0; l < lanes; ++l) band[(j + l) * columns + d] += value[l];
      }
      e *= simd::load<Pack>(decay + j + d);
      const Pack cd = simd::load<Pack>(cosine + j + d), sd = simd::load<Pack>(sine + j + d);
      const Pack turned = c * cd - s * sd;
      s = s * cd + c * sd;
      c = turned;
    }
  }
  if constexpr (kSlopes) {
    gradient[0] = simd::lane_sum(by_amplitude);
    gradient[1] = simd::lane_sum(by_length);
  }
}

#define ZELOS_GLOBAL(NAME, SLOPES)                                                                                    \
  ZELOS_TARGET_AVX512 void NAME##_avx512(const double* x, const double* a, const double* b, const double* c, Index n, \
                                         double amplitude, double length, double* band, const double* slope,          \
                                         Index columns, Index width, double* gradient) {                              \
    global_band<simd::Pack8, SLOPES>(x, a, b, c, n, amplitude, length, band, slope, columns, width, gradient);        \
  }                                                                                                                   \
  ZELOS_TARGET_AVX2 void NAME##_avx2(const double* x, const double* a, const double* b, const double* c, Index n,     \
                                     double amplitude, double length, double* band, const double* slope,              \
                                     Index columns, Index width, double* gradient) {                                  \
    global_band<simd::Pack4, SLOPES>(x, a, b, c, n, amplitude, length, band, slope, columns, width, gradient);        \
  }                                                                                                                   \
  void NAME##_base(const double* x, const double* a, const double* b, const double* c, Index n, double amplitude,     \
                   double length, double* band, const double* slope, Index columns, Index width, double* gradient) {  \
    global_band<simd::Pack2, SLOPES>(x, a, b, c, n, amplitude, length, band, slope, columns, width, gradient);        \
  }

ZELOS_GLOBAL(add_global, false)
ZELOS_GLOBAL(global_slopes, true)
#undef ZELOS_GLOBAL

void run_global(const VectorXd& wave, const GlobalKernel& kernel, double* band, const double* slope, Index columns,
                double* gradient) {
  const Index n = wave.size();
  const double length = std::exp(kernel.log_length), amplitude = std::exp(kernel.log_amplitude);
  const VectorXd x = velocity(wave);
  const Index width = global_width(x, length);
  if (width >= columns) fail("the band is too narrow for the global kernel");
  // Padded: lanes beyond the last pixel compute something that nobody takes.
  const Index padded = n + width + 2 * simd::kLanes;
  VectorXd at = VectorXd::Constant(padded, x[n - 1]);
  at.head(n) = x;
  Step step{VectorXd::Ones(padded), VectorXd::Ones(padded), VectorXd::Zero(padded)};
  for (Index i = 0; i + 1 < n; ++i) {
    const double r = x[i + 1] - x[i];
    step.decay[i] = std::exp(-std::sqrt(3.0) * r / length);
    step.cosine[i] = std::cos(kPi * r / (kGlobalReach * length));
    step.sine[i] = std::sin(kPi * r / (kGlobalReach * length));
  }
  const auto call = [&](auto function) {
    function(at.data(), step.decay.data(), step.cosine.data(), step.sine.data(), n, amplitude, length, band, slope,
             columns, width, gradient);
  };
  const bool slopes = slope != nullptr;
  switch (simd::isa()) {
    case simd::Isa::kAvx512:
      return slopes ? call(global_slopes_avx512) : call(add_global_avx512);
    case simd::Isa::kAvx2:
      return slopes ? call(global_slopes_avx2) : call(add_global_avx2);
    case simd::Isa::kBase:
      return slopes ? call(global_slopes_base) : call(add_global_base);
  }
}

}  // namespace

Index band_width(const VectorXd& wave, const GlobalKernel* global, const std::vector<LocalKernel>& local) {
  check_wave(wave);
  Index width = 0;
  if (global != nullptr) {
    if (!std::isfinite(global->log_amplitude)) fail("the global kernel's log_amp is finite");
    width = global_width(velocity(wave), std::exp(global->log_length));
  }
  for (const auto& kernel : local) width = std::max(width, extent(wave, kernel).count - 1);
  return width;
}

void add_kernels(const VectorXd& wave, const GlobalKernel* global, const std::vector<LocalKernel>& local,
                 RowMatrix& band) {
  check_wave(wave);
  if (band.rows() != wave.size()) fail("the band has another number of pixels than the wavelengths");
  if (global != nullptr) run_global(wave, *global, band.data(), nullptr, band.cols(), nullptr);
  for (const auto& kernel : local) {
    const Extent e = extent(wave, kernel);
    if (e.count > band.cols()) fail("the band is too narrow for a local kernel");
    const double sigma = std::exp(kernel.log_width), reach = kLocalReach * sigma;
    // (1 + cos) / 2 falls with r: that of the larger distance is the smaller of the two.
    const VectorXd g = (-0.5 * (e.r / sigma).array().square()).exp();
    const VectorXd h = 0.5 + 0.5 * (kPi / reach * e.r.array()).cos();
    const double amplitude = std::exp(kernel.log_amplitude);
    for (Index j = 0; j < e.count; ++j) {
      for (Index d = 0; j + d < e.count; ++d) {
        band(e.first + j, d) += amplitude * g[j] * g[j + d] * std::min(h[j], h[j + d]);
      }
    }
  }
}

VectorXd kernel_gradient(const VectorXd& wave, const GlobalKernel* global, const std::vector<LocalKernel>& local,
                         const RowMatrix& slope) {
  check_wave(wave);
  if (slope.rows() != wave.size()) fail("the band has another number of pixels than the wavelengths");
  const Index offset = global != nullptr ? 2 : 0;
  VectorXd gradient = VectorXd::Zero(offset + 3 * static_cast<Index>(local.size()));
  if (global != nullptr) run_global(wave, *global, nullptr, slope.data(), slope.cols(), gradient.data());
  for (std::size_t q = 0; q < local.size(); ++q) {
    const LocalKernel& kernel = local[q];
    const Extent e = extent(wave, kernel);
    if (e.count > slope.cols()) fail("the band is too narrow for a local kernel");
    const double sigma = std::exp(kernel.log_width), reach = kLocalReach * sigma;
    const VectorXd g = (-0.5 * (e.r / sigma).array().square()).exp();
    const VectorXd h = 0.5 + 0.5 * (kPi / reach * e.r.array()).cos();
    const VectorXd dh = -0.5 * (kPi / reach) * (kPi / reach * e.r.array()).sin();  // by r
    // r = c |lambda - mu| / mu: dr/dmu = -+ c lambda / mu^2.
    VectorXd dr(e.count);
    for (Index i = 0; i < e.count; ++i) {
      const double lambda = wave[e.first + i];
      dr[i] = (lambda > kernel.centre ? -1.0 : 1.0) * kLightSpeed * lambda / (kernel.centre * kernel.centre);
    }
    const double amplitude = std::exp(kernel.log_amplitude);
    double by_amplitude = 0.0, by_centre = 0.0, by_width = 0.0;
    for (Index j = 0; j < e.count; ++j) {
      for (Index d = 0; j + d < e.count; ++d) {
        const Index i = j + d;
        const double w = slope(e.first + j, d) * amplitude * g[j] * g[i];
        const Index far = h[i] < h[j] ? i : j;
        by_amplitude += w * h[far];
        const double si = e.r[i] / sigma, sj = e.r[j] / sigma;
        by_width += w * (h[far] * (si * si + sj * sj) - dh[far] * e.r[far]);
        by_centre += w * (-h[far] * (si * dr[i] + sj * dr[j]) / sigma + dh[far] * dr[far]);
      }
    }
    gradient[offset + 3 * static_cast<Index>(q)] = by_amplitude;
    gradient[offset + 3 * static_cast<Index>(q) + 1] = by_centre;
    gradient[offset + 3 * static_cast<Index>(q) + 2] = by_width;
  }
  return gradient;
}

}  // namespace zelos::spectrum
