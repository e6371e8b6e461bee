// The weights of a projection, head by head, out of whatever layout the checkpoint has.
//
// All functions fill `out` with rows of W in order of heads, row-major [count * rows, width]; its size
// must be just that. Any number of threads may read at once. FP8 comes out multiplied by its scales.
// Codes of all of them: value_invalid (no such head, another size), and those of WeightMatrix's open
// and read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ullage/base/result.h"
#include "ullage/checkpoint/attention.h"

namespace ullage::checkpoint {

// Numbers that `count` heads have.
std::size_t elements_of(const Projection& projection, int count = 1);

Status read_head(const TensorStore& store, const Projection& projection, int head,
                 std::span<float> out);
Status read_head(const TensorStore& store, const Projection& projection, int head,
                 std::span<double> out);

// Heads [first, first + count). For transposed storage this walks the stored rows once for all heads
// that lie side by side: several heads cost hardly more than one.
Status read_heads(const TensorStore& store, const Projection& projection, int first, int count,
                  std::span<float> out);
Status read_heads(const TensorStore& store, const Projection& projection, int first, int count,
                  std::span<double> out);

// The stored bits, where the weights are BF16.
bool can_read_bf16(const Projection& projection);
Status read_heads_bf16(const TensorStore& store, const Projection& projection, int first, int count,
                       std::span<std::uint16_t> out);

}  // namespace ullage::checkpoint
