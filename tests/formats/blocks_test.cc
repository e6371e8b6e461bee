// Block formats: published vectors of the scale rules, and whole arrays against a block at a time by definition.
#include "ullage/formats/blocks.h"

#include <gtest/gtest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <random>
#include <vector>

#include "formats/paths.h"
#include "ullage/formats/scalar.h"

namespace ullage::formats {
namespace {

constexpr CastOptions kSaturate = {.overflow = Overflow::saturate};

// TransformerEngine 2.x, common/util/ptx_arch_spec.cuh and quantize_mxfp8.cuh, software path.
TEST(MxScale, RoundUpGivesTransformerEnginesCodes) {
  const struct {
    float amax;
    int code;
  } vectors[] = {{0, 0},         {1, 119},        {1.75F, 119}, {3.5F, 120}, {7, 121},
                 {112, 125},     {224, 126},      {447, 127},   {448, 127},  {449, 128},
                 {3.4e38F, 247}, {INFINITY, 254}, {NAN, 255}};
  for (const auto& [amax, code] : vectors)
    EXPECT_EQ(mx_scale(ScaleRule::round_up, kE4M3, amax), code) << amax;
  EXPECT_EQ(std::bit_cast<std::uint32_t>(1.0F / 448), 0x3B124925U);
}

// torchao prototype/mx_formats: FLOOR, CEIL, EVEN; 127 is scale 1.
TEST(MxScale, RulesPartWhereTheyAreKnownTo) {
  EXPECT_EQ(mx_scale(ScaleRule::floor, kE4M3, 449), 127);
  EXPECT_EQ(mx_scale(ScaleRule::floor, kE4M3, 511), 127);
  EXPECT_EQ(mx_scale(ScaleRule::ceil, kE4M3, 449), 128);
  EXPECT_EQ(mx_scale(ScaleRule::ceil, kE4M3, 256), 127);
  EXPECT_EQ(mx_scale(ScaleRule::even, kE4M3, 449), 127);
  EXPECT_EQ(mx_scale(ScaleRule::even, kE4M3, 495.9F), 127);
  EXPECT_EQ(mx_scale(ScaleRule::even, kE4M3, 496), 128);
  EXPECT_EQ(mx_scale(ScaleRule::even, kE4M3, 511), 128);
  for (const ScaleRule rule : {ScaleRule::floor, ScaleRule::ceil, ScaleRule::even}) {
    EXPECT_EQ(mx_scale(rule, kE4M3, INFINITY), 255);
    EXPECT_EQ(mx_scale(rule, kE4M3, NAN), 255);
    EXPECT_EQ(mx_scale(rule, kE4M3, 0), 0);
    EXPECT_EQ(mx_scale(rule, kE4M3, 1e-44F), 0);
  }
  EXPECT_EQ(mx_scale(ScaleRule::floor, kE2M1, 6), 127);
  EXPECT_EQ(mx_scale(ScaleRule::floor, kE5M2, FLT_MAX), 127 + 127 - 15);
}

// By logarithms in FP64 instead of bits; amax in the normal range.
TEST(MxScale, IsTheRulesFormula) {
  std::mt19937 engine(3);
  std::uniform_real_distribution<double> exponent(-100, 100);
  for (const Format& element : {kE4M3, kE5M2, kE2M3, kE3M2, kE2M1})
    for (int i = 0; i < 20000; ++i) {
      const auto amax = static_cast<float>(std::exp2(exponent(engine)));
      const int binade = static_cast<int>(std::floor(std::log2(static_cast<double>(amax))));
      const int emax = element.max_exponent();
      const bool power = std::ldexp(1.0, binade) == static_cast<double>(amax);
      EXPECT_EQ(mx_scale(ScaleRule::floor, element, amax), binade - emax + 127);
      EXPECT_EQ(mx_scale(ScaleRule::ceil, element, amax), binade + (power ? 0 : 1) - emax + 127);
      const double ratio = static_cast<double>(amax) / element.max_finite();
      const int up = static_cast<int>(std::ceil(std::log2(ratio)));
      // The FP32 product may round to a power of two what lies within an ulp of one.
      if (std::fabs(ratio / std::exp2(std::round(std::log2(ratio))) - 1) > 1e-6) {
        EXPECT_EQ(mx_scale(ScaleRule::round_up, element, amax), up + 127) << amax;
      }
    }
}

TEST(ClipRange, SaysWhichRulesClipByConstruction) {
  EXPECT_TRUE(clip_range(ScaleRule::ceil, kE4M3).empty());
  EXPECT_TRUE(clip_range(ScaleRule::round_up, kE4M3).empty());
  EXPECT_FALSE(clip_range(ScaleRule::floor, kE4M3).empty());
  EXPECT_FALSE(clip_range(ScaleRule::even, kE4M3).empty());
  EXPECT_TRUE(clip_range(ScaleRule::even, kE5M2).empty());
  EXPECT_TRUE(clip_range(ScaleRule::even, kE2M1).empty());
  EXPECT_FALSE(clip_range(ScaleRule::floor, kE2M1).empty());
}

// Every amax of a binade in steps of 2^-12, its ends' neighbours too: clips exactly where the range says so.
TEST(ClipRange, IsWhatCastingShows) {
  for (const Format& element : {kE4M3, kE5M2, kE2M3, kE3M2, kE2M1})
    for (const ScaleRule rule : kScaleRules) {
      const ClipRange range = clip_range(rule, element);
      for (int i = 0; i < 3 << 12; ++i) {
        const float base = 1 + static_cast<float>(i / 3) * 0x1p-12F;
        const float amax = i % 3 == 0 ? base : std::nextafter(base, i % 3 == 1 ? 4.0F : 0.0F);
        if (amax < 1 || amax >= 2) continue;
        const int code = mx_scale(rule, element, amax);
        const double scaled = std::ldexp(static_cast<double>(amax), 127 - code);
        const bool clips = overflows(element, scaled, kSaturate);
        EXPECT_EQ(clips, amax >= range.from && amax < range.to)
            << element.label() << ' ' << name_of(rule) << ' ' << std::hexfloat << amax;
      }
    }
}

struct Blocked {
  BlockArray shape;
  std::vector<std::uint8_t> codes;
  std::vector<std::uint8_t> scale_codes;
  std::vector<float> scales;
};

Blocked block_cast(const std::vector<float>& values, std::int64_t rows, std::int64_t columns,
                   const BlockFormat& format, const BlockOptions& options) {
  const std::int64_t shape[] = {rows, columns};
  const ArrayView view = {.data = values.data(), .format = kFp32, .shape = shape, .strides = {}};
  Blocked blocked;
  blocked.shape = *block_shape(view, format);
  const std::size_t scales = blocked.shape.scale_rows * blocked.shape.scale_columns;
  blocked.codes.resize(values.size());
  blocked.scales.resize(scales);
  if (format.scale != BlockScale::fp32) blocked.scale_codes.resize(scales);
  const Result<BlockArray> done =
      cast_blocks(view, format, blocked.codes, blocked.scale_codes, blocked.scales, options);
  EXPECT_TRUE(done.ok()) << done.error().message();
  if (done.ok()) blocked.shape = *done;
  return blocked;
}

std::vector<float> wide_values(std::size_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& x : values) x = normal(engine) * std::exp(3 * normal(engine));
  return values;
}

class Blocks : public OnEachPath {};
INSTANTIATE_TEST_SUITE_P(Path, Blocks, testing::ValuesIn(kCpuPaths), path_name);

TEST_P(Blocks, MxMatchesTheDefinition) {
  for (const std::int64_t columns : {64, 83, 2100}) {
    const std::int64_t rows = 5;
    std::vector<float> values = wide_values(static_cast<std::size_t>(rows * columns), 4);
    std::fill_n(values.begin(), 32, 0.0F);
    values[40] = NAN;
    values[static_cast<std::size_t>(columns) - 1] = -INFINITY;
    for (const BlockFormat& format : kBlockFormats) {
      if (format.scale != BlockScale::e8m0) continue;
      for (const ScaleRule rule : kScaleRules)
        for (const Rounding rounding :
             {Rounding::nearest_even, Rounding::toward_zero, Rounding::stochastic}) {
          BlockOptions options = {
              .cast = {.overflow = Overflow::saturate, .rounding = rounding, .seed = 3},
              .rule = rule};
          const Blocked found = block_cast(values, rows, columns, format, options);
          std::uint64_t saturated = 0;
          std::uint64_t nan = 0;
          for (std::int64_t row = 0; row < rows; ++row)
            for (std::int64_t begin = 0; begin < columns; begin += 32) {
              const std::int64_t end = std::min<std::int64_t>(begin + 32, columns);
              std::uint32_t largest = 0;
              for (std::int64_t i = begin; i < end; ++i)
                largest = std::max(
                    largest, std::bit_cast<std::uint32_t>(
                                 std::fabs(values[static_cast<std::size_t>(row * columns + i)])));
              const std::uint8_t scale =
                  mx_scale(rule, format.element, std::bit_cast<float>(largest));
              const auto at = static_cast<std::size_t>(
                  row * static_cast<std::int64_t>(found.shape.scale_columns) + begin / 32);
              ASSERT_EQ(found.scale_codes[at], scale);
              ASSERT_EQ(std::isnan(found.scales[at]), scale == 255);
              if (scale != 255) {
                ASSERT_EQ(found.scales[at], std::ldexp(1.0F, scale - 127));
              }
              for (std::int64_t i = begin; i < end; ++i) {
                const auto index = static_cast<std::size_t>(row * columns + i);
                const double x = static_cast<double>(values[index]);
                nan += std::isnan(x);
                const double scaled = scale == 255 ? NAN : std::ldexp(x, 127 - scale);
                saturated += !std::isnan(x) && (scale == 255 || overflows(format.element, scaled,
                                                                          options.cast, index));
                ASSERT_EQ(found.codes[index], encode(format.element, scaled, options.cast, index))
                    << format.label() << ' ' << name_of(rule) << ' ' << name_of(rounding) << " at "
                    << index << " of " << columns;
              }
            }
          EXPECT_EQ(found.shape.counts.nan, nan);
          EXPECT_EQ(found.shape.counts.saturated, saturated);
          EXPECT_EQ(found.shape.counts.elements, values.size());
        }
    }
  }
}

TEST_P(Blocks, DecodingStaysWithinHalfAStepOfTheBlocksLargest) {
  const std::vector<float> values = wide_values(300 * 300, 6);
  for (const BlockFormat& format : kBlockFormats) {
    const Blocked found =
        block_cast(values, 300, 300, format, {.cast = kSaturate, .rule = ScaleRule::round_up});
    std::vector<float> decoded(values.size());
    ASSERT_TRUE(decode_blocks(format, 300, 300, found.codes, found.scales, decoded).ok());
    // NVFP4's block scales are rounded themselves, to nearest, so a block's largest may be cut.
    const bool may_cut = format.scale == BlockScale::e4m3_and_fp32;
    if (!may_cut) {
      EXPECT_EQ(found.shape.counts.saturated, 0U) << format.label();
    }
    double error = 0;
    for (std::size_t row = 0; row < 300; ++row)
      for (std::size_t column = 0; column < 300; ++column) {
        const std::size_t i = row * 300 + column;
        const std::size_t scale =
            row / static_cast<std::size_t>(format.rows) * found.shape.scale_columns +
            column / static_cast<std::size_t>(format.columns);
        const double step = static_cast<double>(found.scales[scale]);
        const double x = static_cast<double>(values[i]);
        const double y = static_cast<double>(decoded[i]);
        if (may_cut && std::fabs(x) > step * format.element.max_finite()) {
          // A scale of zero flushes its block, whatever the codes.
          if (step == 0 || !overflows(format.element, x / step, kSaturate)) error += y - x;
          continue;
        }
        // Half a step of the result: relative in the normal range, absolute below.
        const double bound = std::max(std::fabs(x) * format.element.unit_roundoff(),
                                      step * format.element.min_subnormal() / 2);
        ASSERT_LE(std::fabs(y - x), bound * (1 + 1e-6) + 1e-37) << format.label() << " at " << i;
        error += y - x;
      }
    EXPECT_NEAR(found.shape.counts.error_sum, error, 1e-3 * (1 + std::fabs(error)))
        << format.label();
  }
}

TEST_P(Blocks, ThreadsAndStridesDoNotMatter) {
  const std::int64_t rows = 130;
  const std::int64_t columns = 1056;
  const std::vector<float> values = wide_values(static_cast<std::size_t>(rows * columns), 8);
  std::vector<float> transposed(values.size());
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column)
      transposed[static_cast<std::size_t>(column * rows + row)] =
          values[static_cast<std::size_t>(row * columns + column)];
  const std::int64_t shape[] = {rows, columns};
  const std::int64_t strides[] = {1, rows};
  const ArrayView view = {
      .data = transposed.data(), .format = kFp32, .shape = shape, .strides = strides};
  for (const BlockFormat& format : kBlockFormats) {
    BlockOptions options = {
        .cast = {.overflow = Overflow::saturate, .rounding = Rounding::stochastic, .seed = 1}};
    const Blocked one = block_cast(values, rows, columns, format, options);
    options.cast.threads = 5;
    Blocked other = block_cast(values, rows, columns, format, options);
    EXPECT_EQ(one.codes, other.codes);
    EXPECT_EQ(one.shape.counts.error_sum, other.shape.counts.error_sum);
    ASSERT_TRUE(
        cast_blocks(view, format, other.codes, other.scale_codes, other.scales, options).ok());
    EXPECT_EQ(one.codes, other.codes) << format.label();
    EXPECT_EQ(one.scales, other.scales);
  }
}

TEST_P(Blocks, Nvfp4SpendsTheWholeRangeOnTheLargestBlock) {
  std::vector<float> values(64);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i % 16) * (i < 16 ? 1.0F : 0.01F);
  const BlockFormat format = *find_block_format("nvfp4");
  const Blocked found = block_cast(values, 1, 64, format, {.cast = kSaturate});
  // amax 15: the first block's scale is 448, the others' 4.48 rounded to E4M3.
  EXPECT_EQ(found.scale_codes[0], 0x7E);
  EXPECT_EQ(decode(kE4M3, found.scale_codes[1]), round_to(kE4M3, 4.48, kSaturate));
  EXPECT_EQ(found.codes[15], 7);  // 6
  EXPECT_NEAR(static_cast<double>(found.shape.global_scale), 15.0 / (448 * 6), 1e-9);
  std::vector<float> zeros(16);
  const Blocked none = block_cast(zeros, 1, 16, format, {.cast = kSaturate});
  EXPECT_EQ(none.codes, std::vector<std::uint8_t>(16));
}

// Three blocks, the last short: one that holds the largest value, and two whose scale is zero in E4M3. They decode to
// zeros, though the codes of their larger elements are the largest.
TEST_P(Blocks, Nvfp4FlushesWhatAZeroScaleLoses) {
  std::vector<float> values(16 + 16 + 3, 0.0F);
  values[0] = 2688;
  values[16] = 0.001F;
  values[17] = -1e-40F;
  values[32] = 0.002F;
  values[34] = -0.001F;
  const BlockFormat format = *find_block_format("nvfp4");
  for (const Rounding rounding : kRoundings) {
    const BlockOptions options = {
        .cast = {.overflow = Overflow::saturate, .rounding = rounding, .seed = 1}};
    const CastCounts first =
        block_cast({values.begin(), values.begin() + 16}, 1, 16, format, options).shape.counts;
    const Blocked found =
        block_cast(values, 1, static_cast<std::int64_t>(values.size()), format, options);
    ASSERT_EQ(found.scale_codes, (std::vector<std::uint8_t>{0x7E, 0, 0}));
    EXPECT_EQ(found.codes[16], 7);
    EXPECT_EQ(found.shape.counts.saturated, first.saturated) << name_of(rounding);
    EXPECT_EQ(found.shape.counts.flushed, 4U) << name_of(rounding);
    EXPECT_EQ(found.shape.counts.error_count, values.size() - first.saturated) << name_of(rounding);
    EXPECT_NEAR(found.shape.counts.error_sum, first.error_sum - 0.002, 1e-9) << name_of(rounding);
    EXPECT_EQ(found.shape.counts.amax, 2688) << name_of(rounding);
  }
}

// One NaN in the last block of each row, which is short.
TEST_P(Blocks, Nvfp4CountsNoNanThatIsNotThere) {
  constexpr std::int64_t kRows = 4;
  for (const std::int64_t columns : {3, 17, 31}) {
    std::vector<float> values(static_cast<std::size_t>(kRows * columns), 1.0F);
    const std::size_t last = values.size() - 1;
    values[last] = NAN;
    const CastCounts counts =
        block_cast(values, kRows, columns, *find_block_format("nvfp4"), {.cast = kSaturate})
            .shape.counts;
    const std::size_t lost = static_cast<std::size_t>(columns) % 16 - 1;
    EXPECT_EQ(counts.nan, 1U) << columns;
    EXPECT_EQ(counts.saturated, lost) << columns;
    EXPECT_EQ(counts.error_count, values.size() - 1 - lost) << columns;
    EXPECT_EQ(counts.amax, 1) << columns;
  }
}

TEST_P(Blocks, TilesShareAScale) {
  std::vector<float> values(256 * 200, 1.0F);
  values[130 * 200 + 150] = 448 * 8;  // in tile (1, 1)
  const BlockFormat format = *find_block_format("block128-e4m3");
  const Blocked found = block_cast(values, 256, 200, format, {.cast = kSaturate});
  EXPECT_EQ(found.scales, (std::vector<float>{1.0F / 256, 1.0F / 256, 1.0F / 256, 8}));
  const Blocked exact =
      block_cast(values, 256, 200, format, {.cast = kSaturate, .power_of_two = false});
  EXPECT_EQ(exact.scales[0], 1 / 448.0F);
  EXPECT_EQ(exact.codes[0], 0x7E);
}

// Blocks that clip, flush, hold NaN or infinity; the last of each row is short.
TEST(BlockCounts, AreTheDefinitionsAndTheSameBitsOnEveryPath) {
  constexpr std::int64_t kRows = 40;
  constexpr std::int64_t kColumns = 2085;
  std::vector<float> values = wide_values(static_cast<std::size_t>(kRows * kColumns), 8);
  for (std::size_t i = 0; i < values.size(); i += 97) values[i] = i % 2 == 0 ? 0.0F : -0.0F;
  for (std::size_t i = 50; i < values.size(); i += 5003) values[i] = NAN;
  for (std::size_t i = 90; i < values.size(); i += 7001) values[i] = INFINITY;
  for (const BlockFormat& format : kBlockFormats) {
    for (const ScaleRule rule : kScaleRules) {
      if (format.scale != BlockScale::e8m0 && rule != ScaleRule::floor) continue;
      for (const Rounding rounding :
           {Rounding::nearest_even, Rounding::nearest_away, Rounding::stochastic})
        for (const Overflow::Value overflow : {Overflow::saturate, Overflow::non_saturating}) {
          const BlockOptions options = {
              .cast = {.overflow = overflow, .rounding = rounding, .seed = 3}, .rule = rule};
          std::vector<CastCounts> found;
          for (const CpuPath path : kCpuPaths) {
            if (!refusal(path).empty()) continue;
            const ScopedCpuPath scoped(path);
            const Blocked blocked = block_cast(values, kRows, kColumns, format, options);
            found.push_back(blocked.shape.counts);
            if (path != CpuPath::portable) continue;
            CastCounts expected;
            std::uint64_t nan = 0;
            for (std::size_t i = 0; i < values.size(); ++i) {
              const std::size_t row = i / kColumns;
              const float scale =
                  blocked.scales[row / static_cast<std::size_t>(format.rows) *
                                     blocked.shape.scale_columns +
                                 i % kColumns / static_cast<std::size_t>(format.columns)];
              nan += std::isnan(values[i]) ? 1 : 0;
              if (values[i] > static_cast<float>(expected.amax) ||
                  -values[i] > static_cast<float>(expected.amax))
                expected.amax = static_cast<double>(std::fabs(values[i]));
              if (std::isnan(scale)) continue;
              expected.flushed +=
                  values[i] != 0 && decode(format.element, blocked.codes[i]) == 0 ? 1 : 0;
            }
            EXPECT_EQ(found.front().nan, nan) << format.label();
            EXPECT_EQ(found.front().flushed, expected.flushed) << format.label();
            EXPECT_EQ(found.front().amax, expected.amax) << format.label();
          }
          for (const CastCounts& counts : found) {
            EXPECT_EQ(counts.nan, found.front().nan);
            EXPECT_EQ(counts.saturated, found.front().saturated);
            EXPECT_EQ(counts.flushed, found.front().flushed);
            EXPECT_EQ(counts.amax, found.front().amax);
            EXPECT_EQ(counts.error_sum, found.front().error_sum);
            EXPECT_EQ(counts.error_count, found.front().error_count);
          }
        }
    }
  }
}

TEST(Blocks, RefuseWhatDoesNotFit) {
  const std::vector<float> values(64);
  const std::int64_t shape[] = {2, 32};
  const ArrayView view = {.data = values.data(), .format = kFp32, .shape = shape, .strides = {}};
  const BlockFormat format = *find_block_format("mxfp8-e4m3");
  std::vector<std::uint8_t> codes(64);
  std::vector<std::uint8_t> scale_codes(2);
  std::vector<std::uint8_t> wrong(3);
  std::vector<float> scales(5);
  const BlockOptions options = {.cast = kSaturate};
  EXPECT_EQ(cast_blocks(view, format, wrong, {}, {}, options).error().code, Code::size_mismatch);
  EXPECT_EQ(cast_blocks(view, format, codes, wrong, {}, options).error().code, Code::size_mismatch);
  EXPECT_EQ(cast_blocks(view, format, codes, {}, scales, options).error().code,
            Code::size_mismatch);
  EXPECT_TRUE(cast_blocks(view, format, codes, {}, {}, options).ok());
  BlockFormat odd = format;
  odd.columns = 16;
  EXPECT_EQ(block_shape(view, odd).error().code, Code::value_invalid);
  odd = *find_block_format("block128-e4m3");
  odd.rows = 5000;
  EXPECT_EQ(block_shape(view, odd).error().code, Code::value_invalid);
  odd = format;
  odd.element = kBf16;
  EXPECT_EQ(block_shape(view, odd).error().code, Code::value_invalid);
  EXPECT_EQ(find_block_format("mxfp9").error().code, Code::usage);
  EXPECT_EQ(scale_rule_from_name("round").error().code, Code::usage);
  EXPECT_EQ(*scale_rule_from_name("rceil"), ScaleRule::round_up);
  const BlockFormat tiles = *find_block_format("block128-e4m3");
  std::vector<std::uint8_t> one(1);
  EXPECT_EQ(cast_blocks(view, tiles, codes, one, {}, options).error().code, Code::usage);
  std::vector<float> out(64);
  EXPECT_EQ(decode_blocks(format, 2, 33, codes, scales, out).error().code, Code::size_mismatch);
}

TEST(Nibbles, PackTheFirstLow) {
  const std::vector<std::uint8_t> codes = {1, 2, 15};
  std::vector<std::uint8_t> bytes(2);
  pack_nibbles(codes, bytes);
  EXPECT_EQ(bytes, (std::vector<std::uint8_t>{0x21, 0x0F}));
  std::vector<std::uint8_t> back(3);
  unpack_nibbles(bytes, back);
  EXPECT_EQ(back, codes);
}

}  // namespace
}  // namespace ullage::formats
