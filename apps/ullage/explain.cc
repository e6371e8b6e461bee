// ullage explain: every bound of one head, which one binds and why, and the inputs that come closest.
#include "ullage/scan/explain.h"

#include <fmt/core.h>
#include <unistd.h>

#include <charconv>

#include "ullage/command.h"
#include "ullage/report/numbers.h"
#include "ullage/report/table.h"
#include "ullage/scan_arguments.h"
#include "ullage/scan_table.h"

namespace ullage::apps {
namespace {

using report::Align;
using report::Table;
using report::Tone;

struct ExplainCommand {
  ScanArguments arguments;
  std::string which;
  std::string name;
};

Table figures_table(const scan::HeadResult& head) {
  Table table;
  table.columns = {{.title = "figure"},
                   {.title = "value", .align = Align::right},
                   {.title = "what it is", .widest = 100, .shrinks_to = 30}};
  for (const scan::NamedFigure& named : scan::figures_of(head)) {
    const std::string about = named.figure->known() ? named.about : "none: " + named.figure->why();
    const bool binds = named.name == head.bounds.certificate_by;
    table.rows.push_back(
        {{named.name, binds ? Tone::strong : Tone::plain},
         {cell_text(*named.figure, 5), binds ? Tone::strong : Tone::plain},
         {binds ? "binds: " + about : about, named.figure->known() ? Tone::plain : Tone::dim}});
  }
  return table;
}

std::string coordinates_text(const char* side, const std::vector<scan::Coordinate>& list) {
  std::string text = fmt::format("  {}: ", side);
  for (const scan::Coordinate& c : list)
    text +=
        fmt::format("{}[{}] = {} ({} %)", &c == list.data() ? "" : ", ", c.index,
                    report::format_significant(c.value), report::format_fixed(100 * c.share, 1));
  return text + "\n";
}

std::string closest_text(const scan::Explanation& found) {
  const scan::HeadBounds& bounds = found.layer.heads[0].bounds;
  if (!found.attained.known())
    return fmt::format("No search for the inputs that come closest: {}.\n", found.attained.why());
  std::string text = fmt::format("Inputs that come closest reach |logit| {}",
                                 report::format_significant(found.attained.value(), 5));
  if (bounds.before_cap.known() && bounds.before_cap.value() > 0)
    text += fmt::format(
        ": {} % of {}",
        report::format_fixed(100 * found.attained.value() / bounds.before_cap.value(), 1),
        bounds.before_cap.value() == bounds.certificate.value()
            ? "the certificate"
            : "before_cap, before the soft cap");
  if (found.offset != 0) text += fmt::format(", {} positions apart", -found.offset);
  if (found.attained.value() == 0) return text + ".\n";
  text += ".\nTheir largest coordinates, before the norm's gain (share of the squared length):\n";
  return text + coordinates_text("query token", found.query_input) +
         coordinates_text("key token", found.key_input);
}

Result<std::pair<int, int>> parse_which(const std::string& text) {
  int layer = 0, head = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, layer);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == '.') {
    const auto second = std::from_chars(first.ptr + 1, end, head);
    if (second.ec == std::errc() && second.ptr == end && layer >= 0 && head >= 0)
      return std::pair(layer, head);
  }
  return Error{Code::usage, "must be two numbers with a point between, as 3.7", "LAYER.HEAD", "",
               text};
}

Result<int> explain_head(const ExplainCommand& command) {
  ULLAGE_ASSIGN(const auto which, parse_which(command.which));
  ULLAGE_ASSIGN(const scan::ScanOptions options, scan_options(command.arguments));
  checkpoint::LocateOptions locate;
  locate.config = command.arguments.config;
  ULLAGE_ASSIGN(const checkpoint::Container container,
                checkpoint::open_container(command.arguments.checkpoint, locate));
  ULLAGE_ASSIGN(const checkpoint::AttentionModel model,
                checkpoint::read_attention(container.store, container.config, container.weights));
  ULLAGE_ASSIGN(const scan::Explanation found,
                scan::explain(container, model, which.first, which.second, command.name, options));
  const report::Terminal terminal = report::terminal_of(STDOUT_FILENO);
  const scan::HeadResult& head = found.layer.heads[0];
  fmt::print("{}, head {} (kv head {})\n", report::terminal_text(found.layer.name, terminal),
             head.head, head.kv_head);
  for (const std::string& other : found.others)
    fmt::print("also at depth {}: {} (--name chooses)\n", found.layer.layer,
               report::terminal_text(other, terminal));
  fmt::print("\n{}\n", report::to_text(figures_table(head), terminal));
  fmt::print("{}\n{}\n", closest_text(found), kNoLogitSlot);
  return kDone;
}

}  // namespace

void add_explain(CLI::App& app, Action& run) {
  auto command = std::make_shared<ExplainCommand>();
  CLI::App* explain = app.add_subcommand(
      "explain", "Every bound of one head, which one binds, and the inputs that come closest");
  add_scan_arguments(*explain, command->arguments);
  explain->add_option("LAYER.HEAD", command->which, "For example 3.7")->required();
  explain->add_option("--name", command->name,
                      "Part of the layer's name, where several stacks hold one depth");
  explain->footer("Example:\n  ullage explain ./model 12.3");
  explain->callback([command, &run] { run = [command] { return explain_head(*command); }; });
}

}  // namespace ullage::apps
