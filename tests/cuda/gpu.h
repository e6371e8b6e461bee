// Tests that need a GPU: they run where one can be used, and say why they were skipped elsewhere.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <vector>

#include "ullage/cuda/device.h"

namespace ullage::cuda {

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const Status found = usable(); !found.ok()) GTEST_SKIP() << found.error().message();
  }
};

template <class T>
DeviceMemory on_device(std::span<const T> values) {
  Result<DeviceMemory> memory = uploaded(values, nullptr);
  EXPECT_TRUE(memory.ok()) << memory.error().message();
  return std::move(memory).value();
}

template <class T>
std::vector<T> from_device(const void* memory, std::size_t count) {
  std::vector<T> values(count);
  const Status copied = download(memory, count * sizeof(T), values.data(), nullptr);
  EXPECT_TRUE(copied.ok()) << copied.error().message();
  return values;
}

}  // namespace ullage::cuda
