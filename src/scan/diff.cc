#include "ullage/scan/diff.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "scan/layer_amax.h"
#include "ullage/formats/format.h"

namespace ullage::scan {
namespace {

using LayerPair = std::pair<const LayerResult*, const LayerResult*>;

std::vector<LayerPair> common_layers(const ScanResult& before, const ScanResult& after,
                                     std::vector<LeftOut>& left_out) {
  std::map<std::string, const LayerResult*> first;
  for (const LayerResult& layer : before.layers) first.emplace(layer.name, &layer);
  std::vector<LayerPair> pairs;
  for (const LayerResult& layer : after.layers) {
    const auto found = first.find(layer.name);
    if (found == first.end()) {
      left_out.push_back({layer.name, "only the second checkpoint has it"});
      continue;
    }
    if (found->second->heads.size() == layer.heads.size()) {
      pairs.emplace_back(found->second, &layer);
    } else {
      left_out.push_back({layer.name, std::to_string(found->second->heads.size()) +
                                          " heads, then " + std::to_string(layer.heads.size())});
    }
    first.erase(found);
  }
  for (const LayerResult& layer : before.layers)
    if (first.contains(layer.name))
      left_out.push_back({layer.name, "only the first checkpoint has it"});
  return pairs;
}

const Figure& logit_of(const HeadResult& head, Tier tier) {
  return tier == Tier::expected ? head.bounds.expected_before_cap : head.bounds.before_cap;
}

// Why a head has no headroom, or nothing.
std::string no_headroom(const HeadResult& head, Tier tier) {
  const Figure& logit = logit_of(head, tier);
  if (!head.finite) return "weights are not finite";
  if (!logit.known()) return logit.why();
  return logit.value() > 0 ? "" : "all weights zero";
}

void compare_heads(const LayerPair& layers, double format_max, Comparison& out) {
  const auto& [first, second] = layers;
  std::map<std::string, int> without;  // reason -> heads
  for (std::size_t i = 0; i < second->heads.size(); ++i) {
    const HeadResult& before = first->heads[i];
    const HeadResult& after = second->heads[i];
    const bool expected =
        before.bounds.expected_before_cap.known() && after.bounds.expected_before_cap.known();
    const Tier tier = expected ? Tier::expected : Tier::certificate;
    const std::string why_before = no_headroom(before, tier), why_after = no_headroom(after, tier);
    if (!why_before.empty() || !why_after.empty()) {
      ++without[why_after.empty() ? "in the first: " + why_before : "in the second: " + why_after];
      continue;
    }
    const auto bits = [&](const HeadResult& head) {
      return std::log2(format_max) - std::log2(logit_of(head, tier).value());
    };
    out.moved.push_back({second, &before, &after, tier, bits(before), bits(after)});
  }
  for (const auto& [why, heads] : without)
    out.left_out.push_back(
        {second->name, std::to_string(heads) + (heads == 1 ? " head, " : " heads, ") + why});
}

// What an entry may reach and still be rounded to the largest number, in units of that.
double rounds_to_largest(const formats::Format& format) {
  const double most = format.max_finite();
  return 1.0 + 0.5 * std::ldexp(1.0, std::ilogb(most) - format.mantissa_bits) / most;
}

class ResumeCheck {
 public:
  ResumeCheck(const formats::Format& format, Comparison& out)
      : most_(format.max_finite()), rounds_(rounds_to_largest(format)), out_(out) {}

  void layer(const LayerPair& layers) {
    double first = 0, second = 0;  // over all three, in one tier
    const Tier together = all_expected(layers) ? Tier::expected : Tier::certificate;
    bool whole = true;
    for (const TensorAmax& tensor : kTensorAmax) {
      const Tier own = has_expected(layers, tensor) ? Tier::expected : Tier::certificate;
      const Figure before = amax(*layers.first, tensor, own);
      const Figure after = amax(*layers.second, tensor, own);
      if (!before.known() || !after.known()) {
        whole = false;
        out_.left_out.push_back(
            {layers.second->name, "amax of " + std::string(tensor.name) +
                                      (before.known() ? " in the second: " : " in the first: ") +
                                      (before.known() ? after : before).why()});
        continue;
      }
      add(layers.second, tensor.name, own, before.value(), after.value());
      first = std::max(first, amax(*layers.first, tensor, together).value());
      second = std::max(second, amax(*layers.second, tensor, together).value());
    }
    if (whole) add(layers.second, "q k v", together, first, second);
  }

 private:
  static Figure amax(const LayerResult& layer, const TensorAmax& tensor, Tier tier) {
    return largest_of_heads(layer, tensor.in(tier));
  }
  static bool has_expected(const LayerPair& layers, const TensorAmax& tensor) {
    return amax(*layers.first, tensor, Tier::expected).known() &&
           amax(*layers.second, tensor, Tier::expected).known();
  }
  static bool all_expected(const LayerPair& layers) {
    return std::all_of(kTensorAmax.begin(), kTensorAmax.end(),
                       [&](const TensorAmax& tensor) { return has_expected(layers, tensor); });
  }
  void add(const LayerResult* layer, const char* tensor, Tier tier, double before, double after) {
    StaleScale stale{layer, tensor, tier, before > 0 ? most_ / before : 1.0, 0, false};
    stale.reached = before > 0 ? after / before : after / most_;
    stale.saturates = stale.reached > rounds_;
    out_.stale.push_back(stale);
  }

  double most_, rounds_;
  Comparison& out_;
};

}  // namespace

Comparison compare(const ScanResult& before, const ScanResult& after) {
  Comparison out;
  const formats::Format format = *formats::find_format(after.format);
  const bool scaled = check_scale_format(after.format).ok();
  const std::vector<LayerPair> layers = common_layers(before, after, out.left_out);
  out.layers = layers.size();
  ResumeCheck check(format, out);
  for (const LayerPair& pair : layers) {
    compare_heads(pair, format.max_finite(), out);
    if (scaled) check.layer(pair);
  }
  return out;
}

}  // namespace ullage::scan
