// A study as JSON, schema 1.
#include "ullage/attention_report.h"
#include "ullage/base/version.h"
#include "ullage/report/json.h"

namespace ullage::apps {
namespace {

using report::JsonLayout;
using report::JsonWriter;

constexpr const char* kNotFinite = "not finite";

const char* why_no_delta(const attention::StudyCase& found) {
  if (!found.has_grad_output) return "the inputs have no grad_output";
  return found.delta.not_finite > 0 ? kNotFinite : "no row kept its sum";
}

void put_error(JsonWriter& json, const char* name, const attention::SignedError& error,
               const char* why_none) {
  json.key(name);
  if (error.count == 0) {
    json.null(error.not_finite > 0 ? kNotFinite : why_none);
    return;
  }
  json.begin_object(JsonLayout::line);
  json.key("mean").number(error.mean, kNotFinite);
  json.key("standard_error").number(error.standard_error, kNotFinite);
  json.key("spread").number(error.spread, kNotFinite);
  json.key("elements").natural(error.count);
  json.key("not_finite").natural(error.not_finite);
  json.key("clusters").natural(error.clusters);
  json.key("positive").natural(error.positive);
  json.key("negative").natural(error.negative);
  json.key("sign_probability").number(error.sign_probability, kNotFinite);
  json.end();
}

void put_alignment(JsonWriter& json, const attention::StudyCase& found) {
  json.key("weight_gradient");
  if (found.delta.count == 0) {
    json.null(why_no_delta(found));
    return;
  }
  const attention::Coherence& a = found.alignment;
  json.begin_object(JsonLayout::line);
  json.key("pair_cosine").number(a.pair_cosine, kNotFinite);
  json.key("key_cosine").number(a.key_cosine, kNotFinite);
  json.key("input_cosine").number(a.input_cosine, kNotFinite);
  json.key("sum_share").number(a.sum_share, kNotFinite);
  json.key("top_share").number(a.top_share, kNotFinite);
  json.end();
}

void put_case(JsonWriter& json, const StudiedCase& studied) {
  const attention::StudyCase& found = studied.found;
  json.begin_object();
  json.key("recipe").text(studied.recipe);
  json.key("shift").text(studied.shift);
  json.key("rows").natural(found.rows);
  json.key("repeated_rows").natural(found.repeated_rows);
  json.key("lost_rows").natural(found.lost_rows);
  json.key("entries").natural(found.entries);
  json.key("ones").natural(found.ones);
  json.key("tail_mass").number(found.tail_mass, kNotFinite);
  put_error(json, "unnormalised_ulp", found.unnormalised, "no row kept its sum");
  put_error(json, "output_ulp", found.output, "no row kept its output");
  put_error(json, "delta", found.delta, why_no_delta(found));
  put_alignment(json, found);
  json.key("output_histogram").begin_object(JsonLayout::line);
  json.key("begin").number(attention::Histogram::bin_begin(0));
  json.key("width").number(attention::Histogram::kWidth);
  json.key("counts").begin_array(JsonLayout::line);
  for (const std::uint64_t count : found.output_histogram.counts) json.natural(count);
  json.end().end();
  json.key("accumulated_delta").begin_array(JsonLayout::line);
  for (const double sum : studied.accumulated) json.number(sum);
  json.end();
  json.end();
}

}  // namespace

std::string study_json(const StudyReport& study) {
  JsonWriter json;
  json.begin_object();
  json.key("schema").integer(1);
  json.key("ullage").text(version());
  json.key("inputs").text(study.source);
  json.key("shape").begin_object(JsonLayout::line);
  json.key("batch").natural(study.shape.batch);
  json.key("query_heads").natural(study.shape.query_heads);
  json.key("kv_heads").natural(study.shape.kv_heads);
  json.key("queries").natural(study.shape.queries);
  json.key("keys").natural(study.shape.keys);
  json.key("width").natural(study.shape.width);
  json.key("value_width").natural(study.shape.value_width);
  json.end();
  json.key("run").begin_object(JsonLayout::line);
  json.key("seconds").number(study.seconds);
  json.key("threads").integer(study.threads);
  json.end();
  json.key("cases").begin_array();
  for (const StudiedCase& studied : study.cases) put_case(json, studied);
  json.end();
  json.end();
  return json.take();
}

}  // namespace ullage::apps
