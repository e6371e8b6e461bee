#include "bounds/chernoff.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ullage::bounds {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What is worth a look: the exponent lower by this share of itself, so t by about as much.
constexpr double kWorthwhile = 2e-6;

// A tail of less than this share (as a logarithm) of the sum cannot move t by 1e-6 of itself.
constexpr double kNegligible = -11.0;
// Probabilities below e^-70 (4e-31) are given as they are found: they are upper bounds already.
constexpr double kNotSharpened = -70.0;

// In the units of a normalised head (traces of order one) nothing that matters is smaller than its
// inverse.
constexpr double kLargestLambda = 1e7;

// t with sum exp(log_bound_i(t)) = exp(log_probability) for fixed lambdas. The logarithm of the sum
// is convex and falling, so Newton from the left never passes the root: one last margin.
double fixed_solve(std::span<Tail* const> tails, double log_probability) {
  double t = -kInfinity;
  for (const Tail* tail : tails) t = std::max(t, tail->alone(log_probability));
  for (int step = 0; step < 50; ++step) {
    double sum = 0.0;
    double weighted = 0.0;
    for (const Tail* tail : tails) {
      const double share = std::exp(tail->log_bound(t) - log_probability);
      sum += share;
      weighted += share * tail->lambda();
    }
    const double move = std::log(sum) * sum / weighted;
    t += move;
    if (!(move > 1e-14 * std::abs(t))) break;
  }
  return t + 1e-13 * std::abs(t);
}

}  // namespace

double solve(std::span<Tail* const> tails, double log_probability) {
  if (tails.empty()) return 0.0;
  double t = fixed_solve(tails, log_probability);
  for (int turn = 0; turn < 60; ++turn) {
    bool moved = false;
    for (Tail* tail : tails) {
      const double log_share = tail->log_bound(t) - log_probability;
      if (log_share < kNegligible) continue;
      moved = tail->improve(std::max(t, 0.0), std::exp(std::min(log_share, 0.0))) || moved;
    }
    if (!moved) break;
    t = std::min(t, fixed_solve(tails, log_probability));
  }
  return std::max(t, 0.0);
}

double exceedance(std::span<Tail* const> tails, double t) {
  const auto bounded = [&](const Tail* tail) {
    return std::min(tail->log_bound(t), tail->log_count());  // lambda = 0
  };
  for (int turn = 0; turn < 40; ++turn) {
    double largest = -kInfinity;
    for (const Tail* tail : tails) largest = std::max(largest, bounded(tail));
    bool moved = false;
    for (Tail* tail : tails) {
      const double bound = tail->log_bound(t);
      if (bound < kNotSharpened || bound < largest + kNegligible) continue;
      moved = tail->improve(t, std::exp(std::min(bound - largest, 0.0))) || moved;
    }
    if (!moved) break;
  }
  double sum = 0.0;
  for (const Tail* tail : tails) sum += std::exp(bounded(tail));
  return std::min(sum, 1.0);
}

Tail::Tail(Cumulant& cumulant, double sign, double count, double probability)
    : cumulant_(cumulant), sign_(sign), log_count_(std::log(count)), infeasible_(kInfinity) {
  double lambda = first_guess(std::max(log_count_ - std::log(probability), 1e-3));
  while (!look(lambda)) lambda *= 0.5;
  at_ = points_.front();
}

// The lambda that minimises (log_ratio + psi)/lambda where lambda psi' - psi = log_ratio, for a psi of equal
// eigenvalues of both signs with its pole at the likely limit, psi = -1/2 curvature limit^2 log(1 - x^2).
double Tail::first_guess(double log_ratio) const {
  const double limit = std::min(cumulant_.likely_limit(sign_), kLargestLambda);
  const double curvature = cumulant_.curvature_at_zero();
  if (!(curvature > 0.0)) return limit;
  const double gaussian = std::sqrt(2.0 * log_ratio / curvature);
  if (gaussian < 0.01 * limit) return gaussian;
  const double wanted = log_ratio / (curvature * limit * limit);
  double low = 0.0;
  double high = 1.0;
  for (int step = 0; step < 20; ++step) {
    const double x = 0.5 * (low + high);
    const double square = x * x;
    (square / (1.0 - square) + 0.5 * std::log1p(-square) < wanted ? low : high) = x;
  }
  return std::min(low, 0.97) * limit;
}

bool Tail::look(double lambda) {
  Point point;
  point.lambda = lambda;
  if (!cumulant_.evaluate(sign_ * lambda, point.psi, point.slope)) {
    infeasible_ = std::min(infeasible_, lambda);
    return false;
  }
  point.slope *= sign_;
  points_.insert(
      std::lower_bound(points_.begin(), points_.end(), point,
                       [](const Point& a, const Point& b) { return a.lambda < b.lambda; }),
      point);
  return true;
}

Tail::Step Tail::next(double t) const {
  const double slope0 = sign_ * cumulant_.slope_at_zero();
  const double u0 = 1.0 / cumulant_.curvature_at_zero();
  const double rise = t - slope0;
  // The points on either side of psi' = t; without one on the right the two nearest on the left.
  const auto above = std::find_if(points_.begin(), points_.end(),
                                  [&](const Point& point) { return point.slope > t; });
  const Point* right = above != points_.end() ? &*above : nullptr;
  const Point* left = above != points_.begin() ? &*(above - 1) : nullptr;
  const double low = left != nullptr ? left->lambda : 0.0;
  const double high = right != nullptr ? right->lambda : std::min(infeasible_, kLargestLambda);
  const Point* second = right;
  if (left == nullptr) {
    second = above + 1 != points_.end() ? &*(above + 1) : nullptr;
  } else if (right == nullptr) {
    second = above - 1 != points_.begin() ? &*(above - 2) : nullptr;
  }
  const Point& first = left != nullptr ? *left : *right;

  // u through 0 and these: c0 + c1 lambda + c2 lambda^2.
  const auto u = [&](const Point& point) { return point.lambda / (point.slope - slope0); };
  const double d1 = (u(first) - u0) / first.lambda;
  double c1 = d1;
  double c2 = 0.0;
  if (second != nullptr && second->lambda != first.lambda) {
    const double d2 = (u(*second) - u0) / second->lambda;
    c2 = (d2 - d1) / (second->lambda - first.lambda);
    c1 = d1 - c2 * first.lambda;
  }
  // u(lambda) rise = lambda.
  const double qa = c2 * rise;
  const double qb = c1 * rise - 1.0;
  const double qc = u0 * rise;
  const double root = std::sqrt(std::max(qb * qb - 4.0 * qa * qc, 0.0));
  Step step;
  step.lambda = 2.0 * qc / (root - qb);  // the smaller positive one, without cancellation
  if (!(step.lambda > low && step.lambda < high)) {
    step.lambda = high < kLargestLambda ? low + 0.6 * (high - low) : 4.0 * low;
  }
  if (right == nullptr && infeasible_ < kInfinity) {
    step.lambda = std::min(step.lambda, low + 0.8 * (infeasible_ - low));
  }
  if (right == nullptr && infeasible_ == kInfinity) {
    step.lambda = std::min(step.lambda, 4.0 * low);
    // Beyond the likely limit only with points near it.
    const double likely = 0.97 * cumulant_.likely_limit(sign_);
    if (low < 0.9 * likely) step.lambda = std::min(step.lambda, likely);
  }
  // psi'' = (1 - lambda u'/u)/u of the interpolant at the current point.
  const double here = u(at_);
  const double bend = (1.0 - at_.lambda * (c1 + 2.0 * c2 * at_.lambda) / here) / here;
  const double excess = at_.slope - t;
  step.gain = bend > 0.0 ? 0.5 * excess * excess / bend : kInfinity;
  return step;
}

bool Tail::improve(double t, double share) {
  const auto exponent = [&](const Point& point) { return point.psi - point.lambda * t; };
  const auto take_best = [&] {
    for (const Point& point : points_) {
      if (exponent(point) < exponent(at_)) at_ = point;
    }
  };
  const double before = exponent(at_);
  const auto improved = [&] { return exponent(at_) < before - 1e-12 * std::abs(before); };
  take_best();
  // A tail that cannot reach t, or whose variable is constant: lambda as large as may be.
  if (!(cumulant_.curvature_at_zero() > 0.0)) return improved();
  if (!(t > sign_ * cumulant_.slope_at_zero())) return improved();
  const Step step = next(t);
  if (!(step.gain * share > kWorthwhile * std::max(1.0, at_.lambda * t))) return improved();
  const bool known = std::any_of(points_.begin(), points_.end(), [&](const Point& point) {
    return std::abs(point.lambda - step.lambda) <= 1e-9 * step.lambda;
  });
  if (known || !(step.lambda < kLargestLambda)) return improved();
  if (!look(step.lambda)) return true;  // learned how far not to go
  take_best();
  return true;
}

}  // namespace ullage::bounds
