// [R] arXiv 2602.18851: the rank-aware bound gains 8x to 28x over the rank-agnostic one. The gain is the
// ratio of the exponents of the two tails, d / (gamma r), with gamma from (r/2)(gamma - 1 - ln gamma) =
// 30: what makes a token's projection typical but for exp(-30).
#include "experiments/list.h"
#include "ullage/bounds/published.h"

namespace ullage::experiments {
namespace {

constexpr double kTypicality = 30;

struct Model {
  const char* name;
  double width;      // d
  double head_dim;   // r
  double published;  // one decimal, as printed
};
constexpr Model kModels[] = {
    {"GPT-2 XL", 1600, 64, 8.2},
    {"Mistral-7B", 4096, 128, 13.9},
    {"Llama-2-13B", 5120, 128, 17.4},
    {"Llama-2-70B", 8192, 128, 27.8},
};

}  // namespace

Result<Outcome> rank_aware(const Request&) {
  Outcome outcome;
  report::BarChart bars;
  bars.heading = {"Gain of the rank-aware bound",
                  "Ratio of the exponents of the two tail bounds; the bound on |S| itself gains "
                  "its square root."};
  bars.value_label = "d / (gamma r)";
  bars.series = {"published", "ours"};
  for (const Model& model : kModels) {
    const double ours = bounds::exponent_ratio(model.width, model.head_dim, kTypicality);
    outcome.rows.push_back(
        compared(std::string(model.name) + ": exponent ratio", model.published, ours, 0.05));
    bars.names.emplace_back(model.name);
    bars.values.push_back(model.published);
    bars.values.push_back(ours);
  }
  const double least = bounds::exponent_ratio(kModels[0].width, kModels[0].head_dim, kTypicality);
  const double most = bounds::exponent_ratio(kModels[3].width, kModels[3].head_dim, kTypicality);
  outcome.rows.push_back(compared("smallest gain of the four", 8, least, 0.5));
  outcome.rows.push_back(compared("largest gain of the four", 28, most, 0.5));
  outcome.sections.push_back({std::move(bars), report::Place::full});
  return outcome;
}

}  // namespace ullage::experiments
