// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/kernels.hpp"
#include "region/hull.hpp"
#include "region/hull_arrays.hpp"

namespace zelos {
namespace {

constexpr int kMax = ConvexHull::kMaxDimensions;
constexpr double kOnFace = 1e-12;
constexpr int kMaxSteps = 10000;

using Vector = Eigen::Matrix<double, Eigen::Dynamic, 1, Eigen::ColMajor, kMax + 1, 1>;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor, kMax + 1, kMax + 1>;

/// At most d + 1 vertices and the point of their simplex that is nearest to the origin.
class Simplex {
 public:
  explicit Simplex(int d) : d_(d) {}

  int size() const { return size_; }
  const Vector& nearest() const { return nearest_; }

  bool has(int64_t index) const { return std::find(indices_, indices_ + size_, index) != indices_ + size_; }

  /// Adds a vertex and finds the nearest point anew; vertices that it does not need leave. False: no room, or no vertex
  /// is left that would.
  bool add(int64_t index, const Vector& vertex) {
    if (size_ > d_) return false;
    indices_[size_] = index;
    vertices_.resize(d_, kMax + 1);
    vertices_.col(size_) = vertex;
    weights_[size_] = size_ == 0 ? 1 : 0;
    ++size_;
    while (true) {
      const Vector free = affine_weights();
      int blocking = -1;
      double step = 1;
      for (int a = 0; a < size_; ++a) {
        if (free[a] > 0) continue;
        const double reach = weights_[a] / (weights_[a] - free[a]);
        if (blocking < 0 || reach < step) blocking = a, step = reach;
      }
      if (blocking < 0) {
        for (int a = 0; a < size_; ++a) weights_[a] = free[a];
        return true;
      }
      if (size_ == 1) return false;
      for (int a = 0; a < size_; ++a) weights_[a] += step * (free[a] - weights_[a]);
      remove(blocking);
    }
  }

 private:
  /// Weights, of sum 1 and any sign, of the point nearest to the origin in the plane through the vertices.
  Vector affine_weights() {
    Vector weights(size_);
    nearest_ = vertices_.col(0);
    weights[0] = 1;
    if (size_ == 1) return weights;
    const Matrix edges = vertices_.middleCols(1, size_ - 1).colwise() - vertices_.col(0);
    const Vector along = Eigen::ColPivHouseholderQR<Matrix>(edges).solve(-vertices_.col(0));
    nearest_ += edges * along;
    weights.tail(size_ - 1) = along;
    weights[0] -= along.sum();
    return weights;
  }

  void remove(int a) {
    --size_;
    indices_[a] = indices_[size_];
    weights_[a] = weights_[size_];
    vertices_.col(a) = Vector(vertices_.col(size_));
  }

  int d_, size_ = 0;
  int64_t indices_[kMax + 1] = {};
  double weights_[kMax + 1] = {};
  Matrix vertices_;
  Vector nearest_;
};

}  // namespace

ConvexHull::ConvexHull(const Eigen::Ref<const Eigen::MatrixXd>& vertices, const Eigen::VectorXd& center,
                       std::vector<double> lower, std::vector<double> upper, double margin, double inner)
    : n_(vertices.rows()),
      n_padded_((vertices.rows() + 7) / 8 * 8),
      d_(static_cast<int>(vertices.cols())),
      vertices_(n_padded_ * d_),
      center_(center.begin(), center.end()),
      lower_(std::move(lower)),
      upper_(std::move(upper)),
      margin_(margin),
      inner_(inner) {
  for (int j = 0; j < d_; ++j) {
    for (int64_t i = 0; i < n_padded_; ++i) {
      vertices_[j * n_padded_ + i] = (vertices(i < n_ ? i : 0, j) - center_[j]) / (upper_[j] - lower_[j]);
    }
  }
}

std::shared_ptr<const ConvexHull> ConvexHull::fit(const Eigen::Ref<const Eigen::MatrixXd>& points,
                                                  const std::vector<double>& lower, const std::vector<double>& upper,
                                                  double margin) {
  const int64_t n = points.rows();
  const int d = static_cast<int>(points.cols());
  if (d > kMaxDimensions) {
    throw Error(ZELOS_E_ARGUMENT, "region: hull convex: at most " + std::to_string(kMaxDimensions) +
                                      " parameters, found " + std::to_string(d));
  }
  const Eigen::VectorXd center = points.colwise().mean();
  ConvexHull all(points, center, lower, upper, 0, 0);
  const Eigen::Map<const Eigen::MatrixXd> scaled(all.vertices_.data(), all.n_padded_, d);
  if (Eigen::ColPivHouseholderQR<Eigen::MatrixXd>(scaled).rank() < d) {
    throw Error(ZELOS_E_ARGUMENT, "region: hull convex: the " + std::to_string(n) +
                                      " training points lie in a plane: their hull has no inside");
  }
  // A point in the hull of the others is dropped: the filler, at the end of an axis, takes its place meanwhile.
  int64_t filler = 0;
  scaled.col(0).head(n).minCoeff(&filler);
  const auto put = [&](int64_t i, const Eigen::VectorXd& vertex) {
    for (int j = 0; j < d; ++j) all.vertices_[j * all.n_padded_ + i] = vertex[j];
  };
  const Eigen::VectorXd outer = scaled.row(filler);
  for (int64_t i = n; i < all.n_padded_; ++i) put(i, outer);
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < n; ++i) {
    const Eigen::VectorXd own = scaled.row(i);
    if (i != filler) put(i, outer);
    if (i != filler && all.contains(own.data(), nullptr, nullptr)) continue;
    put(i, own);
    kept.push_back(i);
  }
  Eigen::MatrixXd vertices(static_cast<int64_t>(kept.size()), d);
  for (size_t i = 0; i < kept.size(); ++i) vertices.row(static_cast<int64_t>(i)) = points.row(kept[i]);
  const ConvexHull hull(vertices, center, lower, upper, 0, 0);
  return std::make_shared<ConvexHull>(vertices, center, lower, upper, margin, hull.largest_box());
}

double ConvexHull::largest_box() const {
  constexpr int kMostCorners = 10;  // 2^10
  if (d_ > kMostCorners) return 0;
  const auto inside = [&](double size) {
    double corner[kMostCorners];
    for (int bits = 0; bits < 1 << d_; ++bits) {
      for (int j = 0; j < d_; ++j) corner[j] = (bits >> j & 1) != 0 ? 0.5 * size : -0.5 * size;
      if (!contains(corner, nullptr, nullptr)) return false;
    }
    return true;
  };
  double low = 0, high = 2;
  for (int step = 0; step < 20; ++step) {
    const double middle = 0.5 * (low + high);
    (inside(middle) ? low : high) = middle;
  }
  return low;
}

void ConvexHull::scale(const double* x, double* out) const {
  for (int j = 0; j < d_; ++j) out[j] = (x[j] - center_[j]) / ((upper_[j] - lower_[j]) * (1 + margin_));
}

bool ConvexHull::contains(const double* point, double* direction, double* reach) const {
  const Eigen::Map<const Eigen::VectorXd> x(point, d_);
  const auto vertex = [&](int64_t i) {
    Vector v(d_);
    for (int j = 0; j < d_; ++j) v[j] = vertices_[j * n_padded_ + i] - x[j];
    return v;
  };
  Simplex simplex(d_);
  double least = 0;
  const Vector away = -x;
  int64_t next = least_product(vertices_.data(), n_padded_, n_padded_, d_, away.data(), &least);
  Vector nearest = vertex(next);
  double distance = std::numeric_limits<double>::infinity();
  for (int step = 0; step < kMaxSteps; ++step) {
    // A step that brings nothing, and a vertex that is there already, are round-off's: the nearest point was found.
    if (simplex.has(next) || !simplex.add(next, vertex(next))) break;
    const double now = simplex.nearest().norm();
    if (now <= kOnFace) return true;
    if (!(now < distance)) break;
    distance = now;
    nearest = simplex.nearest();
    next = least_product(vertices_.data(), n_padded_, n_padded_, d_, nearest.data(), &least);
    // A plane between x and all vertices, farther from x than round-off.
    if (least - x.dot(nearest) > 0.1 * kOnFace * distance) break;
  }
  if (direction != nullptr) {
    least_product(vertices_.data(), n_padded_, n_padded_, d_, nearest.data(), reach);
    std::copy_n(nearest.data(), d_, direction);
  }
  return false;
}

bool ConvexHull::holds(const double* x) const {
  double scaled[kMaxDimensions], largest = 0;
  scale(x, scaled);
  for (int j = 0; j < d_; ++j) largest = std::max(largest, std::abs(scaled[j]));
  return largest <= 0.5 * inner_ || contains(scaled, nullptr, nullptr);
}

bool ConvexHull::holds_exactly(const double* x) const {
  double scaled[kMaxDimensions];
  scale(x, scaled);
  return contains(scaled, nullptr, nullptr);
}

/// How often the hull has to be taken for it to reach the point: each plane found moves it along the ray to the center.
int ConvexHull::explain(const double* x, Verdict* verdict) const {
  double scaled[kMaxDimensions], direction[kMaxDimensions] = {}, reach = 0, times = 1;
  int most = 0;
  scale(x, scaled);
  for (int step = 0; step < 100 && !contains(scaled, direction, &reach); ++step) {
    double along = 0;
    for (int j = 0; j < d_; ++j) {
      along += scaled[j] * direction[j];
      if (scaled[j] * direction[j] < scaled[most] * direction[most]) most = j;
    }
    const double ratio = along / reach;
    if (!(reach < 0 && ratio > 1)) break;
    times *= ratio;
    for (int j = 0; j < d_; ++j) scaled[j] /= ratio;
  }
  verdict->value = times * (1 + margin_);
  verdict->upper = 1 + margin_;
  verdict->excess = std::max(times - 1, kOnFace);
  return most;
}

Eigen::MatrixXd ConvexHull::vertices() const {
  Eigen::MatrixXd rows(n_, d_);
  for (int64_t i = 0; i < n_; ++i) {
    for (int j = 0; j < d_; ++j) rows(i, j) = center_[j] + vertices_[j * n_padded_ + i] * (upper_[j] - lower_[j]);
  }
  return rows;
}

Eigen::VectorXd ConvexHull::point(const Eigen::VectorXd& u) const {
  const Eigen::Map<const Eigen::VectorXd> center(center_.data(), d_);
  const Eigen::VectorXd cube = 2 * u.array() - 1;
  const double radius = cube.cwiseAbs().maxCoeff();
  if (!(radius > 0)) return center;
  // Out to the ellipsoid of the vertices, which has them all, and back to the hull's surface.
  const std::shared_ptr<const EllipsoidHull> ellipsoid = EllipsoidHull::fit(vertices(), margin_);
  const Eigen::VectorXd middle = Eigen::VectorXd::Constant(d_, 0.5);
  const Eigen::VectorXd out = ellipsoid->point(middle + 0.5 * cube / radius) - ellipsoid->point(middle);
  Verdict verdict;
  explain(Eigen::VectorXd(center + out).data(), &verdict);
  return center + radius * verdict.upper / verdict.value * out;
}

void ConvexHull::store(nlohmann::json* region, std::map<std::string, artifact::Array>* arrays) const {
  (*region)["margin"] = margin_;
  (*region)["inner"] = inner_;
  (*arrays)["region/center"] = array_of(Eigen::VectorXd(Eigen::Map<const Eigen::VectorXd>(center_.data(), d_)));
  (*arrays)["region/vertices"] = array_of(vertices());
}

}  // namespace zelos
