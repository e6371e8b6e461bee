// The forward pass of a block of query rows: scores of a strip of rows and a tile of keys, their
// softmax, and P-bar V, tile after tile.
#pragma once

#include <limits>

#include "attention/fast_elementary-inl.h"
#include "attention/fast_kernels.h"
#include "attention/fast_product-inl.h"

namespace ullage::attention {

namespace {

// Off powers of two, so that a strip's rows spread over cache sets.
constexpr int kScoreStride = kTileKeys + 16;
constexpr int kWeightStride = kTileKeys / kPair + 16;
constexpr float kHidden = -std::numeric_limits<float>::infinity();

// kRowTile rows of scores against keys [begin, begin + columns), and P-bar of them.
struct Strip {
  int row;
  int begin;
  int columns;
  bool hides;  // some score is kHidden
  alignas(64) float scores[kRowTile * kScoreStride];
  alignas(64) Word weights[kRowTile * kWeightStride];
};

ULLAGE_TARGET void cap_scores(const ForwardBlock& block, Strip& strip) {
  for (int i = 0; i < kRowTile; ++i) {
    float* row = strip.scores + i * kScoreStride;
    for (int j = 0; j < strip.columns; j += kLanes)
      store(row + j, mul(all(block.cap), tanh_of(mul(load(row + j), all(block.cap_scale)))));
  }
}

// Puts kHidden where a row does not see a key.
ULLAGE_TARGET void mask_scores(const ForwardBlock& block, Strip& strip) {
  strip.hides = block.key_bias != nullptr;
  for (int i = 0; i < kRowTile; ++i) {
    const int begin = block.begin[strip.row + i];
    const int end = block.end[strip.row + i];
    float* row = strip.scores + i * kScoreStride;
    if (begin > strip.begin || end < strip.begin + strip.columns) {
      strip.hides = true;
      for (int j = 0; j < strip.columns; j += kLanes) {
        const Flags seen = columns_within(strip.begin + j, begin, end);
        store(row + j, select(seen, load(row + j), all(kHidden)));
      }
    }
    if (block.key_bias == nullptr) continue;
    const float* bias = block.key_bias + strip.begin;
    for (int j = 0; j < strip.columns; j += kLanes)
      store(row + j, add(load(row + j), load(bias + j)));
  }
}

ULLAGE_INLINE float row_maximum(const float* row, int columns) {
  Floats top = all(kHidden);
#pragma GCC unroll 4
  for (int j = 0; j < columns; j += kLanes) top = max(top, load(row + j));
  return largest(top);
}

// The tile's maximum, with max |s| and sum s^2 added to the row's.
template <bool kHides>
ULLAGE_TARGET float gather_scores(const float* row, int columns, const RowStates& states,
                                  int index) {
  Floats top = all(kHidden);
  Floats bottom = zeros();
  Floats squares[kVectors] = {zeros(), zeros()};  // apart, since one would wait for itself
  for (int j = 0; j < columns; j += kPanel) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const Floats s = load(row + j + v * kLanes);
      top = max(top, s);
      Floats seen = s;
      if constexpr (kHides) seen = select(equal(s, all(kHidden)), zeros(), s);
      bottom = min(bottom, seen);
      squares[v] = fma(seen, seen, squares[v]);
    }
  }
  const float maximum = largest(top);
  const float widest = largest(max(abs(bottom), top));
  if (widest > states.max_abs[index]) states.max_abs[index] = widest;
  states.squares[index] += total(add(squares[0], squares[1]));
  return maximum;
}

struct RowSums {
  float sum;
  float tail;
  float tail_squares;
  float second;  // largest score that is not the maximum
  int repeats;
};

// P-bar = 2^(scale (s - base) - shift) of one row; repeats and tails where asked.
template <bool kCount, bool kStatistics>
ULLAGE_INLINE RowSums weigh_row(const float* row, int columns, float base, float scale, float shift,
                                Word* out) {
  Floats sum = zeros();
  Floats tail = zeros();
  Floats tail_squares = zeros();
  Floats second = all(kHidden);
  int repeats = 0;
  const Floats top = all(base);
  const Floats factor = all(scale);
  const Floats offset = all(-shift);
#pragma GCC unroll 4
  for (int j = 0; j < columns; j += kLanes) {
    const Floats s = load(row + j);
    const Floats weight = power_of_2(fma(sub(s, top), factor, offset));
    sum = add(sum, weight);
    if constexpr (kCount) {
      const Flags below = differ(s, top);
      repeats += kLanes - count(below);
      if constexpr (kStatistics) {
        tail = add_where(below, tail, weight);
        tail_squares = add_square_where(below, tail_squares, weight);
        second = max_where(below, second, s);
      }
    }
    store_weights(out + j / kPair, weight);
  }
  RowSums sums = {total(sum), 0, 0, kHidden, repeats};
  if constexpr (kStatistics) {
    sums.tail = total(tail);
    sums.tail_squares = total(tail_squares);
    sums.second = largest(second);
  }
  return sums;
}

// A row's part of a tile's softmax, until the factor is known that moves what came before.
struct Softened {
  alignas(64) float gaps[kLanes] = {};    // old maximum - new one
  alignas(64) float shifts[kLanes] = {};  // old shift - new one
  alignas(64) float before[kLanes] = {};  // -old shift
  float passed[kRowTile];                 // how many scores equalled a maximum that is none now
  RowSums sums[kRowTile];
};

template <bool kCount, bool kStatistics>
ULLAGE_INLINE void soften_row(const ForwardBlock& block, Strip& strip, int i, Softened& softened) {
  const RowStates& states = block.states;
  const int index = strip.row + i;
  const float* row = strip.scores + i * kScoreStride;
  Word* weights = strip.weights + i * kWeightStride;
  const float old = states.top[index];
  const float tile = !kStatistics  ? row_maximum(row, strip.columns)
                     : strip.hides ? gather_scores<true>(row, strip.columns, states, index)
                                   : gather_scores<false>(row, strip.columns, states, index);
  const float top = old > tile ? old : tile;
  // A row that has seen nothing yet: with any base its weights are 2^-infinity = 0.
  const float base = top == kHidden ? 0 : top;
  const bool same = top == old;
  float shift = same ? states.shift[index] : 0;
  RowSums sums =
      weigh_row<kCount, kStatistics>(row, strip.columns, base, block.scale, shift, weights);
  if constexpr (kCount) {
    softened.passed[i] = same ? 0 : states.repeats[index];
    const float repeats = (same ? states.repeats[index] : 0) + static_cast<float>(sums.repeats);
    states.repeats[index] = repeats;
    // Seldom, and at most once a row and maximum: the weights again, with the shift.
    if (block.offsets != nullptr && repeats > 1 && shift == 0) {
      shift = block.offsets[index];
      sums = weigh_row<kCount, kStatistics>(row, strip.columns, base, block.scale, shift, weights);
    }
  }
  if constexpr (kStatistics) {
    const float next = same ? states.second[index] : old;
    states.second[index] = next > sums.second ? next : sums.second;
  }
  softened.gaps[i] = old - base;
  softened.shifts[i] = states.shift[index] - shift;
  softened.before[i] = -states.shift[index];
  softened.sums[i] = sums;
  states.top[index] = top;
  states.shift[index] = shift;
}

// Softmax of a strip whose scores are masked: P-bar, the rows' states brought up to date, and the
// factors by which their outputs so far are to be multiplied.
template <bool kCount, bool kStatistics>
ULLAGE_TARGET void soften(const ForwardBlock& block, Strip& strip, float* factors) {
  const RowStates& states = block.states;
  Softened softened;
  for (int i = 0; i < kRowTile; ++i) soften_row<kCount, kStatistics>(block, strip, i, softened);
  store(factors, power_of_2(fma(load(softened.gaps), all(block.scale), load(softened.shifts))));
  alignas(64) float weights_before[kLanes];
  if constexpr (kStatistics) store(weights_before, power_of_2(load(softened.before)));
  for (int i = 0; i < kRowTile; ++i) {
    const int index = strip.row + i;
    const float factor = factors[i];
    const RowSums& sums = softened.sums[i];
    states.sum[index] = states.sum[index] * factor + sums.sum;
    if constexpr (kStatistics) {
      const float weight = weights_before[i];
      const float mass = states.tail[index] + softened.passed[i] * weight;
      const float squares = states.tail_squares[index] + softened.passed[i] * weight * weight;
      states.tail[index] = mass * factor + sums.tail;
      states.tail_squares[index] = squares * factor * factor + sums.tail_squares;
    }
  }
}

// The strip's rows against the keys [begin, end) of one tile, both multiples of kPanel.
ULLAGE_TARGET void forward_strip(const ForwardBlock& block, Strip& strip) {
  const Word* queries = block.queries + static_cast<std::ptrdiff_t>(strip.row) * block.steps;
  const Word* keys = block.keys + static_cast<std::ptrdiff_t>(strip.begin) * block.steps;
  for (int j = 0; j < strip.columns; j += kPanel) {
    product_tile<1, kRowTile, Into::store>(queries, keys, block.steps, strip.scores + j,
                                           kScoreStride, nullptr);
    keys += static_cast<std::ptrdiff_t>(kPanel) * block.steps;
  }
  if (block.cap != 0) cap_scores(block, strip);
  mask_scores(block, strip);
  alignas(64) float factors[kLanes];
  if (block.statistics) {
    soften<true, true>(block, strip, factors);
  } else if (block.offsets != nullptr) {
    soften<true, false>(block, strip, factors);
  } else {
    soften<false, false>(block, strip, factors);
  }
  const Word* values = block.values + static_cast<std::ptrdiff_t>(strip.begin / kPair) * kPanel;
  float* output = block.output + static_cast<std::ptrdiff_t>(strip.row) * block.output_stride;
  for (int p = 0; p < block.value_panels; ++p) {
    product_tile<kWeightStride, 1, Into::scaled>(strip.weights, values, strip.columns / kPair,
                                                 output, block.output_stride, factors);
    values += block.value_panel;
    output += kPanel;
  }
}

// Keys that any of `rows` rows sees.
ULLAGE_INLINE void seen_by(const ForwardBlock& block, int row, int rows, int& begin, int& end) {
  begin = std::numeric_limits<int>::max();
  end = 0;
  for (int i = row; i < row + rows; ++i) {
    if (block.begin[i] >= block.end[i]) continue;
    begin = block.begin[i] < begin ? block.begin[i] : begin;
    end = block.end[i] > end ? block.end[i] : end;
  }
}

ULLAGE_TARGET void clear_states(const ForwardBlock& block) {
  const RowStates& states = block.states;
  for (int i = 0; i < block.rows; ++i) {
    states.top[i] = states.second[i] = kHidden;
    states.sum[i] = states.shift[i] = states.repeats[i] = 0;
    states.tail[i] = states.tail_squares[i] = states.max_abs[i] = states.squares[i] = 0;
  }
  for (std::ptrdiff_t e = 0; e < static_cast<std::ptrdiff_t>(block.rows) * block.output_stride; ++e)
    block.output[e] = 0;
}

ULLAGE_TARGET void forward_block(const ForwardBlock& block) {
  clear_states(block);
  int begin = 0;
  int end = 0;
  seen_by(block, 0, block.rows, begin, end);
  Strip strip;
  for (int tile = begin / kTileKeys * kTileKeys; tile < end; tile += kTileKeys) {
    for (strip.row = 0; strip.row < block.rows; strip.row += kRowTile) {
      int first = 0;
      int last = 0;
      seen_by(block, strip.row, kRowTile, first, last);
      first = first < tile ? tile : first / kPanel * kPanel;
      last = last > tile + kTileKeys ? tile + kTileKeys : (last + kPanel - 1) / kPanel * kPanel;
      if (first >= last) continue;
      strip.begin = first;
      strip.columns = last - first;
      forward_strip(block, strip);
    }
  }
}

}  // namespace

}  // namespace ullage::attention
