#include "ullage/formats_cards.h"

#include <fmt/core.h>

#include <cmath>
#include <utility>

#include "ullage/base/version.h"
#include "ullage/formats/scalar.h"
#include "ullage/report/numbers.h"

namespace ullage::apps {
namespace {

using formats::BlockFormat;
using formats::BlockScale;
using formats::Format;
using formats::NanCodes;
using formats::ScaleRule;
using report::Align;
using report::Table;
using report::Tone;

std::string nan_text(const Format& format) {
  switch (format.nan) {
    case NanCodes::none:
      return "none";
    case NanCodes::ieee:
      return "exponent all ones";
    case NanCodes::all_ones:
    case NanCodes::negative_zero:
      return fmt::format("0x{:X}", format.nan_code());
  }
  return "";
}

const char* nan_name(NanCodes nan) {
  switch (nan) {
    case NanCodes::none:
      return "none";
    case NanCodes::ieee:
      return "ieee";
    case NanCodes::all_ones:
      return "all-ones";
    case NanCodes::negative_zero:
      return "negative-zero";
  }
  return "";
}

const char* scale_name(BlockScale scale) {
  switch (scale) {
    case BlockScale::e8m0:
      return "e8m0";
    case BlockScale::e4m3_and_fp32:
      return "e4m3, one fp32 for all";
    case BlockScale::fp32:
      return "fp32";
  }
  return "";
}

// Bits of an element with its share of the block's scale.
double bits_per_value(const BlockFormat& block) {
  const int scale_bits = block.scale == BlockScale::fp32 ? 32 : 8;
  return block.element.bits() + static_cast<double>(scale_bits) / (block.rows * block.columns);
}

const char* formula(ScaleRule rule) {
  switch (rule) {
    case ScaleRule::floor:
      return "2^(floor(log2 amax) - emax)";
    case ScaleRule::ceil:
      return "2^(ceil(log2 amax) - emax)";
    case ScaleRule::round_up:
      return "amax / max, up to a power of two";
    case ScaleRule::even:
      return "floor, of amax rounded to the mantissa of the element";
  }
  return "";
}

const char* user(ScaleRule rule) {
  switch (rule) {
    case ScaleRule::floor:
      return "OCP MX, microxcaling, torchao FLOOR";
    case ScaleRule::ceil:
      return "torchao CEIL";
    case ScaleRule::round_up:
      return "TransformerEngine, cuBLAS, torchao RCEIL";
    case ScaleRule::even:
      return "torchao EVEN";
  }
  return "";
}

// FP32 holds every value exactly, and its shortest text is the shorter one.
std::string shortest(const Format& format, std::uint32_t code) {
  return report::format_shortest(static_cast<float>(formats::decode(format, code)));
}

std::string code_text(const Format& format, std::uint32_t code) {
  return fmt::format("0x{:0{}X}", code, (format.bits() + 3) / 4);
}

void put_card(report::JsonWriter& json, const Format& card, bool values) {
  json.begin_object();
  json.key("name").text(card.label());
  json.key("bits").integer(card.bits());
  json.key("exponent_bits").integer(card.exponent_bits);
  json.key("mantissa_bits").integer(card.mantissa_bits);
  json.key("bias").integer(card.bias);
  json.key("max").number(card.max_finite());
  json.key("min_normal").number(card.min_normal());
  json.key("min_positive").number(card.min_subnormal());
  json.key("unit_roundoff").number(card.unit_roundoff());
  json.key("sign").boolean(card.has_sign);
  json.key("subnormals").boolean(card.has_subnormals);
  json.key("infinity").boolean(card.has_infinity);
  json.key("nan").text(nan_name(card.nan));
  if (values && card.code_count() <= kMostListed) {
    json.key("values").begin_array();
    for (std::uint32_t code = 0; code < card.code_count(); ++code) {
      json.begin_object(report::JsonLayout::line);
      json.key("code").integer(code);
      put_number(json, "value", formats::decode(card, code));
      json.end();
    }
    json.end();
  }
  json.end();
}

void put_block(report::JsonWriter& json, const BlockFormat& block) {
  json.begin_object();
  json.key("name").text(block.label());
  json.key("element").text(block.element.label());
  json.key("rows").integer(block.rows);
  json.key("columns").integer(block.columns);
  json.key("scale").text(scale_name(block.scale));
  json.key("bits_per_value").number(bits_per_value(block));
  json.key("rules").begin_array();
  if (block.scale == BlockScale::e8m0)
    for (const ScaleRule rule : formats::kScaleRules) {
      json.begin_object(report::JsonLayout::line);
      json.key("rule").text(formats::name_of(rule));
      json.key("can_clip").boolean(!formats::clip_range(rule, block.element).empty());
      json.key("clips").text(clipped(rule, block.element));
      json.end();
    }
  json.end();
  json.end();
}

}  // namespace

Table card_table(const std::vector<Format>& cards) {
  Table table;
  table.columns = {{.title = "format"},
                   {.title = "bits", .align = Align::right},
                   {.title = "exponent", .align = Align::right},
                   {.title = "mantissa", .align = Align::right},
                   {.title = "bias", .align = Align::right},
                   {.title = "max", .align = Align::right},
                   {.title = "min normal", .align = Align::right},
                   {.title = "min subnormal", .align = Align::right},
                   {.title = "unit roundoff", .align = Align::right},
                   {.title = "infinity"},
                   {.title = "NaN"}};
  for (const Format& card : cards)
    table.rows.push_back({{std::string(card.label()), Tone::strong},
                          {std::to_string(card.bits())},
                          {std::to_string(card.exponent_bits)},
                          {std::to_string(card.mantissa_bits)},
                          {std::to_string(card.bias)},
                          {report::format_significant(card.max_finite(), 5)},
                          {report::format_significant(card.min_normal(), 5)},
                          {card.has_subnormals && card.has_zero()
                               ? report::format_significant(card.min_subnormal(), 5)
                               : std::string("-")},
                          {fmt::format("2^-{}", card.mantissa_bits + 1)},
                          {card.has_infinity ? "yes" : "no"},
                          {nan_text(card)}});
  return table;
}

Table block_table(const std::vector<BlockFormat>& cards) {
  Table table;
  table.columns = {{.title = "blocks"},
                   {.title = "element"},
                   {.title = "elements a scale", .align = Align::right},
                   {.title = "scale"},
                   {.title = "bits a value", .align = Align::right},
                   {.title = "can clip"}};
  for (const BlockFormat& card : cards) {
    std::string clipping;
    if (card.scale == BlockScale::e8m0)
      for (const ScaleRule rule : formats::kScaleRules)
        if (!formats::clip_range(rule, card.element).empty())
          clipping += (clipping.empty() ? "rule " : ", ") + std::string(formats::name_of(rule));
    table.rows.push_back({{std::string(card.label()), Tone::strong},
                          {std::string(card.element.label())},
                          {fmt::format("{} x {}", card.rows, card.columns)},
                          {scale_name(card.scale)},
                          {report::format_shortest(bits_per_value(card))},
                          {clipping.empty() ? "no" : clipping}});
  }
  return table;
}

Table value_table(const Format& format) {
  Table table;
  const std::uint64_t width = std::min<std::uint64_t>(16, format.code_count());
  table.columns.push_back({.title = "code", .align = Align::right});
  for (std::uint64_t i = 0; i < width; ++i)
    table.columns.push_back({.title = fmt::format("+{:X}", i), .align = Align::right});
  for (std::uint64_t code = 0; code < format.code_count(); code += width) {
    std::vector<report::Cell> row = {{fmt::format("0x{:02X}", code), Tone::dim}};
    for (std::uint64_t i = 0; i < width; ++i)
      row.push_back({shortest(format, static_cast<std::uint32_t>(code + i))});
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table landmark_table(const Format& format) {
  Table table;
  table.columns = {{.title = "value"}, {.title = "code", .align = Align::right}, {.title = "is"}};
  const auto add = [&](const char* what, std::uint32_t code) {
    table.rows.push_back({{shortest(format, code)}, {code_text(format, code), Tone::dim}, {what}});
  };
  const std::uint32_t normal = format.has_zero() ? 1U << format.mantissa_bits : 0;
  if (format.has_zero()) add("zero", 0);
  if (format.has_zero() && format.has_subnormals && format.mantissa_bits > 0) {
    add("smallest subnormal", 1);
    add("largest subnormal", normal - 1);
  }
  add("smallest normal number", normal);
  const formats::CastOptions options = {.overflow = formats::Overflow::saturate};
  const std::uint32_t one = formats::encode(format, 1, options);
  if (formats::decode(format, one) == 1 && one > 0 && one < format.max_code()) {
    add("the last before one", one - 1);
    add("one", one);
    add("the first past one", one + 1);
  }
  add("largest finite value", format.max_code());
  if (format.has_infinity) add("infinity", format.infinity_code());
  if (format.nan != NanCodes::none) add("NaN that casts write", format.nan_code());
  return table;
}

std::string clipped(ScaleRule rule, const Format& element) {
  const formats::ClipRange range = formats::clip_range(rule, element);
  if (range.empty()) return "none";
  const double binade = std::ldexp(1.0, element.max_exponent());
  const double threshold = element.max_finite() + binade * element.unit_roundoff();
  return fmt::format("{} {}, below {}", range.from * binade > threshold ? "past" : "from",
                     report::format_shortest(threshold),
                     report::format_shortest(range.to * binade));
}

Table rule_table(const Format& element) {
  Table table;
  table.columns = {{.title = "rule"},
                   {.title = "scale of a block"},
                   {.title = "amax / scale that saturates"},
                   {.title = "used by"}};
  for (const ScaleRule rule : formats::kScaleRules) {
    const bool safe = formats::clip_range(rule, element).empty();
    table.rows.push_back({{formats::name_of(rule), Tone::strong},
                          {formula(rule)},
                          {clipped(rule, element), safe ? Tone::good : Tone::warn},
                          {user(rule)}});
  }
  return table;
}

std::string cards_json(const std::vector<Format>& cards, const std::vector<BlockFormat>& blocks,
                       bool values) {
  report::JsonWriter json;
  json.begin_object();
  json.key("schema").integer(1);
  json.key("ullage").text(version());
  json.key("formats").begin_array();
  for (const Format& card : cards) put_card(json, card, values);
  json.end();
  json.key("blocks").begin_array();
  for (const BlockFormat& block : blocks) put_block(json, block);
  json.end();
  json.end();
  return json.take();
}

void put_number(report::JsonWriter& json, const char* key, double value) {
  json.key(key).number(value, std::isnan(value) ? "not a number"
                              : value > 0       ? "infinity"
                                                : "minus infinity");
}

}  // namespace ullage::apps
