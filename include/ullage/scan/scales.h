// Q/K/V scales of a scan under the names, shapes and direction that each consumer reads.
//
//   vllm                 one number a layer: NAME.attn.q_scale, NAME.k_scale, NAME.v_scale,
//                        NAME.attn.prob_scale; descales (x is about x_fp8 * scale)
//   compressed-tensors   one a head: NAME.q_scale [heads, 1, 1], NAME.k_scale and NAME.v_scale
//                        [kv heads, 1, 1]; descales. The loader takes each group's largest q.
//   fa3                  NAME.q_descale, NAME.k_descale, NAME.v_descale [1, kv heads], to be
//                        expanded to the batch; q is its group's largest
//   te                   NAME.scale_fwd [9] and NAME.amax_fwd [9], TransformerEngine's columns: 2
//                        (GEMM1_OUTPUT) Q, K and V together, 3 (GEMM2_INPUT) O of up to `context` tokens without
//                        dropout, 8 (GEMM3_OUTPUT) S, the softmax's output; multipliers (x_fp8 is about x * scale)
//   json                 all of it, head by head, both directions named
// NAME is the module that holds q and k in the checkpoint. Layers of latent attention are left out for vllm and
// compressed-tensors, whose cache holds the latent vector.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/checkpoint/writer.h"
#include "ullage/scan/result.h"

namespace ullage::scan {

enum class Consumer : std::uint8_t { vllm, compressed_tensors, fa3, te, json };
Result<Consumer> consumer_from_name(std::string_view name);

enum class Tier : std::uint8_t { certificate, expected };
Result<Tier> tier_from_name(std::string_view name);
const char* name_of(Tier tier);

// Nothing for a format whose scales an attention kernel reads (e4m3, e5m2); value_invalid for another.
Status check_scale_format(const std::string& format);

struct ScaleExport {
  std::vector<checkpoint::SmallTensor> tensors;
  std::map<std::string, std::string> metadata;
  // Consumer::json: the whole file; compressed-tensors: the fragment for config.json's
  // quantization_config.
  std::string json;
  // Tensors that have no bound in this tier, each with the reason.
  std::vector<std::string> omitted;
};

// Errors: not_finite when a layer holds NaN or infinity (nothing of such a checkpoint is exported);
// nothing_to_scan when no layer has a bound in this tier; value_invalid for a format that has no
// kernel (only e4m3 and e5m2 are exported).
Result<ScaleExport> export_scales(const ScanResult& result, Consumer consumer, Tier tier);

}  // namespace ullage::scan
