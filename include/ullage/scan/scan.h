// The scan: checkpoint -> Grams -> spectra -> bounds -> descales, from the weights alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <regex>
#include <string>
#include <utility>

#include "ullage/base/result.h"
#include "ullage/checkpoint/attention.h"
#include "ullage/checkpoint/container.h"
#include "ullage/scan/result.h"
#include "ullage/spectrum/gram_engine.h"

namespace ullage::scan {

// Which layers: an inclusive range of depths, or a pattern searched in the layer's name; neither: all.
struct LayerFilter {
  std::optional<std::pair<int, int>> range;
  std::optional<std::regex> pattern;
  [[nodiscard]] bool takes(int layer, const std::string& name) const;
};
// "3", "4:7", "4:", ":7" or a regular expression.
Result<LayerFilter> parse_layers(const std::string& text);

struct ScanOptions {
  std::string format = "e4m3";  // descales, worst head and --fail-under are for it
  std::int64_t context = 0;     // tokens; 0: the config's, else 2048
  double probability = 1e-6;    // of the expected figures, a head and sequence
  LayerFilter layers;
  // Certify RoPE heads over the context's offsets instead of all angles.
  bool exact_context = false;
  int offsets = 16;      // sampled for rope.supremum_sampled; 0: every offset of the context
  bool spectra = false;  // keep all singular values
  int threads = 0;       // 0: default_threads()
  // Makes the Grams of heads without latent attention; null: this CPU's own pass.
  std::shared_ptr<spectrum::GramEngine> grams;
  // Called from one thread, in layers.
  std::function<void(std::size_t done, std::size_t total)> progress;
};

// Scans every attention layer of a checkpoint, two at a time where that fits. Memory: the rows of those layers' Q and K (at
// most a fixed budget, re-read where they are larger), a few Grams a thread, and the report. NaN or
// infinite weights are reported by tensor and head and the rest is scanned; nothing_to_scan when no
// head is finite.
Result<ScanResult> scan(const checkpoint::Container& container,
                        const checkpoint::AttentionModel& model, const std::string& shown_name,
                        const ScanOptions& options);

}  // namespace ullage::scan
