// ullage formats: cards, values and casts of the number formats.
#include <fmt/core.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "ullage/command.h"
#include "ullage/formats/format.h"
#include "ullage/formats/scalar.h"
#include "ullage/report/numbers.h"
#include "ullage/report/table.h"

namespace ullage::apps {
namespace {

using formats::Format;
using report::Align;
using report::Table;
using report::Tone;

// Above so many codes a table of values is no longer read.
constexpr std::uint64_t kMaxListed = 256;

struct FormatArguments {
  std::string name;
  std::optional<int> bias;
  bool finite = false;  // a custom format without infinities: its last code is the NaN
  bool no_subnormals = false;
};

struct FormatsCommand {
  FormatArguments card;
  FormatArguments target;
  std::vector<std::string> numbers;
  std::string rounding = "nearest-even";
  bool non_saturating = false;
  std::uint64_t seed = 0;
};

// "e3m4": exponent and mantissa bits; nothing else.
std::optional<std::pair<int, int>> custom_bits(const std::string& name) {
  int exponent = 0, mantissa = 0;
  const char* end = name.data() + name.size();
  if (name.size() < 4 || name[0] != 'e') return std::nullopt;
  const auto first = std::from_chars(name.data() + 1, end, exponent);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != 'm') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, mantissa);
  if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
  return std::pair(exponent, mantissa);
}

// A card by name, or one made from eXmY and the options.
Result<Format> resolve(const FormatArguments& arguments) {
  const bool changed = arguments.bias || arguments.finite || arguments.no_subnormals;
  const Result<Format> known = formats::find_format(arguments.name);
  if (known.ok() && !changed) return *known;
  const auto bits = custom_bits(arguments.name);
  if (!bits) {
    if (!known.ok()) return known;
    return Error{Code::usage,
                 "--bias, --finite and --no-subnormals make a format of your own: give it as eXmY",
                 arguments.name, "", ""};
  }
  Format format;
  arguments.name.copy(format.name, sizeof format.name - 1);
  format.exponent_bits = bits->first;
  format.mantissa_bits = bits->second;
  format.bias = arguments.bias.value_or(
      bits->first > 0 && bits->first < 16 ? (1 << (bits->first - 1)) - 1 : 0);
  format.has_infinity = !arguments.finite;
  format.nan = arguments.finite ? formats::NanCodes::all_ones : formats::NanCodes::ieee;
  format.has_subnormals = !arguments.no_subnormals;
  ULLAGE_TRY(formats::check_format(format));
  return format;
}

std::string nan_text(const Format& format) {
  switch (format.nan) {
    case formats::NanCodes::none:
      return "none";
    case formats::NanCodes::ieee:
      return "exponent all ones";
    case formats::NanCodes::all_ones:
      return fmt::format("0x{:X}", format.nan_code());
    case formats::NanCodes::negative_zero:
      return fmt::format("0x{:X}", format.nan_code());
  }
  return "";
}

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

// Every code of a small format: rows of sixteen.
Table value_table(const Format& format) {
  Table table;
  const std::uint64_t width = std::min<std::uint64_t>(16, format.code_count());
  table.columns.push_back({.title = "code", .align = Align::right});
  for (std::uint64_t i = 0; i < width; ++i)
    table.columns.push_back({.title = fmt::format("+{:X}", i), .align = Align::right});
  for (std::uint64_t code = 0; code < format.code_count(); code += width) {
    std::vector<report::Cell> row = {{fmt::format("0x{:02X}", code), Tone::dim}};
    for (std::uint64_t i = 0; i < width; ++i)
      row.push_back(
          {report::format_shortest(formats::decode(format, static_cast<std::uint32_t>(code + i)))});
    table.rows.push_back(std::move(row));
  }
  return table;
}

Result<int> show_cards(const FormatsCommand& command) {
  const report::Terminal terminal = report::terminal_of(STDOUT_FILENO);
  if (command.card.name.empty()) {
    fmt::print(
        "{}\nullage formats NAME shows the values of one; any other eXmY is made on the spot.\n",
        report::to_text(card_table({formats::kFormats.begin(), formats::kFormats.end()}),
                        terminal));
    return kDone;
  }
  ULLAGE_ASSIGN(const Format format, resolve(command.card));
  fmt::print("{}", report::to_text(card_table({format}), terminal));
  if (format.code_count() <= kMaxListed)
    fmt::print("\n{}", report::to_text(value_table(format), terminal));
  return kDone;
}

Result<double> parse_number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0')
    return Error{Code::usage, "is no number; write 0.1, 1e9, 0x1p-9, inf or nan", text, "", ""};
  return value;
}

Result<int> cast_numbers(const FormatsCommand& command) {
  ULLAGE_ASSIGN(const Format format, resolve(command.target));
  ULLAGE_ASSIGN(const formats::Rounding rounding, formats::rounding_from_name(command.rounding));
  formats::CastOptions options{command.non_saturating ? formats::Overflow::non_saturating
                                                      : formats::Overflow::saturate};
  options.rounding = rounding;
  options.seed = command.seed;
  Table table;
  table.columns = {{.title = "x", .align = Align::right},
                   {.title = "code", .align = Align::right},
                   {.title = "value", .align = Align::right},
                   {.title = "error", .align = Align::right},
                   {.title = "relative", .align = Align::right}};
  for (std::size_t i = 0; i < command.numbers.size(); ++i) {
    ULLAGE_ASSIGN(const double x, parse_number(command.numbers[i]));
    options.first_index = i;
    const std::uint32_t code = formats::encode(format, x, options);
    const double value = formats::decode(format, code);
    const double error = value - x;
    table.rows.push_back(
        {{command.numbers[i]},
         {fmt::format("0x{:0{}X}", code, (format.bits() + 3) / 4)},
         {report::format_shortest(value)},
         {std::isfinite(error) ? report::format_significant(error, 4) : "-"},
         {std::isfinite(error) && x != 0 ? report::format_significant(error / x, 3) : "-"}});
  }
  fmt::print("to {}, {}, {}\n\n{}", std::string(format.label()), formats::name_of(rounding),
             formats::name_of(options.overflow),
             report::to_text(table, report::terminal_of(STDOUT_FILENO)));
  return kDone;
}

void add_custom_options(CLI::App& command, FormatArguments& arguments) {
  command.add_option("--bias", arguments.bias,
                     "Exponent bias of a format of your own (default 2^(e-1) - 1)");
  command.add_flag("--finite", arguments.finite, "It has no infinities; its last code is the NaN");
  command.add_flag("--no-subnormals", arguments.no_subnormals, "Exponent field 0 is zero");
}

}  // namespace

void add_formats(CLI::App& app, Action& run) {
  auto command = std::make_shared<FormatsCommand>();
  CLI::App* list = app.add_subcommand("formats", "Number formats: cards, values, casts");
  list->add_option("NAME", command->card.name,
                   "One format: its card and every value of a small one");
  add_custom_options(*list, command->card);
  CLI::App* cast = list->add_subcommand("cast", "Numbers rounded to a format");
  cast->add_option("X", command->numbers, "Numbers: 0.1 448 1e9 inf")->required();
  cast->add_option("--to", command->target.name, "Format to round to")->required();
  cast->add_option("--rounding", command->rounding,
                   "nearest-even, nearest-away, toward-zero, up, down, stochastic")
      ->capture_default_str();
  cast->add_option("--seed", command->seed, "Of stochastic rounding")->capture_default_str();
  cast->add_flag("--non-saturating", command->non_saturating,
                 "Past the largest value: infinity or NaN instead of that value");
  add_custom_options(*cast, command->target);
  cast->footer(
      "Example:\n  ullage formats cast 0.1 448 1e9 --to e4m3 --rounding stochastic --seed 1");
  list->footer(
      "Examples:\n"
      "  ullage formats                                  all cards\n"
      "  ullage formats e4m3                             its 256 values\n"
      "  ullage formats e3m4 --bias 3 --finite           a format of your own\n"
      "  ullage formats cast 0.1 448 1e9 --to e4m3 --rounding stochastic");
  list->callback([command, cast, &run] {
    if (cast->parsed())
      run = [command] { return cast_numbers(*command); };
    else
      run = [command] { return show_cards(*command); };
  });
}

}  // namespace ullage::apps
