// The scan of several layers: in order, whatever the number of threads that share them.
#include "ullage/scan/scan.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "ullage/checkpoint/architectures.h"
#include "ullage/checkpoint/container.h"

namespace ullage::scan {
namespace {

class ScanLayers : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const auto path = std::filesystem::path(ULLAGE_TEST_DATA) / "checkpoint/forward/gemma3_text";
    auto opened = checkpoint::open_container(path.string(), {});
    ASSERT_TRUE(opened.ok());
    container_.emplace(*std::move(opened));
    auto read =
        checkpoint::read_attention(container_->store, container_->config, container_->weights);
    ASSERT_TRUE(read.ok());
    model_ = *std::move(read);
    ASSERT_EQ(model_.layers.size(), 7U);
    options_.threads = GetParam();
  }
  Result<ScanResult> scanned() const { return scan(*container_, model_, "gemma", options_); }

  std::optional<checkpoint::Container> container_;
  checkpoint::AttentionModel model_;
  ScanOptions options_;
};

TEST_P(ScanLayers, ComeInOrder) {
  const auto found = scanned();
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->layers.size(), 7U);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(found->layers[static_cast<std::size_t>(i)].layer, i);
}

TEST_P(ScanLayers, ProgressCountsThemOnTheCallingThread) {
  std::vector<std::pair<std::size_t, std::size_t>> seen;
  options_.progress = [&, caller = std::this_thread::get_id()](std::size_t done,
                                                               std::size_t total) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    seen.emplace_back(done, total);
  };
  ASSERT_TRUE(scanned().ok());
  std::vector<std::pair<std::size_t, std::size_t>> want;
  for (std::size_t done = 0; done <= 7; ++done) want.emplace_back(done, 7);
  EXPECT_EQ(seen, want);
}

TEST_P(ScanLayers, TheFirstErrorIsTold) {
  std::size_t last = 0;
  options_.progress = [&](std::size_t done, std::size_t) { last = done; };
  // No whole number of pairs. Where threads share layers, layer 4 may fail before layer 3 does.
  for (const int layer : {3, 4, 5})
    model_.layers[static_cast<std::size_t>(layer)].rope.rotary_dim = 2 * layer + 1;
  const auto found = scanned();
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().found, "7");
  EXPECT_EQ(last, 3U);
}

TEST_P(ScanLayers, WhatProgressThrowsComesHome) {
  options_.progress = [&](std::size_t done, std::size_t) {
    if (done == 2) throw std::runtime_error("enough");
  };
  EXPECT_THROW((void)scanned(), std::runtime_error);
}

INSTANTIATE_TEST_SUITE_P(Threads, ScanLayers, testing::Values(1, 2, 3, 16));

}  // namespace
}  // namespace ullage::scan
