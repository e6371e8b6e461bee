// One attention problem: its shape, strided views of its tensors, and which keys a query sees.
//
// Scores are S = cap(scale Q K^T) + bias, cap(x) = c tanh(x / c). Nothing here says how anything is
// rounded: that is recipe.h.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include "ullage/base/result.h"

namespace ullage::attention {

// Widest head that the room takes; scratch of a tile is sized by it.
inline constexpr std::size_t kMaxWidth = 256;

// A bfloat16 number: the upper half of an FP32 one.
struct Bf16 {
  std::uint16_t bits = 0;

  [[nodiscard]] float value() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

struct Shape {
  std::size_t batch = 1;
  std::size_t query_heads = 1;
  std::size_t kv_heads = 1;     // divides query_heads; query head h reads kv head h / group()
  std::size_t queries = 0;      // rows of Q: of each sequence, or of all when packed
  std::size_t keys = 0;         // rows of K and V, likewise
  std::size_t width = 0;        // columns of Q and K
  std::size_t value_width = 0;  // columns of V and O

  [[nodiscard]] std::size_t group() const { return query_heads / kv_heads; }
};

// Element (batch, head, row, column) of a tensor somebody else owns; strides in elements, any sign,
// 0 to repeat.
template <class T>
struct View {
  T* data = nullptr;
  std::ptrdiff_t batch = 0;
  std::ptrdiff_t head = 0;
  std::ptrdiff_t row = 0;
  std::ptrdiff_t column = 1;

  [[nodiscard]] T& at(std::size_t b, std::size_t h, std::size_t i, std::size_t c) const {
    return data[static_cast<std::ptrdiff_t>(b) * batch + static_cast<std::ptrdiff_t>(h) * head +
                static_cast<std::ptrdiff_t>(i) * row + static_cast<std::ptrdiff_t>(c) * column];
  }
  explicit operator bool() const { return data != nullptr; }
  operator View<const T>() const  // NOLINT(google-explicit-constructor)
    requires(!std::is_const_v<T>)
  {
    return {data, batch, head, row, column};
  }
};

// The strides of an array laid out (batch, head, row, column) without gaps.
template <class T>
View<T> contiguous(T* data, std::size_t heads, std::size_t rows, std::size_t columns) {
  const auto row = static_cast<std::ptrdiff_t>(columns);
  const auto head = row * static_cast<std::ptrdiff_t>(rows);
  return {data, head * static_cast<std::ptrdiff_t>(heads), head, row, 1};
}

// Where query 0's diagonal lies when there are more keys than queries, or fewer.
enum class Alignment : std::uint8_t {
  top_left,      // key 0 (PyTorch's is_causal)
  bottom_right,  // the last query sees the last key last (FlashAttention since 2.1, decoding)
};

struct Mask {
  // Keys seen before and after the diagonal; none: all of them.
  std::optional<std::size_t> left;
  std::optional<std::size_t> right;
  Alignment alignment = Alignment::bottom_right;
  // batch x keys, row-major, 0 where a key is padding; empty: all are real. Not with Packed.
  std::span<const std::uint8_t> padding;
};

// Each query sees itself and what is before it.
inline Mask causal(Alignment alignment = Alignment::bottom_right) {
  return {.left = {}, .right = 0, .alignment = alignment, .padding = {}};
}
// Each query sees the last `length` keys up to itself (Mistral's sliding_window).
inline Mask sliding_window(std::size_t length, Alignment alignment = Alignment::bottom_right) {
  return {.left = length == 0 ? 0 : length - 1, .right = 0, .alignment = alignment, .padding = {}};
}

// Sequences of different lengths one after another on the row axis (cu_seqlens): sequence b has rows
// [starts[b], starts[b + 1]). batch + 1 ascending entries each, the first 0, the last the shape's
// row count; batch strides of the views are then not used. Empty: not packed.
struct Packed {
  std::span<const std::size_t> query_starts;
  std::span<const std::size_t> key_starts;
};

// Scales of FP8 operands: an operand is read as round(x / descale) and stands for descale times
// that. batch x kv_heads entries each, row-major, as FlashAttention-3 takes them (one q_descale a
// kv head, too); empty: 1.
struct Descales {
  std::span<const float> q;
  std::span<const float> k;
  std::span<const float> v;
};

template <class Real>
struct Inputs {
  Shape shape;
  View<const Real> q;
  View<const Real> k;
  View<const Real> v;
  Mask mask = {};
  std::optional<double> scale = {};  // none: 1 / sqrt(width)
  double soft_cap = 0;               // 0: none
  View<const Real> bias = {};        // added to the capped scores; -infinity masks; null: none
  std::span<const Real> sinks = {};  // one more score a query head, without a value; empty: none
  Packed packed = {};
  Descales descales = {};

  [[nodiscard]] double score_scale() const;
};

// Refuses (value_invalid) what the rest of the room may then take for granted. Tensor contents are not
// looked at.
template <class Real>
Status check(const Inputs<Real>& inputs);

// Rows of one sequence, and the keys that each of its queries may see, before padding and bias.
struct Sequence {
  std::size_t index = 0;  // b
  std::size_t batch = 0;  // for the views' batch index: b, or 0 when packed
  std::size_t query_begin = 0;
  std::size_t key_begin = 0;
  std::size_t queries = 0;
  std::size_t keys = 0;
};

Sequence sequence_of(const Shape& shape, const Packed& packed, std::size_t b);

// Where query i stands among the keys when the last query stands at the last key: the same for a token
// among others and for one that is decoded alone. Modulo 2^64 where queries are more than keys.
inline std::size_t position_of(const Sequence& sequence, std::size_t query) {
  return query + sequence.keys - sequence.queries;
}

struct KeyRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// The keys [begin, end) that query i of the sequence sees by causality and window.
KeyRange visible_keys(const Mask& mask, const Sequence& sequence, std::size_t query);

}  // namespace ullage::attention
