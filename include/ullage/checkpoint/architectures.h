// From the names and shapes of a checkpoint's tensors and its config to its attention layers.
//
// A known model_type is read by its rows of the table of architectures; config and shapes must agree, else
// config_mismatch with both numbers. An unknown one is recognised by its tensors' names, if they are like
// those of a known one, and AttentionModel::assumptions says what was taken for granted.
#pragma once

#include "ullage/base/result.h"
#include "ullage/checkpoint/attention.h"
#include "ullage/checkpoint/config.h"
#include "ullage/checkpoint/store.h"

namespace ullage::checkpoint {

// More than any model has: what a file claims beyond these is an error.
inline constexpr int kMaxHeads = 1 << 16;
inline constexpr int kMaxHeadDim = 1 << 16;
inline constexpr int kMaxLayers = 10'000;

// Reads norms, biases and (where layer 0 reads raw embeddings) the embedding tables, no projection.
// Codes: config_invalid, config_mismatch, tensor_missing, architecture_unknown, nothing_to_scan, and
// those of the store. NaN and infinities in gains and biases pass through. The store must outlive the
// model. `weights` carries the FP8 block sizes.
Result<AttentionModel> read_attention(const TensorStore& store, const Config& config,
                                      const WeightOptions& weights = {});

}  // namespace ullage::checkpoint
