// ullage diff: heads whose headroom moved from one checkpoint to another, and what scales from a stale
// amax history would do after loading the second.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "ullage/command.h"
#include "ullage/report/numbers.h"
#include "ullage/report/table.h"
#include "ullage/scan/diff.h"
#include "ullage/scan_arguments.h"
#include "ullage/scan_table.h"

namespace ullage::apps {
namespace {

using report::Align;
using report::Cell;
using report::Table;
using report::Tone;

struct DiffCommand {
  ScanArguments arguments;
  std::string second;
  std::size_t top = 20;
};

Table moved_table(std::vector<scan::MovedHead> moved, const std::string& format, std::size_t top) {
  std::stable_sort(
      moved.begin(), moved.end(), [](const scan::MovedHead& x, const scan::MovedHead& y) {
        return std::abs(x.bits_after - x.bits_before) > std::abs(y.bits_after - y.bits_before);
      });
  moved.resize(std::min(moved.size(), top));
  Table table;
  table.columns = {{.title = "head", .align = Align::right},
                   {.title = "attention", .widest = 44, .shrinks_to = 14},
                   {.title = "tier"},
                   {.title = format + " bits, A", .align = Align::right},
                   {.title = "B", .align = Align::right},
                   {.title = "change", .align = Align::right},
                   {.title = "sigma, A", .align = Align::right},
                   {.title = "B", .align = Align::right}};
  for (const scan::MovedHead& head : moved) {
    const double change = head.bits_after - head.bits_before;
    table.rows.push_back(
        {{fmt::format("{}.{}", head.layer->layer, head.after->head)},
         {head.layer->name},
         {scan::name_of(head.tier)},
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

Cell first_step(const scan::StaleScale& stale) {
  if (stale.saturates)
    return {
        fmt::format("saturates, {} bits over", report::format_fixed(std::log2(stale.reached), 2)),
        Tone::bad};
  if (stale.reached > 1) return {"rounds to the largest", Tone::plain};
  return {"fits", Tone::good};
}

Table stale_table(std::vector<scan::StaleScale> list, std::size_t top) {
  std::stable_sort(
      list.begin(), list.end(),
      [](const scan::StaleScale& x, const scan::StaleScale& y) { return x.reached > y.reached; });
  list.resize(std::min(list.size(), top));
  Table table;
  table.columns = {{.title = "layer", .align = Align::right},
                   {.title = "attention", .widest = 44, .shrinks_to = 14},
                   {.title = "scale of"},
                   {.title = "tier"},
                   {.title = "stale scale", .align = Align::right},
                   {.title = "reaches, of max", .align = Align::right},
                   {.title = "first step"}};
  for (const scan::StaleScale& stale : list)
    table.rows.push_back({{std::to_string(stale.layer->layer)},
                          {stale.layer->name},
                          {stale.tensor},
                          {scan::name_of(stale.tier)},
                          {report::format_significant(stale.multiplier)},
                          {report::format_significant(stale.reached) + "x"},
                          first_step(stale)});
  return table;
}

// What must not be missed: NaN and infinity, and what was not compared.
std::string warnings_text(const scan::ScanResult& before, const scan::ScanResult& after,
                          const std::vector<scan::LeftOut>& left_out, std::size_t top,
                          const report::Terminal& terminal) {
  std::string text;
  for (const auto& [name, result] : {std::pair("A", &before), std::pair("B", &after)})
    for (const scan::NotFinite& bad : result->not_finite)
      text += report::paint(
          fmt::format("NaN or infinity in {}: {}{}, {} value{}: every scale of it is wrong\n", name,
                      report::terminal_text(bad.tensor, terminal),
                      bad.head < 0 ? "" : fmt::format(", head {}", bad.head), bad.count,
                      bad.count == 1 ? "" : "s"),
          Tone::bad, terminal);
  for (std::size_t i = 0; i < std::min(left_out.size(), top); ++i)
    text +=
        fmt::format("not compared: {}: {}\n", report::terminal_text(left_out[i].layer, terminal),
                    report::terminal_text(left_out[i].why, terminal));
  if (left_out.size() > top)
    text += fmt::format("not compared: {} more (--top shows more)\n", left_out.size() - top);
  return text.empty() ? text : text + "\n";
}

std::string resume_text(const std::vector<scan::StaleScale>& stale, const std::string& format,
                        std::size_t top, const report::Terminal& terminal) {
  if (stale.empty()) return "";
  const auto over = std::count_if(stale.begin(), stale.end(),
                                  [](const scan::StaleScale& s) { return s.saturates; });
  return fmt::format(
      "Loading B with the amax history of A (delayed scaling, first step): {} of {} scales let {} "
      "saturate.\n\n{}",
      over, stale.size(), format, report::to_text(stale_table(stale, top), terminal));
}

Result<int> diff(const DiffCommand& command) {
  ULLAGE_ASSIGN(const Scanned before, run_scan(command.arguments));
  ScanArguments second = command.arguments;
  second.checkpoint = command.second;
  ULLAGE_ASSIGN(const Scanned after, run_scan(second));
  const scan::Comparison found = scan::compare(before.result, after.result);
  if (found.layers == 0)
    return Error{Code::nothing_to_scan,
                 "has no attention layer of the same name and number of heads as the first",
                 command.second, "", ""};
  const report::Terminal terminal = report::terminal_of(STDOUT_FILENO);
  const std::string& format = after.result.format;
  const auto worse = std::count_if(
      found.moved.begin(), found.moved.end(),
      [](const scan::MovedHead& head) { return head.bits_after < head.bits_before - 0.5; });
  fmt::print("{} -> {}: {} layers in common, {} heads compared, {} lost more than half a bit\n\n",
             report::terminal_text(before.result.checkpoint, terminal),
             report::terminal_text(after.result.checkpoint, terminal), found.layers,
             found.moved.size(), worse);
  fmt::print("{}",
             warnings_text(before.result, after.result, found.left_out, command.top, terminal));
  fmt::print("{}\n", report::to_text(moved_table(found.moved, format, command.top), terminal));
  fmt::print("{}", resume_text(found.stale, format, command.top, terminal));
  return kDone;
}

}  // namespace

void add_diff(CLI::App& app, Action& run) {
  auto command = std::make_shared<DiffCommand>();
  CLI::App* diff_command = app.add_subcommand(
      "diff", "Heads whose headroom moved between two checkpoints, and what stale scales would do");
  add_scan_arguments(*diff_command, command->arguments, "A");
  diff_command->add_option("B", command->second, "The checkpoint that is loaded after A")
      ->required();
  add_layer_arguments(*diff_command, command->arguments, "headroom and of the resume check");
  diff_command->add_option("--top", command->top, "Rows in each table")
      ->check(whole_number())
      ->capture_default_str();
  diff_command->footer(
      "Examples:\n"
      "  ullage diff ./step-1000 ./step-2000\n"
      "  ullage diff ./pretrained ./resumed --top 5\n"
      "\nThe second table is the resume check: delayed scaling that kept A's amax history scales "
      "B's first step\n"
      "with format max / amax(A), one scale each for q, k and v, or one for all three (q k v: "
      "TransformerEngine).\n"
      "What reaches beyond the maximum saturates, silently, on GPUs.");
  diff_command->callback([command, &run] { run = [command] { return diff(*command); }; });
}

}  // namespace ullage::apps
