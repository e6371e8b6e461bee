#include "scan/head_rope.h"

#include <algorithm>
#include <cmath>

#include "ullage/spectrum/certificate.h"

namespace ullage::scan {
namespace {

using spectrum::Matrix;

// Of Lanczos' recurrence at each sampled offset: from below whatever their number.
constexpr int kSupremumSteps = 8;

}  // namespace

RopeWork fill_rope(const LayerContext& context, const Sides& sides, const bounds::Side& query,
                   const bounds::Side& key, HeadResult& out) {
  RopeWork work;
  if (!context.rotates) return work;
  RopeResult& rope = out.rope.emplace();
  work.searched = true;
  const Matrix query_gram = bounds::inflated(query), key_gram = bounds::inflated(key);
  const bool bounded = std::isfinite(query.squared_norm) && std::isfinite(key.squared_norm);
  // RoPE's factor, where there is one, is in the Grams here and not in the norms.
  const bool plain = context.rope_factor.empty();
  const double norm_q = plain ? sides.query->norm.estimate : 0;
  const double norm_k = plain ? sides.key->norm.estimate : 0;
  const spectrum::Side q{&query_gram, query.bias, bounded ? std::sqrt(query.squared_norm) : 1,
                         norm_q};
  const spectrum::Side k{&key_gram, key.bias, bounded ? std::sqrt(key.squared_norm) : 1, norm_k};
  work.scaling = spectrum::optimal_scaling(context.rotation, q, k);
  spectrum::Scaling unbiased = work.scaling;
  if (unbiased.t_q > 0) unbiased.norm_q = 0;
  if (unbiased.t_k > 0) unbiased.norm_k = 0;
  unbiased.t_q = unbiased.t_k = 0;
  const spectrum::Side q1{&query_gram, {}, 1}, k1{&key_gram, {}, 1};
  double product = spectrum::certified_scaled(context.rotation, q1, k1, unbiased);
  if (plain)  // at D = 1
    product =
        std::min(product, spectrum::round_up(sides.query->norm.bound * sides.key->norm.bound));
  rope.bound = product;
  // Without biases the logit's certificate is the same product, times the lengths of both inputs.
  if (query.bias.empty() && key.bias.empty())
    work.certificate = spectrum::round_up(context.score_scale * q.radius * k.radius * product);
  rope.offsets = static_cast<int>(context.turns.offsets.size());
  if (context.turns.offsets.empty())
    rope.supremum_sampled = Figure::none("angles follow two-dimensional positions, not offsets");
  else
    rope.supremum_sampled =
        std::min(product, spectrum::sampled_supremum(context.rotation, q1, k1, unbiased,
                                                     context.turns, kSupremumSteps)
                              .value);
  const bool known_angles =
      static_cast<double>(context.model.context) <= context.layer->rope.angles_until;
  if (context.options->exact_context && known_angles && !context.turns.offsets.empty() && bounded) {
    spectrum::ContextOptions cells;
    cells.context = static_cast<double>(context.model.context);
    cells.both_signs = !context.layer->causal;
    const auto found = spectrum::bounded_context(context.rotation, q, k, work.scaling, cells);
    work.certificate = spectrum::round_up(context.score_scale * found.bound);
  }
  return work;
}

}  // namespace ullage::scan
