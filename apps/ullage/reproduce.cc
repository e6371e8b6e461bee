// ullage reproduce: a paper's figure or table, beside the published values.
#include <fmt/core.h>
#include <unistd.h>

#include "ullage/command.h"
#include "ullage/experiments/experiment.h"
#include "ullage/output_file.h"
#include "ullage/report/numbers.h"
#include "ullage/report/table.h"

namespace ullage::apps {
namespace {

using report::Align;
using report::Tone;

struct ReproduceCommand {
  std::string name;
  bool list = false;
  bool full = false;
  std::uint64_t seed = 0;
  int threads = 0;
  std::string json, html;
};

Result<int> list_experiments() {
  report::Table table;
  table.columns = {{.title = "name"},
                   {.title = "paper"},
                   {.title = "what", .widest = 90, .shrinks_to = 30},
                   {.title = "needs", .widest = 90, .shrinks_to = 20}};
  for (const experiments::Experiment& experiment : experiments::experiments())
    table.rows.push_back({{experiment.name, Tone::strong},
                          {experiment.paper},
                          {experiment.title},
                          {experiment.needs, Tone::warn}});
  fmt::print("{}\n[R] arXiv 2602.18851   [F] arXiv 2510.04212   [N] arXiv 2510.21770\n",
             report::to_text(table, report::terminal_of(STDOUT_FILENO)));
  return kDone;
}

Tone tone_of(experiments::Verdict verdict) {
  switch (verdict) {
    case experiments::Verdict::reproduced:
      return Tone::good;
    case experiments::Verdict::direction:
      return Tone::warn;
    case experiments::Verdict::not_reproduced:
      return Tone::bad;
    case experiments::Verdict::no_published_value:
      return Tone::dim;
  }
  return Tone::plain;
}

report::Table rows_table(const experiments::Outcome& outcome) {
  report::Table table;
  table.columns = {{.title = "quantity", .widest = 70, .shrinks_to = 24},
                   {.title = "published", .align = Align::right},
                   {.title = "ours", .align = Align::right},
                   {.title = "95 %", .align = Align::right},
                   {.title = "n", .align = Align::right},
                   {.title = "verdict"},
                   {.title = "why", .widest = 100, .shrinks_to = 16}};
  for (const experiments::Row& row : outcome.rows) {
    std::string interval;
    if (row.interval)
      interval = fmt::format("{} .. {}", report::format_significant((*row.interval)[0]),
                             report::format_significant((*row.interval)[1]));
    table.rows.push_back({{row.quantity},
                          {row.published ? report::format_significant(*row.published, 5) : "-"},
                          {report::format_significant(row.ours, 5)},
                          {interval},
                          {report::format_count(static_cast<std::uint64_t>(row.n))},
                          {experiments::name_of(row.verdict), tone_of(row.verdict)},
                          {row.why, Tone::dim}});
  }
  return table;
}

Result<int> reproduce(const ReproduceCommand& command) {
  if (command.list || command.name.empty()) return list_experiments();
  const experiments::Experiment* experiment = experiments::find_experiment(command.name);
  if (experiment == nullptr)
    return Error{Code::usage, "no such experiment; `ullage reproduce --list` shows all",
                 "reproduce", "", command.name};
  experiments::Request request;
  request.size = command.full ? experiments::Size::full : experiments::Size::ordinary;
  request.seed = command.seed;
  request.threads = command.threads;
  ULLAGE_ASSIGN(OutputFile json, OutputFile::open(command.json));
  ULLAGE_ASSIGN(OutputFile html, OutputFile::open(command.html));
  ULLAGE_TRY(check_distinct({&json, &html}));
  ULLAGE_ASSIGN(const experiments::Outcome outcome, experiments::run(*experiment, request));
  if (!json.is_stdout() && !html.is_stdout())
    fmt::print("{} {}: {}\n\n{}", experiment->paper, experiment->name, experiment->title,
               report::to_text(rows_table(outcome), report::terminal_of(STDOUT_FILENO)));
  if (json.wanted()) ULLAGE_TRY(json.write(experiments::to_json(*experiment, request, outcome)));
  if (html.wanted()) {
    ULLAGE_ASSIGN(const std::string page,
                  report::to_html(experiments::to_page(*experiment, request, outcome)));
    ULLAGE_TRY(html.write(page));
  }
  ULLAGE_TRY(commit_all({&json, &html}));
  return kDone;
}

}  // namespace

void add_reproduce(CLI::App& app, Action& run) {
  auto command = std::make_shared<ReproduceCommand>();
  CLI::App* reproduce_command =
      app.add_subcommand("reproduce", "A paper's figure or table, beside the published values");
  reproduce_command->add_option("NAME", command->name, "The experiment; --list shows all");
  reproduce_command->add_flag("--list", command->list, "List the experiments and what each needs");
  reproduce_command->add_flag("--full", command->full,
                              "The paper's size instead of one that takes minutes");
  reproduce_command->add_option("--seed", command->seed, "Seed of everything that is sampled")
      ->check(whole_number())
      ->capture_default_str();
  add_threads_option(*reproduce_command, command->threads);
  reproduce_command
      ->add_option("--json", command->json, "Write the rows here (- for standard output)")
      ->excludes(reproduce_command->get_option("--list"));
  reproduce_command->add_option("--html", command->html, "Write a self-contained page here")
      ->excludes(reproduce_command->get_option("--list"));
  reproduce_command->footer(
      "Examples:\n"
      "  ullage reproduce --list\n"
      "  ullage reproduce rank-aware --html rank-aware.html\n"
      "\nExit code 0 when it ran, whatever the verdicts.");
  reproduce_command->callback([command, &run] { run = [command] { return reproduce(*command); }; });
}

}  // namespace ullage::apps
