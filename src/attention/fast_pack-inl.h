// Packing of operands into lanes and panels, and results back into their owner's tensors.
#pragma once

#include <bit>
#include <cstring>

#include "attention/fast_kernels.h"
#include "attention/query_bits.h"

namespace ullage::attention {

namespace {

ULLAGE_INLINE Word half_word(const std::uint16_t* from) { return *from; }

// The FP32 number of an element.
ULLAGE_INLINE Word wide_word(const std::uint16_t* from) { return static_cast<Word>(*from) << 16; }
ULLAGE_INLINE Word wide_word(const float* from) { return std::bit_cast<Word>(*from); }

// Words of `columns` columns of one row, `stride` apart.
template <class T>
ULLAGE_INLINE void spread_row(const T* from, int columns, std::ptrdiff_t stride, Word* out) {
  if constexpr (kPair == 1) {
    for (int c = 0; c < columns; ++c) out[c * stride] = wide_word(from + c);
  } else {
    for (int c = 0; c < columns / 2; ++c) {
      Word word;
      std::memcpy(&word, from + 2 * c, sizeof(word));
      out[c * stride] = word;
    }
    if (columns % 2 != 0) out[columns / 2 * stride] = half_word(from + columns - 1);
  }
}

template <class T>
ULLAGE_TARGET void pack_lanes_of(const SourceRows& source, int lanes, Word* out) {
  const auto* values = static_cast<const T*>(source.values);
  const int steps = (source.columns + kPair - 1) / kPair;
  for (int first = 0; first < source.rows; first += lanes) {
    for (int lane = 0; lane < lanes; ++lane) {
      const int row = first + lane;
      if (row < source.rows && (source.keep == nullptr || source.keep[row] != 0)) {
        spread_row(values + row * source.stride, source.columns, lanes, out + lane);
      } else {
        for (int c = 0; c < steps; ++c) out[c * lanes + lane] = 0;
      }
    }
    out += static_cast<std::ptrdiff_t>(steps) * lanes;
  }
}

// kPanel words of step `row`: elements of one row (pair 1) or of two rows side by side (pair 2).
template <class T>
ULLAGE_INLINE void panel_step(const SourceRows& source, const T* values, int row, int columns,
                              Word* out) {
  const auto kept = [&](int r) ULLAGE_TARGET {
    return r < source.rows && (source.keep == nullptr || source.keep[r] != 0);
  };
  for (int c = 0; c < kPanel; ++c) out[c] = 0;
  if constexpr (kPair == 1) {
    if (!kept(row)) return;
    const T* from = values + row * source.stride;
    for (int c = 0; c < columns; ++c) out[c] = wide_word(from + c);
  } else {
    if (kept(row)) {
      const T* from = values + row * source.stride;
      for (int c = 0; c < columns; ++c) out[c] = half_word(from + c);
    }
    if (kept(row + 1)) {
      const T* from = values + (row + 1) * source.stride;
      for (int c = 0; c < columns; ++c) out[c] |= static_cast<Word>(from[c]) << 16;
    }
  }
}

template <class T>
ULLAGE_TARGET void pack_panels_of(const SourceRows& source, int padded_rows, Word* out) {
  const auto* values = static_cast<const T*>(source.values);
  for (int first = 0; first < source.columns; first += kPanel) {
    const int columns = source.columns - first < kPanel ? source.columns - first : kPanel;
    for (int row = 0; row < padded_rows; row += kPair) {
      panel_step(source, values + first, row, columns, out);
      out += kPanel;
    }
  }
}

// BF16 operands come from BF16 tensors alone.
ULLAGE_TARGET void pack_lanes(const SourceRows& source, int lanes, Word* out) {
  if constexpr (kPair == 1) {
    if (!source.bf16) return pack_lanes_of<float>(source, lanes, out);
  }
  pack_lanes_of<std::uint16_t>(source, lanes, out);
}

ULLAGE_TARGET void pack_panels(const SourceRows& source, int padded_rows, Word* out) {
  if constexpr (kPair == 1) {
    if (!source.bf16) return pack_panels_of<float>(source, padded_rows, out);
  }
  pack_panels_of<std::uint16_t>(source, padded_rows, out);
}

ULLAGE_INLINE std::uint16_t rounded_to_bf16(float x) {
  const Word bits = std::bit_cast<Word>(x);
  const Word rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return static_cast<std::uint16_t>(x != x ? 0x7FC0 : rounded);
}

template <class T>
ULLAGE_INLINE void row_products_of(const SourceRows& a, const SourceRows& b, float* out) {
  // As many sums as a vector has lanes, so that the order is the same whatever the compiler does.
  for (int i = 0; i < a.rows; ++i) {
    const T* left = static_cast<const T*>(a.values) + i * a.stride;
    const T* right = static_cast<const T*>(b.values) + i * b.stride;
    float sums[kLanes] = {};
    const int whole = a.columns / kLanes * kLanes;
    for (int c = 0; c < whole; c += kLanes) {
      for (int l = 0; l < kLanes; ++l)
        sums[l] += std::bit_cast<float>(wide_word(left + c + l)) *
                   std::bit_cast<float>(wide_word(right + c + l));
    }
    for (int c = whole; c < a.columns; ++c)
      sums[c - whole] +=
          std::bit_cast<float>(wide_word(left + c)) * std::bit_cast<float>(wide_word(right + c));
    float sum = 0;
    for (const float part : sums) sum += part;
    out[i] = sum;
  }
}

ULLAGE_TARGET void row_products(const SourceRows& a, const SourceRows& b, float* out) {
  if (a.bf16) {
    row_products_of<std::uint16_t>(a, b, out);
  } else {
    row_products_of<float>(a, b, out);
  }
}

template <class T>
ULLAGE_INLINE void row_bits_of(const SourceRows& source, std::uint32_t* out) {
  for (int i = 0; i < source.rows; ++i) {
    const T* row = static_cast<const T*>(source.values) + i * source.stride;
    std::uint32_t sum = 0;
    for (int c = 0; c < source.columns; ++c) sum += mixed_bits(wide_word(row + c), c);
    out[i] = sum;
  }
}

ULLAGE_TARGET void row_bits(const SourceRows& source, std::uint32_t* out) {
  if (source.bf16) {
    row_bits_of<std::uint16_t>(source, out);
  } else {
    row_bits_of<float>(source, out);
  }
}

template <class T>
ULLAGE_INLINE void put(T* to, float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    *to = x;
  } else {
    *to = rounded_to_bf16(x);
  }
}

template <class T>
ULLAGE_INLINE void store_rows_of(const FinishedRows& rows, const TargetRows& target) {
  for (int i = 0; i < rows.rows; ++i) {
    const float* from = rows.values + static_cast<std::ptrdiff_t>(i) * rows.stride;
    const float factor = rows.factors[i];
    T* to = static_cast<T*>(target.values) + i * target.row;
    if (target.column == 1) {
      for (int c = 0; c < rows.columns; ++c) put(to + c, from[c] * factor);
    } else {
      for (int c = 0; c < rows.columns; ++c) put(to + c * target.column, from[c] * factor);
    }
  }
}

ULLAGE_TARGET void store_rows(const FinishedRows& rows, const TargetRows& target) {
  if (target.bf16) {
    store_rows_of<std::uint16_t>(rows, target);
  } else {
    store_rows_of<float>(rows, target);
  }
}

}  // namespace

}  // namespace ullage::attention
