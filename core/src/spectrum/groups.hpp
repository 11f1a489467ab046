// SPDX-License-Identifier: BSD-3-Clause
/// groups.hpp: the kernels of the pixels' covariance, as generators of a semiseparable matrix.
///
/// The pixels fall into groups. Between pixel i of a group and pixel j of an earlier one the covariance is
/// u_i^T T ... T v_j, with a transition T for each group from j's to the one before i's; within a group it is dense.
#pragma once

#include <Eigen/Dense>
#include <algorithm>
#include <cstdint>
#include <vector>

#include "zelos/spectrum.hpp"

namespace zelos::spectrum {

/// States of Matern 3/2 (two) times 1, the cosine and the sine: 3 m + p.
constexpr int64_t kStates = 6;
/// pi over the length scales at which the taper is zero.
constexpr double kTaper = 3.14159265358979323846 / 6.0;
using Transition = Eigen::Matrix<double, kStates, kStates, Eigen::RowMajor>;

struct Group {
  int64_t first, count;
  bool patched;  ///< a local kernel reaches it
};

/// The factors by which exp(-s), cos and sin of the taper change from pixel i to i + 1.
struct Steps {
  Eigen::VectorXd decay, cosine, sine;
  Steps() = default;
  Steps(const Eigen::VectorXd& position, double length);
};

/// A process s_i s_j (1 + s) exp(-s) (1 + cos) / 2 of pixels at `position` (km/s).
struct Process {
  const double* position;
  double length;
  const double *decay, *cosine, *sine;
  const double* scale;  ///< s
};

/// Adds the process within a group to `block` (upper triangle, rows `stride` apart), and sets its six columns of u and
/// v (rows `u_stride`, `v_stride` apart) and its transition to the next group, which starts at pixel `next`; for the
/// last group `next` is -1, and v and the transition are not set.
void generate(const Process& process, const Group& group, int64_t next, double* block, int64_t stride, double* u,
              int64_t u_stride, double* v, int64_t v_stride, Transition& transition);

/// Given derivatives by all of these (`block` symmetric and full), adds those by s, and returns that by ln(length).
double degenerate(const Process& process, const Group& group, int64_t next, const double* block, int64_t stride,
                  const double* u, int64_t u_stride, const double* v, int64_t v_stride, const Transition& transition,
                  double* by_scale);

/// A local kernel on the pixels that it reaches.
struct Patch {
  int64_t first = 0, count = 0;
  Eigen::VectorXd distance, gauss, taper, slope;  ///< r, exp(-r^2 / 2 sigma^2), (1 + cos) / 2 and its derivative by r
  double amplitude = 0.0, sigma = 0.0;

  Patch(const Eigen::VectorXd& wave, const LocalKernel& kernel);

  /// Of pixels first + i and first + j.
  double operator()(int64_t i, int64_t j) const {
    // The taper falls with r: that of the larger distance is the smaller of the two.
    return amplitude * gauss[i] * gauss[j] * std::min(taper[i], taper[j]);
  }

  /// Given derivatives by a block that starts at pixel `origin`: those by log_amplitude, centre and log_width.
  Eigen::Vector3d slopes(const Eigen::VectorXd& wave, const LocalKernel& kernel, int64_t origin, const double* block,
                         int64_t stride) const;
};

/// Each patch in one group, the other pixels in groups of `size`.
std::vector<Group> make_groups(int64_t pixels, const std::vector<Patch>& patches, int64_t size);

}  // namespace zelos::spectrum
