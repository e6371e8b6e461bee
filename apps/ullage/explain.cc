// ullage explain: every bound of one head, which one binds and why, and the inputs that come closest.
#include "ullage/scan/explain.h"

#include <fmt/core.h>
#include <unistd.h>

#include <charconv>
#include <map>

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

// What each bound says, for people.
const std::map<std::string, const char*>& meanings() {
  static const std::map<std::string, const char*> texts = {
      {"naive", "product of the norms of q and k; holds under every rotation"},
      {"interaction", "norm of A^T B with a term for each bias; only where nothing rotates"},
      {"augmented", "biases as one more column of A and B; only where nothing rotates"},
      {"rope",
       "norms of D A and D^-1 B for the best D that commutes with the rotation; every offset"},
      {"qk_norm", "the QK-norm's own gains in the place of the weights"},
      {"clip", "coordinates clamped to clip_qkv"},
      {"latent", "nope and rope parts of latent attention together"},
      {"certificate", "the smallest of those above, after the soft cap: no input exceeds it"},
      {"before_cap", "the same before the soft cap: what overflow questions use"},
      {"additive_bias", "largest term that positions add to the score"},
      {"certificate_rounded_bf16",
       "certificate of a forward pass whose operands are rounded to BF16"},
      {"certificate_rounded_e4m3", "the same with q and k cast to E4M3"},
      {"rank_aware", "published, Proposition 3.4 of [R]: i != j, no bias, no RoPE"},
      {"rank_agnostic", "published, without the rank"},
      {"expected_off_diagonal", "isotropic tokens, i != j"},
      {"expected_diagonal", "a token with itself"},
      {"expected", "both together, at most the certificate"},
      {"sigma_weights", "|W_Q^T W_K|_2 of the stored weights"},
      {"sigma", "|A^T B|_2, gains folded"},
      {"sigma_q", "|A|_2"},
      {"sigma_k", "|B|_2"},
      {"frobenius", "|A^T B|_F"},
      {"stable_rank", "|A^T B|_F^2 / sigma^2"},
      {"rope_supremum_sampled", "largest |A^T R_t B|_2 over the sampled offsets"},
      {"rope_bound", "certified for every offset, in units of sigma"},
      {"amax_q", "largest |q| entry, as a kernel quantises it"},
      {"amax_k", "largest |k| entry"},
      {"amax_v", "largest |v| entry"},
      {"amax_projection_q", "largest |q| entry before RoPE"},
      {"amax_projection_k", "largest |k| entry before RoPE"},
  };
  return texts;
}

Table figures_table(const scan::HeadResult& head) {
  Table table;
  table.columns = {{.title = "figure"},
                   {.title = "value", .align = Align::right},
                   {.title = "what it is", .widest = 100, .shrinks_to = 30}};
  for (const scan::NamedFigure& named : scan::figures_of(head)) {
    const auto meaning = meanings().find(named.name);
    std::string about = meaning != meanings().end() ? meaning->second : "";
    if (!named.figure->known()) about = "none: " + named.figure->why();
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
        ": {} % of the certificate",
        report::format_fixed(100 * found.attained.value() / bounds.before_cap.value(), 1));
  if (found.offset != 0) text += fmt::format(", {} positions apart", -found.offset);
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
  fmt::print("{}, head {} (kv head {})\n\n{}\n", report::terminal_text(found.layer.name, terminal),
             head.head, head.kv_head, report::to_text(figures_table(head), terminal));
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
