#include "ullage/attention/switches.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "ullage/attention/study.h"
#include "ullage/base/parallel.h"

namespace ullage::attention {

namespace {

// As many tiles as the published kernel has: 2 x 2 of a context of 256 here.
constexpr Tiles kTiles = {128, 128};

Treatment flash() {
  Treatment treatment = {bf16_paper(), {}};
  treatment.options.tiles = kTiles;
  return treatment;
}

Treatment standard() { return {bf16_standard(), {}}; }

Treatment with_delta(DeltaSource source) {
  Treatment treatment = flash();
  treatment.recipe.delta_source = source;
  return treatment;
}

Treatment with_shift(ShiftRule rule) {
  Treatment treatment = flash();
  treatment.options.shift.rule = rule;
  return treatment;
}

Treatment v0(bool, bool) { return flash(); }

Treatment v1(bool, bool) {
  Treatment treatment = flash();
  treatment.options.tiles = Tiles{0, 0};
  return treatment;
}

Treatment v2(bool planted_layer, bool) { return planted_layer ? flash() : standard(); }

Treatment v3(bool planted_layer, bool) { return planted_layer ? standard() : flash(); }

Treatment v4(bool, bool) { return with_delta(DeltaSource::probability); }

Treatment v5(bool, bool) { return with_delta(DeltaSource::recomputed); }

Treatment v6(bool, bool) { return with_delta(DeltaSource::twin); }

Treatment v7(bool planted_layer, bool planted_head) {
  return planted_layer && planted_head ? with_delta(DeltaSource::twin) : flash();
}

// The product's operand P-bar, its result and the buffer that it is added to, but O still BF16.
Treatment v8_rounded(bool, bool) {
  Treatment treatment = flash();
  treatment.recipe[Quantity::weight] = {};
  treatment.recipe[Quantity::tile_output] = {};
  treatment.recipe[Quantity::running_output] = {};
  return treatment;
}

// In tensor code an FP32 product makes O FP32 too.
Treatment v8(bool planted_layer, bool planted_head) {
  Treatment treatment = v8_rounded(planted_layer, planted_head);
  treatment.recipe[Quantity::output] = {};
  return treatment;
}

Treatment v9(bool, bool) { return with_shift(ShiftRule::published); }

Treatment v9_stabilised(bool, bool) { return with_shift(ShiftRule::stabilised); }

constexpr std::optional<bool> kFails = true;
constexpr std::optional<bool> kStable = false;

constexpr std::array<Switch, 12> kSwitches = {{
    {"V0", "BF16 flash attention in tiles", kFails, v0},
    {"V1", "one tile: no tiling", kFails, v1},
    {"V2", "flash attention in the failing layer alone", kFails, v2},
    {"V3", "standard attention in the failing layer alone", kStable, v3},
    {"V4", "delta = rowsum(dP o P)", kStable, v4},
    {"V5", "delta from O = P V computed again in FP32", kStable, v5},
    {"V6", "delta from an FP32 O", kStable, v6},
    {"V7", "V6 in the failing heads alone", kStable, v7},
    {"V8", "P-bar V, and so O, in FP32", kStable, v8},
    {"V8 rounded", "P-bar V in FP32, O rounded to BF16 after it", {}, v8_rounded},
    {"V9", "stabilised softmax as published, beta 2", kStable, v9},
    {"V9 stabilised", "stabilised softmax of this library", {}, v9_stabilised},
}};

constexpr double kOneSigned = 1e-6;
constexpr double kShareOfFailure = 0.5;

// delta's error of every head of both layers under one switch: [layer * heads + head].
struct Measured {
  std::vector<SignedErrorSum> heads;
};

class Bench {
 public:
  explicit Bench(const SwitchOptions& options) : options_(options) {}

  Status prepare() {
    for (std::size_t step = 0; step < options_.steps; ++step) {
      for (const bool planted : {true, false}) {
        PlantedOptions layer = options_.layer;
        layer.seed += 2 * step + (planted ? 0 : 1);
        if (!planted) layer.planted_heads = 0;
        ULLAGE_ASSIGN(StudyInputs inputs, make_planted(layer));
        batches_.push_back(std::move(inputs));
      }
    }
    return {};
  }

  Result<Measured> measure(const Switch& change) const {
    const std::size_t heads = options_.layer.heads;
    const std::size_t per_batch = options_.layer.batch * heads;
    std::vector<SignedErrorSum> sums(batches_.size() * per_batch);
    std::vector<Status> statuses(sums.size());
    parallel_for(sums.size(), options_.threads, [&](std::size_t index, int) {
      statuses[index] =
          run(change, index / per_batch, index % per_batch / heads, index % heads, sums[index]);
    });
    Measured out;
    out.heads.resize(2 * heads);
    for (std::size_t index = 0; index < sums.size(); ++index) {
      if (!statuses[index].ok()) return std::move(statuses[index]).error();
      const std::size_t layer = index / per_batch % 2;
      out.heads[layer * heads + index % heads].merge(sums[index]);
    }
    return out;
  }

  // Of the planted heads together.
  [[nodiscard]] SignedError planted(const Measured& measured) const {
    SignedErrorSum sum;
    for (std::size_t h = 0; h < options_.layer.planted_heads; ++h) sum.merge(measured.heads[h]);
    return sum.result();
  }

 private:
  Status run(const Switch& change, std::size_t batch, std::size_t b, std::size_t h,
             SignedErrorSum& sum) const {
    const bool planted_layer = batch % 2 == 0;
    Treatment treatment =
        change.treat(planted_layer, planted_layer && h < options_.layer.planted_heads);
    treatment.options.shift.seed = batch;
    ULLAGE_ASSIGN(sum, delta_errors(batches_[batch], treatment.recipe, treatment.options, b, h));
    return {};
  }

  SwitchOptions options_;
  std::vector<StudyInputs> batches_;  // planted layer, ordinary layer, and so on
};

bool one_signed(const SignedError& error, double failure) {
  return error.sign_probability < kOneSigned && std::fabs(error.mean) >= kShareOfFailure * failure;
}

}  // namespace

std::span<const Switch> switches() { return kSwitches; }

Result<std::vector<ValueRow>> measure_switches(const SwitchOptions& options) {
  Bench bench(options);
  ULLAGE_TRY(bench.prepare());
  std::vector<ValueRow> rows;
  double failure = 0;
  for (const Switch& change : kSwitches) {
    ULLAGE_ASSIGN(const Measured measured, bench.measure(change));
    const SignedError planted = bench.planted(measured);
    if (failure == 0) failure = std::fabs(planted.mean);
    const bool fails =
        std::any_of(measured.heads.begin(), measured.heads.end(),
                    [&](const SignedErrorSum& head) { return one_signed(head.result(), failure); });
    const std::string id(change.id);
    std::optional<double> published;
    if (change.published_fails) published = *change.published_fails ? 1 : 0;
    rows.push_back({id + ": fails", published, fails ? 1.0 : 0.0, {}, planted.count});
    rows.push_back({id + ": delta error",
                    {},
                    planted.mean,
                    Interval{planted.lower(), planted.upper()},
                    planted.count});
  }
  return rows;
}

}  // namespace ullage::attention
