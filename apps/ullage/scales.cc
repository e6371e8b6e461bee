// ullage scales: Q/K/V scales under the names and shapes that each consumer reads.
#include "ullage/scan/scales.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "ullage/base/text.h"
#include "ullage/checkpoint/container.h"
#include "ullage/command.h"
#include "ullage/output_file.h"
#include "ullage/scan_arguments.h"

namespace ullage::apps {
namespace {

struct ScalesCommand {
  ScanArguments arguments;
  std::string to, tier = "certificate", out;
};

// Whether a file begins as to_safetensors() begins those that this command writes: with its metadata.
bool is_own_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string start(512, '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(file.gcount()));
  constexpr std::size_t kLength = 8;
  constexpr std::string_view kMetadata = R"({"__metadata__":{"direction":)";
  const std::string_view header = std::string_view(start).substr(std::min(kLength, start.size()));
  const std::string_view metadata = header.substr(0, header.find('}'));
  return metadata.starts_with(kMetadata) && metadata.find(R"("ullage":)") != std::string_view::npos;
}

// Scales never replace weights, nor scales that somebody else calibrated.
Status check_target(const std::string& path) {
  std::error_code ignored;
  if (path == "-" || !std::filesystem::exists(path, ignored) || is_own_file(path)) return {};
  return Error{Code::usage,
               "exists and was not written by `ullage scales`; name another with --out", path, "",
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
  if (const Status format = scan::check_scale_format(command.arguments.format); !format.ok())
    return as_usage(format.error());
  const bool is_json = consumer == scan::Consumer::json;
  std::string target = command.out;
  if (target.empty()) {
    target = "-";
    if (!is_json) {
      ULLAGE_ASSIGN(target, default_target(command));
    }
  }
  if (!is_json) ULLAGE_TRY(check_target(target));
  ULLAGE_ASSIGN(OutputFile file,
                is_json ? OutputFile::open(target) : OutputFile::open_weights(target));
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
  const bool by_index =
      consumer == scan::Consumer::vllm || consumer == scan::Consumer::compressed_tensors;
  if (by_index && scanned.sharded)
    fmt::print(
        "vLLM reads only files that the checkpoint's index lists: add these tensors to its "
        "weight_map, with "
        "this file's name.\n");
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
  add_layer_arguments(*scales, command->arguments, "the scales: e4m3 or e5m2");
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
