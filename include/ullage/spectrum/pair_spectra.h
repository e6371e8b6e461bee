// Certified spectra of pairs of heads: what bounds ask first of every query head and its key head.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/spectrum/certificate.h"
#include "ullage/spectrum/gram.h"

namespace ullage::spectrum {

// Which of some sides multiply: A^T B, A the query side.
struct HeadPair {
  int query = 0;
  int key = 0;
};

// What is known of a pair. Not finite: a weight or a gain is NaN or infinite, and all figures are NaN.
// GPUs write it and the host copies its bytes: two int32 in place of bools leave no padding to copy.
struct PairSpectrum {
  Bounded sigma;  // |A^T B|_2
  Bounded query;  // |A|_2
  Bounded key;    // |B|_2
  std::int32_t finite = 0;
  std::int32_t precise = 0;  // the figures come from FP64 Grams
};

// value_invalid for no pairs, pairs that name no side, and sides of different rows.
Status check_pairs(std::span<const int> rows, std::span<const HeadPair> pairs);

// From fast Grams, and from FP64 ones where those are too coarse (needs_precise). Each side's Gram is made once.
// Sides may differ in width within a pair. Codes: check_pairs'. threads: 0 takes default_threads(), and never changes a result.
Result<std::vector<PairSpectrum>> pair_spectra(std::span<const HeadRows> sides,
                                               std::span<const HeadPair> pairs, int threads);

}  // namespace ullage::spectrum
