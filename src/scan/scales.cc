#include "ullage/scan/scales.h"

#include <algorithm>
#include <array>

#include "scan/layer_amax.h"
#include "ullage/bounds/projections.h"
#include "ullage/formats/format.h"
#include "ullage/report/json.h"
#include "ullage/scaling/descale.h"

namespace ullage::scan {
namespace {

using checkpoint::SmallTensor;
using report::JsonLayout;
using report::JsonWriter;

// Columns of TransformerEngine's forward FP8 tensors that attention uses.
constexpr std::size_t kTeColumns = 9;
constexpr std::size_t kTeQkv = 2, kTeO = 3, kTeS = 8;

// Bounds of one layer in one tier, q and k and v a head each.
struct LayerBounds {
  const LayerResult* layer = nullptr;
  std::vector<double> query;       // one a query head
  std::vector<double> key, value;  // one a kv head
  int group = 1;                   // query heads a kv head
};

// The layer's bounds, or why it has none.
Result<LayerBounds> bounds_of(const LayerResult& layer, Tier tier) {
  LayerBounds bounds;
  bounds.layer = &layer;
  int kv_heads = 0;
  for (const HeadResult& head : layer.heads) kv_heads = std::max(kv_heads, head.kv_head + 1);
  bounds.group = static_cast<int>(layer.heads.size()) / std::max(kv_heads, 1);
  bounds.key.assign(static_cast<std::size_t>(kv_heads), 0);
  bounds.value.assign(static_cast<std::size_t>(kv_heads), 0);
  for (const HeadResult& head : layer.heads) {
    for (const TensorAmax& tensor : kTensorAmax) {
      const Figure& figure = head.*tensor.in(tier);
      if (!figure.known())
        return Error{Code::nothing_to_scan, figure.why(), layer.name + " " + tensor.name, "", ""};
    }
    const auto& [query, key, value] = kTensorAmax;
    const auto kv = static_cast<std::size_t>(head.kv_head);
    bounds.query.push_back((head.*query.in(tier)).value());
    bounds.key[kv] = std::max(bounds.key[kv], (head.*key.in(tier)).value());
    bounds.value[kv] = std::max(bounds.value[kv], (head.*value.in(tier)).value());
  }
  return bounds;
}

double largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

class Exporter {
 public:
  Exporter(const ScanResult& result, Tier tier) : result_(result), tier_(tier) {
    rule_.target = *formats::find_format(result.format);
  }

  Result<ScaleExport> run(Consumer consumer);

 private:
  Result<float> descale(double bound) const {
    ULLAGE_ASSIGN(const double value, scaling::descale(bound, rule_));
    return static_cast<float>(value);  // exact: descale rounds up to FP32 already
  }
  Result<std::vector<float>> descales(const std::vector<double>& bounds) const {
    std::vector<float> values;
    for (const double bound : bounds) {
      ULLAGE_ASSIGN(const float value, descale(bound));
      values.push_back(value);
    }
    return values;
  }
  // Probabilities are at most 1: their descale needs no data.
  [[nodiscard]] float probability_descale() const {
    return static_cast<float>(1 / scaling::static_probability_multiplier(rule_.target, true));
  }

  Status scalar(const std::string& name, double bound) {
    ULLAGE_ASSIGN(const float value, descale(bound));
    out_.tensors.push_back({name, {}, {value}});
    return {};
  }
  Status vector(const std::string& name, std::vector<std::uint64_t> shape,
                const std::vector<double>& bounds) {
    ULLAGE_ASSIGN(std::vector<float> values, descales(bounds));
    out_.tensors.push_back({name, std::move(shape), std::move(values)});
    return {};
  }

  Status vllm(const LayerBounds& bounds);
  Status compressed_tensors(const LayerBounds& bounds);
  Status fa3(const LayerBounds& bounds);
  Status te(const LayerBounds& bounds);
  Status json(const LayerBounds& bounds, JsonWriter& json);

  const ScanResult& result_;
  Tier tier_;
  scaling::DescaleRule rule_;
  ScaleExport out_;
};

Status Exporter::vllm(const LayerBounds& bounds) {
  const std::string& name = bounds.layer->name;
  ULLAGE_TRY(scalar(name + ".attn.q_scale", largest(bounds.query)));
  ULLAGE_TRY(scalar(name + ".k_scale", largest(bounds.key)));
  ULLAGE_TRY(scalar(name + ".v_scale", largest(bounds.value)));
  out_.tensors.push_back({name + ".attn.prob_scale", {}, {probability_descale()}});
  return {};
}

Status Exporter::compressed_tensors(const LayerBounds& bounds) {
  const std::string& name = bounds.layer->name;
  const std::uint64_t kv_heads = bounds.key.size();
  ULLAGE_TRY(vector(name + ".q_scale", {bounds.query.size(), 1, 1}, bounds.query));
  ULLAGE_TRY(vector(name + ".k_scale", {kv_heads, 1, 1}, bounds.key));
  return vector(name + ".v_scale", {kv_heads, 1, 1}, bounds.value);
}

Status Exporter::fa3(const LayerBounds& bounds) {
  const std::string& name = bounds.layer->name;
  const std::uint64_t kv_heads = bounds.key.size();
  ULLAGE_ASSIGN(const std::vector<double> query,
                scaling::group_maximum(bounds.query, bounds.group));
  ULLAGE_TRY(vector(name + ".q_descale", {1, kv_heads}, query));
  ULLAGE_TRY(vector(name + ".k_descale", {1, kv_heads}, bounds.key));
  return vector(name + ".v_descale", {1, kv_heads}, bounds.value);
}

// The largest |entry| of O = P V as the kernel makes it. Rows of P sum to one before they are cast: a cast of entry p
// is within unit p + half the least subnormal, in units of the static scale, and one of V within unit of itself. The sum of
// `context` products is off by 2^-22 of itself a product (tensor cores). No dropout.
double output_bound(double value, const formats::Format& format, std::int64_t context) {
  const double unit = format.unit_roundoff();
  const double tokens = static_cast<double>(context);
  const double least =
      0.5 * format.min_subnormal() / scaling::static_probability_multiplier(format, false);
  return bounds::output_amax(value, 0.0, unit + tokens * least) * (1.0 + unit) *
         (1.0 + tokens * 0x1p-22);
}

Status Exporter::te(const LayerBounds& bounds) {
  std::vector<float> scale(kTeColumns, 1.0F), amax(kTeColumns, 0.0F);
  const auto put = [&](std::size_t column, double bound) -> Status {
    ULLAGE_ASSIGN(const float value, scaling::multiplier(bound, rule_));
    scale[column] = value;
    // What delayed scaling must find in its history to keep this scale.
    amax[column] = static_cast<float>(rule_.target.max_finite() / static_cast<double>(value));
    return {};
  };
  ULLAGE_TRY(
      put(kTeQkv, std::max({largest(bounds.query), largest(bounds.key), largest(bounds.value)})));
  ULLAGE_TRY(put(kTeO, output_bound(largest(bounds.value), rule_.target, result_.context)));
  scale[kTeS] = static_cast<float>(scaling::static_probability_multiplier(rule_.target, false));
  amax[kTeS] = 1;
  out_.tensors.push_back({bounds.layer->name + ".scale_fwd", {kTeColumns}, std::move(scale)});
  out_.tensors.push_back({bounds.layer->name + ".amax_fwd", {kTeColumns}, std::move(amax)});
  return {};
}

Status Exporter::json(const LayerBounds& bounds, JsonWriter& json) {
  const auto put = [&](const char* name, const std::vector<double>& values) -> Status {
    ULLAGE_ASSIGN(const std::vector<float> list, descales(values));
    ULLAGE_ASSIGN(const float whole, descale(largest(values)));
    ULLAGE_ASSIGN(const float multiplier, scaling::multiplier(largest(values), rule_));
    json.key(name).begin_object();
    json.key("amax").number(largest(values));
    json.key("descale").number(whole);
    json.key("multiplier").number(multiplier);
    json.key("descale_by_head").begin_array(JsonLayout::line);
    for (const float value : list) json.number(value);
    json.end();
    json.end();
    return {};
  };
  json.begin_object();
  json.key("layer").integer(bounds.layer->layer);
  json.key("name").text(bounds.layer->name);
  ULLAGE_TRY(put("q", bounds.query));
  ULLAGE_TRY(put("k", bounds.key));
  ULLAGE_TRY(put("v", bounds.value));
  json.end();
  return {};
}

// "LlamaForCausalLM" -> "LlamaAttention": the class whose inputs are q, k and v in Hugging Face's models.
std::string attention_class(const std::string& model_class) {
  std::string stem = model_class;
  for (const char* end : {"For", "LMHeadModel", "Model"}) stem = stem.substr(0, stem.find(end));
  return stem + "Attention";
}

// What config.json needs beside the per-head scales: of k and v in the cache, and of q as an input of the attention class.
std::string compressed_tensors_fragment(const std::string& model_class) {
  JsonWriter json;
  const auto by_head = [&json](const char* key) {
    json.key(key).begin_object(JsonLayout::line);
    json.key("num_bits").integer(8);
    json.key("type").text("float");
    json.key("strategy").text("attn_head");
    json.key("symmetric").boolean(true);
    json.key("dynamic").boolean(false);
    json.end();
  };
  json.begin_object();
  json.key("quantization_config").begin_object();
  json.key("quant_method").text("compressed-tensors");
  json.key("config_groups").begin_object();
  json.key("group_0").begin_object();
  json.key("targets").begin_array(JsonLayout::line).text(attention_class(model_class));
  json.end();
  by_head("input_activations");
  json.end();
  json.end();
  by_head("kv_cache_scheme");
  json.end();
  json.end();
  return json.take();
}

// Why a consumer cannot take a layer's scales, or nothing. vLLM's cache of latent attention holds the latent vector and the
// rotary key, not the keys that these bounds are of.
std::string refusal(const LayerResult& layer, Consumer consumer) {
  const bool caches = consumer == Consumer::vllm || consumer == Consumer::compressed_tensors;
  const bool latent =
      std::any_of(layer.heads.begin(), layer.heads.end(),
                  [](const HeadResult& head) { return head.bounds.latent.known(); });
  return caches && latent ? "latent attention: vLLM caches the latent vector, not these keys" : "";
}

Result<ScaleExport> Exporter::run(Consumer consumer) {
  ULLAGE_TRY(check_scale_format(result_.format));
  if (!result_.not_finite.empty())
    return Error{Code::not_finite,
                 "holds NaN or infinity; scales of such a checkpoint are not exported",
                 result_.not_finite.front().tensor, "", ""};
  JsonWriter json_text;
  json_text.begin_object();
  json_text.key("schema").integer(1);
  json_text.key("ullage").text(result_.version);
  json_text.key("checkpoint").text(result_.checkpoint);
  json_text.key("format").text(result_.format);
  json_text.key("tier").text(name_of(tier_));
  json_text.key("probability_descale").number(probability_descale());
  json_text.key("layers").begin_array();
  std::size_t exported = 0;
  for (const LayerResult& layer : result_.layers) {
    if (const std::string why = refusal(layer, consumer); !why.empty()) {
      out_.omitted.push_back(layer.name + ": " + why);
      continue;
    }
    Result<LayerBounds> bounds = bounds_of(layer, tier_);
    if (!bounds.ok()) {
      out_.omitted.push_back(bounds.error().message());
      continue;
    }
    ++exported;
    switch (consumer) {
      case Consumer::vllm:
        ULLAGE_TRY(vllm(*bounds));
        break;
      case Consumer::compressed_tensors:
        ULLAGE_TRY(compressed_tensors(*bounds));
        break;
      case Consumer::fa3:
        ULLAGE_TRY(fa3(*bounds));
        break;
      case Consumer::te:
        ULLAGE_TRY(te(*bounds));
        break;
      case Consumer::json:
        ULLAGE_TRY(json(*bounds, json_text));
        break;
    }
  }
  if (exported == 0)
    return Error{Code::nothing_to_scan, "no layer has bounds on q, k and v in this tier",
                 out_.omitted.empty() ? result_.checkpoint : out_.omitted.front(), "", ""};
  json_text.end();
  json_text.end();
  if (consumer == Consumer::json) out_.json = json_text.take();
  if (consumer == Consumer::compressed_tensors)
    out_.json = compressed_tensors_fragment(result_.model_class);
  out_.metadata = {{"format", "pt"},
                   {"ullage", result_.version},
                   {"scales", result_.format},
                   {"tier", name_of(tier_)},
                   {"direction", consumer == Consumer::te ? "multiply" : "descale"}};
  return std::move(out_);
}

}  // namespace

Result<Consumer> consumer_from_name(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, Consumer>, 5> kNames = {
      {{"vllm", Consumer::vllm},
       {"compressed-tensors", Consumer::compressed_tensors},
       {"fa3", Consumer::fa3},
       {"te", Consumer::te},
       {"json", Consumer::json}}};
  for (const auto& [known, consumer] : kNames)
    if (name == known) return consumer;
  return Error{Code::usage, "no such consumer", "--to", "vllm, compressed-tensors, fa3, te or json",
               std::string(name)};
}

Status check_scale_format(const std::string& format) {
  if (format == "e4m3" || format == "e5m2") return {};
  return Error{Code::value_invalid, "no attention kernel reads scales of this format", "--format",
               "e4m3 or e5m2", format};
}

const char* name_of(Tier tier) { return tier == Tier::certificate ? "certificate" : "expected"; }

Result<Tier> tier_from_name(std::string_view name) {
  for (const Tier tier : {Tier::certificate, Tier::expected})
    if (name == name_of(tier)) return tier;
  return Error{Code::usage, "no such tier", "--tier", "certificate or expected", std::string(name)};
}

Result<ScaleExport> export_scales(const ScanResult& result, Consumer consumer, Tier tier) {
  return Exporter(result, tier).run(consumer);
}

}  // namespace ullage::scan
