// Grams for a scan on the GPU.
#pragma once

#include <memory>

#include "ullage/base/result.h"
#include "ullage/spectrum/gram_engine.h"

namespace ullage::cuda {

// An engine on the calling thread's current device. Device memory: the rows of the largest layer that it meets and
// their Grams, kept from layer to layer. Refuses as usable() does.
Result<std::unique_ptr<spectrum::GramEngine>> make_gram_engine();

}  // namespace ullage::cuda
