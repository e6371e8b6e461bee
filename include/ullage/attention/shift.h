// What the softmax subtracts before exp: the row maximum, or what takes its place where the maximum
// is repeated.
//
// Where several scores of a row equal its maximum, exp(S - m) has entries exactly 1. Their products
// with BF16 values are exact, the sum of two values of one sign and binade loses one bit, and the
// small remainder of the other keys turns every tie away from zero: O is biased, and through
// delta = rowsum(dO o O) so is the gradient of W_Q ([F] arXiv 2510.04212). Subtracting more than the
// maximum there makes every entry less than 1 and changes nothing in exact arithmetic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ullage/base/result.h"

namespace ullage::attention {

enum class ShiftRule : std::uint8_t {
  standard,  // m
  // [F] algorithm 1 as its authors' code has it: where a tile holds more than one score within
  // `tolerance` of its maximum m, beta m for m > 0, 0 for m < 0, m itself for m = 0. Loses the row
  // (0 / 0) once beta m - m passes the range of exp, and rounds alike in all rows that share an m.
  published,
  // m + offset where the maximum of the row so far is repeated; offset in [ln 2, 2 ln 2) by a hash
  // of (seed, batch, head, the query's position, the query's numbers). Every entry is at most 1/2 and
  // none below a quarter of what it was, rows that share an m round differently, and the tiling does
  // not enter the decision.
  stabilised,
};

// "standard", "published", "stabilised"; usage for another name.
const char* name_of(ShiftRule rule);
Result<ShiftRule> shift_rule_from_name(std::string_view name);

struct Shift {
  ShiftRule rule = ShiftRule::standard;
  double beta = 2;          // published: 2 in the authors' code, 7 in the paper's curve
  double tolerance = 1e-3;  // published: what counts as equal
  std::uint64_t seed = 0;   // stabilised
};

// beta finite and at least 1, tolerance finite and not negative; else value_invalid.
Status check(const Shift& shift);

// What tells one row's offset from another's. The position alone would give every token one offset
// where it does not move: cross-attention while decoding, a full sliding cache, the steps of a
// training. One offset for all is a bias of its own, so the query's numbers are hashed too.
struct RowKey {
  std::size_t batch = 0;
  std::size_t head = 0;
  std::size_t position = 0;  // position_of(): the same while prefilling and while decoding
  std::uint32_t bits = 0;    // bits_of() the query as it is stored
};

// The FP32 bits of a query's numbers, mixed by column.
template <class T>
std::uint32_t bits_of(std::span<const T> query);

// The stabilised rule's offset of one row, in [ln 2, 2 ln 2), a multiple of ln 2 / 2^32 rounded to
// FP64. Kernels round it once more to FP32.
double row_offset(std::uint64_t seed, const RowKey& row);

// What one row subtracts: exp((S - subtrahend) - offset). The offset is kept apart since m + offset
// would be m again where m is large; S - m is exact near m.
template <class Real>
struct Subtrahend {
  Real value;
  Real offset;
};

// A row's scores so far. `top` holds their maximum and how often it was seen, a sink's score (seen
// never, since it has no value to add) included.
template <class Real>
struct RowMaximum {
  Real top;             // -infinity: nothing seen
  std::size_t repeats;  // scores equal to top
  Subtrahend<Real> subtrahend;
};

// Takes in one tile of a row: its maximum, the number of scores equal to it, and the number within
// shift.tolerance of it. `offset` is row_offset() of the row. The caller rounds the subtrahend.
template <class Real>
RowMaximum<Real> advance(const RowMaximum<Real>& before, Real tile_top, std::size_t equal,
                         std::size_t near, const Shift& shift, Real offset);

}  // namespace ullage::attention
