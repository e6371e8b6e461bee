#include "ullage/scan/scan.h"

#include <algorithm>
#include <chrono>

#include "scan/layer.h"
#include "ullage/base/cpu.h"
#include "ullage/base/parallel.h"
#include "ullage/formats/format.h"

namespace ullage::scan {
namespace {

constexpr std::int64_t kDefaultContext = 2048;

// So that no thread waits for a step of a layer that one thread takes, nor for its slowest head.
constexpr int kLayersInFlight = 2;

using Layers = std::vector<const checkpoint::AttentionLayer*>;

int layers_in_flight(const checkpoint::Container& container, const Layers& layers,
                     const ScanOptions& options) {
  const bool large = std::any_of(layers.begin(), layers.end(), [&](const auto* layer) {
    return LayerRows::held_bytes(container, *layer) * kLayersInFlight > LayerRows::kHeldBytes;
  });
  // An engine takes one layer at a time.
  return large || options.grams != nullptr ? 1 : kLayersInFlight;
}

void keep_worst(const LayerResult& layer, double format_max, std::optional<WorstHead>& worst) {
  for (const HeadResult& head : layer.heads) {
    const Figure bits = headroom_bits(head, format_max);
    if (!head.finite || !bits.known()) continue;
    if (!worst || bits.value() < worst->headroom_bits)
      worst = WorstHead{layer.layer, layer.name, head.head, bits.value()};
  }
}

// What --exact-context cannot do is said, and all angles are certified there.
void say_all_angles(const Layers& layers, ScanResult& result) {
  const auto count = std::count_if(layers.begin(), layers.end(), [&](const auto* layer) {
    return static_cast<double>(result.context) > layer->rope.angles_until;
  });
  if (count > 0)
    result.assumptions.push_back(
        "The angles of RoPE within the context are not known in " + std::to_string(count) +
        " of the layers, because they change with the length of the text, differ for images or can "
        "be "
        "read in two ways: --exact-context has no effect there, the certificates are for all "
        "angles.");
}

bool any_finite(const ScanResult& result) {
  for (const LayerResult& layer : result.layers)
    for (const HeadResult& head : layer.heads)
      if (head.finite) return true;
  return false;
}

}  // namespace

Result<ScanResult> scan(const checkpoint::Container& container,
                        const checkpoint::AttentionModel& model, const std::string& shown_name,
                        const ScanOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  ULLAGE_ASSIGN(const formats::Format format, formats::find_format(options.format));
  ScanResult result;
  result.checkpoint = shown_name;
  result.model_type = model.model_type;
  result.format = options.format;
  result.probability = options.probability;
  result.assumptions = model.assumptions;
  result.context = options.context > 0 ? options.context : model.max_positions;
  if (result.context <= 0) {
    result.context = kDefaultContext;
    result.context_assumed = true;
  }
  result.threads = options.threads > 0 ? options.threads : default_threads();
  result.cpu_path = name_of(cpu_path());
  result.device = options.grams != nullptr ? options.grams->device() : "cpu";

  Layers layers;
  for (const checkpoint::AttentionLayer& layer : model.layers)
    if (options.layers.takes(layer.layer, layer.name)) layers.push_back(&layer);
  if (layers.empty())
    return Error{Code::nothing_to_scan,
                 "no attention layer was found, or --layers took none of them", shown_name, "",
                 std::to_string(model.layers.size()) + " attention layers"};
  if (options.exact_context) say_all_angles(layers, result);
  const int in_flight = layers_in_flight(container, layers, options);
  LayerMemory memory(result.threads, in_flight);
  if (options.progress) options.progress(0, layers.size());
  std::vector<LayerOutcome> outcomes(layers.size());
  std::vector<Status> statuses(layers.size());
  const auto scan_one = [&](Job& job) -> Status {
    ULLAGE_ASSIGN(const LayerContext context,
                  make_context(*layers[job.index()], options, result.context));
    LayerOutcome& outcome = outcomes[job.index()];
    ULLAGE_ASSIGN(outcome, scan_layer(container, context, job, memory));
    fill_descales(format, outcome.result);
    return {};
  };
  Status status;
  parallel_jobs(
      layers.size(), in_flight, result.threads,
      [&](Job& job) { statuses[job.index()] = scan_one(job); },
      [&](std::size_t i) {
        status = std::move(statuses[i]);
        if (!status.ok()) return false;
        keep_worst(outcomes[i].result, format.max_finite(), result.worst);
        result.layers.push_back(std::move(outcomes[i].result));
        for (NotFinite& bad : outcomes[i].not_finite) result.not_finite.push_back(std::move(bad));
        if (options.progress) options.progress(i + 1, layers.size());
        return true;
      });
  ULLAGE_TRY(std::move(status));
  if (!any_finite(result)) {
    if (result.not_finite.empty())
      return Error{Code::nothing_to_scan,
                   "every head has weights out of the range that FP64 squares",
                   shown_name,
                   "magnitudes from 1e-130 to 1e130",
                   {}};
    return Error{Code::nothing_to_scan, "every head has NaN or infinite weights",
                 result.not_finite.front().tensor, "finite weights",
                 std::to_string(result.not_finite.front().count) + " NaN or infinite values"};
  }
  result.bytes_read = container.store.bytes_read();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace ullage::scan
