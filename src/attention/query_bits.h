// One number's part of bits_of(): what the reference and the vector kernels add up, in any order.
#pragma once

#include <cstdint>

namespace ullage::attention {

// `bits` of an FP32 number in this column. An odd weight would leave a sign bit at the top, where two
// of them cancel: it goes lower, too.
[[gnu::always_inline]] constexpr std::uint32_t mixed_bits(std::uint32_t bits, int column) {
  return (bits ^ bits >> 16) * (2 * static_cast<std::uint32_t>(column) + 1);
}

}  // namespace ullage::attention
