// What rotary position embedding leaves of a spectrum: bounds on |A^T R_t B|_2 over offsets t, from Grams alone.
//
// R_t turns each pair p of a head's coordinates by t frequency_p: (x, y) -> (x cos - y sin, x sin + y cos). A positive
// diagonal D that is constant on pairs commutes with every R_t, so |A^T R_t B| <= |D A| |D^-1 B| for all offsets at once.
// [A, a/t] carries a bias a: sqrt(d + t^2) |[A, a/t]| bounds |A n + a| for |n| <= sqrt(d). Ours.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/spectrum/dense.h"

namespace ullage::spectrum {

// half_split: (i, i + rotary/2), as Llama; interleaved: (2i, 2i + 1), as GPT-J.
enum class Pairing : std::uint8_t { half_split, interleaved };

// Which coordinates of a head turn together, and how fast.
struct Rotation {
  int head_dim = 0;
  std::vector<std::array<int, 2>> pairs;
  std::vector<double> frequencies;  // radians a position, one a pair
  std::vector<int> fixed;           // coordinates that do not turn
};

// Coordinates first .. first + rotary_dim - 1 turn (first > 0: layouts that put the unrotated part before them).
// value_invalid where they do not fit the head, are odd in number, or frequencies are not one finite number a pair.
Result<Rotation> make_rotation(int head_dim, int rotary_dim, Pairing pairing,
                               std::span<const double> frequencies, int first = 0);

// One side of a score, q = A n + a with |n|_2 <= radius.
struct Side {
  const Matrix* gram = nullptr;  // A A^T; above it (`inflated`) for certificates
  std::span<const double> bias;  // a; empty or zeros: none
  double radius = 1.0;           // sqrt(d); 1 for figures in units of sigma
  double norm = 0.0;             // |A|_2, an estimate; 0: not known yet
};

// A feasible point of: min over D, t, t' of
//   sqrt(r^2 + t^2) sqrt(r'^2 + t'^2) |D [A, a/t]|_2 |D^-1 [B, b/t']|_2, r and r' the radii.
struct Scaling {
  std::vector<double> d;  // one a coordinate, equal on pairs
  double t_q = 0.0;       // 0: no bias on this side, no column
  double t_k = 0.0;
  // Where coordinates do not turn, any invertible X may mix them before D does its part: rows of A times x, rows of B
  // times y = X^-T, for the coordinates of Rotation::fixed in its order. Empty: identity.
  Matrix x;
  Matrix y;
  double value = 0.0;  // the product at this point, an estimate (certified_scaled bounds it)
  // |D [A, a/t]|_2 and |D^-1 [B, b/t']|_2 at this point, estimates from which certified_scaled starts; 0: not known.
  double norm_q = 0.0;
  double norm_k = 0.0;
};

// D = 1 or D_p = sqrt(|B_p|_F / |A_p|_F), each norm over its side's largest and floored at 1e-6, whichever is better, with
// t^2 = r |Da|/|DA|, t'^2 = r' |D^-1 b|/|D^-1 B|: never worse than the naive bound.
Scaling balanced_scaling(const Rotation& rotation, const Side& q, const Side& k);

struct ScalingOptions {
  int evaluations = 0;  // of the product, while searching; 0: 40 up to head width 32, 8 above
  // Above head width 32 the search ends when two evaluations in a row have gained less than this share of the product.
  double least_gain = 1e-3;
  bool mix_fixed = true;  // try an X on the coordinates that do not turn
};
// A better point, by quasi-Newton steps on a softened product (jointly convex in log D, log t, log t').
Scaling optimal_scaling(const Rotation& rotation, const Side& q, const Side& k,
                        const ScalingOptions& options = {});

// The product at a scaling, from above: holds at every offset whatever the search did.
double certified_scaled(const Rotation& rotation, const Side& q, const Side& k,
                        const Scaling& scaling);

// R_t g R_t^T, the Gram of R_t B.
Matrix rotated(const Rotation& rotation, const Matrix& g, double offset);

// Offsets with the sines and cosines of their turns, [offset][pair], made once for all heads of a layer; of more than a few
// hundred offsets they are made again each time, a few at a time.
struct SampledTurns {
  std::vector<double> offsets;
  std::vector<double> cosines;
  std::vector<double> sines;
};
SampledTurns sampled_turns(const Rotation& rotation, std::vector<double> offsets);

// Largest |A^T R_t B|_2 over the given offsets, from below but for FP32's rounding in heads wider than 48: `steps` of
// Lanczos' recurrence for each (0: to convergence). With biases, of the augmented matrices at the scaling's t and t';
// times both factors.
struct Supremum {
  double value = 0.0;
  double offset = 0.0;
};
Supremum sampled_supremum(const Rotation& rotation, const Side& q, const Side& k,
                          const Scaling& scaling, const SampledTurns& turns, int steps = 0);

// `count` offsets of [-(context - 1), 0], integers: 0 and then evenly spread in log |t|, as the pairs' turns are.
std::vector<double> sampled_offsets(double context, int count);

// A certificate for the offsets that a context of N tokens has: cells |t - t0| <= h cover them, and on each
//   |A^T R_t B| <= |A^T R_t0 B| + |D A| |D^-1 E B|, E_p = 2 sin(min(frequency_p h / 2, pi / 2)).
// The cell with the largest bound is split until that is within `slack` of the best value seen, or `max_cells` are
// used up; the bound holds either way and is never above certified_scaled's.
struct ContextOptions {
  double context = 0.0;     // N
  bool both_signs = false;  // positive offsets too: kernels that cast scores before the mask
  double slack = 1.02;
  int max_cells = 4096;
};
struct ContextBound {
  double bound = 0.0;
  double seen = 0.0;  // the largest value at a cell's centre: a lower end (an estimate)
  int cells = 0;
};
ContextBound bounded_context(const Rotation& rotation, const Side& q, const Side& k,
                             const Scaling& scaling, const ContextOptions& options);

}  // namespace ullage::spectrum
