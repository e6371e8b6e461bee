// A Store made ready to round many values: what one quantity of one head goes through.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "ullage/attention/recipe.h"
#include "ullage/formats/scalar.h"

namespace ullage::attention {

// The nearest number of BF16, as FP32 holds it.
inline float bf16(double x) {
  return static_cast<float>(
      formats::round_to(formats::kBf16, x, {.overflow = formats::Overflow::non_saturating}));
}

template <class Real>
class Rounder {
 public:
  Rounder() = default;

  // Stochastic rounding draws word after word from `first_index` on: one head's work is done in one
  // order by one thread, so the words do not depend on threads.
  Rounder(const Store& store, std::uint64_t seed, std::uint64_t first_index) {
    if (!store.format) return;
    const bool nearest = store.rounding == formats::Rounding::nearest_even;
    if (std::is_same_v<Real, float> && *store.format == formats::kFp32 && nearest) return;
    format_ = *store.format;
    options_ = {.overflow = store.overflow,
                .rounding = store.rounding,
                .seed = seed,
                .first_index = first_index};
    const bool bf16 = std::is_same_v<Real, float> && format_ == formats::kBf16 && nearest &&
                      store.overflow == formats::Overflow::non_saturating;
    kind_ = bf16 ? Kind::bf16 : Kind::general;
  }

  [[nodiscard]] bool changes_nothing() const { return kind_ == Kind::none; }

  Real operator()(Real x) {
    switch (kind_) {
      case Kind::none:
        return x;
      case Kind::bf16:
        return bf16(x);
      case Kind::general:
        return static_cast<Real>(
            formats::round_to(format_, static_cast<double>(x), options_, next_++));
    }
    return x;
  }

  void operator()(std::span<Real> values) {
    if (kind_ == Kind::none) return;
    if (kind_ == Kind::bf16) {
      std::transform(values.begin(), values.end(), values.begin(), bf16);
      return;
    }
    for (Real& value : values) value = (*this)(value);
  }

 private:
  enum class Kind : std::uint8_t { none, bf16, general };

  // Nearest-even on the upper half of an FP32's bits; a carry past the largest gives infinity.
  static Real bf16(Real x) {
    if constexpr (std::is_same_v<Real, float>) {
      const auto bits = std::bit_cast<std::uint32_t>(x);
      const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) & 0xFFFF0000U;
      return x != x ? x : std::bit_cast<float>(rounded);
    } else {
      return x;
    }
  }

  Kind kind_ = Kind::none;
  formats::Format format_ = formats::kFp32;
  formats::CastOptions options_ = {.overflow = formats::Overflow::non_saturating};
  std::uint64_t next_ = 0;
};

// The rounders of all quantities for one head.
template <class Real>
class Rounders {
 public:
  Rounders(const Recipe& recipe, std::uint64_t head) {
    for (std::size_t i = 0; i < kQuantities; ++i)
      rounders_[i] = Rounder<Real>(recipe.stores[i], recipe.seed,
                                   (head * kQuantities + i) << kWordsPerQuantityBits);
  }
  Rounder<Real>& operator[](Quantity quantity) {
    return rounders_[static_cast<std::size_t>(quantity)];
  }

 private:
  // 2^36 words each: 2^16 rows of 2^20 keys.
  static constexpr int kWordsPerQuantityBits = 36;
  std::array<Rounder<Real>, kQuantities> rounders_;
};

}  // namespace ullage::attention
