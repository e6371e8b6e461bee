// Checked arithmetic against the same sums and products in 128 bits.
#include "ullage/base/checked.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>

namespace ullage {
namespace {

__extension__ using Wide = unsigned __int128;
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

std::optional<std::uint64_t> narrowed(Wide value) {
  if (value > kMost) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

void compare(std::uint64_t a, std::uint64_t b) {
  ASSERT_EQ(checked_add(a, b), narrowed(Wide{a} + b)) << a << ' ' << b;
  ASSERT_EQ(checked_multiply(a, b), narrowed(Wide{a} * b)) << a << ' ' << b;
}

TEST(Checked, AroundEveryPowerOfTwo) {
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < 64; ++j) {
      for (int shift = 0; shift < 9; ++shift) {
        const auto a = (std::uint64_t{1} << i) + static_cast<std::uint64_t>(shift % 3) - 1;
        const auto b = (std::uint64_t{1} << j) + static_cast<std::uint64_t>(shift / 3) - 1;
        compare(a, b);
        compare(kMost - a, b);
      }
    }
  }
}

RC_GTEST_PROP(Checked, MatchesWideArithmetic, (std::uint64_t a, std::uint64_t b)) {
  RC_ASSERT(checked_add(a, b) == narrowed(Wide{a} + b));
  RC_ASSERT(checked_multiply(a, b) == narrowed(Wide{a} * b));
}

RC_GTEST_PROP(Checked, MatchesWideArithmeticOnAnyWidth, ()) {
  const int left = *rc::gen::inRange(0, 64);
  const int right = *rc::gen::inRange(0, 64);
  const std::uint64_t a = *rc::gen::arbitrary<std::uint64_t>() >> left;
  const std::uint64_t b = ~*rc::gen::arbitrary<std::uint64_t>() >> right;
  RC_ASSERT(checked_add(a, b) == narrowed(Wide{a} + b));
  RC_ASSERT(checked_multiply(a, b) == narrowed(Wide{a} * b));
}

}  // namespace
}  // namespace ullage
