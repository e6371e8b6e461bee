// The error terms of Grams and of proofs by a Cholesky factor, for whatever computes them: CPU paths and GPUs.
//
// All of it is arithmetic on a few doubles. u = 2^-53. Where each term comes from stands beside its use in gram.h and
// certificate.h; the model is that of N. Higham, "Accuracy and Stability of Numerical Algorithms", chapters 3 and 10.
#pragma once

namespace ullage::spectrum {

inline constexpr double kU64 = 0x1p-53;
inline constexpr double kU32 = 0x1p-24;

// ---- Grams

// Fast Grams are taken only with a trace in this range: FP32 products then neither overflow nor lose more than
// kUnderflow by underflow (flushed to zero or not).
inline constexpr double kLeastTrace = 0x1p-60;
inline constexpr double kMostTrace = 0x1p100;
inline constexpr double kUnderflow = 0x1p-122;
constexpr bool fast_trace(double trace) { return trace >= kLeastTrace && trace <= kMostTrace; }

// What the arithmetic of a Gram G^ of folded rows may be off by.
struct GramErrors {
  double sum_unit = 0;   // of sums of products, relative to |row i||row j|
  double fold_unit = 0;  // of an entry of the rows, relative to |weight gain|
  double floor = 0;      // of an entry of the Gram, absolute: what underflow loses
};

inline constexpr double kTermRounding = 1.0 + 1e-9;  // of these few lines themselves

// |(A A^T)_ij - G^_ij| in units of sqrt(G^_ii G^_jj), floor apart.
constexpr double gram_entry_unit(const GramErrors& errors) {
  return (errors.sum_unit + 2.0 * errors.fold_unit) * (1.0 + 4.0 * errors.sum_unit) * kTermRounding;
}

// h with A A^T <= G^ + h I. root_trace: of trace(G^) (1 + 2 sum_unit); root_unprojected: of the same plus width |means|^2.
// Folded entries are off by e with |e|_F <= E = fold_unit root_unprojected: |(X + e)(X + e)^T - X X^T| <= 2 |X|_F E + E^2.
constexpr double gram_inflation(const GramErrors& errors, int rows, double root_trace,
                                double root_unprojected) {
  const double fold = errors.fold_unit * root_unprojected;
  return (errors.sum_unit * root_trace * root_trace + 2.0 * root_trace * fold + fold * fold +
          rows * errors.floor) *
         kTermRounding;
}

// ---- proofs

// What a given Gram may be below the true one, in units of its trace.
inline constexpr double kGivenUnit = 16.0 * kU64;
// How far above its estimate tau is tried first, and by how much more after each refusal.
inline constexpr double kFirstMargin = 1e-6;
inline constexpr double kWiden = 4.0;
constexpr double tau_at(double estimate, double slack, double margin) {
  return (estimate > 0.0 ? estimate : 0.0) * (1.0 + margin) + slack * (margin / kFirstMargin);
}
// What a factor of tau I - x, n x n, that ran through leaves open: x <= (tau + this) I.
constexpr double proof_slack(int n, double tau) { return 2.0 * (n + 1.0) * n * kU64 * tau; }
// The shift under which a Gram's factor covers its own backward error, (n + 3) u trace, and kGivenUnit.
constexpr double factor_shift(int n, double trace) {
  return (4.0 * (n + 2) * kU64 + kGivenUnit) * trace;
}
// What X = L^T G_B L may be off by, the traces with their shifts.
constexpr double product_slack(int n, double trace_a, double trace_b) {
  return 8.0 * (n + 2) * kU64 * trace_a * trace_b;
}
// |A^T B|^2 is at most this without any proof.
constexpr double certain_square(int n, double trace_a, double trace_b) {
  return trace_a * trace_b * (1.0 + 3.0 * n * kGivenUnit);
}
// Of a trace summed in order.
constexpr double trace_rounding(int n) { return 1.0 + 4.0 * n * kU64; }
// A factor holds the shift besides: of an inflation's share.
inline constexpr double kShiftShare = 1.0 + 1e-6;

// Whether fast Grams were too coarse for a head, given sigma, |A| and |B| (estimates) and the bound on sigma.
inline constexpr double kCancelling = 1e-2;
inline constexpr double kLoose = 1.005;
constexpr bool too_coarse(double sigma, double sigma_bound, double norm_a, double norm_b) {
  return sigma < kCancelling * norm_a * norm_b || sigma_bound > kLoose * sigma;
}

}  // namespace ullage::spectrum
