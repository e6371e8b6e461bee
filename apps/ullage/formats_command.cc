// ullage formats: cards, values and casts of the number formats.
#include <fmt/core.h>
#include <unistd.h>

#include <optional>
#include <variant>

#include "ullage/command.h"
#include "ullage/formats/blocks.h"
#include "ullage/formats/format.h"
#include "ullage/formats_cards.h"
#include "ullage/formats_cast.h"
#include "ullage/output_file.h"
#include "ullage/report/table.h"

namespace ullage::apps {
namespace {

using formats::BlockFormat;
using formats::BlockScale;
using formats::Format;
using Named = std::variant<Format, BlockFormat>;

struct FormatArguments {
  std::string name;
  std::optional<int> bias;
  bool finite = false;  // without infinities: an IEEE format's last code is then the NaN
  bool no_subnormals = false;
};

struct FormatsCommand {
  FormatArguments card;
  std::string json;
  FormatArguments target;
  CastRequest cast;
  std::string rounding = "nearest-even";
  std::optional<std::string> rule;
  bool non_saturating = false;
};

// A card by name, blocks by theirs, or a format of one's own: a card or eXmY, changed by text after a colon or by
// options.
Result<Named> resolve(const FormatArguments& arguments) {
  const bool changed = arguments.bias || arguments.finite || arguments.no_subnormals;
  if (const auto block = formats::find_block_format(arguments.name); block.ok() && !changed)
    return Named(*block);
  Result<Format> format = formats::format_from_text(arguments.name);
  if (!format.ok()) {
    std::string message = format.error().what;
    if (formats::find_block_format(arguments.name).ok())
      message = "blocks have the bias and codes of their element";
    else if (message.starts_with("no such format")) {
      message += "; blocks";
      for (const BlockFormat& block : formats::kBlockFormats)
        message += " " + std::string(block.label());
      message += "; or your own, as e3m4";
    }
    return Error{format.error().code, message, format.error().where, format.error().expected,
                 format.error().found};
  }
  if (!changed) return Named(*format);
  if (arguments.bias) format->bias = *arguments.bias;
  if (arguments.finite) {
    format->has_infinity = false;
    if (format->nan == formats::NanCodes::ieee) format->nan = formats::NanCodes::all_ones;
  }
  format->has_subnormals = format->has_subnormals && !arguments.no_subnormals;
  ULLAGE_TRY(formats::check_format(*format));
  return Named(*format);
}

std::string all_text(const report::Terminal& terminal) {
  return fmt::format(
      "{}\n{}\n"
      "ullage formats NAME shows the values of one, or the scale rules of blocks; any other eXmY "
      "is made on the spot.\n",
      report::to_text(card_table({formats::kFormats.begin(), formats::kFormats.end()}), terminal),
      report::to_text(block_table({formats::kBlockFormats.begin(), formats::kBlockFormats.end()}),
                      terminal));
}

std::string block_text(const BlockFormat& block, const report::Terminal& terminal) {
  std::string text = report::to_text(block_table({block}), terminal) + "\n" +
                     report::to_text(card_table({block.element}), terminal);
  if (block.scale == BlockScale::e8m0)
    text += "\n" + report::to_text(rule_table(block.element), terminal) +
            fmt::format(
                "\namax: a block's largest magnitude; emax: {}, exponent of the largest {}. What "
                "saturates does so under rounding to nearest.\n",
                block.element.max_exponent(), std::string(block.element.label()));
  return text;
}

std::string card_text(const Format& format, const report::Terminal& terminal) {
  const bool small = format.code_count() <= kMostListed;
  return report::to_text(card_table({format}), terminal) + "\n" +
         report::to_text(small ? value_table(format) : landmark_table(format), terminal);
}

Result<int> show_cards(const FormatsCommand& command) {
  std::vector<Format> cards(formats::kFormats.begin(), formats::kFormats.end());
  std::vector<BlockFormat> blocks(formats::kBlockFormats.begin(), formats::kBlockFormats.end());
  ULLAGE_ASSIGN(OutputFile json, OutputFile::open(command.json));
  const report::Terminal terminal = report::terminal_of(STDOUT_FILENO);
  std::string text;
  if (command.card.name.empty()) {
    text = all_text(terminal);
  } else {
    ULLAGE_ASSIGN(const Named named, resolve(command.card));
    if (const auto* block = std::get_if<BlockFormat>(&named)) {
      text = block_text(*block, terminal);
      cards = {block->element};
      blocks = {*block};
    } else {
      text = card_text(std::get<Format>(named), terminal);
      cards = {std::get<Format>(named)};
      blocks = {};
    }
  }
  if (json.wanted()) {
    ULLAGE_TRY(json.write(cards_json(cards, blocks, !command.card.name.empty())));
    ULLAGE_TRY(json.commit());
  }
  if (!json.is_stdout()) fmt::print("{}", text);
  return kDone;
}

Result<int> cast(const FormatsCommand& command) {
  CastRequest request = command.cast;
  ULLAGE_ASSIGN(request.to, resolve(command.target));
  ULLAGE_ASSIGN(request.options.rounding, formats::rounding_from_name(command.rounding));
  if (command.non_saturating) request.options.overflow = formats::Overflow::non_saturating;
  if (command.rule) {
    const auto* block = std::get_if<BlockFormat>(&request.to);
    if (block == nullptr || block->scale != BlockScale::e8m0)
      return Error{Code::usage, "is for MX blocks (mxfp8-e4m3, mxfp4 and so on)", "--rule", "",
                   *command.rule};
    ULLAGE_ASSIGN(request.rule, formats::scale_rule_from_name(*command.rule));
  }
  ULLAGE_TRY(cast_numbers(request));
  return kDone;
}

void add_custom_options(CLI::App& command, FormatArguments& arguments) {
  command.add_option("--bias", arguments.bias,
                     "Another exponent bias (a card's own, or 2^(e-1) - 1 of any other eXmY)");
  command.add_flag("--finite", arguments.finite, "It has no infinities; its last code is the NaN");
  command.add_flag("--no-subnormals", arguments.no_subnormals, "Exponent field 0 is zero");
}

CLI::App* add_cast(CLI::App& list, FormatsCommand& command) {
  CLI::App* cast = list.add_subcommand("cast", "Numbers rounded to a format");
  cast->add_option("X", command.cast.numbers, "Numbers: 0.1 -448 1e9 0x1p-9 inf nan; -inf after --")
      ->required();
  cast->add_option("--to", command.target.name, "Format or blocks to round to")->required();
  cast->add_option("--rounding", command.rounding,
                   "nearest-even, nearest-away, toward-zero, up, down, stochastic")
      ->capture_default_str();
  cast->add_option("--seed", command.cast.options.seed, "Of stochastic rounding")
      ->check(whole_number())
      ->capture_default_str();
  cast->add_flag("--non-saturating", command.non_saturating,
                 "Past the largest value: infinity or NaN instead of that value");
  cast->add_option("--rule", command.rule,
                   "Scale rule of MX blocks: floor (default), ceil, round-up, even");
  cast->add_option("--json", command.cast.json, "Write the result here (- for standard output)");
  add_custom_options(*cast, command.target);
  cast->footer(
      "Examples:\n"
      "  ullage formats cast 0.1 448 1e9 --to e4m3                      the code and value of "
      "each\n"
      "  ullage formats cast 0.1 448 1e9 --to e4m3 --rounding stochastic --seed 1\n"
      "  ullage formats cast 1e9 --to e5m2 --non-saturating             past the largest: "
      "infinity\n"
      "  ullage formats cast 480 3 -0.2 --to mxfp8-e4m3 --rule floor    one block: its scale, what "
      "it clips\n"
      "  ullage formats cast 0.3 --to e3m4:bias=5,nan=none,infinity=no  a format of your own\n"
      "  ullage formats cast -1 -0.3 --to e2m1 --json -                 for scripts");
  return cast;
}

// All that this command reads are its arguments.
Result<int> of_arguments(Result<int> outcome) {
  return outcome.ok() ? std::move(outcome) : Result<int>(as_usage(outcome.error()));
}

}  // namespace

void add_formats(CLI::App& app, Action& run) {
  auto command = std::make_shared<FormatsCommand>();
  CLI::App* list = app.add_subcommand("formats", "Number formats: cards, values, casts");
  list->add_option("NAME", command->card.name,
                   "One format: its card and its values; blocks: their scale rules");
  list->add_option("--json", command->json, "Write the cards here (- for standard output)");
  add_custom_options(*list, command->card);
  CLI::App* numbers = add_cast(*list, *command);
  list->footer(
      "Examples:\n"
      "  ullage formats                                  all cards\n"
      "  ullage formats e4m3                             its 256 values\n"
      "  ullage formats bf16                             its ends, and its codes around one\n"
      "  ullage formats mxfp8-e4m3                       blocks: scale rules, and which can clip\n"
      "  ullage formats e3m4 --bias 3 --finite           a format of your own\n"
      "  ullage formats e4m3:subnormals=no               a card but for what stands after the "
      "colon\n"
      "  ullage formats e4m3 --json - | jq '.formats[0].values'\n"
      "  ullage formats cast 0.1 448 1e9 --to e4m3 --rounding stochastic");
  list->callback([command, numbers, &run] {
    const bool casts = numbers->parsed();
    run = [command, casts] { return of_arguments(casts ? cast(*command) : show_cards(*command)); };
  });
}

}  // namespace ullage::apps
