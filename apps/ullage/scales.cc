// ullage scales: Q/K/V scales under the names and shapes that each consumer reads.
#include "ullage/scan/scales.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>

#include "ullage/base/text.h"
#include "ullage/checkpoint/container.h"
#include "ullage/command.h"
#include "ullage/report/output.h"
#include "ullage/scan_arguments.h"

namespace ullage::apps {
namespace {

struct ScalesCommand {
  ScanArguments arguments;
  std::string to, tier = "certificate", out;
};

bool is_own_file(const std::string& path) {
  checkpoint::Location location;
  location.given = location.weights = path;
  const auto store = checkpoint::TensorStore::open(location);
  if (!store.ok()) return false;
  for (const checkpoint::TensorInfo& tensor : store->tensors())
    if (tensor.name.find("scale") == std::string_view::npos &&
        tensor.name.find("amax_fwd") == std::string_view::npos)
      return false;
  return true;
}

// Scales never replace weights: an existing file is written over only when all it holds are scales.
Status check_target(const std::string& path) {
  std::error_code ignored;
  if (path == "-" || !std::filesystem::exists(path, ignored)) return {};
  if (is_own_file(path)) return {};
  return Error{Code::usage, "exists and is no file of scales; name another with --out", path, "",
               ""};
}

Result<std::string> default_target(const ScalesCommand& command) {
  checkpoint::LocateOptions options;
  options.config = command.arguments.config;
  ULLAGE_ASSIGN(const checkpoint::Location location,
                checkpoint::locate(command.arguments.checkpoint, options));
  return (std::filesystem::path(location.folder) / ("ullage-scales-" + command.to + ".safetensors"))
      .string();
}

Result<int> write_scales(const ScalesCommand& command) {
  ULLAGE_ASSIGN(const scan::Consumer consumer, scan::consumer_from_name(command.to));
  ULLAGE_ASSIGN(const scan::Tier tier, scan::tier_from_name(command.tier));
  const bool is_json = consumer == scan::Consumer::json;
  std::string target = command.out;
  if (target.empty()) {
    target = "-";
    if (!is_json) {
      ULLAGE_ASSIGN(target, default_target(command));
    }
  }
  if (!is_json) ULLAGE_TRY(check_target(target));
  ULLAGE_ASSIGN(report::AtomicFile file, report::AtomicFile::create(target));
  ULLAGE_ASSIGN(const Scanned scanned, run_scan(command.arguments));
  ULLAGE_ASSIGN(const scan::ScaleExport exported,
                scan::export_scales(scanned.result, consumer, tier));
  for (const std::string& omitted : exported.omitted)
    std::fprintf(stderr, "ullage: not exported: %s\n", escape_text(omitted, 400).c_str());
  ULLAGE_TRY(file.write(is_json ? exported.json
                                : checkpoint::to_safetensors(exported.tensors, exported.metadata)));
  ULLAGE_TRY(file.commit());
  if (target == "-") return kDone;
  const std::string what =
      is_json ? "every head" : fmt::format("{} tensors", exported.tensors.size());
  fmt::print("{}: {}\n", escape_text(target, 400), what);
  if (consumer == scan::Consumer::compressed_tensors)
    fmt::print("config.json needs, beside what it has:\n{}", exported.json);
  return kDone;
}

}  // namespace

void add_scales(CLI::App& app, Action& run) {
  auto command = std::make_shared<ScalesCommand>();
  CLI::App* scales = app.add_subcommand(
      "scales", "Write Q/K/V scales as vLLM, FlashAttention-3 or TransformerEngine read them");
  add_scan_arguments(*scales, command->arguments);
  scales->add_option("--to", command->to, "vllm, compressed-tensors, fa3, te or json")->required();
  scales
      ->add_option("--tier", command->tier,
                   "certificate (cannot saturate) or expected (an estimate)")
      ->capture_default_str();
  scales->add_option("--out", command->out,
                     "File to write (default: ullage-scales-TO.safetensors beside the weights; "
                     "json: standard output)");
  scales->footer(
      "Examples:\n"
      "  ullage scales ./model --to vllm                      descales a layer, a file beside the "
      "weights\n"
      "  ullage scales ./model --to fa3 --tier expected --out scales.safetensors\n"
      "  ullage scales ./model --to json                      every head, both directions named\n"
      "\nDescale: x is about x_fp8 * descale. TransformerEngine's scale is its inverse and "
      "multiplies.\n"
      "The weights are never touched. Logits have no scale here: no FP8 attention kernel reads "
      "one.");
  scales->callback([command, &run] { run = [command] { return write_scales(*command); }; });
}

}  // namespace ullage::apps
