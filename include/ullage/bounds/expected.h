// Expected maxima of |S| (tier 2): n_i independent and uniform on the sphere of radius sqrt(d). An
// estimate of what a model sees, never a guarantee: real activations are not isotropic.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/bounds/figure.h"
#include "ullage/bounds/head.h"

namespace ullage::bounds {

struct ExpectedModel {
  std::int64_t context = 2048;  // N tokens
  double probability = 1e-6;    // P, for one head and sequence
  bool causal = false;  // N (N - 1)/2 ordered pairs instead of N (N - 1); cross-attention: N^2
};

// Why there is no expected figure for a head, or empty: QK-norm, clip, and inputs that no norm fed.
std::string_view expected_refusal(const Head& head);

// The Chernoff tails of one head, reduced once, so that every later question costs microseconds.
//
// Off the diagonal (i != j), with u = A^T b, w = B^T a, c = a^T b:
//   P[S/s > t] <= F+(t) = min over lambda of
//     exp(-lambda (t - c)) prod_k (1 - lambda^2 sigma_k^2)^(-1/2)
//     exp(lambda^2/2 [sum_k (u_k^2 + w_k^2 + 2 lambda sigma_k u_k w_k)/(1 - lambda^2 sigma_k^2)
//                     + rest]);
// F- for the other sign. With RoPE sigma_k -> sigma_k(DA) sigma_k(D^-1 B), sorted
// (log-majorisation: valid at every offset), and norms in place of components.
// On it (i = j): H, the same with the eigenvalues of (A^T B + B^T A)/2. Ours; [R] leaves the
// diagonal out.
class LogitTails {
 public:
  // `scaling` holds D of the rotated tails; null: spectrum::balanced_scaling. Errors:
  // not_finite, value_invalid (no context, probability outside (0, 1]), usage (expected_refusal is
  // not empty).
  static Result<LogitTails> make(const Head& head, const ExpectedModel& model,
                                 const spectrum::Scaling* scaling = nullptr);
  LogitTails(LogitTails&&) noexcept;
  LogitTails& operator=(LogitTails&&) noexcept;
  ~LogitTails();

  // The smallest t with n_off (F+ + F-) <= P, with N (H+ + H-) <= P, and with the sum of both <= P.
  // All times s, not clamped by a certificate. Without a diagonal (cross-attention, no A B^T)
  // `diagonal` has a why and `joint` is about the rest.
  [[nodiscard]] Figure off_diagonal();
  [[nodiscard]] Figure diagonal();
  [[nodiscard]] Figure joint();

  // n_off (F+ + F-) + N (H+ + H-) at |S| = limit, at most 1: bounds the probability that some score
  // of the sequence exceeds it.
  [[nodiscard]] double exceedance(double limit);

 private:
  struct State;
  explicit LogitTails(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// All that a scan writes about one head, each at most the certificate (before any soft cap).
struct ExpectedLogits {
  Figure off_diagonal, diagonal, joint;
  std::vector<double> overflow_probability;  // one a limit; 0 where the certificate is not above it
};
Result<ExpectedLogits> expected_logits(const Head& head, const ExpectedModel& model,
                                       double certificate, std::span<const double> limits,
                                       const spectrum::Scaling* scaling = nullptr);

}  // namespace ullage::bounds
