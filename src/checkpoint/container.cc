#include "ullage/checkpoint/container.h"

#include <string_view>
#include <utility>

namespace ullage::checkpoint {
namespace {

struct Packed {
  std::string_view suffix;
  const char* format;
};

// How packages store a weight as integer codes: the tensor that stands where `weight` was.
constexpr Packed kPacked[] = {
    {".qweight", "GPTQ or AWQ"},
    {".weight_packed", "compressed-tensors (packed integers)"},
    {".weight.absmax", "bitsandbytes (4 bits)"},
    {".SCB", "bitsandbytes (8 bits)"},
    {".W_q", "HQQ"},
    {".weight._data", "quanto"},
};

// Only attention counts: experts in packed 4 bits beside floating attention can be scanned.
Status refuse_packed_attention(const TensorStore& store, const Config& config) {
  for (const TensorInfo& tensor : store.tensors()) {
    if (tensor.name.find("att") == std::string_view::npos) continue;
    for (const Packed& packed : kPacked) {
      if (!tensor.name.ends_with(packed.suffix)) continue;
      auto method = config.optional_string("quantization_config.quant_method");
      const bool named = method.ok() && method->has_value();
      return Error{Code::format_refused,
                   std::string("its attention weights are integer codes of ") + packed.format +
                       ", which are not read; scan the checkpoint it was quantised from",
                   store.describe(tensor),
                   {},
                   named ? "quant_method " + **method : std::string(packed.suffix)};
    }
  }
  return {};
}

}  // namespace

Result<Container> open_container(const std::string& checkpoint, const LocateOptions& options) {
  ULLAGE_ASSIGN(Location location, locate(checkpoint, options));
  ULLAGE_ASSIGN(Config config, Config::read(location.config));
  ULLAGE_ASSIGN(TensorStore store, TensorStore::open(location));
  ULLAGE_TRY(refuse_packed_attention(store, config));
  WeightOptions weights;
  constexpr const char* kBlock = "quantization_config.weight_block_size";
  ULLAGE_ASSIGN(const std::vector<std::int64_t> block, config.integers(kBlock));
  if (!block.empty()) {
    if (block.size() != 2)
      return Error{Code::config_invalid, std::string(kBlock) + " must be two integers",
                   config.where(), "2", std::to_string(block.size())};
    weights.block_rows = static_cast<std::uint64_t>(block[0]);
    weights.block_columns = static_cast<std::uint64_t>(block[1]);
  }
  return Container{.location = std::move(location),
                   .config = std::move(config),
                   .store = std::move(store),
                   .weights = weights};
}

}  // namespace ullage::checkpoint
