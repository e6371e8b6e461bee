// One layer as a job: its heads in parallel, its descales, its concatenated sigma.
#pragma once

#include <vector>

#include "scan/context.h"
#include "scan/head.h"
#include "scan/rows.h"
#include "ullage/base/parallel.h"
#include "ullage/checkpoint/container.h"
#include "ullage/formats/format.h"
#include "ullage/scan/result.h"

namespace ullage::scan {

struct LayerOutcome {
  LayerResult result;
  std::vector<NotFinite> not_finite;
};

// Memory that one layer takes over from another: one a scan.
struct LayerMemory {
  // For so many layers in flight.
  LayerMemory(int threads, int layers)
      : rows(threads, layers), workspaces(static_cast<std::size_t>(threads)) {}
  RowBuffers rows;
  std::vector<HeadWorkspace> workspaces;  // one a worker
};

Result<LayerOutcome> scan_layer(const checkpoint::Container& container, const LayerContext& context,
                                Job& job, LayerMemory& memory);

// The largest of the layer's heads for ScanOptions::format.
void fill_descales(const formats::Format& format, LayerResult& layer);

}  // namespace ullage::scan
