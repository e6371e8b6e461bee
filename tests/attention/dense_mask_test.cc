// Masks made from a band and padding are found again, as the same mask; others are not.
#include "ullage/attention/dense_mask.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace ullage::attention {
namespace {

struct Filled {
  std::size_t batch, queries, keys;
  std::vector<std::uint8_t> cells;

  [[nodiscard]] View<const std::uint8_t> view() const {
    return contiguous(cells.data(), 1, queries, keys);
  }
  [[nodiscard]] std::optional<MaskBand> band() const {
    return band_of(view(), batch, queries, keys);
  }
};

Filled fill(std::size_t batch, std::size_t queries, std::size_t keys, const MaskBand& band) {
  Filled filled = {batch, queries, keys, {}};
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t i = 0; i < queries; ++i) {
      for (std::size_t j = 0; j < keys; ++j) {
        const auto distance = static_cast<std::ptrdiff_t>(j) - static_cast<std::ptrdiff_t>(i);
        const bool seen = (!band.first || distance >= *band.first) &&
                          (!band.last || distance <= *band.last) && band.keep[b * keys + j] != 0;
        filled.cells.push_back(seen ? 1 : 0);
      }
    }
  }
  return filled;
}

TEST(DenseMask, FindsTheFewestLimits) {
  const MaskBand none = {{}, {}, std::vector<std::uint8_t>(14, 1)};
  const auto found = [&](std::optional<std::ptrdiff_t> first, std::optional<std::ptrdiff_t> last) {
    MaskBand band = none;
    band.first = first;
    band.last = last;
    return fill(2, 5, 7, band).band().value();
  };
  EXPECT_EQ(found({}, {}).last, std::nullopt);
  EXPECT_EQ(found({}, 0).last, 0);
  EXPECT_EQ(found({}, 0).first, std::nullopt);
  EXPECT_EQ(found({}, 2).last, 2);
  EXPECT_EQ(found(-1, {}).first, -1);
  EXPECT_EQ(found(-1, {}).last, std::nullopt);
  EXPECT_EQ(found(-2, 1).first, -2);
  EXPECT_EQ(found(-2, 1).last, 1);
  // Limits beyond every key are none.
  EXPECT_EQ(found(-4, 6).first, std::nullopt);
  EXPECT_EQ(found(-4, 6).last, std::nullopt);
}

TEST(DenseMask, ReadsOddStrides) {
  const MaskBand band = {{}, 1, {1, 0, 1, 1}};
  const Filled filled = fill(1, 3, 4, band);
  std::vector<std::uint8_t> columns(12);
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 4; ++j) columns[j * 3 + i] = filled.cells[i * 4 + j];
  }
  const auto found = band_of({columns.data(), 0, 0, 1, 3}, 1, 3, 4);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->last, 1);
  EXPECT_EQ(found->keep, (std::vector<std::uint8_t>{1, 0, 1, 1}));
}

TEST(DenseMask, NothingSeenOrNothingThere) {
  EXPECT_TRUE(fill(1, 3, 4, {{}, {}, {0, 0, 0, 0}}).band().has_value());
  EXPECT_TRUE(band_of({}, 2, 0, 3).has_value());
  EXPECT_TRUE(band_of({}, 2, 3, 0).has_value());
}

TEST(DenseMask, FindsEveryBandAgain) {
  rc::check("the mask that is found is the mask", [] {
    const auto queries = *rc::gen::inRange<std::size_t>(1, 12);
    const auto keys = *rc::gen::inRange<std::size_t>(1, 12);
    const auto limit = rc::gen::inRange<std::ptrdiff_t>(-12, 12);
    MaskBand band;
    if (*rc::gen::arbitrary<bool>()) band.first = *limit;
    if (*rc::gen::arbitrary<bool>()) band.last = *limit;
    band.keep = *rc::gen::container<std::vector<std::uint8_t>>(
        2 * keys, rc::gen::inRange<std::uint8_t>(0, 2));
    const Filled filled = fill(2, queries, keys, band);
    const auto found = filled.band();
    RC_ASSERT(found.has_value());
    RC_ASSERT(fill(2, queries, keys, *found).cells == filled.cells);
  });
}

TEST(DenseMask, FindsNoneWhereThereIsNone) {
  rc::check("one cell against the band", [] {
    const auto size = *rc::gen::inRange<std::size_t>(4, 12);
    Filled filled = fill(1, size, size, {{}, 0, std::vector<std::uint8_t>(size, 1)});
    // Inside the causal triangle, not its corners, whose change another band may explain.
    const auto i = *rc::gen::inRange<std::size_t>(2, size);
    const auto j = *rc::gen::inRange<std::size_t>(1, i);
    filled.cells[i * size + j] = 0;
    RC_ASSERT(!filled.band().has_value());
  });
}

}  // namespace
}  // namespace ullage::attention
