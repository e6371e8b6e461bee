// Chernoff bounds as objects: P[X > t] <= exp(psi(lambda) - lambda t) for every feasible lambda > 0.
//
// Any lambda gives a valid bound, so a search may stop anywhere: it costs tightness only. A set of
// tails is solved for the smallest t whose probabilities sum to P by turns: for fixed lambdas t
// follows from a convex equation, for a fixed t each lambda is improved on its own.
#pragma once

#include <span>
#include <vector>

namespace ullage::bounds {

// psi, the logarithm of a moment generating function: convex, psi(0) = 0. Negative lambdas belong to the
// negated variable.
class Cumulant {
 public:
  virtual ~Cumulant() = default;
  // psi and psi' at lambda. False: infinite there.
  virtual bool evaluate(double lambda, double& psi, double& slope) = 0;
  [[nodiscard]] double slope_at_zero() const { return slope_; }
  [[nodiscard]] double curvature_at_zero() const { return curvature_; }
  // About where psi becomes infinite, on the side of `sign`: a guess that saves looks beyond it.
  [[nodiscard]] virtual double likely_limit(double sign) const = 0;

 protected:
  double slope_ = 0.0;
  double curvature_ = 0.0;
};

// `count` variables of one cumulant, on one side of zero (sign +1 or -1).
//
// The best lambda solves psi'(lambda) = t. u(lambda) = lambda/(psi'(lambda) - psi'(0)) is a smooth function that falls
// from 1/psi''(0) to zero at the pole (a parabola where the eigenvalues behind psi are +-mu, a line where
// they are all equal), so interpolating u between the points seen converges in few looks.
class Tail {
 public:
  Tail(Cumulant& cumulant, double sign, double count, double probability);

  // Looks at a better lambda for this t, unless what can be gained is not worth a look. `share` is what the tail
  // has of the whole sum: the less it matters, the less it is worth. False: nothing new.
  bool improve(double t, double share);

  // log(count) + psi - lambda t at the current lambda.
  [[nodiscard]] double log_bound(double t) const { return log_count_ + at_.psi - at_.lambda * t; }
  [[nodiscard]] double lambda() const { return at_.lambda; }
  [[nodiscard]] double log_count() const { return log_count_; }
  // The t at which this tail alone has probability P.
  [[nodiscard]] double alone(double log_probability) const {
    return (log_count_ + at_.psi - log_probability) / at_.lambda;
  }

 private:
  struct Point {
    double lambda = 0.0;
    double psi = 0.0;
    double slope = 0.0;
  };
  struct Step {
    double lambda = 0.0;  // where psi' is about t
    double gain = 0.0;    // how much lower the exponent is there, about
  };
  bool look(double lambda);
  [[nodiscard]] Step next(double t) const;
  [[nodiscard]] double first_guess(double log_ratio) const;

  Cumulant& cumulant_;
  double sign_;
  double log_count_;
  double infeasible_;  // smallest lambda known to be
  std::vector<Point> points_;
  Point at_;
};

// The smallest t >= 0 found with sum of bounds <= exp(log_probability); never below what the tails
// prove. 0 without tails.
double solve(std::span<Tail* const> tails, double log_probability);

// The sum of the bounds at t after improving each for it, at most 1.
double exceedance(std::span<Tail* const> tails, double t);

}  // namespace ullage::bounds
