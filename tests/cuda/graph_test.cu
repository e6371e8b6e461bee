// What the room launches, captured in a CUDA graph and replayed: no word from the host, and the weights of the moment.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "cuda/device_rows.h"
#include "cuda/formats_under_test.h"
#include "ullage/cuda/cast.h"
#include "ullage/cuda/power_iteration.h"
#include "ullage/cuda/spectra.h"
#include "ullage/spectrum/power_iteration.h"

namespace ullage::cuda {
namespace {

class GraphTest : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(cudaStreamCreate(&stream_), cudaSuccess);
  }
  void TearDown() override {
    if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
    if (graph_ != nullptr) cudaGraphDestroy(graph_);
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  template <class Launch>
  void capture(Launch launch) {
    ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    const Status launched = launch(stream_);
    ASSERT_TRUE(launched.ok()) << launched.error().message();
    ASSERT_EQ(cudaStreamEndCapture(stream_, &graph_), cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&executable_, graph_, 0), cudaSuccess);
  }
  void replay() { ASSERT_EQ(cudaGraphLaunch(executable_, stream_), cudaSuccess); }

  cudaStream_t stream_ = nullptr;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

TEST_F(GraphTest, SpectraFollowTheWeights) {
  std::mt19937_64 random(4);
  const MadeRows query(gaussian(128, 512, random), Element::bf16, {}, false);
  const MadeRows key(gaussian(128, 512, random), Element::bf16, {}, false);
  DeviceHeads heads;
  heads.add(query, Layout::aligned);
  heads.add(key, Layout::aligned);
  const std::vector<HeadPair> pairs = {{0, 1}};
  auto spectra = Spectra::make(heads.sides(), pairs);
  ASSERT_TRUE(spectra.ok()) << spectra.error().message();
  capture([&](Stream stream) { return spectra->refresh(stream); });
  if (HasFatalFailure()) return;
  std::vector<double> sigmas;
  for (const float factor : {1.0F, 4.0F}) {
    // The same weights, a power of two larger.
    std::vector<std::uint16_t> bits;
    for (int i = 0; i < 128; ++i)
      for (int j = 0; j < 512; ++j)
        bits.push_back(spectrum::to_bf16(static_cast<double>(query.weight(i, j)) * factor));
    ASSERT_TRUE(
        upload(bits.data(), bits.size() * 2, const_cast<void*>(heads.sides()[0].values), stream_)
            .ok());
    replay();
    const auto found = spectra->read(stream_);
    ASSERT_TRUE(found.ok());
    ASSERT_EQ((*found)[0].finite, 1);
    EXPECT_GE((*found)[0].sigma.bound, (*found)[0].sigma.estimate);
    sigmas.push_back((*found)[0].sigma.estimate);
  }
  EXPECT_NEAR(sigmas[1], 4 * sigmas[0], 1e-9 * sigmas[1]);
}

TEST_F(GraphTest, PowerIterationGoesOnFromWhereItWas) {
  std::mt19937_64 random(3);
  DeviceHeads heads;
  const MadeRows query(gaussian(128, 1024, random), Element::bf16, {}, false);
  const MadeRows key(gaussian(128, 1024, random), Element::bf16, {}, false);
  heads.add(query, Layout::aligned);
  heads.add(key, Layout::aligned);
  const std::vector<HeadPair> pairs = {{0, 1}};
  auto plan = PowerIteration::make(heads.sides(), pairs);
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  capture([&](Stream stream) { return plan->run(1, stream); });
  if (HasFatalFailure()) return;
  double before = 0;
  for (int turn = 0; turn < 30; ++turn) {
    replay();
    const auto found = plan->read(stream_);
    ASSERT_TRUE(found.ok());
    EXPECT_GE((*found)[0], before * (1 - 1e-5)) << turn;
    before = (*found)[0];
  }
  spectrum::PowerState state;
  EXPECT_NEAR(before, power_iteration(query.rows, key.rows, 30, state), 1e-4 * before);
}

// Whole blocks and an end, two kernels before that of the counts; of as many elements as one block of threads counts, and
// of more.
TEST_F(GraphTest, CastsFollowTheNumbers) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (const std::size_t count : {(std::size_t{1} << 20) + 77, (std::size_t{5} << 20) + 4096}) {
    std::vector<float> values(count);
    const std::int64_t shape[] = {static_cast<std::int64_t>(count)};
    const auto view = [&](const void* data) {
      return formats::ArrayView{
          .data = data, .format = formats::kFp32, .shape = shape, .strides = {}};
    };
    const formats::CastOptions options = {.overflow = formats::Overflow::saturate, .threads = 0};
    const DeviceMemory source = on_device<float>(values);
    const DeviceMemory codes = on_device<std::uint8_t>(std::vector<std::uint8_t>(count));
    const DeviceMemory scratch =
        on_device<std::uint8_t>(std::vector<std::uint8_t>(cast_scratch_bytes(count), 0xA5));
    const DeviceMemory counts =
        on_device<std::uint8_t>(std::vector<std::uint8_t>(sizeof(formats::CastCounts), 0xA5));
    capture([&](Stream stream) {
      return cast(view(source.data()), formats::kE4M3, codes.data(), options,
                  {.counts = counts.data<formats::CastCounts>(), .scratch = scratch.data()},
                  stream);
    });
    if (HasFatalFailure()) return;
    for (const float factor : {1.0F, 100.0F, 0.0F}) {
      for (float& x : values) x = factor * normal(random);
      ASSERT_TRUE(upload(values.data(), count * sizeof(float), source.data<float>(), stream_).ok());
      replay();
      ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
      std::vector<std::uint8_t> expected(count);
      const auto theirs =
          formats::cast(view(values.data()), formats::kE4M3, expected.data(), options);
      ASSERT_TRUE(theirs.ok());
      EXPECT_TRUE(from_device<std::uint8_t>(codes.data(), count) == expected);
      expect_same_counts(from_device<formats::CastCounts>(counts.data(), 1)[0], *theirs);
    }
    cudaGraphExecDestroy(executable_);
    cudaGraphDestroy(graph_);
    executable_ = nullptr;
    graph_ = nullptr;
  }
}

}  // namespace
}  // namespace ullage::cuda
