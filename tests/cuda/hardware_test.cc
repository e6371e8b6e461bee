// What needs CUDA's own headers beside a GPU: the golden vectors against the GPU's conversion instructions, casts on a
// stream that is not the default one, and in a graph.
#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "cuda/formats_under_test.h"
#include "cuda/gpu.h"
#include "formats/golden.h"
#include "ullage/cuda/cast.h"
#if defined(ULLAGE_CUDA)
#include "cuda/hardware_cast.h"
#include "cuda/on_stream.h"
#endif

namespace ullage::cuda {
namespace {

#if defined(ULLAGE_CUDA)

using HardwareTest = GpuTest;
using formats::Golden;

// The saturating variant; for E8M0 the one that rounds up, as the instruction does.
std::size_t variant_of(const Golden& golden) { return golden.format.has_sign ? 1 : 3; }

TEST_F(HardwareTest, ConvertsAsTheGoldenVectorsSay) {
  const Result<Device> device = current_device();
  ASSERT_TRUE(device.ok());
  std::string summary = device->name + ":";
  int with_instruction = 0;
  for (const Golden& golden : formats::golden_vectors()) {
    const DeviceMemory inputs = on_device<float>(golden.inputs);
    const DeviceMemory codes =
        on_device<std::uint16_t>(std::vector<std::uint16_t>(golden.inputs.size()));
    const DeviceMemory missing = on_device<int>(std::vector<int>(1));
    const Status done =
        hardware_cast(golden.format.label(), inputs.data<float>(), golden.inputs.size(),
                      codes.data<std::uint16_t>(), missing.data<int>());
    ASSERT_TRUE(done.ok()) << done.error().message();
    const std::vector<std::uint16_t> found =
        from_device<std::uint16_t>(codes.data(), golden.inputs.size());
    summary += ' ' + std::string(golden.format.label());
    if (from_device<int>(missing.data(), 1)[0] != 0) {
      summary += " no instruction;";
      continue;
    }
    ++with_instruction;
    std::size_t judged = 0;
    std::size_t nan_of_other_sign = 0;  // the instructions' NaN is positive; ours keeps its sign
    std::size_t wrong = 0;
    const std::vector<std::uint16_t>& expected = golden.codes[variant_of(golden)];
    for (std::size_t i = 0; i < golden.inputs.size(); ++i) {
      if ((golden.flags[i] & formats::kGoldenConvention) != 0 &&
          golden.format.nan != formats::NanCodes::none)
        continue;
      ++judged;
      if (golden.format.is_nan(expected[i]) && golden.format.is_nan(found[i])) {
        nan_of_other_sign += found[i] != expected[i];
      } else if (found[i] != expected[i] && ++wrong <= 5) {
        ADD_FAILURE() << golden.file << " input " << std::hexfloat << golden.inputs[i] << std::hex
                      << " expected " << expected[i] << " hardware " << found[i];
      }
    }
    EXPECT_EQ(wrong, 0U) << golden.file;
    summary += ' ' + std::to_string(judged) + " inputs, " + std::to_string(wrong) + " differ, " +
               std::to_string(nan_of_other_sign) + " NaN of another sign;";
  }
  EXPECT_GE(with_instruction, device->capability_major >= 9 ? 4 : 2);
  std::printf("hardware conversions, %s\n", summary.c_str());
}

struct Ordered {
  std::vector<std::uint8_t> codes;
  formats::CastCounts counts;
};

class OrderedCasts : public GpuTest {
 protected:
  static constexpr std::size_t kCount = 1 << 20 | 77;

  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    std::mt19937 engine(8);
    std::normal_distribution<float> normal(0, 100);
    values_.resize(kCount);
    for (float& x : values_) x = normal(engine);
    source_ = on_device<float>(values_);
    codes_ = on_device<std::uint8_t>(std::vector<std::uint8_t>(kCount, 0xA5));
    scratch_ = on_device<std::uint8_t>(std::vector<std::uint8_t>(cast_scratch_bytes(kCount), 0xA5));
    counts_ = on_device<std::uint8_t>(std::vector<std::uint8_t>(sizeof(formats::CastCounts), 0xA5));
  }

  Status cast_on(Stream stream) {
    const std::int64_t shape[] = {kCount};
    return cast({.data = source_.data(), .format = formats::kFp32, .shape = shape, .strides = {}},
                formats::kE4M3, codes_.data(), kOptions,
                {.counts = counts_.data<formats::CastCounts>(), .scratch = scratch_.data()},
                stream);
  }

  void expect_done() {
    std::vector<std::uint8_t> expected(kCount);
    const Result<formats::CastCounts> counts = formats::cast(
        std::span<const float>(values_), formats::kE4M3, std::span(expected), kOptions);
    EXPECT_TRUE(from_device<std::uint8_t>(codes_.data(), kCount) == expected);
    expect_same_counts(from_device<formats::CastCounts>(counts_.data(), 1)[0], *counts);
  }

  static constexpr formats::CastOptions kOptions = {.overflow = formats::Overflow::saturate,
                                                    .rounding = formats::Rounding::stochastic,
                                                    .seed = 3};
  std::vector<float> values_;
  DeviceMemory source_, codes_, scratch_, counts_;
};

TEST_F(OrderedCasts, RunOnTheStreamThatTheyAreGiven) {
  const Status done = on_own_stream([&](Stream stream) { return cast_on(stream); });
  ASSERT_TRUE(done.ok()) << done.error().message();
  expect_done();
}

TEST_F(OrderedCasts, CanBeCapturedAndReplayed) {
  // Code is loaded to the GPU when it first runs, which a capture may not do.
  ASSERT_TRUE(cast_on(nullptr).ok());
  ASSERT_TRUE(synchronise(nullptr).ok());
  const std::vector<std::uint8_t> poison(kCount, 0xA5);
  ASSERT_TRUE(upload(poison.data(), kCount, codes_.data(), nullptr).ok());
  const Status captured = captured_and_replayed([&](Stream stream) { return cast_on(stream); }, 0);
  ASSERT_TRUE(captured.ok()) << captured.error().message();
  EXPECT_TRUE(from_device<std::uint8_t>(codes_.data(), kCount) == poison);  // nothing ran yet
  const Status replayed = captured_and_replayed([&](Stream stream) { return cast_on(stream); }, 3);
  ASSERT_TRUE(replayed.ok()) << replayed.error().message();
  expect_done();
}

#else

TEST(Hardware, NeedsTheComponent) { GTEST_SKIP() << usable().error().message(); }

#endif

}  // namespace
}  // namespace ullage::cuda
