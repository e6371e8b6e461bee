// Sides checked, and laid out in device memory with their Grams.
#pragma once

#include <span>
#include <vector>

#include "cuda/gram_kernels.h"
#include "ullage/base/result.h"
#include "ullage/cuda/device.h"

namespace ullage::cuda {

// Refuses what no kernel takes.
Status check_sides(std::span<const DeviceRows> sides);
Status check_pairs(std::span<const DeviceRows> sides, std::span<const HeadPair> pairs);

// Bytes of a side's Gram.
std::size_t gram_bytes(const DeviceRows& rows);

// Device memory of some sides. Grams lie one after another from `grams` on.
struct SideTable {
  Shape shape;
  std::vector<Side> host;
  DeviceMemory states;
  DeviceMemory means;
  DeviceMemory table;

  static Result<SideTable> make(std::span<const DeviceRows> sides, double* grams, Stream stream);
  [[nodiscard]] const Side* on_device() const { return table.data<Side>(); }
};

}  // namespace ullage::cuda
