// Heads of tests/spectrum's making, in device memory.
#pragma once

#include <cstring>
#include <deque>
#include <random>
#include <span>
#include <vector>

#include "cuda/gpu.h"
#include "spectrum/made_rows.h"
#include "ullage/cuda/rows.h"

namespace ullage::cuda {

using spectrum::Element;
using spectrum::gaussian;
using spectrum::MadeRows;
using spectrum::Matrix;

// Gains of every size between 0.05 and 2.
inline std::vector<double> gains(int width, std::mt19937_64& random) {
  std::uniform_real_distribution<double> uniform(0.05, 2.0);
  std::vector<double> out(static_cast<std::size_t>(width));
  for (double& value : out) value = uniform(random);
  return out;
}

enum class Layout {
  as_made,  // rows three elements apart: nothing is aligned
  aligned,  // rows start at multiples of 16 bytes
};

// Owns the device memory of the heads that are added.
class DeviceHeads {
 public:
  int add(const MadeRows& made, Layout layout) {
    const spectrum::HeadRows& rows = made.rows;
    const std::size_t size = rows.element == Element::bf16  ? 2
                             : rows.element == Element::f32 ? 4
                                                            : 8;
    DeviceRows side;
    side.element = rows.element;
    side.rows = rows.rows;
    side.width = rows.width;
    side.stride = layout == Layout::as_made ? rows.stride : (rows.width + 7) / 8 * 8;
    side.project_mean = rows.project_mean;
    // 0xFF everywhere is NaN in all three types: what lies between rows must not be read.
    std::vector<std::byte> bytes(static_cast<std::size_t>(side.stride * side.rows) * size,
                                 std::byte{0xFF});
    for (int r = 0; r < rows.rows; ++r)
      std::memcpy(bytes.data() + static_cast<std::size_t>(r * side.stride) * size,
                  static_cast<const std::byte*>(rows.values) +
                      static_cast<std::size_t>(r * rows.stride) * size,
                  static_cast<std::size_t>(rows.width) * size);
    memory_.push_back(on_device<std::byte>(bytes));
    side.values = memory_.back().data();
    if (!rows.gain.empty()) {
      memory_.push_back(on_device<double>(rows.gain));
      side.gain = memory_.back().data<double>();
    }
    sides_.push_back(side);
    return static_cast<int>(sides_.size()) - 1;
  }

  [[nodiscard]] std::span<const DeviceRows> sides() const { return sides_; }

 private:
  std::deque<DeviceMemory> memory_;
  std::vector<DeviceRows> sides_;
};

}  // namespace ullage::cuda
