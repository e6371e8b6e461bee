#include "ullage/formats_cast.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "ullage/base/version.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/scalar.h"
#include "ullage/formats_cards.h"
#include "ullage/output_file.h"
#include "ullage/report/numbers.h"
#include "ullage/report/table.h"

namespace ullage::apps {
namespace {

using formats::BlockFormat;
using formats::BlockScale;
using formats::Format;
using report::Align;
using report::Table;

// What a cast gave. Values and scales are what decoding gives back.
struct Cast {
  std::vector<double> inputs;
  std::vector<std::uint32_t> codes;
  std::vector<double> values;
  std::vector<std::uint8_t> scale_codes;  // blocks with such scales
  std::vector<float> scales;              // blocks
  formats::CastCounts counts;
  float global_scale = 1;
};

Result<double> parse_number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0')
    return Error{Code::usage, "is no number; write 0.1, 1e9, 0x1p-9, inf or nan", text, "", ""};
  return value;
}

Result<Cast> cast_elements(std::vector<double> inputs, const Format& format,
                           const formats::CastOptions& options) {
  Cast cast;
  cast.inputs = std::move(inputs);
  const std::int64_t shape[] = {static_cast<std::int64_t>(cast.inputs.size())};
  const formats::ArrayView view = {
      .data = cast.inputs.data(), .format = std::nullopt, .shape = shape, .strides = {}};
  std::vector<char> bytes(cast.inputs.size() * format.bytes());
  ULLAGE_ASSIGN(cast.counts, formats::cast(view, format, bytes.data(), options));
  for (std::size_t i = 0; i < cast.inputs.size(); ++i) {
    std::uint32_t code = 0;
    std::memcpy(&code, bytes.data() + i * format.bytes(), format.bytes());  // little endian
    cast.codes.push_back(code);
    cast.values.push_back(formats::decode(format, code));
  }
  return cast;
}

Result<Cast> cast_to_blocks(std::vector<double> inputs, const BlockFormat& format,
                            const formats::BlockOptions& options) {
  Cast cast;
  cast.inputs = std::move(inputs);
  const std::int64_t shape[] = {1, static_cast<std::int64_t>(cast.inputs.size())};
  const formats::ArrayView view = {
      .data = cast.inputs.data(), .format = std::nullopt, .shape = shape, .strides = {}};
  ULLAGE_ASSIGN(const formats::BlockArray sizes, formats::block_shape(view, format));
  std::vector<std::uint8_t> codes(cast.inputs.size());
  cast.scales.resize(sizes.scale_rows * sizes.scale_columns);
  if (format.scale != BlockScale::fp32) cast.scale_codes.resize(cast.scales.size());
  ULLAGE_ASSIGN(const formats::BlockArray done,
                formats::cast_blocks(view, format, codes, cast.scale_codes, cast.scales, options));
  cast.counts = done.counts;
  cast.global_scale = done.global_scale;
  std::vector<float> values(codes.size());
  ULLAGE_TRY(formats::decode_blocks(format, 1, codes.size(), codes, cast.scales, values));
  cast.codes.assign(codes.begin(), codes.end());
  cast.values.assign(values.begin(), values.end());
  return cast;
}

const Format& element_of(const CastRequest& request) {
  if (const auto* block = std::get_if<BlockFormat>(&request.to)) return block->element;
  return std::get<Format>(request.to);
}

std::string hexadecimal(std::uint32_t code, int bits) {
  return fmt::format("0x{:0{}X}", code, (bits + 3) / 4);
}

Table cast_table(const CastRequest& request, const Cast& cast) {
  const auto* block = std::get_if<BlockFormat>(&request.to);
  Table table;
  table.columns = {{.title = "x", .align = Align::right}, {.title = "code", .align = Align::right}};
  if (block != nullptr) table.columns.push_back({.title = "scale", .align = Align::right});
  for (const char* title : {"value", "error", "relative"})
    table.columns.push_back({.title = title, .align = Align::right});
  for (std::size_t i = 0; i < cast.inputs.size(); ++i) {
    const double x = cast.inputs[i];
    const double error = cast.values[i] - x;
    std::vector<report::Cell> row = {{request.numbers[i]},
                                     {hexadecimal(cast.codes[i], element_of(request).bits())}};
    if (block != nullptr)
      row.push_back(
          {report::format_shortest(cast.scales[i / static_cast<std::size_t>(block->columns)])});
    row.push_back({report::format_shortest(static_cast<float>(cast.values[i]))});
    row.push_back({std::isfinite(error) ? report::format_significant(error, 4) : "-"});
    row.push_back(
        {std::isfinite(error) && x != 0 ? report::format_significant(error / x, 3) : "-"});
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string name_of(const CastRequest& request) {
  if (const auto* block = std::get_if<BlockFormat>(&request.to)) return std::string(block->label());
  return std::string(std::get<Format>(request.to).label());
}

bool has_rule(const CastRequest& request) {
  const auto* block = std::get_if<BlockFormat>(&request.to);
  return block != nullptr && block->scale == BlockScale::e8m0;
}

std::string cast_text(const CastRequest& request, const Cast& cast) {
  std::string text =
      fmt::format("to {}, {}, {}", name_of(request), formats::name_of(request.options.rounding),
                  formats::name_of(request.options.overflow));
  if (has_rule(request)) text += fmt::format(", scale rule {}", formats::name_of(request.rule));
  if (cast.global_scale != 1)
    text += fmt::format(", scale of all {}", report::format_shortest(cast.global_scale));
  const formats::CastCounts& counts = cast.counts;
  text +=
      fmt::format("\n\n{}\n{} saturated, {} flushed to zero, {} NaN, mean signed error {}\n",
                  report::to_text(cast_table(request, cast), report::terminal_of(STDOUT_FILENO)),
                  counts.saturated, counts.flushed, counts.nan,
                  report::format_significant(counts.mean_error(), 4));
  if (has_rule(request) && !formats::clip_range(request.rule, element_of(request)).empty())
    text += fmt::format(
        "scale rule {} can clip: a block whose amax / scale lies {} saturates; ceil and round-up "
        "never do\n",
        formats::name_of(request.rule), clipped(request.rule, element_of(request)));
  return text;
}

std::string cast_json(const CastRequest& request, const Cast& cast) {
  report::JsonWriter json;
  json.begin_object();
  json.key("schema").integer(1);
  json.key("ullage").text(version());
  json.key("to").text(name_of(request));
  json.key("rounding").text(formats::name_of(request.options.rounding));
  json.key("overflow").text(formats::name_of(request.options.overflow));
  if (request.options.rounding == formats::Rounding::stochastic)
    json.key("seed").natural(request.options.seed);
  if (has_rule(request)) {
    json.key("rule").text(formats::name_of(request.rule));
    json.key("rule_can_clip")
        .boolean(!formats::clip_range(request.rule, element_of(request)).empty());
  }
  json.key("results").begin_array();
  for (std::size_t i = 0; i < cast.inputs.size(); ++i) {
    json.begin_object(report::JsonLayout::line);
    put_number(json, "x", cast.inputs[i]);
    json.key("code").natural(cast.codes[i]);
    put_number(json, "value", cast.values[i]);
    json.end();
  }
  json.end();
  if (!cast.scales.empty()) {
    json.key("global_scale").number(cast.global_scale);
    json.key("scales").begin_array();
    for (std::size_t i = 0; i < cast.scales.size(); ++i) {
      json.begin_object(report::JsonLayout::line);
      if (!cast.scale_codes.empty()) json.key("code").natural(cast.scale_codes[i]);
      json.key("scale").number(cast.scales[i], "not a number");
      json.end();
    }
    json.end();
  }
  json.key("counts").begin_object();
  json.key("saturated").natural(cast.counts.saturated);
  json.key("flushed").natural(cast.counts.flushed);
  json.key("nan").natural(cast.counts.nan);
  put_number(json, "amax", cast.counts.amax);
  put_number(json, "mean_error", cast.counts.mean_error());
  json.end();
  json.end();
  return json.take();
}

}  // namespace

Status cast_numbers(const CastRequest& request) {
  ULLAGE_ASSIGN(OutputFile json, OutputFile::open(request.json));
  std::vector<double> inputs;
  for (const std::string& text : request.numbers) {
    ULLAGE_ASSIGN(const double x, parse_number(text));
    inputs.push_back(x);
  }
  const auto* block = std::get_if<BlockFormat>(&request.to);
  ULLAGE_ASSIGN(const Cast cast,
                block != nullptr ? cast_to_blocks(std::move(inputs), *block,
                                                  {.cast = request.options, .rule = request.rule})
                                 : cast_elements(std::move(inputs), std::get<Format>(request.to),
                                                 request.options));
  if (json.wanted()) {
    ULLAGE_TRY(json.write(cast_json(request, cast)));
    ULLAGE_TRY(json.commit());
  }
  if (!json.is_stdout()) fmt::print("{}", cast_text(request, cast));
  return {};
}

}  // namespace ullage::apps
