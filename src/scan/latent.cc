#include "scan/latent.h"

#include <algorithm>
#include <cmath>

#include "ullage/bounds/latent.h"
#include "ullage/bounds/projections.h"

namespace ullage::scan {
namespace {

constexpr const char* kNoSpectrum = "latent attention: its inner norms leave no single W_Q^T W_K";
constexpr const char* kNoExpected = "latent attention";

// Query bias: the nope rows' bias, then the rope rows'.
std::vector<double> query_bias(const checkpoint::AttentionLayer& layer, int head) {
  std::vector<double> bias;
  for (const checkpoint::Projection* part : {&layer.query, &layer.latent->query_rope}) {
    const auto slice = bias_of(*part, head);
    bias.insert(bias.end(), slice.begin(), slice.end());
    bias.resize(static_cast<std::size_t>(part == &layer.query ? part->rows
                                                              : layer.query.rows + part->rows));
  }
  return bias;
}

// RoPE's factor on the rope rows of the query, which stand below its nope rows.
std::vector<double> stacked_factor(const LayerContext& context) {
  if (context.rope_factor.empty()) return {};
  std::vector<double> factor(static_cast<std::size_t>(context.layer->query.rows), 1);
  factor.insert(factor.end(), context.rope_factor.begin(), context.rope_factor.end());
  return factor;
}

}  // namespace

void scan_latent_head(const LayerContext& context, const checkpoint::LayerInput& input, int head,
                      const spectrum::HeadRows& stored, const spectrum::HeadRows& key_nope,
                      const Folded& key_rope, HeadWorkspace& workspace, HeadResult& out) {
  const checkpoint::AttentionLayer& layer = *context.layer;
  fold_precisely(stored, input.query, query_bias(layer, head), workspace.grams, workspace.query);
  // A bias before an inner norm has no effect on the bound, and kv_b has none.
  fold_precisely(key_nope, input.key, {}, workspace.grams, workspace.precise_key);
  out.finite = workspace.query.finite && workspace.precise_key.finite && key_rope.finite;
  if (!out.finite)
    return fill_none(refusal_of({&workspace.query, &workspace.precise_key, &key_rope}), out);
  fill_none(kNoSpectrum, out);

  const bounds::Side query = bounds_side(workspace.query, stacked_factor(context));
  const bounds::Side nope = bounds_side(workspace.precise_key, {});
  const bounds::Side rope = bounds_side(key_rope, context.rope_factor);
  bounds::LatentHead view{
      .query = query, .key_nope = nope, .key_rope = rope, .rotation = context.rotation};
  view.scale = context.score_scale;
  bounds::LatentOptions options;
  options.soft_cap = layer.soft_cap;
  const auto found = bounds::certify_latent(view, options);
  if (!found.ok()) return fill_none(found.error().what, out);
  HeadBounds& bounds = out.bounds;
  bounds.latent = bounds.before_cap = found->before_cap;
  bounds.certificate = found->certificate;
  bounds.certificate_by = std::string(found->by);
  bounds.additive_bias = additive_bias(context, head);
  for (Figure* figure : {&bounds.naive, &bounds.interaction, &bounds.augmented, &bounds.rope,
                         &bounds.qk_norm, &bounds.clip})
    *figure = Figure::none(kNoSpectrum);

  const auto largest = [](const bounds::Side& side, std::span<const std::array<int, 2>> pairs) {
    return bounds::amax(bounds::rows_of(side, pairs), side.squared_norm);
  };
  const bounds::Side query_before = bounds_side(workspace.query, {});
  const bounds::Side rope_before = bounds_side(key_rope, {});
  const auto pairs = bounds::shifted(context.rotation.pairs, layer.query.rows);
  AmaxFigures seen;
  seen.kernel = largest(query, pairs);
  scale_amax(context, seen);
  out.amax_query = seen.kernel;
  out.amax_key = std::max(largest(nope, {}), largest(rope, context.rotation.pairs));
  out.amax_projection_query = largest(query_before, {});
  out.amax_projection_key = std::max(largest(nope, {}), largest(rope_before, {}));
  out.amax_expected_query = out.amax_expected_key = Figure::none(kNoExpected);
  out.overflow_probability.fill(Figure::none(kNoExpected));
  for (Figure* figure : {&bounds.expected_off_diagonal, &bounds.expected_diagonal, &bounds.expected,
                         &bounds.expected_before_cap})
    *figure = Figure::none(kNoExpected);
  fill_headroom(context, out);
}

}  // namespace ullage::scan
