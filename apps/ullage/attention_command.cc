// ullage attention study: what rounding does to attention on given inputs, by recipe and shift.
#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <optional>
#include <string_view>

#include "ullage/attention_inputs.h"
#include "ullage/attention_report.h"
#include "ullage/base/parallel.h"
#include "ullage/command.h"
#include "ullage/output_file.h"

namespace ullage::apps {
namespace {

struct StudyCommand {
  std::string file;
  std::string made;
  std::size_t heads = 16;
  std::uint64_t seed = 1;
  std::size_t steps = 0;
  std::vector<std::string> recipes = {"bf16-flash", "bf16-paper"};
  std::vector<std::string> shifts = {"standard", "published", "stabilised"};
  double beta = 2;
  std::optional<std::size_t> tile_keys;
  std::string element = "0.0.0";
  InputOptions inputs;
  int threads = 0;
  std::string json, html;
};

// HEAD.QUERY.FEATURE
using Element = std::array<std::size_t, 3>;

Result<Element> element_from_text(std::string_view text) {
  Element element = {};
  const char* at = text.data();
  const char* end = at + text.size();
  for (std::size_t part = 0; part < element.size(); ++part) {
    const auto [after, error] = std::from_chars(at, end, element[part]);
    const bool last = part + 1 == element.size();
    if (error != std::errc() || (last ? after != end : after == end || *after != '.'))
      return Error{Code::usage, "an element is three numbers", "--element", "HEAD.QUERY.FEATURE",
                   std::string(text)};
    at = last ? after : after + 1;
  }
  return element;
}

Result<attention::StudyInputs> inputs_of(const StudyCommand& command) {
  if (command.file.empty() == command.made.empty())
    return Error{Code::usage, "give a file or --made, and not both", "attention study", "", ""};
  if (command.made.empty()) {
    if (command.steps > 0)
      return Error{Code::usage, "steps are simulated on made inputs", "--steps", "with --made", ""};
    return read_inputs(command.file, command.inputs);
  }
  ULLAGE_ASSIGN(const attention::Made made, attention::made_from_name(command.made));
  return attention::make(made, command.heads, command.seed);
}

Result<StudiedCase> study_case(const StudyCommand& command, const attention::StudyInputs& inputs,
                               const std::string& recipe_name, const std::string& shift_name,
                               const Element& element) {
  ULLAGE_ASSIGN(const attention::Recipe recipe, attention::find_recipe(recipe_name));
  attention::Options options;
  ULLAGE_ASSIGN(options.shift.rule, attention::shift_rule_from_name(shift_name));
  options.shift.beta = command.beta;
  options.shift.seed = command.seed;
  options.threads = command.threads;
  if (command.tile_keys) {
    options.tiles = recipe.tiles;
    options.tiles->keys = *command.tile_keys;
  }
  StudiedCase studied;
  studied.recipe = recipe_name;
  studied.shift = shift_name;
  ULLAGE_ASSIGN(studied.found, attention::study(inputs, recipe, options));
  if (command.steps > 0) {
    ULLAGE_ASSIGN(const attention::Made made, attention::made_from_name(command.made));
    ULLAGE_ASSIGN(studied.accumulated,
                  attention::accumulated_bias(made, command.heads, command.seed, command.steps,
                                              recipe, options));
  }
  if (!command.html.empty()) {
    ULLAGE_ASSIGN(
        const std::vector<float> terms,
        attention::terms_of(inputs, recipe, options.shift, element[0], element[1], element[2]));
    studied.addition = attention::trace_addition(terms);
  }
  return studied;
}

Result<int> run_study(const StudyCommand& command) {
  const auto start = std::chrono::steady_clock::now();
  ULLAGE_ASSIGN(OutputFile json, OutputFile::open(command.json));
  ULLAGE_ASSIGN(OutputFile html, OutputFile::open(command.html));
  ULLAGE_TRY(check_distinct({&json, &html}));
  ULLAGE_ASSIGN(const Element element, element_from_text(command.element));
  ULLAGE_ASSIGN(const attention::StudyInputs inputs, inputs_of(command));
  StudyReport study;
  study.source = command.made.empty() ? command.file : "made " + command.made;
  study.shape = inputs.shape;
  study.element = command.element;
  study.threads = command.threads > 0 ? command.threads : default_threads();
  for (const std::string& recipe : command.recipes) {
    for (const std::string& shift : command.shifts) {
      ULLAGE_ASSIGN(StudiedCase studied, study_case(command, inputs, recipe, shift, element));
      study.cases.push_back(std::move(studied));
    }
  }
  study.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!json.is_stdout() && !html.is_stdout()) {
    fmt::print("{}", report::to_text(study_table(study), report::terminal_of(STDOUT_FILENO)));
    fmt::print(
        "\nrepeated: rows whose maximum is; ones: entries of P-bar that are exactly 1; lost: rows "
        "whose sum is lost or whose output is not finite.\nErrors are signed means +- standard "
        "error; ulp: of sum p |V| as the recipe stores O. aligned: mean cosine between parts of\n"
        "W_Q's gradient error, over 64 tokens a head, evenly spaced; top rank: share of it in one "
        "direction.\n");
  }
  if (json.wanted()) ULLAGE_TRY(json.write(study_json(study)));
  if (html.wanted()) {
    ULLAGE_ASSIGN(const std::string page, report::to_html(study_page(study)));
    ULLAGE_TRY(html.write(page));
  }
  ULLAGE_TRY(commit_all({&json, &html}));
  return kDone;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

void add_attention(CLI::App& app, Action& run) {
  CLI::App* group = app.add_subcommand("attention", "Rounding of attention, on given inputs");
  group->require_subcommand(1);
  group->footer("Start with:  ullage attention study --made repeated");
  auto command = std::make_shared<StudyCommand>();
  CLI::App* study = group->add_subcommand(
      "study", "Errors of O, delta and W_Q's gradient by recipe and softmax shift");
  study->add_option("FILE", command->file,
                    "A safetensors file with q, k, v and, optionally, grad_output and x");
  study->add_option("--made", command->made,
                    "Made inputs instead: normal, repeated (maxima, V of one sign) or adversarial");
  study->add_option("--heads", command->heads, "Heads of made inputs")
      ->check(whole_number(1))
      ->excludes(study->get_option("FILE"))
      ->capture_default_str();
  study->add_option("--seed", command->seed, "Seed of made inputs and of the stabilised shift")
      ->check(whole_number())
      ->capture_default_str();
  study
      ->add_option("--steps", command->steps,
                   "Also sum delta's error over so many made steps (default none)")
      ->check(whole_number())
      ->check(CLI::Range(std::size_t{0}, std::size_t{10000}));
  study->add_option("--recipe", command->recipes, "Where what is rounded; may be repeated")
      ->capture_default_str();
  study
      ->add_option("--shift", command->shifts,
                   "What softmax subtracts: standard, published or stabilised; may be repeated")
      ->capture_default_str();
  study->add_option("--beta", command->beta, "Of the published shift, above 1")
      ->check(CLI::Range(1.0 + 1e-9, 1e9))
      ->capture_default_str();
  study
      ->add_option("--tile-keys", command->tile_keys,
                   "Keys of a tile; 0: all in one (default: the recipe's)")
      ->check(whole_number());
  study
      ->add_option("--element", command->element,
                   "HEAD.QUERY.FEATURE whose addition the page shows")
      ->capture_default_str();
  const auto of_file = [study](CLI::Option* option) {
    option->excludes(study->get_option("--made"));
    return option;
  };
  of_file(study->add_flag("--causal", command->inputs.causal,
                          "A file's queries see what is before them"));
  of_file(study->add_option("--window", command->inputs.window,
                            "... and of that the last so many keys"))
      ->check(whole_number(1));
  of_file(study->add_option("--scale", command->inputs.scale,
                            "Of a file's scores (default 1/sqrt(width))"))
      ->check(CLI::Range(-1e30, 1e30));
  of_file(study->add_option("--soft-cap", command->inputs.soft_cap,
                            "Of a file's scores (default none)"))
      ->check(CLI::Range(1e-30, 1e30));
  add_threads_option(*study, command->threads);
  study->add_option("--json", command->json, "Write what was found here (- for standard output)");
  study->add_option("--html", command->html, "Write a self-contained page here");
  study->footer(
      "Examples:\n"
      "  ullage attention study --made repeated\n"
      "  ullage attention study --made normal --recipe bf16-flash --shift standard stabilised\n"
      "  ullage attention study layer.safetensors --causal --html study.html\n"
      "\nRecipes: " +
      joined(attention::recipe_names()) + " (bf16-flash: as fused kernels round).");
  study->callback([command, &run] { run = [command] { return run_study(*command); }; });
}

}  // namespace ullage::apps
