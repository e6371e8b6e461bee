// certificate_rounded: a bound on |S| as a low-precision forward pass computes it. Rounded operands
// do not respect cancellation (A^T B = 0 gave |S| = 2.17 in BF16), so the certificate in exact
// arithmetic does not cover them.
#pragma once

namespace ullage::bounds {

enum class RopeArithmetic {
  none,
  fp32,     // computed in FP32, then one rounding to the operand format
  operand,  // every product and sum rounded to it: grows q by sqrt(2)((1 + u)^3 - 1)
};

// The roundings of q (and of k) on the way from the normalised input to the score. Units are
// relative: 2^-8 BF16, 2^-11 FP16, 2^-4 E4M3, 2^-3 E5M2; they hold in a format's normal range, and `floor` below it.
struct OperandRounding {
  double unit = 0x1p-8;  // of n, x and q: one rounding each
  RopeArithmetic rope = RopeArithmetic::none;
  double cast_unit = 0.0;  // of a final cast of q and k to FP8; 0: none
  double floor =
      0.0;  // of an entry of q and k as they are multiplied: half the least subnormal, 2^-10 of E4M3
  bool fp32_accumulation = true;  // products are summed in FP32; false: exactly
};

// One side, without the LayerNorm projection (rounding does not commute with it).
struct RoundedSide {
  double norm = 0.0;            // |A|_2
  double frobenius = 0.0;       // |A|_F
  double bias = 0.0;            // |a|
  double beta_norm = 0.0;       // |W diag(beta)|_2, beta the input norm's bias; 0: none
  double beta_frobenius = 0.0;  // |W diag(beta)|_F
  double squared_norm = 0.0;    // |n|^2
  int width = 0;                // d: terms of the sums that make q
};

// eta = product of (1 + u_i) - 1 over the roundings of one side.
double rounding_growth(const OperandRounding& rounding);

//   certificate + s (e_q K + e_k Q + e_q e_k),
//   Q = sqrt(d)|A| + |a|, e_q = eta (Q + sqrt(d)|W_Q diag(beta)|) + sqrt(d_h) floor, K and e_k likewise;
// FP32 sums add d 2^-24 sqrt(d)(|A|_F + |W_Q diag(beta)|_F) to e_q, and s d_h 2^-24 (Q + e_q)(K + e_k)
// to the whole. Ours: each rounding moves q by at most u of the magnitudes that enter
// it. Holds for plain projections only (no QK-norm, clipping or latent attention between).
double certificate_rounded(double certificate, const RoundedSide& query, const RoundedSide& key,
                           double scale, int head_dim, const OperandRounding& rounding);

}  // namespace ullage::bounds
