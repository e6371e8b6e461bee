// What the room launches, captured in a CUDA graph and replayed: no word from the host, and the weights of the moment.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "cuda/device_rows.h"
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

}  // namespace
}  // namespace ullage::cuda
