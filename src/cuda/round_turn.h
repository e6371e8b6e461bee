// Sixteen FP32 numbers of one thread to codes as they lie in memory, with their errors: the short way, where nothing
// overflows, or at length.
#pragma once

#include <cstdint>

#include "cuda/round.h"
#include "ullage/formats/random.h"

namespace ullage::cuda {

// Elements of a thread's turn: of 64 consecutive ones, those at 16 w + 4 q + l for w, l = 0..3 as [4 w + l], q being
// the thread. So their random words are those of four blocks of Philox (random.h), and the running sums that their
// errors join are the same four in every turn.
inline constexpr int kTurn = 16;

// A seed's keys, round by round: made once, not by every thread.
struct Keys {
  std::uint32_t key0[formats::kPhiloxRounds] = {};
  std::uint32_t key1[formats::kPhiloxRounds] = {};
};
inline Keys keys_of(std::uint64_t seed) {
  Keys keys;
  for (std::uint32_t round = 0; round < formats::kPhiloxRounds; ++round) {
    keys.key0[round] = static_cast<std::uint32_t>(seed) + round * formats::kPhiloxWeyl0;
    keys.key1[round] = static_cast<std::uint32_t>(seed >> 32) + round * formats::kPhiloxWeyl1;
  }
  return keys;
}

// The random words of a turn whose first element has this index, a multiple of 64 and 4 q.
ULLAGE_BOTH void draw_turn(std::uint64_t index, const Keys& keys, std::uint32_t (&random)[kTurn]) {
  // random_block()'s counter; the three after it differ in the last two bits.
  const std::uint64_t counter =
      index / formats::kRandomGroup * formats::kRandomLanes + index % formats::kRandomLanes;
  for (std::uint32_t l = 0; l < 4; ++l) {
    formats::PhiloxBlock words = {static_cast<std::uint32_t>(counter) + l,
                                  static_cast<std::uint32_t>(counter >> 32), 0, 0};
    for (int round = 0; round < formats::kPhiloxRounds; ++round)
      words = formats::philox_round(words, keys.key0[round], keys.key1[round]);
    for (std::uint32_t w = 0; w < 4; ++w) random[4 * w + l] = words[w];
  }
}

// Sixteen elements, one after the other, by cast_exactly(): `codes` one a word, or with values_of the FP32 values that
// that format's codes stand for.
template <Body kBody, bool kStochastic>
#if defined(__CUDACC__)
__host__ __device__ __noinline__
#else
inline
#endif
    void
    cast_turn_exactly(const float* x, const std::uint32_t* random, const CastParameters& p,
                      const formats::Format* values_of, std::uint32_t* codes, float* errors,
                      Tally& tally) {
#if defined(__CUDA_ARCH__)
#pragma unroll 1
#endif
  for (int i = 0; i < kTurn; ++i) {
    const Coded found =
        cast_exactly<kBody, kStochastic>(x[i], kStochastic ? random[i] : 0, p, tally);
    codes[i] = values_of == nullptr ? found.code : bits_of(value_of(*values_of, found.code));
    errors[i] = found.value;
  }
}

// Where bytes or halves of a word are not zero, their upper bit. Theirs is clear.
template <int kBytes>
ULLAGE_BOTH std::uint32_t not_zero(std::uint32_t codes) {
  return kBytes == 1 ? (codes + 0x7F7F7F7F) & 0x80808080 : (codes + 0x7FFF7FFF) & 0x80008000;
}

// Four codes without sign (prefixes: with it) as they lie in memory, in kBytes words, with the signs of x.
// `tops` gains 0x80 for each code that is not zero.
template <Body kBody, int kBytes>
ULLAGE_BOTH void pack(const Coded* found, const float* x, const CastParameters& p,
                      std::uint32_t* words, std::uint32_t& tops) {
  if constexpr (kBytes == 1) {
    const std::uint32_t codes = pair_of_halves(pair_of_bytes(found[0].code, found[1].code, 0),
                                               pair_of_bytes(found[2].code, found[3].code, 0), 0);
    std::uint32_t signs = pair_of_halves(pair_of_bytes(bits_of(x[0]), bits_of(x[1]), 3),
                                         pair_of_bytes(bits_of(x[2]), bits_of(x[3]), 3), 0);
    const std::uint32_t there = not_zero<1>(codes);
    signs &= p.drops_negative_zero ? there : 0x80808080;
    tops = add_bytes(there, tops);
    words[0] = codes | signs >> (p.sign_shift - 24);
  } else if constexpr (kBytes == 2) {
    for (int half = 0; half < 2; ++half) {
      const Coded* two = found + 2 * half;
      std::uint32_t codes = pair_of_halves(two[0].code, two[1].code, 0);
      const std::uint32_t mask = p.sign_mask - 1;
      const std::uint32_t there =
          not_zero<2>(kBody == Body::prefix ? codes & (mask << 16 | mask) : codes);
      tops = add_bytes(there, tops);
      if constexpr (kBody != Body::prefix) {
        const std::uint32_t signs =
            pair_of_halves(bits_of(x[2 * half]), bits_of(x[2 * half + 1]), 1) &
            (p.drops_negative_zero ? there : 0x80008000);
        codes |= signs >> (p.sign_shift - 16);
      }
      words[half] = codes;
    }
  } else {
    for (int i = 0; i < 4; ++i) {
      std::uint32_t code = found[i].code;
      if constexpr (kBody != Body::prefix) code &= kCode;
      const bool zero = (kBody == Body::prefix ? code & (p.sign_mask - 1) : code) == 0;
      tops += zero ? 0 : 0x80;
      if constexpr (kBody != Body::prefix)
        code = zero && p.drops_negative_zero ? 0
                                             : code | (bits_of(x[i]) >> p.sign_shift & p.sign_mask);
      words[i] = code;
    }
  }
}

// The short way: sixteen numbers none of which overflows. pairs[4 g + l]: the errors of rows 2 g and 2 g + 1 added.
template <Body kBody, int kBytes, Carry kCarry>
ULLAGE_BOTH void cast_turn_shortly(const float (&x)[kTurn], const std::uint32_t (&random)[kTurn],
                                   const CastParameters& p, bool values,
                                   std::uint32_t (&words)[4 * kBytes], float (&pairs)[8],
                                   Tally& tally) {
  constexpr bool kDrawn = kCarry == Carry::drawn;
  std::uint32_t tops = 0;
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int row = 0; row < 4; ++row) {
    Coded found[4];
    for (int l = 0; l < 4; ++l) {
      const int i = 4 * row + l;
      const std::uint32_t bits = bits_of(x[i]);
      if constexpr (kBody == Body::prefix) {  // takes the sign along: nothing here carries into it
        found[l] = round_prefix<kDrawn>(bits, bits, random[i], p);
      } else if constexpr (kBody == Body::nearest) {
        found[l] = round_nearest(bits, p);
      } else {
        found[l] = round_small<kCarry>(bits, random[i], p);
      }
      const float error = found[l].value - x[i];
      float& pair = pairs[row / 2 * 4 + l];
      pair = row % 2 == 0 ? error : pair + error;
    }
    pack<kBody, kBytes>(found, &x[4 * row], p, &words[row * kBytes], tops);
    if constexpr (kBytes == 4)
      if (values)
        for (int l = 0; l < 4; ++l) {
          const std::uint32_t magnitude = bits_of(found[l].value) & kMagnitude;
          const std::uint32_t sign = bits_of(x[4 * row + l]) & kSign;
          words[4 * row + l] = magnitude == 0 && p.drops_negative_zero ? 0 : magnitude | sign;
        }
  }
  const std::uint32_t zeros = kTurn - tops / 0x80;
  if (zeros == 0) return;
  // They were flushed, unless their inputs are zero, which few are.
  tally.flushed += zeros;
  float least = magnitude_of(x[0]);
  for (int i = 1; i < kTurn; ++i) least = std::fmin(least, magnitude_of(x[i]));
  if (least != 0) return;
  for (int i = 0; i < kTurn; ++i) tally.flushed -= x[i] == 0 ? 1 : 0;
}

// The long way, for turns in which something overflows or is NaN.
template <Body kBody, bool kStochastic, int kBytes>
ULLAGE_BOTH void cast_turn_at_length(const float (&x)[kTurn], const std::uint32_t (&random)[kTurn],
                                     const formats::Format& to, const CastParameters& p,
                                     bool values, bool one_nan, std::uint32_t (&words)[4 * kBytes],
                                     float (&pairs)[8], Tally& tally) {
  // Copies, so that only they, which are indexed by a variable, lie in memory.
  float inputs[kTurn];
  std::uint32_t random_words[kTurn];
  std::uint32_t codes[kTurn];
  float errors[kTurn];
  for (int i = 0; i < kTurn; ++i) {
    inputs[i] = one_nan && x[i] != x[i] ? float_of(kQuietNan) : x[i];
    if constexpr (kStochastic) random_words[i] = random[i];
  }
  Tally found = tally;
  cast_turn_exactly<kBody, kStochastic>(inputs, random_words, p, values ? &to : nullptr, codes,
                                        errors, found);
  tally = found;
  for (int i = 0; i < 4 * kBytes; ++i) {
    if constexpr (kBytes == 1)
      words[i] =
          codes[4 * i] | codes[4 * i + 1] << 8 | codes[4 * i + 2] << 16 | codes[4 * i + 3] << 24;
    else if constexpr (kBytes == 2)
      words[i] = codes[2 * i] | codes[2 * i + 1] << 16;
    else
      words[i] = codes[i];
  }
  for (int g = 0; g < 2; ++g)
    for (int l = 0; l < 4; ++l) pairs[4 * g + l] = errors[8 * g + l] + errors[8 * g + 4 + l];
}

// One turn of a thread: `words` are its codes as they lie in memory, [row][kBytes words], or with `values` (of four
// bytes only) what the codes stand for. one_nan: the source's NaN have no sign. random: read by stochastic casts only.
template <Body kBody, bool kStochastic, int kBytes>
ULLAGE_BOTH void cast_turn(const float (&x)[kTurn], const std::uint32_t (&random)[kTurn],
                           const formats::Format& to, const CastParameters& p, bool values,
                           bool one_nan, std::uint32_t (&words)[4 * kBytes], float (&pairs)[8],
                           Tally& tally) {
  // By halves: one after the other, each would wait for the one before.
  float largest_of[kTurn];
  for (int i = 0; i < kTurn; ++i) largest_of[i] = magnitude_of(x[i]);
  for (int half = kTurn / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      largest_of[i] = largest_or_nan(largest_of[i], largest_of[i + half]);
  const float largest = largest_of[0];
  if (largest <= float_of(p.safe)) {
    tally.largest = largest > tally.largest ? largest : tally.largest;
    if constexpr (kStochastic)
      cast_turn_shortly<kBody, kBytes, Carry::drawn>(x, random, p, values, words, pairs, tally);
    else if (kBody == Body::small && goes_upward(p))
      cast_turn_shortly<kBody, kBytes, Carry::upward>(x, random, p, values, words, pairs, tally);
    else
      cast_turn_shortly<kBody, kBytes, Carry::share>(x, random, p, values, words, pairs, tally);
    return;
  }
  cast_turn_at_length<kBody, kStochastic, kBytes>(x, random, to, p, values, one_nan, words, pairs,
                                                  tally);
}

}  // namespace ullage::cuda
