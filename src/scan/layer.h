// One layer: its heads in parallel, its descales, its concatenated sigma.
#pragma once

#include <vector>

#include "scan/context.h"
#include "scan/rows.h"
#include "ullage/checkpoint/container.h"
#include "ullage/formats/format.h"
#include "ullage/scan/result.h"

namespace ullage::scan {

struct LayerOutcome {
  LayerResult result;
  std::vector<NotFinite> not_finite;
};

Result<LayerOutcome> scan_layer(const checkpoint::Container& container, const LayerContext& context,
                                int threads, RowBuffers& buffers);

// The largest of the layer's heads for ScanOptions::format.
void fill_descales(const formats::Format& format, LayerResult& layer);

}  // namespace ullage::scan
