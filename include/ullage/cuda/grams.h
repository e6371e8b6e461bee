// The Grams of a layer's heads, for what goes on from them on the host.
#pragma once

#include <span>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/cuda/device.h"
#include "ullage/cuda/rows.h"
#include "ullage/spectrum/gram.h"

namespace ullage::cuda {

// spectrum::gram's fast Gram of each side. `fits` is false where only FP64 resolves a side's range or the side is not
// finite: its Gram is then of no use.
struct SideGram {
  spectrum::Gram gram;
  bool fits = false;
};
Result<std::vector<SideGram>> grams(std::span<const DeviceRows> sides, Stream stream);

// A B^T of each pair's folded rows, entries rounded to BF16 first: spectrum::cross_gram's estimate.
Result<std::vector<spectrum::Matrix>> cross_grams(std::span<const DeviceRows> sides,
                                                  std::span<const HeadPair> pairs, Stream stream);

}  // namespace ullage::cuda
