// ullage diff: heads whose headroom moved from one checkpoint to another, and what scales from a stale
// amax history would do after loading the second.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "ullage/command.h"
#include "ullage/formats/format.h"
#include "ullage/report/numbers.h"
#include "ullage/report/table.h"
#include "ullage/scan_arguments.h"
#include "ullage/scan_table.h"

namespace ullage::apps {
namespace {

using report::Align;
using report::Cell;
using report::Table;
using report::Tone;
using scan::Figure;
using scan::HeadResult;
using scan::LayerResult;

struct DiffCommand {
  ScanArguments arguments;
  std::string second;
  std::size_t top = 20;
};

struct Moved {
  const LayerResult* layer;
  const HeadResult* before;
  const HeadResult* after;
  double bits_before, bits_after;
};

// Layers of both checkpoints under one name, with as many heads.
std::vector<std::pair<const LayerResult*, const LayerResult*>> common_layers(
    const scan::ScanResult& a, const scan::ScanResult& b) {
  std::map<std::string, const LayerResult*> by_name;
  for (const LayerResult& layer : a.layers) by_name.emplace(layer.name, &layer);
  std::vector<std::pair<const LayerResult*, const LayerResult*>> pairs;
  for (const LayerResult& layer : b.layers)
    if (const auto found = by_name.find(layer.name);
        found != by_name.end() && found->second->heads.size() == layer.heads.size())
      pairs.emplace_back(found->second, &layer);
  return pairs;
}

Table moved_table(std::vector<Moved> moved, const std::string& format, std::size_t top) {
  std::stable_sort(moved.begin(), moved.end(), [](const Moved& x, const Moved& y) {
    return std::abs(x.bits_after - x.bits_before) > std::abs(y.bits_after - y.bits_before);
  });
  moved.resize(std::min(moved.size(), top));
  Table table;
  table.columns = {{.title = "head", .align = Align::right},
                   {.title = "attention", .widest = 44, .shrinks_to = 14},
                   {.title = format + " bits, A", .align = Align::right},
                   {.title = "B", .align = Align::right},
                   {.title = "change", .align = Align::right},
                   {.title = "sigma, A", .align = Align::right},
                   {.title = "B", .align = Align::right}};
  for (const Moved& head : moved) {
    const double change = head.bits_after - head.bits_before;
    table.rows.push_back(
        {{fmt::format("{}.{}", head.layer->layer, head.after->head)},
         {head.layer->name},
         {report::format_fixed(head.bits_before, 2)},
         {report::format_fixed(head.bits_after, 2), headroom_tone(head.bits_after)},
         {(change > 0 ? "+" : "") + report::format_fixed(change, 2), change < -1  ? Tone::bad
                                                                     : change < 0 ? Tone::warn
                                                                                  : Tone::plain},
         {cell_text(head.before->sigma)},
         {cell_text(head.after->sigma)}});
  }
  return table;
}

// The largest of a layer's heads; none where a head has none.
Figure layer_amax(const LayerResult& layer, Figure HeadResult::* figure) {
  Figure most = Figure::none("no heads");
  for (const HeadResult& head : layer.heads) {
    if (!(head.*figure).known()) return head.*figure;
    if (!most.known() || (head.*figure).value() > most.value()) most = head.*figure;
  }
  return most;
}

struct Stale {
  const LayerResult* layer;
  const char* tensor;
  double scale;    // TransformerEngine's multiplier that A's amax leaves behind
  double reached;  // B's amax times it, in units of the format's maximum
};

// The same tier on both sides: expected where both have it, certificates otherwise.
std::vector<Stale> stale_scales(
    const std::vector<std::pair<const LayerResult*, const LayerResult*>>& layers, double max) {
  struct Entry {
    const char* name;
    Figure HeadResult::* expected;
    Figure HeadResult::* certificate;
  };
  constexpr Entry kEntries[] = {{"q", &HeadResult::amax_expected_query, &HeadResult::amax_query},
                                {"k", &HeadResult::amax_expected_key, &HeadResult::amax_key},
                                {"v", &HeadResult::amax_expected_value, &HeadResult::amax_value}};
  std::vector<Stale> list;
  for (const auto& [before, after] : layers)
    for (const Entry& entry : kEntries) {
      Figure a = layer_amax(*before, entry.expected), b = layer_amax(*after, entry.expected);
      if (!a.known() || !b.known()) {
        a = layer_amax(*before, entry.certificate);
        b = layer_amax(*after, entry.certificate);
      }
      if (a.known() && b.known() && a.value() > 0)
        list.push_back({after, entry.name, max / a.value(), b.value() / a.value()});
    }
  return list;
}

Table stale_table(std::vector<Stale> list, std::size_t top) {
  std::stable_sort(list.begin(), list.end(),
                   [](const Stale& x, const Stale& y) { return x.reached > y.reached; });
  list.resize(std::min(list.size(), top));
  Table table;
  table.columns = {{.title = "layer", .align = Align::right},
                   {.title = "attention", .widest = 44, .shrinks_to = 14},
                   {.title = "tensor"},
                   {.title = "stale scale", .align = Align::right},
                   {.title = "reaches, of max", .align = Align::right},
                   {.title = "first step"}};
  for (const Stale& stale : list) {
    const bool over = stale.reached > 1;
    table.rows.push_back({{std::to_string(stale.layer->layer)},
                          {stale.layer->name},
                          {stale.tensor},
                          {report::format_significant(stale.scale)},
                          {report::format_significant(stale.reached) + "x"},
                          {over ? fmt::format("overflows by {} bits",
                                              report::format_fixed(std::log2(stale.reached), 2))
                                : "fits",
                           over ? Tone::bad : Tone::good}});
  }
  return table;
}

Result<int> diff(const DiffCommand& command) {
  ULLAGE_ASSIGN(const Scanned before, run_scan(command.arguments));
  ScanArguments second = command.arguments;
  second.checkpoint = command.second;
  ULLAGE_ASSIGN(const Scanned after, run_scan(second));
  const auto layers = common_layers(before.result, after.result);
  if (layers.empty())
    return Error{Code::nothing_to_scan,
                 "has no attention layer of the same name and number of heads as the first",
                 command.second, "", ""};
  const report::Terminal terminal = report::terminal_of(STDOUT_FILENO);
  const std::string& format = after.result.format;
  const double max = formats::find_format(format)->max_finite();
  std::vector<Moved> moved;
  std::size_t worse = 0;
  for (const auto& [a, b] : layers)
    for (std::size_t i = 0; i < b->heads.size(); ++i) {
      const Figure x = scan::headroom_bits(a->heads[i], max),
                   y = scan::headroom_bits(b->heads[i], max);
      if (!x.known() || !y.known()) continue;
      moved.push_back({b, &a->heads[i], &b->heads[i], x.value(), y.value()});
      worse += y.value() < x.value() - 0.5;
    }
  fmt::print("{} -> {}: {} layers in common, {} heads compared, {} lost more than half a bit\n\n",
             report::terminal_text(before.result.checkpoint, terminal),
             report::terminal_text(after.result.checkpoint, terminal), layers.size(), moved.size(),
             worse);
  fmt::print("{}\n", report::to_text(moved_table(std::move(moved), format, command.top), terminal));
  const std::vector<Stale> stale = stale_scales(layers, max);
  const auto over =
      std::count_if(stale.begin(), stale.end(), [](const Stale& s) { return s.reached > 1; });
  fmt::print(
      "Loading B with the amax history of A (delayed scaling, first step): {} of {} tensors "
      "overflow {}.\n\n{}",
      over, stale.size(), format, report::to_text(stale_table(stale, command.top), terminal));
  return kDone;
}

}  // namespace

void add_diff(CLI::App& app, Action& run) {
  auto command = std::make_shared<DiffCommand>();
  CLI::App* diff_command = app.add_subcommand(
      "diff", "Heads whose headroom moved between two checkpoints, and what stale scales would do");
  add_scan_arguments(*diff_command, command->arguments);
  diff_command
      ->add_option("SECOND", command->second, "The checkpoint that is loaded after the first")
      ->required();
  diff_command->add_option("--top", command->top, "Rows in each table")->capture_default_str();
  diff_command->footer(
      "Examples:\n"
      "  ullage diff ./step-1000 ./step-2000\n"
      "  ullage diff ./pretrained ./resumed --top 5\n"
      "\nThe second table is the resume check: delayed scaling that kept A's amax history scales "
      "B's first step\n"
      "with format max / amax(A); a tensor that reaches beyond the maximum saturates, silently, on "
      "GPUs.");
  diff_command->callback([command, &run] { run = [command] { return diff(*command); }; });
}

}  // namespace ullage::apps
