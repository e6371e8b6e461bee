// What forward and backward share: which kernels run, where each sequence's packed operands lie, and
// the pieces of work.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "attention/fast_kernels.h"
#include "ullage/attention/fast.h"

namespace ullage::attention {

template <class T>
inline constexpr bool kIsBf16 = std::is_same_v<T, Bf16>;

inline std::size_t rounded_up(std::size_t count, std::size_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

// A sequence and where its padded rows begin when all sequences are packed one after another.
struct PlannedSequence {
  Sequence rows;
  std::size_t padded_keys = 0;
  std::size_t key_begin = 0;
};

template <class T>
struct FastPlan {
  const FastKernels& kernels;
  const Inputs<T>& inputs;
  std::vector<PlannedSequence> sequences;
  std::size_t all_keys = 0;      // padded, of all sequences
  std::size_t steps = 0;         // of a sum over `width` columns
  std::size_t value_panels = 0;  // of `value_width` columns

  FastPlan(const FastKernels& table, const Inputs<T>& in) : kernels(table), inputs(in) {
    const Shape& shape = in.shape;
    steps = rounded_up(shape.width, table.pair) / table.pair;
    value_panels = rounded_up(shape.value_width, table.panel) / table.panel;
    for (std::size_t b = 0; b < shape.batch; ++b) {
      PlannedSequence sequence;
      sequence.rows = sequence_of(shape, in.packed, b);
      sequence.padded_keys = rounded_up(sequence.rows.keys, table.panel);
      sequence.key_begin = all_keys;
      all_keys += sequence.padded_keys;
      sequences.push_back(sequence);
    }
  }

  // Words of one kv head's keys, all sequences, and where a sequence's begin.
  [[nodiscard]] std::size_t key_words() const { return all_keys * steps; }
  [[nodiscard]] std::size_t key_place(std::size_t sequence, std::size_t kv_head) const {
    return kv_head * key_words() + sequences[sequence].key_begin * steps;
  }
  [[nodiscard]] std::size_t value_words() const {
    return all_keys / kernels.pair * value_panels * kernels.panel;
  }
  [[nodiscard]] std::size_t value_place(std::size_t sequence, std::size_t kv_head) const {
    return kv_head * value_words() +
           sequences[sequence].key_begin / kernels.pair * value_panels * kernels.panel;
  }

  // 0 where a key of the sequence is padding; null: none is.
  [[nodiscard]] const std::uint8_t* keep(const PlannedSequence& sequence) const {
    if (inputs.mask.padding.empty()) return nullptr;
    return inputs.mask.padding.data() + sequence.rows.index * inputs.shape.keys;
  }

  template <class U>
  [[nodiscard]] static SourceRows source(const View<U>& view, std::size_t batch, std::size_t head,
                                         std::size_t row, std::size_t rows, std::size_t columns) {
    return {&view.at(batch, head, row, 0), kIsBf16<T>, view.row, static_cast<int>(rows),
            static_cast<int>(columns),     nullptr};
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
