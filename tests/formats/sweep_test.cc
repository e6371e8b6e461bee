// All 2^32 FP32 inputs to E4M3 and BF16: the kernels of every path and the scalar definition against exact
// integers, which share no code with either.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "formats/paths.h"
#include "ullage/base/parallel.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

// Positive FP32 patterns ascend with their values, and so do the codes of a format: the answer for all inputs is
// the list of the first pattern of each code, found by comparing with midpoints as exact integers.
class Midpoints {
 public:
  Midpoints(int mantissa_bits, int bias, std::uint32_t max_code) {
    for (std::uint32_t code = 0; code <= max_code; ++code) {
      const std::uint32_t field = code >> mantissa_bits;
      const std::uint32_t hidden = field == 0 ? 0 : 1U << mantissa_bits;
      const std::uint32_t significand = (code & ((1U << mantissa_bits) - 1)) + hidden;
      // Half a step above the code: 2 significand + 1 halves of its last place.
      const Number middle = {2 * significand + 1,
                             static_cast<int>(std::max(field, 1U)) - bias - mantissa_bits - 1};
      // The first pattern past it, or on it where the tie goes up to an even code.
      std::uint32_t low = first_.empty() ? 0 : first_.back();
      std::uint32_t high = 0x7F800000;
      while (low < high) {
        const std::uint32_t pattern = low + (high - low) / 2;
        const int order = compare(number_of(pattern), middle);
        if (order > 0 || (order == 0 && (code & 1) != 0))
          high = pattern;
        else
          low = pattern + 1;
      }
      first_.push_back(low);
    }
  }

  // Codes of `count` patterns from `begin` on; `past` for overflow and infinity, `nan` for NaN.
  template <class CodeType>
  void fill(std::uint32_t begin, std::size_t count, std::uint32_t past, std::uint32_t nan,
            CodeType* codes) const {
    auto next = static_cast<std::size_t>(std::upper_bound(first_.begin(), first_.end(), begin) -
                                         first_.begin());
    for (std::size_t i = 0; i < count; ++i) {
      const auto pattern = static_cast<std::uint32_t>(begin + i);
      while (next < first_.size() && first_[next] <= pattern) ++next;
      const auto code = static_cast<std::uint32_t>(next);
      codes[i] = static_cast<CodeType>(pattern > 0x7F800000    ? nan
                                       : next == first_.size() ? past
                                                               : code);
    }
  }

 private:
  struct Number {  // integer 2^exponent
    std::uint32_t integer;
    int exponent;
  };
  static Number number_of(std::uint32_t pattern) {
    const std::uint32_t field = pattern >> 23;
    return {(pattern & 0x7FFFFF) | (field == 0 ? 0 : 0x800000U),
            static_cast<int>(std::max(field, 1U)) - 150};
  }
  static int compare(Number a, Number b) {
    if (a.integer == 0) return -1;  // a midpoint is never zero
    const int top_a = a.exponent + std::bit_width(a.integer);
    const int top_b = b.exponent + std::bit_width(b.integer);
    if (top_a != top_b) return top_a < top_b ? -1 : 1;
    // The same leading bit, so neither is shifted by more than 24 places.
    const int low = std::min(a.exponent, b.exponent);
    const std::uint64_t left = std::uint64_t{a.integer} << (a.exponent - low);
    const std::uint64_t right = std::uint64_t{b.integer} << (b.exponent - low);
    return left < right ? -1 : static_cast<int>(left > right);
  }

  std::vector<std::uint32_t> first_;  // [code]: the first pattern past its upper midpoint
};

template <class CodeType>
void sweep(const Format& format, const Midpoints& exact) {
  constexpr std::size_t kGroup = std::size_t{1} << 24;
  constexpr std::size_t kGrain = std::size_t{1} << 16;
  CastOptions options = {.overflow = Overflow::non_saturating, .threads = 0};
  const std::uint32_t past = format.has_infinity ? format.infinity_code() : format.nan_code();
  std::vector<float> values(kGroup);
  std::vector<CodeType> expected(kGroup);
  std::vector<CodeType> found(kGroup);
  std::uint64_t checked = 0;
  std::atomic<std::uint64_t> wrong_by_definition = 0;
  std::atomic<std::uint64_t> wrong_by_kernel = 0;
  for (std::uint64_t group = 0; group < std::uint64_t{1} << 32; group += kGroup) {
    const std::uint32_t sign = group >> 31 != 0 ? format.sign_mask() : 0;
    parallel_ranges(kGroup, kGrain, 0, [&](std::size_t begin, std::size_t end) {
      const auto first = static_cast<std::uint32_t>((group + begin) & 0x7FFFFFFF);
      exact.fill(first, end - begin, past, format.nan_code(), expected.data() + begin);
      std::uint64_t wrong = 0;
      for (std::size_t i = begin; i < end; ++i) {
        values[i] = std::bit_cast<float>(static_cast<std::uint32_t>(group + i));
        expected[i] = static_cast<CodeType>(expected[i] | sign);
        wrong += encode(format, values[i], options) != expected[i];
      }
      wrong_by_definition += wrong;
    });
    for (const CpuPath path : {CpuPath::portable, CpuPath::avx2, CpuPath::avx512}) {
      if (!refusal(path).empty()) continue;
      const ScopedCpuPath scoped(path);
      ASSERT_TRUE(cast(std::span<const float>(values), format, std::span(found), options).ok());
      parallel_ranges(kGroup, kGrain, 0, [&](std::size_t begin, std::size_t end) {
        std::uint64_t wrong = 0;
        for (std::size_t i = begin; i < end; ++i) wrong += found[i] != expected[i];
        wrong_by_kernel += wrong;
      });
      checked += kGroup;
    }
  }
  EXPECT_EQ(wrong_by_definition.load(), 0U) << format.label();
  EXPECT_EQ(wrong_by_kernel.load(), 0U) << format.label();
  EXPECT_EQ(checked % (std::uint64_t{1} << 32), 0U);
  EXPECT_GE(checked, std::uint64_t{1} << 32);
}

TEST(LongSweep, EveryFp32InputToE4M3) { sweep<std::uint8_t>(kE4M3, Midpoints(3, 7, 0x7E)); }

TEST(LongSweep, EveryFp32InputToBf16) { sweep<std::uint16_t>(kBf16, Midpoints(7, 127, 0x7F7F)); }

}  // namespace
}  // namespace ullage::formats
