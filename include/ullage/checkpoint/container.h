// A checkpoint opened: where it is, its tensors, and its config.json. What the tensors mean is the
// architecture table's business.
#pragma once

#include <string>

#include "ullage/base/result.h"
#include "ullage/checkpoint/config.h"
#include "ullage/checkpoint/locate.h"
#include "ullage/checkpoint/store.h"
#include "ullage/checkpoint/weights.h"

namespace ullage::checkpoint {

struct Container {
  Location location;
  Config config;
  TensorStore store;
  // The FP8 block size of quantization_config; layout is the caller's to set.
  WeightOptions weights;
};

// locate(), config.json, then every header. Refuses by name what is quantised to integer codes in
// its attention tensors (GPTQ, AWQ, bitsandbytes, packed compressed-tensors, HQQ, quanto).
// Codes: format_refused for those, config_invalid for a block size, and those of locate,
// Config::read and TensorStore::open.
Result<Container> open_container(const std::string& checkpoint, const LocateOptions& options = {});

}  // namespace ullage::checkpoint
