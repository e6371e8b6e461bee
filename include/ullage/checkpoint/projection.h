// The weights of a projection, head by head, out of whatever layout the checkpoint has.
#pragma once

#include <cstddef>
#include <span>

#include "ullage/base/result.h"
#include "ullage/checkpoint/attention.h"

namespace ullage::checkpoint {

// Numbers of one head.
std::size_t elements_of(const Projection& projection);

// Fills `out` with the head's rows of W, row-major [rows, width]; its size must be just that. Any
// number of threads may read at once. FP8 comes out multiplied by its scales. Codes: value_invalid (no such head, another
// size), and those of WeightMatrix::open and read.
Status read_head(const TensorStore& store, const Projection& projection, int head,
                 std::span<float> out);
Status read_head(const TensorStore& store, const Projection& projection, int head,
                 std::span<double> out);

}  // namespace ullage::checkpoint
