// clip_qkv = c: q and k are clamped to [-c, c] before RoPE, which voids whatever is built on A^T B
// (A = (10, 2)^T, B = (1, -5)^T has A^T B = 0; clipped at 5 the score is -5). Ours.
#pragma once

#include <span>
#include <vector>

#include "ullage/bounds/head.h"

namespace ullage::bounds {

// r_c = min(c, sqrt(d)|A_c| + |a_c|), the largest |q_c| that a rotation can meet; c and |A_c| both
// hold the attention factor where the coordinate turns.
std::vector<double> clipped_limits(const Head& head, const Side& side);

// s sum over pairs of |r_q,p||r_k,p|; coordinates that do not turn stand alone.
double clipped_coordinate_sum(const Head& head);

// s min(sqrt(d_q)|DA| + |Da|, |D r_q|) min(sqrt(d_k)|D^-1 B| + |D^-1 b|, |D^-1 r_k|) for any D, one
// positive number a coordinate, equal within pairs: clamping never lengthens D q, and |q_c| <= r_c.
double clipped_scaled(const Head& head, std::span<const double> scaling);

// The smaller of the sum and of the product at D = 1, at the balanced D and at the optimised one.
double clipped_bound(const Head& head);

}  // namespace ullage::bounds
