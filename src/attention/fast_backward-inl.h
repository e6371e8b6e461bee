// The backward pass of one tile of keys and one block of queries, strip by strip of keys.
#pragma once

#include "attention/fast_elementary-inl.h"
#include "attention/fast_kernels.h"
#include "attention/fast_product-inl.h"

namespace ullage::attention {

namespace {

// Off powers of two, so that a strip's rows spread over cache sets.
constexpr int kQueryStride = kQueryBlock + 16;
constexpr int kQueryWords = kQueryBlock / kPair + 16;

struct BackwardStrip {
  int row;    // first key, in the tile
  int begin;  // queries [begin, end), multiples of kPanel
  int end;
  alignas(64) float scores[kRowTile * kQueryStride];     // S^T
  alignas(64) float grads[kRowTile * kQueryStride];      // dP^T
  alignas(64) Word weights[kRowTile * kQueryWords];      // P^T
  alignas(64) Word grad_scores[kRowTile * kQueryWords];  // dS^T
};

// dS of the whole tile with keys as steps: a word holds `pair` keys of one query.
using TileGrads = Word[kKeyTile / kPair * kQueryStride];

struct KeyHull {
  int begin;
  int end;
};

// Keys that any of some queries sees; none: an empty range.
ULLAGE_INLINE KeyHull hull_of(const BackwardBlock& block, int query, int count) {
  KeyHull hull = {1 << 30, 0};
  for (int i = query; i < query + count; ++i) {
    if (block.begin[i] >= block.end[i]) continue;
    hull.begin = block.begin[i] < hull.begin ? block.begin[i] : hull.begin;
    hull.end = block.end[i] > hull.end ? block.end[i] : hull.end;
  }
  return hull;
}

// Whether every query of [begin, end) sees all keys of the strip.
ULLAGE_INLINE bool all_seen(const BackwardBlock& block, const BackwardStrip& strip) {
  if (block.key_bias != nullptr) return false;
  const int first = block.key + strip.row;
  for (int i = strip.begin; i < strip.end; ++i) {
    if (block.begin[i] > first || block.end[i] < first + kRowTile) return false;
  }
  return true;
}

struct Differentiated {
  Floats weight;      // P
  Floats grad_score;  // dS
};

// kLanes queries from `query` on, against key `row` of the strip.
template <bool kMasked, bool kCapped>
ULLAGE_INLINE Differentiated differentiate(const BackwardBlock& block, const BackwardStrip& strip,
                                           int row, int query) {
  Floats s = load(strip.scores + row * kQueryStride + query);
  const Floats grad = load(strip.grads + row * kQueryStride + query);
  Floats slope = all(1.0F);
  if constexpr (kCapped) {
    const Floats ratio = tanh_of(mul(s, all(block.cap_scale)));
    slope = sub(slope, mul(ratio, ratio));
    s = mul(ratio, all(block.cap));
  }
  Floats weight = power_of_2(fma(s, all(block.scale), load(block.minus_log + query)));
  Floats grad_score = mul(weight, add(grad, load(block.minus_delta + query)));
  if constexpr (kCapped) grad_score = mul(grad_score, slope);
  if constexpr (kMasked) {
    const int key = strip.row + row;
    // No range holds key -1.
    const bool hidden = block.key_bias != nullptr && block.key_bias[key] != 0;
    const Flags seen =
        ranges_holding(block.begin + query, block.end + query, hidden ? -1 : block.key + key);
    weight = select(seen, weight, zeros());
    grad_score = select(seen, grad_score, zeros());
  }
  return {weight, grad_score};
}

template <bool kMasked, bool kCapped>
ULLAGE_TARGET void differentiate_strip(const BackwardBlock& block, BackwardStrip& strip,
                                       Word* tile) {
  for (int row = 0; row < kRowTile; row += kPair) {
    Word* weights = strip.weights + row * kQueryWords;
    Word* grads = strip.grad_scores + row * kQueryWords;
    Word* keys = tile + (strip.row + row) / kPair * kQueryStride;
    for (int i = strip.begin; i < strip.end; i += kLanes) {
      const auto one = differentiate<kMasked, kCapped>(block, strip, row, i);
      store_weights(weights + i / kPair, one.weight);
      if constexpr (kPair == 1) {
        store_weights(grads + i, one.grad_score);
        store_weights(keys + i, one.grad_score);
      } else {
        const auto two = differentiate<kMasked, kCapped>(block, strip, row + 1, i);
        store_weights(weights + kQueryWords + i / kPair, two.weight);
        store_grad_scores(grads + i / kPair, grads + kQueryWords + i / kPair, keys + i,
                          one.grad_score, two.grad_score);
      }
    }
  }
}

// C = A B for the strip's keys and the queries that matter: S^T or dP^T.
ULLAGE_INLINE void strip_product(const BackwardStrip& strip, const Word* keys, const Word* queries,
                                 int steps, float* out) {
  for (int i = strip.begin; i < strip.end; i += kPanel)
    product_tile<1, kRowTile, Into::store>(keys + strip.row * steps, queries + i * steps, steps,
                                           out + i, kQueryStride, nullptr);
}

// Adds the strip's part, a sum over queries, to its keys' gradients.
ULLAGE_INLINE void add_strip(const BackwardStrip& strip, const Word* left, const Word* rows,
                             std::ptrdiff_t panel, int panels, float* out) {
  out += static_cast<std::ptrdiff_t>(strip.row) * panels * kPanel;
  for (int p = 0; p < panels; ++p) {
    product_tile<kQueryWords, 1, Into::add>(
        left + strip.begin / kPair, rows + p * panel + strip.begin / kPair * kPanel,
        (strip.end - strip.begin) / kPair, out + p * kPanel, panels * kPanel, nullptr);
  }
}

ULLAGE_TARGET void backward_strip(const BackwardBlock& block, BackwardStrip& strip, Word* tile) {
  strip_product(strip, block.keys, block.queries, block.steps, strip.scores);
  strip_product(strip, block.values, block.grads, block.value_steps, strip.grads);
  const bool whole = all_seen(block, strip);
  if (block.cap != 0) {
    differentiate_strip<true, true>(block, strip, tile);
  } else if (whole) {
    differentiate_strip<false, false>(block, strip, tile);
  } else {
    differentiate_strip<true, false>(block, strip, tile);
  }
  add_strip(strip, strip.weights, block.grad_rows, block.grad_panel, block.value_panels,
            block.grad_values);
  add_strip(strip, strip.grad_scores, block.query_rows, block.query_panel, block.width_panels,
            block.grad_keys);
}

// dS = 0 for the queries that the strip left out.
ULLAGE_TARGET void clear_rest(const BackwardBlock& block, const BackwardStrip& strip, Word* tile) {
  const int end = block.query_panels * kPanel;
  for (int row = 0; row < kRowTile; row += kPair) {
    Word* keys = tile + (strip.row + row) / kPair * kQueryStride;
    for (int i = 0; i < strip.begin && i < end; ++i) keys[i] = 0;
    for (int i = strip.end > strip.begin ? strip.end : end; i < end; ++i) keys[i] = 0;
  }
}

// dQ of the block: a sum over those of the tile's keys that each row tile sees.
ULLAGE_TARGET void add_queries(const BackwardBlock& block, const Word* tile) {
  const int stride = block.width_panels * kPanel;
  for (int i = 0; i < block.query_panels * kPanel; i += kRowTile) {
    const KeyHull hull = hull_of(block, i, kRowTile);
    int first = hull.begin - block.key;
    int last = hull.end - block.key;
    if (first < 0) first = 0;
    if (last > block.key_count) last = block.key_count;
    if (first >= last) continue;
    first = first / kRowTile * kRowTile;
    last = (last + kRowTile - 1) / kRowTile * kRowTile;
    for (int p = 0; p < block.width_panels; ++p) {
      product_tile<1, kQueryStride, Into::add>(
          tile + first / kPair * kQueryStride + i,
          block.key_rows + p * block.key_panel + first / kPair * kPanel, (last - first) / kPair,
          block.grad_queries + static_cast<std::ptrdiff_t>(i) * stride + p * kPanel, stride,
          nullptr);
    }
  }
}

ULLAGE_TARGET void backward_block(const BackwardBlock& block) {
  BackwardStrip strip;
  alignas(64) TileGrads tile;
  KeyHull panels[kQueryBlock / kPanel];
  for (int p = 0; p < block.query_panels; ++p) panels[p] = hull_of(block, p * kPanel, kPanel);
  for (strip.row = 0; strip.row < block.key_count; strip.row += kRowTile) {
    const int first = block.key + strip.row;
    // The panels of queries that see any of these keys, and what lies between them.
    strip.begin = kQueryBlock;
    strip.end = 0;
    for (int p = 0; p < block.query_panels; ++p) {
      if (panels[p].begin >= first + kRowTile || panels[p].end <= first) continue;
      if (strip.begin > p * kPanel) strip.begin = p * kPanel;
      strip.end = (p + 1) * kPanel;
    }
    if (strip.begin < strip.end) backward_strip(block, strip, tile);
    clear_rest(block, strip, tile);
  }
  add_queries(block, tile);
}

}  // namespace

}  // namespace ullage::attention
