#include "ullage/scan_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "ullage/formats/format.h"
#include "ullage/report/numbers.h"
#include "ullage/report/table.h"
#include "ullage/scan_arguments.h"

namespace ullage::apps {
namespace {

using report::Align;
using report::Cell;
using report::Table;
using report::Tone;
using scan::Figure;
using scan::HeadResult;
using scan::LayerResult;
using scan::ScanResult;

struct HeadRef {
  const LayerResult* layer;
  const HeadResult* head;
  Figure bits;  // in --format
};

double format_max(const std::string& name) { return formats::find_format(name)->max_finite(); }

std::vector<HeadRef> all_heads(const ScanResult& result) {
  const double max = format_max(result.format);
  std::vector<HeadRef> refs;
  for (const LayerResult& layer : result.layers)
    for (const HeadResult& head : layer.heads)
      refs.push_back({&layer, &head, scan::headroom_bits(head, max)});
  return refs;
}

// The largest known figure of a layer's heads.
template <class Get>
Figure largest(const LayerResult& layer, Get get) {
  Figure best = Figure::none("");
  for (const HeadResult& head : layer.heads) {
    const Figure& figure = get(head);
    if (figure.known() && (!best.known() || figure.value() > best.value())) best = figure;
  }
  return best;
}

Cell headroom_cell(const Figure& bits) {
  return {bits.known() ? report::format_fixed(bits.value(), 1) : "-", headroom_tone(bits)};
}

Table verdict_table(const ScanResult& result) {
  Table table;
  table.columns = {{.title = "unscaled logits in"},
                   {.title = "verdict"},
                   {.title = "certified", .align = Align::right},
                   {.title = "expected to fit", .align = Align::right},
                   {.title = "can overflow", .align = Align::right},
                   {.title = "unknown", .align = Align::right}};
  for (const std::string& name : formats_shown(result)) {
    const Verdict verdict = verdict_of(result, format_max(name));
    const auto count = [](std::size_t n) {
      return Cell{report::format_count(n), n == 0 ? Tone::dim : Tone::plain};
    };
    table.rows.push_back(
        {{fmt::format("{} (max {})", name, report::format_shortest(format_max(name)))},
         verdict_cell(verdict),
         count(verdict.safe),
         count(verdict.likely),
         count(verdict.over),
         count(verdict.unknown)});
  }
  return table;
}

Table layer_table(const ScanResult& result) {
  Table table;
  table.columns = {{.title = "layer", .align = Align::right},
                   {.title = "attention", .widest = 44, .shrinks_to = 14},
                   {.title = "sigma", .align = Align::right},
                   {.title = "certificate", .align = Align::right},
                   {.title = "expected", .align = Align::right},
                   {.title = result.format + " bits", .align = Align::right},
                   {.title = "worst head", .align = Align::right},
                   {.title = "q descale", .align = Align::right},
                   {.title = "k descale", .align = Align::right},
                   {.title = "v descale", .align = Align::right}};
  const double max = format_max(result.format);
  for (const LayerResult& layer : result.layers) {
    const HeadResult* worst = nullptr;
    Figure bits = Figure::none("");
    for (const HeadResult& head : layer.heads) {
      const Figure own = scan::headroom_bits(head, max);
      if (own.known() && (!bits.known() || own.value() < bits.value())) {
        bits = own;
        worst = &head;
      }
    }
    table.rows.push_back(
        {{std::to_string(layer.layer)},
         {layer.name},
         {cell_text(largest(layer, [](const HeadResult& h) -> const Figure& { return h.sigma; }))},
         {bound_text(largest(
             layer, [](const HeadResult& h) -> const Figure& { return h.bounds.certificate; }))},
         {cell_text(largest(
             layer, [](const HeadResult& h) -> const Figure& { return h.bounds.expected; }))},
         headroom_cell(bits),
         {worst != nullptr ? std::to_string(worst->head) : "-"},
         {bound_text(layer.descale_query.certificate)},
         {bound_text(layer.descale_key.certificate)},
         {bound_text(layer.descale_value.certificate)}});
  }
  return table;
}

Table head_table(const ScanResult& result, std::vector<HeadRef> refs) {
  Table table;
  table.columns = {{.title = "head", .align = Align::right},
                   {.title = "attention", .widest = 44, .shrinks_to = 14},
                   {.title = "sigma", .align = Align::right},
                   {.title = "certificate", .align = Align::right},
                   {.title = "by"},
                   {.title = "expected", .align = Align::right},
                   {.title = result.format + " bits", .align = Align::right},
                   {.title = "amax q", .align = Align::right},
                   {.title = "amax k", .align = Align::right},
                   {.title = "amax v", .align = Align::right}};
  for (const HeadRef& ref : refs) {
    const HeadResult& head = *ref.head;
    table.rows.push_back({{fmt::format("{}.{}", ref.layer->layer, head.head)},
                          {ref.layer->name},
                          {cell_text(head.sigma)},
                          {bound_text(head.bounds.certificate)},
                          {head.bounds.certificate_by},
                          {cell_text(head.bounds.expected)},
                          headroom_cell(ref.bits),
                          {bound_text(head.amax_query)},
                          {bound_text(head.amax_key)},
                          {bound_text(head.amax_value)}});
  }
  return table;
}

std::string not_finite_text(const ScanResult& result, const report::Terminal& terminal) {
  std::string text;
  for (const scan::NotFinite& bad : result.not_finite) {
    std::string line =
        fmt::format("{} NaN or infinite value{} in {}", bad.count, bad.count == 1 ? "" : "s",
                    report::terminal_text(bad.tensor, terminal));
    if (bad.head >= 0) line += fmt::format(", head {}", bad.head);
    text += report::paint(line, Tone::bad, terminal) + "\n";
  }
  return text;
}

}  // namespace

std::string bound_text(const Figure& figure, int digits) {
  return figure.known() ? report::format_above(figure.value(), digits) : "-";
}

Verdict verdict_of(const ScanResult& result, double max) {
  Verdict verdict;
  for (const LayerResult& layer : result.layers)
    for (const HeadResult& head : layer.heads) {
      const scan::HeadBounds& bounds = head.bounds;
      const Figure bits = scan::headroom_bits(head, max);
      if (bounds.before_cap.known() && bounds.before_cap.value() <= max)
        ++verdict.safe;
      else if (!bits.known())
        ++verdict.unknown;
      else if (bits.value() >= 0 && bounds.expected_before_cap.known())
        ++verdict.likely;
      else
        ++verdict.over;
    }
  return verdict;
}

Cell verdict_cell(const Verdict& verdict) {
  if (verdict.over > 0) return {"can overflow", Tone::bad};
  if (verdict.unknown > 0) return {"not known", Tone::warn};
  if (verdict.likely > 0) return {"expected to fit", Tone::warn};
  return {"cannot overflow", Tone::good};
}

std::vector<std::string> formats_shown(const ScanResult& result) {
  std::vector<std::string> names(scan::kReportedFormats.begin(), scan::kReportedFormats.end());
  if (std::find(names.begin(), names.end(), result.format) == names.end())
    names.insert(names.begin(), result.format);
  return names;
}

std::string cell_text(const Figure& figure, int digits) {
  return figure.known() ? report::format_significant(figure.value(), digits) : "-";
}

Tone headroom_tone(const Figure& bits) {
  if (!bits.known()) return Tone::dim;
  return bits.value() < 0 ? Tone::bad : bits.value() < 1 ? Tone::warn : Tone::good;
}

std::string scan_text(const ScanResult& result, const TableOptions& options,
                      const report::Terminal& terminal) {
  std::string text =
      fmt::format("{}  {}  {} attention layers, {} heads, context {}{}, P {} a head and sequence\n",
                  report::terminal_text(result.checkpoint, terminal),
                  report::terminal_text(result.model_type, terminal), result.layers.size(),
                  result.heads(), result.context, result.context_assumed ? " (assumed)" : "",
                  report::format_shortest(result.probability));
  for (const std::string& assumption : result.assumptions)
    text += report::paint("assumed: " + report::terminal_text(assumption, terminal, 400),
                          Tone::warn, terminal) +
            "\n";
  text += not_finite_text(result, terminal);
  text += "\n" + report::to_text(verdict_table(result), terminal);
  text += "\n" + report::to_text(layer_table(result), terminal);
  std::vector<HeadRef> refs = all_heads(result);
  if (options.top > 0) {
    std::stable_sort(refs.begin(), refs.end(), [](const HeadRef& a, const HeadRef& b) {
      if (a.bits.known() != b.bits.known()) return a.bits.known();
      return a.bits.known() && a.bits.value() < b.bits.value();
    });
    refs.resize(std::min(refs.size(), options.top));
    text += fmt::format("\nThe {} heads with the least headroom:\n", refs.size());
  }
  if (options.heads || options.top > 0)
    text += "\n" + report::to_text(head_table(result, refs), terminal);
  text += fmt::format(
      "\nbits: log2({} max / expected largest |logit|), unscaled, or of the certificate where "
      "nothing is expected; certificate: no input exceeds it.\n{}\n",
      result.format, kNoLogitSlot);
  return text;
}

}  // namespace ullage::apps
