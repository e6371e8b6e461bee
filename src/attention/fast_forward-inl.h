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

// Columns [first, last) in whole panels.
struct Columns {
  int first;
  int last;
};

// kRowTile rows of scores against keys [begin, begin + columns), and P-bar of them.
struct Strip {
  int row;
  int begin;
  int columns;
  Columns whole[kRowTile];  // no score of the row is kHidden there; elsewhere some may be
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

// Panels of the strip of which a row that sees keys [begin, end) sees every key.
ULLAGE_INLINE Columns seen_whole(const Strip& strip, int begin, int end) {
  begin = begin < strip.begin ? 0 : begin - strip.begin;
  end = end - strip.begin < strip.columns ? end - strip.begin : strip.columns;
  const int first = begin < strip.columns ? (begin + kPanel - 1) / kPanel * kPanel : strip.columns;
  const int last = end / kPanel * kPanel;
  return {first, last < first ? first : last};
}

// Puts kHidden where a row does not see a key.
ULLAGE_TARGET void mask_scores(const ForwardBlock& block, Strip& strip) {
  for (int i = 0; i < kRowTile; ++i) {
    const int begin = block.begin[strip.row + i];
    const int end = block.end[strip.row + i];
    float* row = strip.scores + i * kScoreStride;
    const auto hide = [&](int first, int last) ULLAGE_TARGET {
      for (int j = first; j < last; j += kLanes) {
        const Flags seen = columns_within(strip.begin + j, begin, end);
        store(row + j, select(seen, load(row + j), all(kHidden)));
      }
    };
    strip.whole[i] = seen_whole(strip, begin, end);
    hide(0, strip.whole[i].first);
    hide(strip.whole[i].last, strip.columns);
    if (block.key_bias == nullptr) continue;
    strip.whole[i] = {0, 0};
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

// Of some scores, lane by lane.
struct Gathered {
  Floats top;
  Floats bottom;             // 0 at most
  Floats squares[kVectors];  // apart, since one would wait for itself
};

template <bool kHides>
ULLAGE_INLINE void gather_columns(const float* row, Columns columns, Gathered& all_scores) {
  for (int j = columns.first; j < columns.last; j += kPanel) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const Floats s = load(row + j + v * kLanes);
      all_scores.top = max(all_scores.top, s);
      Floats seen = s;
      if constexpr (kHides) seen = select(equal(s, all(kHidden)), zeros(), s);
      all_scores.bottom = min(all_scores.bottom, seen);
      all_scores.squares[v] = fma(seen, seen, all_scores.squares[v]);
    }
  }
}

// What a strip's rows leave behind, a vector of lanes each, added up for all rows together.
using RowLanes = float[kRowTile * kLanes];

// Of a strip and a tile.
struct TileStatistics {
  alignas(64) RowLanes second;
  alignas(64) RowLanes tail;
  alignas(64) RowLanes tail_squares;
  alignas(64) RowLanes max_abs;
  alignas(64) RowLanes squares;
};

// The tile's maximum of row i, max |s| and sum s^2; the largest scores stand in for `second`, which is
// right where the row's maximum is larger.
ULLAGE_INLINE float gather_scores(const Strip& strip, int i, TileStatistics& tile) {
  const float* row = strip.scores + i * kScoreStride;
  const Columns whole = strip.whole[i];
  Gathered scores = {all(kHidden), zeros(), {zeros(), zeros()}};
  gather_columns<true>(row, {0, whole.first}, scores);
  gather_columns<false>(row, whole, scores);
  gather_columns<true>(row, {whole.last, strip.columns}, scores);
  store(tile.second + i * kLanes, scores.top);
  store(tile.max_abs + i * kLanes, max(abs(scores.bottom), scores.top));
  store(tile.squares + i * kLanes, add(scores.squares[0], scores.squares[1]));
  return largest(scores.top);
}

// What weigh_row leaves of a row; the vectors where statistics are asked for.
struct RowSums {
  float sum;
  int repeats;
  Floats tail;
  Floats tail_squares;
  Floats second;  // largest scores that are not the maximum
};

// What P-bar of a row is made of.
struct Weighing {
  const float* row;
  int columns;
  float base;
  float scale;
  Word* out;
};

// P-bar = 2^(scale (s - base) - shift) of one row, tails where asked. kTop: scores may equal base; they
// are counted and kept out of the tails. Else the tail is the sum, and `second` is left to others.
template <bool kTop, bool kStatistics>
ULLAGE_INLINE RowSums weigh_row(const Weighing& by, float shift) {
  Floats sum = zeros();
  Floats tail = zeros();
  Floats tail_squares = zeros();
  Floats second = all(kHidden);
  int repeats = 0;
  const Floats top = all(by.base);
  const Floats factor = all(by.scale);
  const Floats offset = all(-shift);
#pragma GCC unroll 2
  for (int j = 0; j < by.columns; j += kPanel) {
    Flags below[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const Floats s = load(by.row + j + v * kLanes);
      const Floats weight = power_of_2(fma(sub(s, top), factor, offset));
      sum = add(sum, weight);
      if constexpr (kTop) below[v] = differ(s, top);
      if constexpr (kTop && kStatistics) {
        tail = add_where(below[v], tail, weight);
        tail_squares = add_square_where(below[v], tail_squares, weight);
        second = max_where(below[v], second, s);
      } else if constexpr (kStatistics) {
        tail_squares = fma(weight, weight, tail_squares);
      }
      store_weights(by.out + (j + v * kLanes) / kPair, weight);
    }
    if constexpr (kTop) repeats += kPanel - count(below[0], below[1]);
  }
  return {total(sum), repeats, kTop ? tail : sum, tail_squares, second};
}

// A row's part of a tile's softmax, until the factor is known that moves what came before.
struct Softened {
  alignas(64) float gaps[kLanes] = {};    // old maximum - new one
  alignas(64) float shifts[kLanes] = {};  // old shift - new one
  alignas(64) float before[kLanes] = {};  // -old shift
  alignas(64) float passed[kLanes] = {};  // how many scores equalled a maximum that is none now
  float sums[kRowTile];
};

template <bool kCount, bool kStatistics>
ULLAGE_INLINE void soften_row(const ForwardBlock& block, Strip& strip, int i, Softened& softened,
                              TileStatistics& tile) {
  const RowStates& states = block.states;
  const int index = strip.row + i;
  const float* row = strip.scores + i * kScoreStride;
  const float old = states.top[index];
  float highest = 0;
  if constexpr (kStatistics) {
    highest = gather_scores(strip, i, tile);
  } else {
    highest = row_maximum(row, strip.columns);
  }
  const float top = old > highest ? old : highest;
  // A row that has seen nothing yet: with any base its weights are 2^-infinity = 0.
  const float base = top == kHidden ? 0 : top;
  const bool same = top == old;
  float shift = same ? states.shift[index] : 0;
  const Weighing by = {row, strip.columns, base, block.scale, strip.weights + i * kWeightStride};
  // In most tiles of a long row no score equals the maximum.
  const bool has_top = kCount && !(highest < old);
  RowSums sums = has_top ? weigh_row<kCount, kStatistics>(by, shift)
                         : weigh_row<false, kStatistics>(by, shift);
  if constexpr (kCount) {
    softened.passed[i] = same ? 0 : states.repeats[index];
    const float repeats = (same ? states.repeats[index] : 0) + static_cast<float>(sums.repeats);
    states.repeats[index] = repeats;
    // Seldom, and at most once a row and maximum: the weights again, with the shift.
    if (has_top && block.offsets != nullptr && repeats > 1 && shift == 0) {
      shift = block.offsets[index];
      sums = weigh_row<kCount, kStatistics>(by, shift);
    }
  }
  if constexpr (kStatistics) {
    // What has been seen below the new maximum.
    if (!same) states.second[index] = old;
    if (has_top) store(tile.second + i * kLanes, sums.second);
    store(tile.tail + i * kLanes, sums.tail);
    store(tile.tail_squares + i * kLanes, sums.tail_squares);
  }
  softened.gaps[i] = old - base;
  softened.shifts[i] = states.shift[index] - shift;
  softened.before[i] = -states.shift[index];
  softened.sums[i] = sums.sum;
  states.top[index] = top;
  states.shift[index] = shift;
}

// Brings a strip's statistics up to date, its rows side by side; factors as in soften.
ULLAGE_TARGET void add_statistics(const RowStates& states, int row, const Softened& softened,
                                  const float* factors, const TileStatistics& tile) {
  const Floats factor = load(factors);
  const Floats weight = power_of_2(load(softened.before));  // of the maximum that there was
  const Floats passed = mul(load(softened.passed), weight);
  const Floats tail = add(load_tile(states.tail + row), passed);
  const Floats squares = fma(passed, weight, load_tile(states.tail_squares + row));
  store_tile(states.tail + row, fma(tail, factor, total_of_rows(tile.tail)));
  store_tile(states.tail_squares + row,
             fma(squares, mul(factor, factor), total_of_rows(tile.tail_squares)));
  store_tile(states.squares + row,
             add(load_tile(states.squares + row), total_of_rows(tile.squares)));
  store_tile(states.second + row,
             max(largest_of_rows(tile.second), load_tile(states.second + row)));
  store_tile(states.max_abs + row,
             max(largest_of_rows(tile.max_abs), load_tile(states.max_abs + row)));
}

// Softmax of a strip whose scores are masked: P-bar, the rows' states brought up to date, and the
// factors by which their outputs so far are to be multiplied.
template <bool kCount, bool kStatistics>
ULLAGE_TARGET void soften(const ForwardBlock& block, Strip& strip, float* factors) {
  const RowStates& states = block.states;
  Softened softened;
  TileStatistics tile;
  for (int i = 0; i < kRowTile; ++i)
    soften_row<kCount, kStatistics>(block, strip, i, softened, tile);
  store(factors, power_of_2(fma(load(softened.gaps), all(block.scale), load(softened.shifts))));
  for (int i = 0; i < kRowTile; ++i) {
    const int index = strip.row + i;
    states.sum[index] = states.sum[index] * factors[i] + softened.sums[i];
  }
  if constexpr (kStatistics) add_statistics(states, strip.row, softened, factors, tile);
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
