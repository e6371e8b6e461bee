#include "ullage/scan_arguments.h"

#include <charconv>
#include <memory>

#include "ullage/base/version.h"
#include "ullage/command.h"
#include "ullage/cuda/gram_engine.h"
#include "ullage/formats/blocks.h"
#include "ullage/formats/format.h"
#include "ullage/report/numbers.h"
#include "ullage/report/progress.h"

namespace ullage::apps {
namespace {

Result<int> parse_offsets(const std::string& text) {
  if (text == "all") return 0;
  int count = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), count);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || count < 1)
    return Error{Code::usage, "must be a positive number or `all`", "--offsets", "", text};
  return count;
}

}  // namespace

Result<scan::ScanOptions> scan_options(const ScanArguments& arguments) {
  scan::ScanOptions options;
  const Result<formats::Format> format = formats::find_format(arguments.format);
  if (!format.ok())
    return Error{Code::usage,
                 formats::find_block_format(arguments.format).ok()
                     ? "blocks are no format of a logit; name their element's"
                     : "no such format; `ullage formats` lists them",
                 "--format", "", arguments.format};
  if (!format->has_sign)
    return Error{Code::usage, "holds no negative numbers, so no logits", "--format", "",
                 arguments.format};
  if (arguments.device == "cuda") {
    ULLAGE_ASSIGN(options.grams, cuda::make_gram_engine());
  } else if (arguments.device != "cpu") {
    return Error{Code::usage, "no such device", "--device", "cpu or cuda", arguments.device};
  }
  if (!(arguments.probability > 0 && arguments.probability < 1))
    return Error{Code::usage, "must be above 0 and below 1", "--probability", "",
                 report::format_shortest(arguments.probability)};
  if (arguments.context < 0 || arguments.context > (std::int64_t{1} << 40))
    return Error{Code::usage, "must be a number of tokens from 1 to 2^40", "--context", "",
                 std::to_string(arguments.context)};
  ULLAGE_ASSIGN(options.offsets, parse_offsets(arguments.offsets));
  ULLAGE_ASSIGN(options.layers, scan::parse_layers(arguments.layers));
  options.format = arguments.format;
  options.context = arguments.context;
  options.probability = arguments.probability;
  options.exact_context = arguments.exact_context;
  options.threads = arguments.threads;
  options.spectra = arguments.spectra;
  return options;
}

void add_scan_arguments(CLI::App& command, ScanArguments& arguments, const char* checkpoint) {
  command
      .add_option(checkpoint, arguments.checkpoint,
                  "A folder, a .safetensors file, or ORG/NAME in the local Hugging Face cache")
      ->required();
  command.add_option("--config", arguments.config,
                     "config.json to use instead of the one beside the weights");
  command
      .add_option("--context", arguments.context,
                  "Tokens in a sequence (default: the config's max_position_embeddings, else 2048)")
      ->check(whole_number(1));
  command
      .add_option("--probability", arguments.probability,
                  "Chance, a head and sequence, that an expected figure is exceeded")
      ->capture_default_str();
  command.add_flag(
      "--exact-context", arguments.exact_context,
      "Certify RoPE heads over the offsets of the context, not all angles (slower, tighter)");
  command
      .add_option("--offsets", arguments.offsets,
                  "RoPE offsets to sample for the supremum, or `all`")
      ->capture_default_str();
  add_threads_option(command, arguments.threads);
}

void add_layer_arguments(CLI::App& command, ScanArguments& arguments,
                         const std::string& format_is_for) {
  command.add_option("--format", arguments.format, "Format of " + format_is_for)
      ->capture_default_str();
  command.add_option("--layers", arguments.layers,
                     "Only these: 3, 4:7 (7 too), :2, 4:, or a regular expression on the name");
  command
      .add_option("--device", arguments.device,
                  "Where Grams are made: cpu or cuda (`ullage doctor` says whether a GPU is there)")
      ->capture_default_str();
}

Result<Scanned> run_scan(const ScanArguments& arguments) {
  ULLAGE_ASSIGN(scan::ScanOptions options, scan_options(arguments));
  checkpoint::LocateOptions locate;
  locate.config = arguments.config;
  ULLAGE_ASSIGN(checkpoint::Container container,
                checkpoint::open_container(arguments.checkpoint, locate));
  Scanned scanned;
  ULLAGE_ASSIGN(scanned.model,
                checkpoint::read_attention(container.store, container.config, container.weights));
  std::unique_ptr<report::Progress> progress;
  options.progress = [&](std::size_t done, std::size_t total) {
    if (!progress) {
      report::ProgressOptions bar;
      bar.label = "scanning layers";
      bar.total = total;
      progress = std::make_unique<report::Progress>(bar);
    }
    if (done > 0) progress->tick();
  };
  ULLAGE_ASSIGN(scanned.result,
                scan::scan(container, scanned.model, arguments.checkpoint, options));
  scanned.result.version = version();
  if (const auto classes = container.config.strings("architectures");
      classes.ok() && !classes->empty())
    scanned.result.model_class = classes->front();
  scanned.sharded = !container.location.index.empty();
  return scanned;
}

}  // namespace ullage::apps
