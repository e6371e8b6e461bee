// Array casts on every CPU path against the scalar definition: codes, counts, strides, threads, parts.
#include "ullage/formats/cast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "formats/cast_inputs.h"
#include "formats/golden.h"
#include "formats/paths.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

// Every card, and formats of a user that take the kernels' other turns.
std::vector<Format> all_formats() {
  std::vector<Format> formats(kFormats.begin(), kFormats.end());
  formats.push_back({.name = "e3m4", .exponent_bits = 3, .mantissa_bits = 4, .bias = 3});
  formats.push_back({.name = "binary8p4",
                     .exponent_bits = 4,
                     .mantissa_bits = 3,
                     .bias = 8,
                     .nan = NanCodes::negative_zero,
                     .has_infinity = true});
  formats.push_back({.name = "bf16-ftz",
                     .exponent_bits = 8,
                     .mantissa_bits = 7,
                     .bias = 127,
                     .has_subnormals = false});
  formats.push_back({.name = "e3m0",
                     .exponent_bits = 3,
                     .mantissa_bits = 0,
                     .bias = 3,
                     .nan = NanCodes::none,
                     .has_infinity = false});
  formats.push_back({.name = "far", .exponent_bits = 5, .mantissa_bits = 3, .bias = 140});
  formats.push_back({.name = "e6m15", .exponent_bits = 6, .mantissa_bits = 15, .bias = 31});
  return formats;
}

struct Outcome {
  std::vector<std::uint32_t> codes;
  CastCounts counts;
};

Outcome cast_view(const ArrayView& view, const Format& format, const CastOptions& options,
                  std::size_t count) {
  Outcome outcome;
  outcome.codes.resize(count);
  std::vector<std::uint8_t> bytes(count * format.bytes() + 1);
  const Result<CastCounts> counts = cast(view, format, bytes.data() + 1, options);  // misaligned
  if (!counts.ok()) {
    ADD_FAILURE() << counts.error().message();
    return outcome;
  }
  outcome.counts = *counts;
  for (std::size_t i = 0; i < count; ++i)
    std::memcpy(&outcome.codes[i], bytes.data() + 1 + i * format.bytes(), format.bytes());
  return outcome;
}

Outcome cast_floats(const std::vector<float>& values, const Format& format,
                    const CastOptions& options) {
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  return cast_view({.data = values.data(), .format = kFp32, .shape = shape, .strides = {}}, format,
                   options, values.size());
}

Outcome by_definition(const std::vector<float>& values, const Format& format,
                      const CastOptions& options) {
  Outcome outcome;
  CastCounts& counts = outcome.counts;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double x = values[i];
    const std::uint32_t code = encode(format, x, options, i);
    outcome.codes.push_back(code);
    const double y = decode(format, code);
    ++counts.elements;
    if (std::isnan(x)) {
      ++counts.nan;
      continue;
    }
    counts.amax = std::max(counts.amax, std::fabs(x));
    counts.flushed += x != 0 && y == 0;
    if (overflows(format, x, options, i)) {
      ++counts.saturated;
    } else {
      ++counts.error_count;
      counts.error_sum += y - x;
    }
  }
  return outcome;
}

void expect_same_counts(const CastCounts& a, const CastCounts& b) {
  EXPECT_EQ(a.elements, b.elements);
  EXPECT_EQ(a.nan, b.nan);
  EXPECT_EQ(a.saturated, b.saturated);
  EXPECT_EQ(a.flushed, b.flushed);
  EXPECT_EQ(a.amax, b.amax);
  EXPECT_EQ(a.error_count, b.error_count);
  EXPECT_EQ(a.error_sum, b.error_sum);
}

class Casts : public OnEachPath {};
INSTANTIATE_TEST_SUITE_P(Path, Casts, testing::ValuesIn(kCpuPaths), path_name);

TEST_P(Casts, MatchTheDefinitionInEveryFormatAndRounding) {
  for (const Format& format : all_formats()) {
    ASSERT_TRUE(check_format(format).ok()) << format.label();
    for (const CastOptions& options : options_under_test(5)) {
      SCOPED_TRACE(described(format, options));
      const std::vector<float> values = hostile_inputs(format, 2500, 3);
      const Outcome expected = by_definition(values, format, options);
      const Outcome found = cast_floats(values, format, options);
      for (std::size_t i = 0; i < values.size(); ++i)
        ASSERT_EQ(found.codes[i], expected.codes[i])
            << "input " << std::hexfloat << values[i] << " at " << i;
      EXPECT_EQ(found.counts.nan, expected.counts.nan);
      EXPECT_EQ(found.counts.saturated, expected.counts.saturated);
      EXPECT_EQ(found.counts.flushed, expected.counts.flushed);
      EXPECT_EQ(found.counts.amax, expected.counts.amax);
      EXPECT_EQ(found.counts.error_count, expected.counts.error_count);
    }
  }
}

TEST_P(Casts, MatchTheGoldenVectors) {
  const CastOptions variants[] = {{.overflow = Overflow::non_saturating},
                                  {.overflow = Overflow::saturate}};
  for (const Golden& golden : golden_vectors())
    for (std::size_t variant = 0; variant < 2; ++variant) {
      const Outcome found = cast_floats(golden.inputs, golden.format, variants[variant]);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < golden.inputs.size(); ++i) {
        if ((golden.flags[i] & kGoldenConvention) != 0) continue;
        const std::uint32_t expected = golden.codes[variant][i];
        wrong += golden.format.is_nan(expected) ? !golden.format.is_nan(found.codes[i])
                                                : found.codes[i] != expected;
      }
      EXPECT_EQ(wrong, 0U) << golden.file << " variant " << variant;
    }
}

TEST_P(Casts, DecodeAndReencodeEveryCodeOfUpTo16Bits) {
  for (const Format& from : all_formats()) {
    if (from.bits() > 16) continue;
    std::vector<std::uint8_t> bytes;
    std::vector<std::uint16_t> words;
    for (std::uint32_t code = 0; code < from.code_count(); ++code) {
      bytes.push_back(static_cast<std::uint8_t>(code));
      words.push_back(static_cast<std::uint16_t>(code));
    }
    std::vector<float> values(from.code_count());
    const Status decoded =
        from.bytes() == 1 ? decode(from, std::span<const std::uint8_t>(bytes), std::span(values))
                          : decode(from, std::span<const std::uint16_t>(words), std::span(values));
    ASSERT_TRUE(decoded.ok());
    for (std::uint32_t code = 0; code < from.code_count(); ++code)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(values[code]),
                std::bit_cast<std::uint32_t>(static_cast<float>(decode(from, code))))
          << from.label() << " code " << code;

    const void* data = from.bytes() == 1 ? static_cast<const void*>(bytes.data()) : words.data();
    const std::int64_t shape[] = {static_cast<std::int64_t>(from.code_count())};
    const ArrayView view = {.data = data, .format = from, .shape = shape, .strides = {}};
    for (const Format& to : {kE4M3, kE5M2Fnuz, kE2M3, kFp16, kBf16, kFp32})
      for (const Rounding rounding : {Rounding::nearest_even, Rounding::stochastic}) {
        const CastOptions options = {.overflow = Overflow::saturate, .rounding = rounding};
        const Outcome found = cast_view(view, to, options, values.size());
        for (std::uint32_t code = 0; code < from.code_count(); ++code)
          ASSERT_EQ(found.codes[code], encode(to, decode(from, code), options, code))
              << from.label() << " code " << code << " to " << to.label();
      }
  }
}

TEST_P(Casts, FromFp64RoundOnce) {
  std::mt19937_64 engine(5);
  std::vector<double> values = {
      1 + 0x1p-4 + 0x1p-40, 0x1p-150 * (1 + 0x1p-50), 1e300, -5e-324, 0.0, -0.0};
  std::normal_distribution<double> normal;
  while (values.size() < 5000) values.push_back(std::exp(8 * normal(engine)) * normal(engine));
  for (const Format& format : {kE4M3, kBf16, kFp32}) {
    const CastOptions options = {.overflow = Overflow::saturate};
    const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
    const Outcome found =
        cast_view({.data = values.data(), .format = std::nullopt, .shape = shape, .strides = {}},
                  format, options, values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(found.codes[i], encode(format, values[i], options)) << values[i];
    EXPECT_EQ(found.counts.amax, 1e300);
  }
}

TEST_P(Casts, AnyThreadsPartsAndStridesGiveTheSameBits) {
  const std::size_t rows = 301;
  const std::size_t columns = 997;
  std::vector<float> values(rows * columns);
  std::mt19937 engine(9);
  std::normal_distribution<float> normal(0.0F, 30.0F);
  for (float& x : values) x = normal(engine);
  for (const Format& format : {kE4M3, kFp16, kBf16}) {
    CastOptions options = {
        .overflow = Overflow::saturate, .rounding = Rounding::stochastic, .seed = 42};
    const Outcome whole = cast_floats(values, format, options);
    for (const int threads : {2, 3, 7}) {
      options.threads = threads;
      const Outcome found = cast_floats(values, format, options);
      ASSERT_EQ(found.codes, whole.codes);
      expect_same_counts(found.counts, whole.counts);
    }
    // In parts of odd lengths, each told where it begins.
    std::vector<std::uint32_t> codes;
    for (std::size_t begin = 0, length = 1; begin < values.size();
         begin += length, length += 1013) {
      length = std::min(length, values.size() - begin);
      const auto at = values.begin() + static_cast<std::ptrdiff_t>(begin);
      options.first_index = begin;
      const Outcome part = cast_floats(
          std::vector<float>(at, at + static_cast<std::ptrdiff_t>(length)), format, options);
      codes.insert(codes.end(), part.codes.begin(), part.codes.end());
    }
    ASSERT_EQ(codes, whole.codes);
    options.first_index = 0;
    // The same logical array stored transposed, reversed, or with gaps.
    const auto rows_signed = static_cast<std::int64_t>(rows);
    const auto columns_signed = static_cast<std::int64_t>(columns);
    std::vector<float> transposed(values.size());
    std::vector<float> reversed(values.rbegin(), values.rend());
    std::vector<float> gaps(values.size() * 3);
    for (std::size_t i = 0; i < values.size(); ++i) {
      transposed[i % columns * rows + i / columns] = values[i];
      gaps[3 * i] = values[i];
    }
    const std::int64_t shape[] = {rows_signed, columns_signed};
    struct {
      const float* data;
      std::int64_t strides[2];
    } const layouts[] = {{transposed.data(), {1, rows_signed}},
                         {reversed.data() + values.size() - 1, {-columns_signed, -1}},
                         {gaps.data(), {3 * columns_signed, 3}}};
    for (const auto& layout : layouts) {
      const Outcome found = cast_view(
          {.data = layout.data, .format = kFp32, .shape = shape, .strides = layout.strides}, format,
          options, values.size());
      ASSERT_EQ(found.codes, whole.codes);
      expect_same_counts(found.counts, whole.counts);
    }
  }
}

TEST_P(Casts, HoldInAnyFloatEnvironment) {
#if defined(__x86_64__)
  const unsigned before = _mm_getcsr();
  for (const Format& format : {kE4M3, kFp16, kBf16, kTf32}) {
    for (const CastOptions& options : options_under_test(5)) {
      const std::vector<float> values = hostile_inputs(format, 2000, 8);
      const Outcome expected = by_definition(values, format, options);
      _mm_setcsr(0xFFC0);  // toward zero, subnormal sources and results taken as zero
      const Outcome found = cast_floats(values, format, options);
      EXPECT_EQ(_mm_getcsr(), 0xFFC0U);
      _mm_setcsr(before);
      ASSERT_EQ(found.codes, expected.codes) << described(format, options);
    }
  }
#else
  GTEST_SKIP() << "knows x86-64's control register only";
#endif
}

TEST_P(Casts, LargeArraysStreamTheSameBits) {
  std::vector<float> values(3500011);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = std::bit_cast<float>(static_cast<std::uint32_t>(i * 859));
  const CastOptions options = {.overflow = Overflow::saturate, .threads = 2};
  for (const Format& format : {kE4M3, kBf16}) {
    const Outcome found = cast_floats(values, format, options);
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(found.codes[i], encode(format, values[i], options)) << i;
  }
}

TEST_P(Casts, CanGiveValuesInstead) {
  const std::vector<float> values = hostile_inputs(kE4M3, 3000, 2);
  std::vector<float> found(values.size());
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  const ArrayView view = {.data = values.data(), .format = kFp32, .shape = shape, .strides = {}};
  const CastOptions options = {.overflow = Overflow::saturate};
  ASSERT_TRUE(cast_to_values(view, kE4M3, found.data(), options).ok());
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(found[i]),
              std::bit_cast<std::uint32_t>(
                  static_cast<float>(decode(kE4M3, encode(kE4M3, values[i], options)))));
}

TEST(Cast, CountsHaveTheSameBitsOnEveryPath) {
  std::vector<float> values(70003);
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(0.1F, 200.0F);
  for (float& x : values) x = normal(engine);
  for (const Format& format : {kE4M3, kFp16, kBf16})
    for (const CastOptions& options : options_under_test(5)) {
      std::vector<CastCounts> found;
      for (const CpuPath path : kCpuPaths) {
        if (!refusal(path).empty()) continue;
        const ScopedCpuPath scoped(path);
        found.push_back(cast_floats(values, format, options).counts);
        expect_same_counts(found.back(), found.front());
      }
      const CastCounts expected = by_definition(values, format, options).counts;
      EXPECT_NEAR(found.front().error_sum, expected.error_sum,
                  1e-5 * std::sqrt(70003.0) * 200 * format.unit_roundoff())
          << described(format, options);
    }
}

TEST(Cast, MeanErrorShowsABias) {
  // Uniform on [1, 2): toward zero loses half a step of E4M3's 1/8, nearest and stochastic none.
  std::vector<float> values(400000);
  std::mt19937 engine(4);
  std::uniform_real_distribution<float> uniform(1.0F, 2.0F);
  for (float& x : values) x = uniform(engine);
  const auto mean = [&](Rounding rounding) {
    return cast_floats(values, kE4M3, {.overflow = Overflow::saturate, .rounding = rounding})
        .counts.mean_error();
  };
  EXPECT_NEAR(mean(Rounding::toward_zero), -1.0 / 16, 2e-4);
  EXPECT_NEAR(mean(Rounding::up), 1.0 / 16, 2e-4);
  EXPECT_NEAR(mean(Rounding::nearest_even), 0, 3e-4);
  EXPECT_NEAR(mean(Rounding::stochastic), 0, 4e-4);
}

TEST(Cast, ArraysThatCannotBeAreRefused) {
  const CastOptions options = {.overflow = Overflow::saturate};
  const float value = 1;
  std::uint8_t code = 0;
  const auto refuse = [&](std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
    const ArrayView view = {.data = &value, .format = kFp32, .shape = shape, .strides = strides};
    return cast(view, kE4M3, &code, options).error();
  };
  EXPECT_EQ(refuse({-1}, {}).code, Code::value_invalid);
  EXPECT_EQ(refuse({1, 1}, {1}).code, Code::value_invalid);
  EXPECT_EQ(refuse(std::vector<std::int64_t>(33, 1), {}).code, Code::value_invalid);
  EXPECT_EQ(refuse({std::int64_t{1} << 40, std::int64_t{1} << 40}, {}).code, Code::size_overflow);
  const ArrayView unknown = {
      .data = &value, .format = Format{.name = "x"}, .shape = {}, .strides = {}};
  EXPECT_EQ(cast(unknown, kE4M3, &code, options).error().code, Code::value_invalid);
}

TEST(Cast, AnArrayOfNoDimensionIsOneElement) {
  const float value = 449;
  std::uint8_t code = 0;
  const ArrayView view = {.data = &value, .format = kFp32, .shape = {}, .strides = {}};
  ASSERT_TRUE(cast(view, kE4M3, &code, {.overflow = Overflow::saturate}).ok());
  EXPECT_EQ(code, 0x7E);
  const std::int64_t none[] = {0, 5};
  const ArrayView empty = {.data = nullptr, .format = kFp32, .shape = none, .strides = {}};
  EXPECT_EQ(cast(empty, kE4M3, nullptr, {.overflow = Overflow::saturate})->elements, 0U);
}

}  // namespace
}  // namespace ullage::formats
