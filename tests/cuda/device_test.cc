// A GPU is there, or one sentence says why not; its memory keeps what it is given.
#include "ullage/cuda/device.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "cuda/gpu.h"

namespace ullage::cuda {
namespace {

// Holds in every build and on every machine: a GPU, or one sentence that says what is missing.
TEST(Device, IsThereOrSaysWhyNot) {
  const Status status = usable();
  const Result<Device> device = current_device();
  ASSERT_EQ(status.ok(), device.ok());
  if (status.ok()) {
    EXPECT_FALSE(device->name.empty());
    EXPECT_GE(device->capability_major, 8);
    EXPECT_GT(device->multiprocessors, 0);
    EXPECT_LE(device->free_bytes, device->memory_bytes);
    EXPECT_GE(device->driver_version / 1000, device->runtime_version / 1000);
  } else {
    EXPECT_EQ(status.error().code, Code::device_unavailable);
    EXPECT_EQ(status.error().message(), device.error().message());
    EXPECT_EQ(status.error().message().find('\n'), std::string::npos);
  }
}

TEST(Device, WithoutOneNothingIsAllocatedOrCopied) {
  if (usable().ok()) GTEST_SKIP() << "a GPU is there";
  int value = 1;
  EXPECT_EQ(DeviceMemory::allocate(16).error().code, Code::device_unavailable);
  EXPECT_EQ(upload(&value, sizeof value, nullptr, nullptr).error().code, Code::device_unavailable);
  EXPECT_EQ(download(nullptr, sizeof value, &value, nullptr).error().code,
            Code::device_unavailable);
  EXPECT_EQ(synchronise(nullptr).error().code, Code::device_unavailable);
}

using DeviceMemoryTest = GpuTest;

TEST_F(DeviceMemoryTest, KeepsWhatIsCopiedAndMoves) {
  std::vector<std::uint32_t> values(100'003);
  std::iota(values.begin(), values.end(), 1U);
  DeviceMemory memory = on_device<std::uint32_t>(values);
  EXPECT_EQ(memory.bytes(), values.size() * sizeof(values[0]));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % 256, 0U);
  const DeviceMemory moved = std::move(memory);
  EXPECT_EQ(from_device<std::uint32_t>(moved.data(), values.size()), values);
}

TEST_F(DeviceMemoryTest, TooMuchIsRefusedWithBothNumbers) {
  const Result<Device> device = current_device();
  ASSERT_TRUE(device.ok());
  const Result<DeviceMemory> memory = DeviceMemory::allocate(device->memory_bytes * 2);
  ASSERT_FALSE(memory.ok());
  EXPECT_EQ(memory.error().code, Code::resource);
  EXPECT_NE(memory.error().message().find("MiB"), std::string::npos);
  // The refusal leaves nothing behind.
  EXPECT_TRUE(DeviceMemory::allocate(1024).ok());
}

}  // namespace
}  // namespace ullage::cuda
