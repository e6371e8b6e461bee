// ullage scan: the main job.
#include <fmt/core.h>
#include <unistd.h>

#include <optional>

#include "ullage/command.h"
#include "ullage/formats/format.h"
#include "ullage/output_file.h"
#include "ullage/report/csv.h"
#include "ullage/scan_arguments.h"
#include "ullage/scan_page.h"
#include "ullage/scan_table.h"

namespace ullage::apps {
namespace {

struct ScanCommand {
  ScanArguments arguments;
  TableOptions table;
  std::optional<double> fail_under;
  std::string json, csv, html;
};

std::string csv_text(const scan::ScanResult& result) {
  report::CsvWriter csv;
  for (const char* name :
       {"layer", "name", "stack", "head", "kv_head", "certificate_by", "headroom_tier"})
    csv.text(name);
  scan::HeadResult every_column;
  every_column.rope.emplace();
  std::vector<std::string> columns;
  for (const scan::NamedFigure& figure : scan::figures_of(every_column))
    columns.push_back(figure.name);
  for (const std::string& column : columns) csv.text(column);
  csv.end_row();
  for (const scan::LayerResult& layer : result.layers)
    for (const scan::HeadResult& head : layer.heads) {
      csv.integer(layer.layer)
          .text(layer.name)
          .text(layer.stack)
          .integer(head.head)
          .integer(head.kv_head);
      csv.text(head.bounds.certificate_by).text(head.headroom_tier);
      // Heads without RoPE have fewer figures, in the same order.
      const std::vector<scan::NamedFigure> figures = scan::figures_of(head);
      auto figure = figures.begin();
      for (const std::string& column : columns) {
        const bool present = figure != figures.end() && figure->name == column;
        if (present && figure->figure->known())
          csv.number(figure->figure->value());
        else
          csv.missing();
        if (present) ++figure;
      }
      csv.end_row();
    }
  return csv.take();
}

bool fails(const scan::ScanResult& result, double threshold) {
  const double max = formats::find_format(result.format)->max_finite();
  for (const scan::LayerResult& layer : result.layers)
    for (const scan::HeadResult& head : layer.heads)
      if (scan::lacks_headroom(head, max, threshold)) return true;
  return false;
}

Result<int> scan_checkpoint(const ScanCommand& command) {
  ULLAGE_ASSIGN(OutputFile json, OutputFile::open(command.json));
  ULLAGE_ASSIGN(OutputFile csv, OutputFile::open(command.csv));
  ULLAGE_ASSIGN(OutputFile html, OutputFile::open(command.html));
  ULLAGE_TRY(check_distinct({&json, &csv, &html}));
  ScanArguments arguments = command.arguments;
  arguments.spectra = html.wanted();
  ULLAGE_ASSIGN(const Scanned scanned, run_scan(arguments));
  const scan::ScanResult& result = scanned.result;
  if (!json.is_stdout() && !csv.is_stdout() && !html.is_stdout())
    fmt::print("{}", scan_text(result, command.table, report::terminal_of(STDOUT_FILENO)));
  if (json.wanted()) ULLAGE_TRY(json.write(scan::to_json(result)));
  if (csv.wanted()) ULLAGE_TRY(csv.write(csv_text(result)));
  if (html.wanted()) {
    ULLAGE_ASSIGN(const std::string page, scan_page(result));
    ULLAGE_TRY(html.write(page));
  }
  ULLAGE_TRY(commit_all({&json, &csv, &html}));
  return command.fail_under && fails(result, *command.fail_under) ? kBelowThreshold : kDone;
}

}  // namespace

void add_scan(CLI::App& app, Action& run) {
  auto command = std::make_shared<ScanCommand>();
  CLI::App* scan = app.add_subcommand(
      "scan", "How large every head's logits and projections can get, from the weights alone");
  add_scan_arguments(*scan, command->arguments);
  add_layer_arguments(*scan, command->arguments, "descales, worst head and --fail-under");
  scan->add_flag("--heads", command->table.heads, "Show every head");
  scan->add_option("--top", command->table.top, "Show this many heads with the least headroom")
      ->check(whole_number());
  scan->add_option("--fail-under", command->fail_under,
                   "Exit with 1 when a head has fewer bits of headroom in --format (or unknown: "
                   "weights not finite)")
      ->check([](const std::string& text) {
        const bool number = text.find_first_of("0123456789") != std::string::npos;
        return number ? std::string() : text + " is no number of bits";
      });
  scan->add_option("--json", command->json, "Write the whole report here (- for standard output)");
  scan->add_option("--csv", command->csv, "Write one row a head here");
  scan->add_option("--html", command->html, "Write a self-contained page here");
  scan->footer(
      "Examples:\n"
      "  ullage scan ./Llama-2-7b-hf                          what is there, layer by layer\n"
      "  ullage scan ./model --top 10 --html report.html      the ten worst heads, and a page to "
      "look at\n"
      "  ullage scan ./model --format fp16 --fail-under 2     gate a release: exit 1 below 2 bits\n"
      "  ullage scan org/name --json - | jq .summary          from the local Hugging Face cache\n"
      "\nCertificates hold for every input; expected figures hold with probability 1 - P under an "
      "isotropic\n"
      "model of the inputs. Headroom is log2(format maximum / expected largest |logit|).");
  scan->callback([command, &run] { run = [command] { return scan_checkpoint(*command); }; });
}

}  // namespace ullage::apps
