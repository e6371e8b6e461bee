// The arguments that scan, explain, diff and scales share, and the scan they run.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "ullage/base/result.h"
#include "ullage/checkpoint/architectures.h"
#include "ullage/checkpoint/container.h"
#include "ullage/scan/scan.h"

namespace ullage::apps {

struct ScanArguments {
  std::string checkpoint;
  std::string config;
  std::string format = "e4m3";
  std::int64_t context = 0;
  double probability = 1e-6;
  std::string layers;
  bool exact_context = false;
  std::string offsets = "16";
  std::string device = "cpu";
  int threads = 0;
  bool spectra = false;  // not an argument: what the caller's output needs
};

// CHECKPOINT (under the name given), --config and what sets the model of the inputs.
void add_scan_arguments(CLI::App& command, ScanArguments& arguments,
                        const char* checkpoint = "CHECKPOINT");
// --format, --layers and --device: for sub-commands that scan more than one head. `format_is_for` completes
// "Format of ...".
void add_layer_arguments(CLI::App& command, ScanArguments& arguments,
                         const std::string& format_is_for);

// The options of a scan, checked.
Result<scan::ScanOptions> scan_options(const ScanArguments& arguments);

struct Scanned {
  checkpoint::AttentionModel model;
  scan::ScanResult result;
  bool sharded = false;  // an index names the files
};

// Opens, scans with a progress bar on a terminal, and returns both.
Result<Scanned> run_scan(const ScanArguments& arguments);

// The one sentence that stands wherever a logit descale is shown.
inline constexpr const char* kNoLogitSlot =
    "FP8 attention kernels (FlashAttention-3, TransformerEngine, vLLM) keep Q K^T in FP32 and "
    "quantise Q, K, V and P: no kernel reads a logit descale; `ullage scales` writes what they do "
    "read.";

}  // namespace ullage::apps
