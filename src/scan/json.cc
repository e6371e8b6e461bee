// ScanResult -> JSON, schema 1 (docs/schema/scan.json).
#include "ullage/report/json.h"
#include "scan/fields.h"
#include "ullage/scan/result.h"

namespace ullage::scan {
namespace {

using report::JsonLayout;
using report::JsonWriter;

void put(JsonWriter& json, const char* name, const Figure& figure) {
  json.key(name);
  if (figure.known())
    json.number(figure.value());
  else
    json.null(figure.why());
}

template <class Owner, std::size_t N>
void put_all(JsonWriter& json, const std::array<Field<Owner>, N>& fields, const Owner& owner) {
  for (const Field<Owner>& field : fields) put(json, field.name, owner.*field.figure);
}

template <class Owner, std::size_t N>
void put_group(JsonWriter& json, const char* name, const std::array<Field<Owner>, N>& fields,
               const Owner& owner) {
  json.key(name).begin_object(JsonLayout::line);
  put_all(json, fields, owner);
  json.end();
}

void put_by_format(JsonWriter& json, const char* name,
                   const std::array<Figure, kReportedFormats.size()>& figures) {
  json.key(name).begin_object(JsonLayout::line);
  for (std::size_t i = 0; i < figures.size(); ++i) put(json, kReportedFormats[i], figures[i]);
  json.end();
}

void put_text(JsonWriter& json, const char* name, const std::string& text, const std::string& why) {
  json.key(name);
  if (text.empty())
    json.null(why);
  else
    json.text(text);
}

void put_rope(JsonWriter& json, const std::optional<RopeResult>& rope) {
  json.key("rope");
  if (!rope) {
    json.null("the layer has no RoPE");
    return;
  }
  json.begin_object(JsonLayout::line);
  put(json, "supremum_sampled", rope->supremum_sampled);
  json.key("offsets").integer(rope->offsets);
  put(json, "bound", rope->bound);
  json.end();
}

void put_bounds(JsonWriter& json, const HeadBounds& bounds) {
  json.key("bounds").begin_object(JsonLayout::line);
  put_all(json, kCertificateFields, bounds);
  put_text(json, "certificate_by", bounds.certificate_by, bounds.certificate.why());
  put_all(json, kCapFields, bounds);
  put_group(json, "certificate_rounded", kRoundedFields, bounds);
  put_all(json, kExpectedFields, bounds);
  json.end();
}

void put_head(JsonWriter& json, const HeadResult& head) {
  json.begin_object(JsonLayout::line);
  json.key("head").integer(head.head);
  json.key("kv_head").integer(head.kv_head);
  put_all(json, kSpectrumFields, head);
  put_rope(json, head.rope);
  put_bounds(json, head.bounds);
  put_group(json, "amax", kAmaxFields, head);
  put_group(json, "amax_projection", kAmaxProjectionFields, head);
  put_group(json, "amax_expected", kAmaxExpectedFields, head);
  put_by_format(json, "overflow_probability", head.overflow_probability);
  put_by_format(json, "headroom_bits", head.headroom_bits);
  put_text(json, "headroom_tier", head.headroom_tier, head.headroom_bits[0].why());
  json.end();
}

void put_layer(JsonWriter& json, const LayerResult& layer) {
  json.begin_object();
  json.key("layer").integer(layer.layer);
  json.key("name").text(layer.name);
  json.key("stack").text(layer.stack);
  put(json, "sigma_concatenated", layer.sigma_concatenated);
  json.key("sigma_concatenated_iterations").integer(layer.sigma_concatenated_iterations);
  json.key("descale").begin_object();
  for (const DescaleField& field : kDescaleFields) {
    json.key(field.name).begin_object(JsonLayout::line);
    put(json, "certificate", (layer.*field.pair).certificate);
    put(json, "expected", (layer.*field.pair).expected);
    json.end();
  }
  json.end();
  json.key("heads").begin_array();
  for (const HeadResult& head : layer.heads) put_head(json, head);
  json.end();
  json.end();
}

void put_summary(JsonWriter& json, const ScanResult& result) {
  json.key("summary").begin_object();
  json.key("layers").natural(result.layers.size());
  json.key("heads").natural(result.heads());
  json.key("worst");
  if (result.worst) {
    json.begin_object(JsonLayout::line);
    json.key("layer").integer(result.worst->layer);
    json.key("name").text(result.worst->name);
    json.key("head").integer(result.worst->head);
    json.key("headroom_bits").number(result.worst->headroom_bits);
    json.end();
  } else {
    json.null("no head has a headroom figure in this format");
  }
  json.end();
}

void put_run(JsonWriter& json, const ScanResult& result) {
  json.key("run").begin_object(JsonLayout::line);
  json.key("seconds").number(result.seconds);
  json.key("threads").integer(result.threads);
  json.key("cpu_path").text(result.cpu_path);
  json.key("device").text(result.device);
  json.key("bytes_read").natural(result.bytes_read);
  json.end();
}

void put_findings(JsonWriter& json, const ScanResult& result) {
  json.key("assumptions").begin_array();
  for (const std::string& assumption : result.assumptions) json.text(assumption);
  json.end();
  json.key("not_finite").begin_array();
  for (const NotFinite& bad : result.not_finite) {
    json.begin_object(JsonLayout::line);
    json.key("tensor").text(bad.tensor);
    json.key("layer").integer(bad.layer);
    json.key("head");
    if (bad.head >= 0)
      json.integer(bad.head);
    else
      json.null("the tensor serves every head");
    json.key("count").natural(bad.count);
    json.end();
  }
  json.end();
}

}  // namespace

std::string to_json(const ScanResult& result) {
  JsonWriter json;
  json.begin_object();
  json.key("schema").integer(1);
  json.key("ullage").text(result.version);
  json.key("checkpoint").text(result.checkpoint);
  json.key("model_type").text(result.model_type);
  json.key("format").text(result.format);
  json.key("context").integer(result.context);
  json.key("context_assumed").boolean(result.context_assumed);
  json.key("probability").number(result.probability);
  put_run(json, result);
  put_summary(json, result);
  put_findings(json, result);
  json.key("layers").begin_array();
  for (const LayerResult& layer : result.layers) put_layer(json, layer);
  json.end();
  json.end();
  return json.take();
}

}  // namespace ullage::scan
