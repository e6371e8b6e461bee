// What forward and backward share: which kernels run, where each sequence's packed operands lie, and
// the pieces of work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "attention/fast_kernels.h"
#include "attention/fast_workspace.h"
#include "ullage/attention/fast.h"
#include "ullage/base/multiple.h"

namespace ullage::attention {

template <class T>
inline constexpr bool kIsBf16 = std::is_same_v<T, Bf16>;

// A sequence and where its padded rows begin when all sequences are packed one after another.
struct PlannedSequence {
  Sequence rows;
  std::size_t padded_keys = 0;
  std::size_t key_begin = 0;
  std::size_t padded_queries = 0;
  std::size_t query_begin = 0;
};

template <class T>
struct FastPlan {
  const FastKernels& kernels;
  const Inputs<T>& inputs;
  std::vector<PlannedSequence> sequences;
  std::size_t pair;
  std::size_t panel;
  std::size_t all_keys = 0;  // padded, of all sequences
  std::size_t all_queries = 0;
  std::size_t steps = 0;         // of a sum over `width` columns
  std::size_t value_steps = 0;   // of one over `value_width`
  std::size_t width_stride = 0;  // `width` columns in whole panels
  std::size_t value_stride = 0;

  // Sequences are padded to multiples of these.
  FastPlan(const FastKernels& table, const Inputs<T>& in, int key_padding, int query_padding)
      : kernels(table),
        inputs(in),
        pair(static_cast<std::size_t>(table.pair)),
        panel(static_cast<std::size_t>(table.panel)) {
    const Shape& shape = in.shape;
    steps = ceil_divide(shape.width, pair);
    value_steps = ceil_divide(shape.value_width, pair);
    width_stride = rounded_up(shape.width, panel);
    value_stride = rounded_up(shape.value_width, panel);
    for (std::size_t b = 0; b < shape.batch; ++b) {
      PlannedSequence sequence;
      sequence.rows = sequence_of(shape, in.packed, b);
      sequence.padded_keys = rounded_up(sequence.rows.keys, static_cast<std::size_t>(key_padding));
      sequence.key_begin = all_keys;
      all_keys += sequence.padded_keys;
      sequence.padded_queries =
          rounded_up(sequence.rows.queries, static_cast<std::size_t>(query_padding));
      sequence.query_begin = all_queries;
      all_queries += sequence.padded_queries;
      sequences.push_back(sequence);
    }
  }

  // 0 where a key of the sequence is padding; null: none is.
  [[nodiscard]] const std::uint8_t* keep(const PlannedSequence& sequence) const {
    if (inputs.mask.padding.empty()) return nullptr;
    return inputs.mask.padding.data() + sequence.rows.index * inputs.shape.keys;
  }

  // 0 or -infinity for each padded key of all sequences; null where nothing is padding.
  [[nodiscard]] const float* key_bias(Scratch<float>& buffer) const {
    if (inputs.mask.padding.empty()) return nullptr;
    float* bias = buffer.at_least(all_keys);
    for (const PlannedSequence& sequence : sequences) {
      const std::uint8_t* kept = keep(sequence);
      for (std::size_t j = 0; j < sequence.padded_keys; ++j) {
        const bool seen = j < sequence.rows.keys && kept[j] != 0;
        bias[sequence.key_begin + j] = seen ? 0.0F : -std::numeric_limits<float>::infinity();
      }
    }
    return bias;
  }

  template <class U>
  [[nodiscard]] static SourceRows source(const View<U>& view, std::size_t batch, std::size_t head,
                                         std::size_t row, std::size_t rows, std::size_t columns) {
    SourceRows source;
    if (rows != 0) source.values = &view.at(batch, head, row, 0);
    source.bf16 = kIsBf16<T>;
    source.stride = view.row;
    source.rows = static_cast<int>(rows);
    source.columns = static_cast<int>(columns);
    return source;
  }

  // All rows of one head of K or V, padding left out.
  [[nodiscard]] SourceRows key_source(const View<const T>& view, const PlannedSequence& sequence,
                                      std::size_t kv_head, std::size_t columns) const {
    const Sequence& rows = sequence.rows;
    SourceRows all = source(view, rows.batch, kv_head, rows.key_begin, rows.keys, columns);
    all.keep = keep(sequence);
    return all;
  }

  // All rows of one head of Q, O or dO.
  [[nodiscard]] SourceRows query_source(const View<const T>& view, const PlannedSequence& sequence,
                                        std::size_t head, std::size_t columns) const {
    const Sequence& rows = sequence.rows;
    return source(view, rows.batch, head, rows.query_begin, rows.queries, columns);
  }
};

// exp(S) = 2^(scale s), s the packed product, or the capped score where there is a cap.
struct ScoreUnits {
  float scale = 0;
  float cap = 0;
  float cap_scale = 0;  // cap tanh(cap_scale s)
  double score = 1;     // S of a kernel's s, after the cap
};

template <class T>
ScoreUnits score_units(const Inputs<T>& inputs) {
  constexpr double kLog2E = 1.4426950408889634;
  const double scale = inputs.score_scale();
  if (inputs.soft_cap == 0) return {static_cast<float>(scale * kLog2E), 0, 0, scale};
  return {static_cast<float>(kLog2E), static_cast<float>(inputs.soft_cap),
          static_cast<float>(scale / inputs.soft_cap), 1};
}

}  // namespace ullage::attention
