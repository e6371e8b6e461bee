// Casts on the GPU against the CPU's: codes and counts to the bit, whatever the format, rounding, source, length,
// strides and alignment.
#include "ullage/cuda/cast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/formats_under_test.h"
#include "cuda/gpu.h"
#include "ullage/formats/cast_parameters.h"

namespace ullage::cuda {
namespace {

using formats::ArrayView;
using formats::CastCounts;
using formats::CastOptions;
using formats::Format;
using formats::Overflow;
using formats::Rounding;

TEST(GpuCast, WithoutAGpuIsRefused) {
  if (usable().ok()) GTEST_SKIP() << "a GPU is there";
  const float value = 1;
  std::uint8_t code = 0;
  float result = 0;
  const ArrayView view = {.data = &value, .format = formats::kFp32, .shape = {}, .strides = {}};
  const CastOptions options = {.overflow = Overflow::saturate};
  EXPECT_EQ(cast(view, formats::kE4M3, &code, options, {}, nullptr).error().message(),
            usable().error().message());
  EXPECT_EQ(cast_to_values(view, formats::kE4M3, &result, options, {}, nullptr).error().code,
            Code::device_unavailable);
}

// An array in the host's memory, and the same laid out on the GPU.
struct Array {
  std::vector<std::uint8_t> bytes;
  std::optional<Format> format = formats::kFp32;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides = {};
  std::int64_t first = 0;  // of the bytes, in elements: where element 0 lies

  [[nodiscard]] std::size_t width() const { return format ? format->bytes() : sizeof(double); }
  [[nodiscard]] ArrayView view(const void* memory) const {
    return {.data = static_cast<const char*>(memory) + first * static_cast<std::int64_t>(width()),
            .format = format,
            .shape = shape,
            .strides = strides};
  }
};

template <class T>
Array array_of(const std::vector<T>& values, const std::optional<Format>& format) {
  Array array;
  array.bytes.resize(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  array.format = format;
  array.shape = {static_cast<std::int64_t>(values.size())};
  return array;
}

struct Outcome {
  std::vector<std::uint8_t> codes;
  CastCounts counts;
};

class GpuCastTest : public GpuTest {
 protected:
  // offset: bytes of the codes' address past an aligned one.
  static Outcome on_gpu(const Array& array, const Format& to, const CastOptions& options,
                        bool as_values, std::size_t offset = 0) {
    const std::size_t count = *formats::element_count(array.view(nullptr));
    const std::size_t bytes = count * (as_values ? sizeof(float) : to.bytes());
    const DeviceMemory source = on_device<std::uint8_t>(array.bytes);
    const std::vector<std::uint8_t> poison(
        std::max({bytes + offset + 1, cast_scratch_bytes(count), sizeof(CastCounts)}), 0xA5);
    const DeviceMemory codes = on_device<std::uint8_t>(poison);
    const DeviceMemory scratch = on_device<std::uint8_t>(poison);
    const DeviceMemory counts = on_device<std::uint8_t>(poison);
    const CountsOnDevice found = {.counts = counts.data<CastCounts>(), .scratch = scratch.data()};
    void* target = codes.data<char>() + offset;
    const ArrayView view = array.view(source.data());
    const Status done =
        as_values ? cast_to_values(view, to, static_cast<float*>(target), options, found, nullptr)
                  : cast(view, to, target, options, found, nullptr);
    EXPECT_TRUE(done.ok()) << done.error().message();
    Outcome outcome;
    outcome.codes = from_device<std::uint8_t>(codes.data(), bytes + offset + 1);
    // Nothing is written before the codes, nor after.
    for (std::size_t i = 0; i < offset; ++i) EXPECT_EQ(outcome.codes[i], 0xA5);
    EXPECT_EQ(outcome.codes.back(), 0xA5);
    outcome.codes.erase(outcome.codes.begin(),
                        outcome.codes.begin() + static_cast<std::ptrdiff_t>(offset));
    outcome.codes.pop_back();
    outcome.counts = from_device<CastCounts>(counts.data(), 1)[0];
    return outcome;
  }

  static void expect_as_on_the_cpu(const Array& array, const Format& to, const CastOptions& options,
                                   bool as_values = false, std::size_t offset = 0) {
    SCOPED_TRACE(described(to, options) + (as_values ? " values" : " codes"));
    const Outcome found = on_gpu(array, to, options, as_values, offset);
    std::vector<std::uint8_t> expected(found.codes.size());
    const ArrayView view = array.view(array.bytes.data());
    CastOptions threaded = options;
    threaded.threads = 0;
    const Result<CastCounts> counts =
        as_values
            ? formats::cast_to_values(view, to, reinterpret_cast<float*>(expected.data()), threaded)
            : formats::cast(view, to, expected.data(), threaded);
    ASSERT_TRUE(counts.ok()) << counts.error().message();
    const auto [at, other] =
        std::mismatch(found.codes.begin(), found.codes.end(), expected.begin());
    ASSERT_TRUE(at == found.codes.end())
        << "byte " << at - found.codes.begin() << " of " << expected.size() << ": " << int{*at}
        << ", on the CPU " << int{*other};
    expect_same_counts(found.counts, *counts);
  }
};

std::vector<float> normals(std::size_t count, float scale, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& x : values) x = normal(engine);
  return values;
}

TEST_F(GpuCastTest, HasTheBitsOfTheCpuInEveryFormatAndRounding) {
  for (const Format& to : formats_under_test()) {
    const Array hostile = array_of(hostile_inputs(to, 5000, 3), formats::kFp32);
    const auto scale = static_cast<float>(std::min(0.02 * to.max_finite(), 1e30));
    const Array tame = array_of(normals(7000, scale, 4), formats::kFp32);
    for (const std::uint64_t first_index : {0U, 5U})
      for (const CastOptions& options : options_under_test(first_index))
        for (const bool as_values : {false, true}) {
          expect_as_on_the_cpu(hostile, to, options, as_values);
          expect_as_on_the_cpu(tame, to, options, as_values);
        }
  }
}

TEST_F(GpuCastTest, HasTheBitsOfTheCpuAtEveryLength) {
  for (const std::size_t count : {0, 1, 15, 16, 17, 31, 33, 2047, 2048, 2049, 4097, 65535, 65536,
                                  65537, 67584, 131073, 300001}) {
    const Array array = array_of(normals(count, 100, 5), formats::kFp32);
    for (const Format& to : {formats::kE4M3, formats::kBf16, formats::kE8M0, formats::kFp32})
      for (const Rounding rounding : {Rounding::nearest_even, Rounding::stochastic})
        for (const std::uint64_t first_index : {0U, 64U, 1000003U})
          expect_as_on_the_cpu(array, to,
                               {.overflow = Overflow::saturate,
                                .rounding = rounding,
                                .seed = 0x123456789ABCDEF,
                                .first_index = first_index});
  }
}

TEST_F(GpuCastTest, HasTheBitsOfTheCpuFromEverySource) {
  for (const Format& from : formats_under_test()) {
    if (from.bits() > 16) continue;
    // Every code; those of 16 bits more than a block, so that whole blocks are read too.
    std::vector<std::uint16_t> wide(from.code_count());
    for (std::size_t code = 0; code < wide.size(); ++code)
      wide[code] = static_cast<std::uint16_t>(code);
    const Array array = from.bytes() == 1
                            ? array_of(std::vector<std::uint8_t>(wide.begin(), wide.end()), from)
                            : array_of(wide, from);
    for (const Format& to : {formats::kE4M3, formats::kE5M2Fnuz, formats::kE2M3, formats::kFp16,
                             formats::kBf16, formats::kFp32, formats::kE8M0})
      for (const CastOptions& options : options_under_test())
        for (const bool as_values : {false, true})
          expect_as_on_the_cpu(array, to, options, as_values);
  }
}

// Scattered: where all patterns are taken most threads' sixteen have some that overflow, else none has.
TEST_F(GpuCastTest, HasTheBitsOfTheCpuOnEveryPatternOfBf16) {
  for (const Format& to : formats_under_test()) {
    if (to.bytes() != 1 || formats::kernel_shape(to) == formats::KernelShape::scalar) continue;
    std::vector<std::uint16_t> all, fitting;
    for (std::uint32_t i = 0; i < 65536; ++i) {
      all.push_back(static_cast<std::uint16_t>(i * 40503));
      if (std::fabs(formats::decode(formats::kBf16, all.back())) <= to.max_finite())
        fitting.push_back(all.back());
    }
    for (const CastOptions& options : options_under_test()) {
      expect_as_on_the_cpu(array_of(all, formats::kBf16), to, options);
      expect_as_on_the_cpu(array_of(fitting, formats::kBf16), to, options);
    }
  }
}

// More than a block of codes, scattered and at an odd length; and only those that no format here overflows at.
TEST_F(GpuCastTest, HasTheBitsOfTheCpuFromBytes) {
  std::mt19937 engine(12);
  for (const Format& from : formats_under_test()) {
    if (from.bytes() != 1) continue;
    std::vector<std::uint8_t> all(9 * formats::kBlock + 77), fitting(all.size());
    for (std::uint8_t& code : all) code = static_cast<std::uint8_t>(engine() % from.code_count());
    for (std::uint8_t& code : fitting) {
      do code = static_cast<std::uint8_t>(engine() % from.code_count());
      while (!(std::fabs(formats::decode(from, code)) <= 4));
    }
    for (const Format& to : formats_under_test())
      for (const Rounding rounding : {Rounding::nearest_even, Rounding::up})
        for (const bool as_values : {false, true}) {
          const CastOptions options = {.overflow = Overflow::saturate, .rounding = rounding};
          expect_as_on_the_cpu(array_of(all, from), to, options, as_values);
          expect_as_on_the_cpu(array_of(fitting, from), to, options, as_values);
        }
  }
}

TEST_F(GpuCastTest, HasTheBitsOfTheCpuFromNumbersOf16Bits) {
  for (const Format& from : {formats::kBf16, formats::kFp16}) {
    const std::vector<float> values = normals(70001, 3, 6);
    std::vector<std::uint16_t> codes(values.size());
    ASSERT_TRUE(formats::cast(std::span<const float>(values), from, std::span(codes),
                              {.overflow = Overflow::saturate})
                    .ok());
    for (const Format& to : formats_under_test())
      for (const CastOptions& options : options_under_test())
        expect_as_on_the_cpu(array_of(codes, from), to, options);
  }
}

TEST_F(GpuCastTest, HasTheBitsOfTheCpuFromFp64) {
  std::mt19937_64 engine(5);
  std::vector<double> values = {1 + 0x1p-4 + 0x1p-40,
                                0x1p-150 * (1 + 0x1p-50),
                                1e300,
                                -5e-324,
                                0.0,
                                -0.0,
                                INFINITY,
                                -INFINITY,
                                NAN,
                                -NAN};
  std::normal_distribution<double> normal;
  while (values.size() < 70001) values.push_back(std::exp(4 * normal(engine)) * normal(engine));
  for (const Format& to : {formats::kE4M3, formats::kBf16, formats::kFp32, formats::kE8M0})
    for (const CastOptions& options : options_under_test(7))
      expect_as_on_the_cpu(array_of(values, std::nullopt), to, options);
}

TEST_F(GpuCastTest, HasTheBitsOfTheCpuInAnyStrides) {
  const Array flat = array_of(normals(6 * 301 * 97, 30, 9), formats::kFp32);
  struct {
    std::vector<std::int64_t> shape, strides;
    std::int64_t first;
  } const layouts[] = {
      {{97, 301, 6}, {1, 97, 29197}, 0},          // every axis turned round
      {{6, 301, 97}, {-29197, -97, -1}, 175181},  // from the end
      {{3, 301, 97}, {58394, 97, 1}, 0},          // every other
      {{6, 100, 1, 97}, {29197, 291, 5, 1}, 1},   // rows left out, from an odd place
      {{1806, 97}, {97, 1}, 0},                   // two axes that go on
      {{50, 301, 97}, {0, 97, 1}, 0},             // the same ones again
  };
  for (const auto& layout : layouts) {
    Array array = flat;
    array.shape = layout.shape;
    array.strides = layout.strides;
    array.first = layout.first;
    for (const Format& to : {formats::kE4M3, formats::kBf16, formats::kE8M0})
      for (const Rounding rounding : {Rounding::nearest_even, Rounding::stochastic})
        expect_as_on_the_cpu(array, to, {.overflow = Overflow::saturate, .rounding = rounding});
  }
}

TEST_F(GpuCastTest, HasTheBitsOfTheCpuAtAnyAlignment) {
  for (const Format& to : {formats::kE4M3, formats::kFp16, formats::kTf32})
    for (const std::int64_t first : {0, 1, 2, 3, 4})
      for (const std::size_t offset : {0, 1, 3, 16}) {
        Array array = array_of(normals(9001, 30, 9), formats::kFp32);
        array.shape = {9001 - first};
        array.first = first;
        expect_as_on_the_cpu(array, to, {.overflow = Overflow::saturate}, false,
                             offset * to.bytes());
      }
}

TEST_F(GpuCastTest, HasTheBitsOfTheCpuOnLargeArrays) {
  std::vector<float> values = normals((1 << 24) + 12345, 60, 10);
  for (std::size_t i = 0; i < values.size(); i += 1001) values[i] *= 100;  // some saturate
  const Array array = array_of(values, formats::kFp32);
  for (const Format& to : {formats::kE4M3, formats::kE2M1, formats::kBf16, formats::kFp16})
    for (const Rounding rounding : {Rounding::nearest_even, Rounding::stochastic, Rounding::up})
      expect_as_on_the_cpu(array, to, {.overflow = Overflow::saturate, .rounding = rounding});
  expect_as_on_the_cpu(array, formats::kE8M0, {.overflow = Overflow::saturate});
}

// Blocks whose errors differ so much in size that adding them up rounds, in whichever order.
TEST_F(GpuCastTest, HasTheBitsOfTheCpuWhereSumsRound) {
  std::vector<float> values = normals(160 * formats::kChunk + 99, 1, 11);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = std::ldexp(values[i], static_cast<int>(i / formats::kBlock * 37 % 97) - 48);
  for (const Format& to : {formats::kBf16, formats::kTf32})
    for (const Rounding rounding : {Rounding::nearest_even, Rounding::toward_zero})
      expect_as_on_the_cpu(array_of(values, formats::kFp32), to,
                           {.overflow = Overflow::saturate, .rounding = rounding});
}

// Indices past 2^32 count in stochastic rounding.
TEST_F(GpuCastTest, HasTheBitsOfTheCpuAtFarIndices) {
  const Array array = array_of(normals(5000, 30, 9), formats::kFp32);
  for (const std::uint64_t first_index : {(std::uint64_t{1} << 36) - 2048, ~std::uint64_t{63}})
    expect_as_on_the_cpu(array, formats::kE4M3,
                         {.overflow = Overflow::saturate,
                          .rounding = Rounding::stochastic,
                          .first_index = first_index});
}

TEST_F(GpuCastTest, WithoutCountsWritesTheSameCodes) {
  const Array array = array_of(normals(5000, 30, 9), formats::kFp32);
  const CastOptions options = {.overflow = Overflow::saturate};
  const DeviceMemory source = on_device<std::uint8_t>(array.bytes);
  const DeviceMemory codes = on_device<std::uint8_t>(std::vector<std::uint8_t>(5000, 0xA5));
  ASSERT_TRUE(
      cast(array.view(source.data()), formats::kE4M3, codes.data(), options, {}, nullptr).ok());
  EXPECT_EQ(from_device<std::uint8_t>(codes.data(), 5000),
            on_gpu(array, formats::kE4M3, options, false).codes);
}

TEST_F(GpuCastTest, RefusesWhatTheCpuRefuses) {
  const CastOptions options = {.overflow = Overflow::saturate};
  const DeviceMemory memory = on_device<std::uint8_t>(std::vector<std::uint8_t>(256));
  const std::int64_t negative[] = {-1};
  const ArrayView view = {
      .data = memory.data(), .format = formats::kFp32, .shape = negative, .strides = {}};
  EXPECT_EQ(cast(view, formats::kE4M3, memory.data(), options, {}, nullptr).error().code,
            Code::value_invalid);
  const ArrayView unknown = {
      .data = memory.data(), .format = Format{.name = "x"}, .shape = {}, .strides = {}};
  EXPECT_EQ(cast(unknown, formats::kE4M3, memory.data(), options, {}, nullptr).error().code,
            Code::value_invalid);
  // Counts without scratch.
  const ArrayView one = {
      .data = memory.data(), .format = formats::kFp32, .shape = {}, .strides = {}};
  EXPECT_EQ(cast(one, formats::kE4M3, memory.data<char>() + 64, options,
                 {.counts = memory.data<CastCounts>()}, nullptr)
                .error()
                .code,
            Code::value_invalid);
}

}  // namespace
}  // namespace ullage::cuda
