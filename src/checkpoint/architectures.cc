// Lookups in the table of architectures: rows, other names, models of several towers, and what the
// config classes assume for keys that a file omits.
#include "checkpoint/architectures.h"

namespace ullage::checkpoint {
namespace {

struct Alias {
  std::string_view type, canonical;
};
constexpr Alias kAliases[] = {
    {"qwen2_vl_text", "qwen2"},     {"qwen2_5_vl_text", "qwen2"},       {"qwen3_vl_text", "qwen3"},
    {"qwen3_5_text", "qwen3_next"}, {"qwen3_5_moe_text", "qwen3_next"}, {"RefinedWeb", "falcon"},
    {"RefinedWebModel", "falcon"},
};

constexpr std::string_view kWithoutAttention =
    "mamba|mamba2|falcon_mamba|rwkv|rwkv5|rwkv6|rwkv7|xlstm|resnet|convnext|convnextv2|regnet";

constexpr Wrapper kWrappers[] = {
    {.type = "clip",
     .text = "clip_text_model",
     .vision = "clip_vision_model",
     .both_required = true},
    {.type = "siglip",
     .text = "siglip_text_model",
     .vision = "siglip_vision_model",
     .both_required = true},
    {.type = "gemma3",
     .text = "gemma3_text",
     .vision = "siglip_vision_model",
     .two_way_text = true},
    {.type = "paligemma", .text = "gemma", .vision = "siglip_vision_model", .two_way_text = true},
    {.type = "llava", .text = "llama", .vision = "clip_vision_model"},
    {.type = "mistral3", .text = "mistral", .vision = "pixtral"},
    {.type = "qwen2_vl", .text = "qwen2_vl_text", .vision = "qwen2_vl_vision"},
    {.type = "qwen2_5_vl", .text = "qwen2_5_vl_text", .vision = "qwen2_5_vl_vision"},
    {.type = "qwen3_vl", .text = "qwen3_vl_text", .vision = "qwen3_vl_vision"},
    {.type = "qwen3_5", .text = "qwen3_5_text", .vision = "qwen3_5_vision"},
    {.type = "qwen3_5_moe", .text = "qwen3_5_moe_text", .vision = "qwen3_5_moe_vision"},
    {.type = "llama4", .text = "llama4_text", .vision = "llama4_vision_model"},
    {.type = "idefics3", .text = "llama", .vision = "idefics3_vision"},
    {.type = "internvl", .text = "qwen2", .vision = "internvl_vision"},
    {.type = "mllama", .text = "mllama_text_model", .vision = "mllama_vision_model"},
};

// Only what a scan can use; hidden sizes and depths come from the file in every case.
constexpr ClassDefaults kDefaults[] = {
    {.type = ""},
    {.type = "albert", .heads = 64},
    {.type = "apertus",
     .heads = 32,
     .rope_theta = 12e6,
     .rope_parameters = R"({"rope_type": "llama3", "rope_theta": 12000000.0, "factor": 8.0,
       "original_max_position_embeddings": 8192, "low_freq_factor": 1.0, "high_freq_factor": 4.0})"},
    {.type = "arcee", .heads = 32},
    {.type = "bart", .heads = 16},
    {.type = "beit", .heads = 12},
    {.type = "bert", .heads = 12},
    {.type = "biogpt", .heads = 16},
    {.type = "bloom", .heads = 8},
    {.type = "camembert", .heads = 12},
    {.type = "clip_text_model", .heads = 8},
    {.type = "clip_vision_model", .heads = 12},
    {.type = "codegen", .heads = 16},
    {.type = "cohere", .heads = 64, .rope_theta = 500000},
    {.type = "cohere2", .heads = 64},
    {.type = "dbrx", .heads = 16, .kv_heads = 1},
    {.type = "deberta-v2", .heads = 24},
    {.type = "deepseek_v2", .heads = 32},
    {.type = "deepseek_v3", .heads = 128},
    {.type = "deit", .heads = 12},
    {.type = "dinov2", .heads = 12},
    {.type = "dinov3_vit", .heads = 6, .rope_theta = 100},
    {.type = "distilbert", .heads = 12},
    {.type = "electra", .heads = 4},
    {.type = "ernie4_5", .heads = 16, .kv_heads = 2, .head_dim = 128, .rope_theta = 500000},
    {.type = "esm", .heads = 12},
    {.type = "exaone4", .heads = 32},
    {.type = "falcon", .heads = 71, .kv_heads = 71},
    {.type = "flex_olmo", .heads = 32, .rope_theta = 500000},
    {.type = "gemma", .heads = 16, .kv_heads = 16, .head_dim = 256},
    {.type = "gemma2", .heads = 8, .kv_heads = 4, .head_dim = 256},
    {.type = "gemma3_text",
     .heads = 8,
     .kv_heads = 4,
     .head_dim = 256,
     .rope_theta = 1e6,
     .rope_parameters = R"({"sliding_attention": {"rope_theta": 10000.0},
                            "full_attention": {"rope_theta": 1000000.0}})"},
    {.type = "gemma3n_text",
     .heads = 8,
     .kv_heads = 2,
     .head_dim = 256,
     .rope_theta = 1e6,
     .rope_parameters = R"({"sliding_attention": {"rope_theta": 10000.0},
                            "full_attention": {"rope_theta": 1000000.0}})"},
    {.type = "glm", .heads = 32, .kv_heads = 2, .head_dim = 128, .rotary_fraction = 0.5},
    {.type = "glm4", .heads = 32, .kv_heads = 2, .head_dim = 128, .rotary_fraction = 0.5},
    {.type = "glm4_moe", .heads = 96, .kv_heads = 8, .rotary_fraction = 0.5},
    {.type = "gpt2", .heads = 12},
    {.type = "gpt_bigcode", .heads = 12},
    {.type = "gpt_neo", .heads = 16},
    {.type = "gpt_neox", .heads = 64, .rotary_fraction = 0.25},
    {.type = "gpt_oss",
     .heads = 64,
     .kv_heads = 8,
     .head_dim = 64,
     .rope_theta = 150000,
     .rope_parameters = R"({"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0,
       "beta_slow": 1.0, "truncate": false, "original_max_position_embeddings": 4096,
       "rope_theta": 150000.0})"},
    {.type = "gptj", .heads = 16},
    {.type = "granite", .heads = 32},
    {.type = "granitemoe", .heads = 32},
    {.type = "helium", .heads = 20, .kv_heads = 20, .head_dim = 128, .rope_theta = 100000},
    {.type = "hunyuan_v1_dense", .heads = 32},
    {.type = "idefics3_vision", .heads = 16},
    {.type = "internlm3", .heads = 32, .kv_heads = 2},
    {.type = "internvl_vision", .heads = 16},
    {.type = "jamba", .heads = 32, .kv_heads = 8},
    {.type = "lfm2", .heads = 32, .kv_heads = 8, .rope_theta = 1e6},
    {.type = "llama", .heads = 32},
    {.type = "llama4_text", .heads = 40, .kv_heads = 8, .head_dim = 128, .rope_theta = 500000},
    {.type = "llama4_vision_model", .heads = 16},
    {.type = "m2m_100", .heads = 16},
    {.type = "marian", .heads = 16},
    {.type = "mbart", .heads = 16},
    {.type = "minicpm3", .heads = 40},
    {.type = "minimax_m2", .heads = 48, .kv_heads = 8, .head_dim = 128, .rope_theta = 5e6},
    {.type = "ministral", .heads = 32, .kv_heads = 8},
    {.type = "ministral3",
     .heads = 32,
     .kv_heads = 8,
     .head_dim = 128,
     .rope_theta = 1e6,
     .rope_parameters = R"({"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 16.0,
       "original_max_position_embeddings": 16384, "beta_fast": 32.0, "beta_slow": 1.0,
       "mscale_all_dim": 1.0, "mscale": 1.0, "llama_4_scaling_beta": 0.1})"},
    {.type = "mistral", .heads = 32, .kv_heads = 8},
    {.type = "mistral4",
     .heads = 32,
     .rope_parameters = R"({"rope_type": "yarn", "rope_theta": 10000.0, "factor": 128.0,
       "original_max_position_embeddings": 8192, "beta_fast": 32.0, "beta_slow": 1.0,
       "mscale_all_dim": 1.0, "mscale": 1.0, "llama_4_scaling_beta": 0.1})"},
    {.type = "mixtral", .heads = 32, .kv_heads = 8, .rope_theta = 1e6},
    {.type = "mllama_text_model", .heads = 32, .kv_heads = 8, .rope_theta = 500000},
    {.type = "mllama_vision_model", .heads = 16},
    {.type = "modernbert",
     .heads = 12,
     .rope_theta = 160000,
     .rope_parameters = R"({"sliding_attention": {"rope_theta": 10000.0},
                            "full_attention": {"rope_theta": 160000.0}})"},
    {.type = "mpnet", .heads = 12},
    {.type = "mpt", .heads = 16},
    {.type = "mt5", .heads = 6, .head_dim = 64},
    {.type = "nemotron", .heads = 48, .head_dim = 128, .rotary_fraction = 0.5},
    {.type = "olmo", .heads = 32},
    {.type = "olmo2", .heads = 32},
    {.type = "olmo3", .heads = 32, .rope_theta = 500000},
    {.type = "olmoe", .heads = 16},
    {.type = "openai-gpt", .heads = 12},
    {.type = "opt", .heads = 12},
    {.type = "pegasus", .heads = 16},
    {.type = "persimmon", .heads = 64, .rotary_fraction = 0.5},
    {.type = "phi", .heads = 32, .rotary_fraction = 0.5},
    {.type = "phi3", .heads = 32},
    {.type = "phimoe", .heads = 32, .kv_heads = 8, .rope_theta = 1e6},
    {.type = "pixtral", .heads = 16},
    {.type = "qwen2", .heads = 32, .kv_heads = 32},
    {.type = "qwen2_vl_text", .heads = 64, .kv_heads = 8, .rope_theta = 1e6},
    {.type = "qwen2_5_vl_text", .heads = 64, .kv_heads = 8, .rope_theta = 1e6},
    {.type = "qwen2_vl_vision", .heads = 16},
    {.type = "qwen2_5_vl_vision", .heads = 16},
    {.type = "qwen2_moe", .heads = 16, .kv_heads = 16},
    {.type = "qwen3", .heads = 32, .kv_heads = 32, .head_dim = 128},
    {.type = "qwen3_5_text", .heads = 16, .kv_heads = 4, .head_dim = 256, .rotary_fraction = 0.25},
    {.type = "qwen3_5_moe_text",
     .heads = 16,
     .kv_heads = 2,
     .head_dim = 256,
     .rotary_fraction = 0.25},
    {.type = "qwen3_5_vision", .heads = 16},
    {.type = "qwen3_5_moe_vision", .heads = 16},
    {.type = "qwen3_moe", .heads = 32, .kv_heads = 4},
    {.type = "qwen3_next", .heads = 16, .kv_heads = 2, .head_dim = 256, .rotary_fraction = 0.25},
    {.type = "qwen3_vl_text", .heads = 32, .kv_heads = 32, .head_dim = 128, .rope_theta = 500000},
    {.type = "qwen3_vl_vision", .heads = 16},
    {.type = "roberta", .heads = 12},
    {.type = "seed_oss", .heads = 80, .kv_heads = 8, .head_dim = 128},
    {.type = "siglip_text_model", .heads = 12},
    {.type = "siglip_vision_model", .heads = 12},
    {.type = "smollm3", .heads = 16, .kv_heads = 4, .rope_theta = 2e6},
    {.type = "stablelm", .heads = 32, .rotary_fraction = 0.25},
    {.type = "starcoder2", .heads = 24, .kv_heads = 2},
    {.type = "t5", .heads = 8, .head_dim = 64},
    {.type = "umt5", .heads = 6, .head_dim = 64},
    {.type = "vaultgemma", .heads = 8, .kv_heads = 4, .head_dim = 256},
    {.type = "vit", .heads = 12},
    {.type = "wav2vec2", .heads = 12},
    {.type = "whisper", .heads = 6},
    {.type = "xglm", .heads = 16},
    {.type = "xlm-roberta", .heads = 12},
};

}  // namespace

bool has_type(std::string_view types, std::string_view type) {
  while (!types.empty()) {
    const std::size_t bar = types.find('|');
    if (types.substr(0, bar) == type) return true;
    if (bar == std::string_view::npos) break;
    types.remove_prefix(bar + 1);
  }
  return false;
}

std::vector<const Row*> rows_for(std::string_view type) {
  const std::string_view canonical = canonical_type(type);
  std::vector<const Row*> rows;
  for (const auto table : {decoder_rows(), fused_decoder_rows(), encoder_rows(),
                           encoder_decoder_rows(), vision_rows()})
    for (const Row& row : table)
      if (has_type(row.types, canonical)) rows.push_back(&row);
  return rows;
}

std::string_view canonical_type(std::string_view type) {
  for (const Alias& alias : kAliases)
    if (alias.type == type) return alias.canonical;
  return type;
}

bool without_attention(std::string_view type) { return has_type(kWithoutAttention, type); }

const Wrapper* find_wrapper(std::string_view type) {
  for (const Wrapper& wrapper : kWrappers)
    if (wrapper.type == type) return &wrapper;
  return nullptr;
}

const ClassDefaults& class_defaults(std::string_view type) {
  for (const ClassDefaults& entry : kDefaults)
    if (entry.type == type) return entry;
  for (const ClassDefaults& entry : kDefaults)
    if (entry.type == canonical_type(type)) return entry;
  return kDefaults[0];
}

}  // namespace ullage::checkpoint
