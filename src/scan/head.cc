#include "scan/head.h"

#include <algorithm>
#include <cmath>

#include "scan/amax.h"
#include "scan/fields.h"
#include "scan/head_rope.h"
#include "ullage/bounds/certificates.h"
#include "ullage/bounds/published.h"
#include "ullage/bounds/qk_norm.h"
#include "ullage/formats/format.h"
#include "ullage/spectrum/certificate.h"
#include "ullage/spectrum/spectrum.h"

namespace ullage::scan {
namespace {

using checkpoint::AttentionLayer;
using checkpoint::InputKind;
using checkpoint::LayerInput;
using spectrum::Arithmetic;
using spectrum::HeadRows;
using spectrum::Matrix;

constexpr const char* kUnboundedInput = "the layer reads the residual stream, which no norm bounds";

// An estimate where no bound is asked for.
spectrum::Bounded estimate(double value) { return {value, value}; }

// sigma of two heads' rows as stored; precise Grams where the fast ones cannot resolve it.
double stored_sigma(const HeadPair& pair, const KeyHead& key, HeadWorkspace& workspace) {
  const double sigma = spectrum::sigma_of_product(workspace.stored.values, key.stored.values);
  // |A|^4 = |A A^T|^2 <= |A A^T|_F^2: above the norms, and little work. Most heads pass on it.
  const auto above = [](const Matrix& gram) {
    return estimate(std::sqrt(spectrum::frobenius_norm(gram)));
  };
  const spectrum::Bounded wide_query = above(workspace.stored.values);
  const spectrum::Bounded wide_key = above(key.stored.values);
  if (!spectrum::needs_precise(estimate(sigma), wide_query, wide_key) ||
      !spectrum::needs_precise(estimate(sigma),
                               estimate(spectrum::norm_of(workspace.stored.values)),
                               estimate(spectrum::norm_of(key.stored.values))))
    return sigma;
  spectrum::Gram key_raw;
  if (!spectrum::gram(spectrum::unfolded(pair.query), Arithmetic::precise, workspace.grams,
                      workspace.stored) ||
      !spectrum::gram(spectrum::unfolded(pair.key), Arithmetic::precise, workspace.grams, key_raw))
    return NAN;
  return spectrum::sigma_of_product(workspace.stored.values, key_raw.values);
}

spectrum::Bounded sigma_of(const LayerContext& context, const Folded& query, const Folded& key) {
  if (context.rotates || context.layer->qk_norm)
    return estimate(spectrum::sigma_of_product(query.gram.values, key.gram.values));
  return spectrum::bounded_sigma(query.gram, query.norm, key.gram, key.norm);
}

Sides choose_sides(const LayerContext& context, const LayerInput& input, const HeadPair& pair,
                   const KeyHead& key, HeadWorkspace& workspace) {
  const AttentionLayer& layer = *context.layer;
  Sides sides{&workspace.query, &key.folded, sigma_of(context, workspace.query, key.folded)};
  if (!spectrum::needs_precise(sides.sigma, sides.query->norm, sides.key->norm)) return sides;
  fold_precisely(pair.query, input.query, bias_of(layer.query, pair.head), workspace.grams,
                 workspace.precise_query);
  fold_precisely(pair.key, input.key, bias_of(layer.key, pair.kv_head), workspace.grams,
                 workspace.precise_key);
  if (!workspace.precise_query.finite || !workspace.precise_key.finite) return sides;
  return {&workspace.precise_query, &workspace.precise_key,
          sigma_of(context, workspace.precise_query, workspace.precise_key)};
}

void fill_spectrum(const LayerContext& context, const Sides& sides, HeadResult& out) {
  const Matrix& query = sides.query->gram.values;
  const Matrix& key = sides.key->gram.values;
  // Three estimates, each with its own rounding.
  const double norm_query = sides.query->norm.estimate, norm_key = sides.key->norm.estimate;
  const double sigma = std::min(sides.sigma.estimate, norm_query * norm_key);
  out.sigma = sigma;
  out.sigma_query = norm_query;
  out.sigma_key = norm_key;
  // |A^T B|_F^2 = tr(A A^T B B^T): both symmetric, so the sum of products of entries.
  double squares = 0;
  for (int i = 0; i < query.rows(); ++i) squares += spectrum::dot(query.row(i), key.row(i));
  squares = std::max(squares, 0.0);
  out.frobenius = std::sqrt(squares);
  if (sigma > 0)
    out.stable_rank = std::clamp(squares / (sigma * sigma), 1.0, static_cast<double>(query.rows()));
  else
    out.stable_rank = Figure::none("all weights zero");
  if (context.options->spectra)
    out.singular_values = spectrum::singular_values_of_product(query, key);
}

bounds::Head make_head(const LayerContext& context, const bounds::Side& query,
                       const bounds::Side& key) {
  bounds::Head head{.query = query, .key = key};
  if (context.rotates) head.rotation = &context.rotation;
  head.attention_factor = context.layer->rope.attention_factor;
  head.scale = context.score_scale;
  head.cross_attention = context.layer->cross;
  if (context.layer->clip_qkv > 0) {
    head.between = bounds::Between::clip;
    head.clip = context.layer->clip_qkv;
  }
  return head;
}

void put_certificates(const LayerContext& context, int head, const bounds::Certificates& found,
                      HeadResult& out) {
  HeadBounds& bounds = out.bounds;
  bounds.naive = to_figure(found.naive);
  bounds.interaction = to_figure(found.interaction);
  bounds.augmented = to_figure(found.augmented);
  bounds.rope = to_figure(found.rope);
  bounds.qk_norm = to_figure(found.qk_norm);
  bounds.clip = to_figure(found.clip);
  bounds.latent = Figure::none("no latent attention");
  bounds.certificate_by = std::string(found.by);
  const double cap = context.layer->soft_cap;
  bounds.before_cap = found.before_cap;
  bounds.certificate = cap > 0
                           ? Figure(spectrum::round_up(bounds::soft_capped(found.before_cap, cap)))
                           : bounds.before_cap;
  bounds.additive_bias = additive_bias(context, head);
}

// Of a BF16 forward pass; `cast`: what q and k are cast to at last, or null.
bounds::OperandRounding rounding_of(const LayerContext& context, const formats::Format* cast) {
  bounds::OperandRounding rounding;
  rounding.unit = formats::kBf16.unit_roundoff();
  rounding.rope = context.rotates ? bounds::RopeArithmetic::operand : bounds::RopeArithmetic::none;
  rounding.floor = 0.5 * formats::kBf16.min_subnormal();
  if (cast != nullptr) {
    rounding.cast_unit = cast->unit_roundoff();
    rounding.floor += 0.5 * cast->min_subnormal();
  }
  return rounding;
}

void fill_rounded(const LayerContext& context, const Sides& sides, HeadResult& out) {
  if (context.layer->temperature_scale > 0) {
    out.bounds.certificate_bf16 = out.bounds.certificate_e4m3 =
        Figure::none("q is rounded once more where a factor grows with its position");
    return;
  }
  const double before_cap = out.bounds.before_cap.value();
  const double factor = std::max(1.0, context.layer->rope.attention_factor);
  const auto side = [&](const Folded& folded) {
    bounds::RoundedSide rounded = folded.rounded;
    for (double* norm : {&rounded.norm, &rounded.frobenius, &rounded.bias, &rounded.beta_norm,
                         &rounded.beta_frobenius})
      *norm *= factor;
    return rounded;
  };
  const bounds::RoundedSide query = side(*sides.query), key = side(*sides.key);
  const auto certify = [&](const formats::Format* cast) -> Figure {
    return bounds::certificate_rounded(before_cap, query, key, context.score_scale,
                                       context.layer->head_dim, rounding_of(context, cast));
  };
  out.bounds.certificate_bf16 = certify(nullptr);
  out.bounds.certificate_e4m3 = certify(&formats::kE4M3);
}

void fill_published(const LayerContext& context, const bounds::Side& query, const bounds::Side& key,
                    HeadResult& out) {
  bounds::PublishedModel model;
  model.width = std::sqrt(static_cast<double>(query.width) * static_cast<double>(key.width));
  model.rank = std::min(model.width, static_cast<double>(context.layer->head_dim));
  model.context = context.model.context;
  model.probability = context.model.probability;
  out.bounds.rank_aware = bounds::rank_aware(model, context.score_scale, out.sigma.value());
  out.bounds.rank_agnostic = bounds::rank_agnostic(model, context.score_scale, out.sigma.value());
}

// Expected figures are written "each at most the certificate", which is after the soft cap.
Figure capped(const bounds::Figure& figure, double certificate) {
  return figure ? Figure(std::min(figure.value, certificate)) : to_figure(figure);
}

void put_no_expected(const std::string& why, HeadResult& out) {
  HeadBounds& bounds = out.bounds;
  bounds.expected_off_diagonal = bounds.expected_diagonal = bounds.expected =
      bounds.expected_before_cap = Figure::none(why);
  out.overflow_probability.fill(Figure::none(why));
}

// Nothing bounds the layer's input, so nothing bounds its logits.
void put_no_bounds(const char* why, HeadResult& out) {
  HeadBounds& bounds = out.bounds;
  for (Figure* figure : {&bounds.naive, &bounds.interaction, &bounds.augmented, &bounds.rope,
                         &bounds.qk_norm, &bounds.clip, &bounds.latent, &bounds.certificate,
                         &bounds.before_cap, &bounds.additive_bias, &bounds.certificate_bf16,
                         &bounds.certificate_e4m3, &bounds.rank_aware, &bounds.rank_agnostic})
    *figure = Figure::none(why);
  put_no_expected(why, out);
  out.headroom_bits.fill(Figure::none(why));
}

void fill_expected(const LayerContext& context, const LayerInput& input, const HeadPair& pair,
                   const Sides& sides, const bounds::Head& head, const RopeWork& rope,
                   HeadWorkspace& workspace, HeadResult& out) {
  if (input.query.kind != InputKind::normalised || input.key.kind != InputKind::normalised)
    return put_no_expected("the layer reads raw embeddings, which no isotropic model describes",
                           out);
  if (const std::string_view why = bounds::expected_refusal(head); !why.empty())
    return put_no_expected(std::string(why), out);
  bounds::Head with_cross = head;
  const bool made = workspace.cross.rows() > 0;
  if (!head.cross_attention &&
      (made || spectrum::cross_gram(folded_rows(pair.query, input.query), sides.query->gram,
                                    folded_rows(pair.key, input.key), sides.key->gram,
                                    workspace.grams, workspace.cross))) {
    if (!context.rope_factor.empty())
      for (int i = 0; i < workspace.cross.rows(); ++i)
        for (int j = 0; j < workspace.cross.columns(); ++j)
          workspace.cross(i, j) *= context.rope_factor[static_cast<std::size_t>(i)] *
                                   context.rope_factor[static_cast<std::size_t>(j)];
    with_cross.cross = &workspace.cross;
  }
  const double before_cap = out.bounds.before_cap.value();
  const auto found =
      bounds::expected_logits(with_cross, context.model, before_cap, context.format_max,
                              rope.searched ? &rope.scaling : nullptr);
  if (!found.ok()) return put_no_expected(found.error().what, out);
  const double certificate = out.bounds.certificate.value();
  out.bounds.expected_off_diagonal = capped(found->off_diagonal, certificate);
  out.bounds.expected_diagonal = capped(found->diagonal, certificate);
  out.bounds.expected = capped(found->joint, certificate);
  out.bounds.expected_before_cap = capped(found->joint, before_cap);
  for (std::size_t i = 0; i < out.overflow_probability.size(); ++i)
    out.overflow_probability[i] = found->overflow_probability[i];
}

// Behind a QK-norm the norm's own gain and bias stand in the place of the weights.
Result<bounds::Certificates> certify_qk_norm(const LayerContext& context, const QkNormSides& norm) {
  const bounds::QkNormSide query_norm = norm.query(context), key_norm = norm.key(context);
  const bounds::Side query = bounds::side_of(query_norm), key = bounds::side_of(key_norm);
  bounds::Head head = make_head(context, query, key);
  head.between = head.clip > 0 ? bounds::Between::qk_norm_and_clip : bounds::Between::qk_norm;
  if (context.layer->qk_norm->after_rope) {
    head.rotation = nullptr;
  }
  bounds::CertifyOptions options;
  options.query_qk_norm = &query_norm;
  options.key_qk_norm = &key_norm;
  return bounds::certify(head, options);
}

void fill_amax(const LayerContext& context, const Folded& query, const QkNormSides* norm,
               const KeyHead& key, HeadResult& out) {
  AmaxFigures figures;
  if (norm != nullptr) {
    const bounds::QkNormSide query_norm = norm->query(context), key_norm = norm->key(context);
    figures = side_amax(context, query, &query_norm);
    const AmaxFigures key_figures = side_amax(context, key.folded, &key_norm);
    out.amax_key = key_figures.kernel;
    out.amax_projection_key = key_figures.projection;
    out.amax_expected_key = key_figures.expected;
  } else {
    figures = side_amax(context, query, nullptr);
    out.amax_key = key.amax.kernel;
    out.amax_projection_key = key.amax.projection;
    out.amax_expected_key = key.amax.expected;
  }
  scale_amax(context, figures);
  out.amax_query = figures.kernel;
  out.amax_projection_query = figures.projection;
  out.amax_expected_query = figures.expected;
}

}  // namespace

Figure to_figure(const bounds::Figure& figure) {
  return figure ? Figure(figure.value) : Figure::none(std::string(figure.why));
}

bool wants_cross(const LayerContext& context, const LayerInput& input) {
  const AttentionLayer& layer = *context.layer;
  return !layer.cross && input.query.layer_norm == input.key.layer_norm && !layer.qk_norm &&
         layer.clip_qkv == 0 && input.query.kind == InputKind::normalised &&
         input.key.kind == InputKind::normalised;
}

std::span<const double> bias_of(const checkpoint::Projection& projection, int head) {
  if (projection.bias.empty()) return {};
  const auto rows = static_cast<std::size_t>(projection.rows);
  return std::span<const double>(projection.bias)
      .subspan(static_cast<std::size_t>(head) * rows, rows);
}

void scan_key(const LayerContext& context, const LayerInput& input, int kv_head,
              const HeadRows& rows, const spectrum::HeadGrams* made, HeadWorkspace& workspace) {
  KeyHead& key = workspace.key;
  key.packed.clear();
  if (made != nullptr && made->fits) {
    key.stored = made->stored;
    fold_given(rows, input.key, bias_of(context.layer->key, kv_head), made->folded, workspace.grams,
               key.folded);
  } else {
    fold(rows, input.key, bias_of(context.layer->key, kv_head), workspace.grams, key.folded,
         {.stored = &key.stored,
          .keep = wants_cross(context, input) ? &key.packed : nullptr,
          .keep_gain = input.query.gain});
  }
  key.amax = {};
  if (key.folded.finite && !context.layer->qk_norm)
    key.amax = side_amax(context, key.folded, nullptr);
}

void scan_head(const LayerContext& context, const LayerInput& input, const HeadPair& pair,
               HeadWorkspace& workspace, HeadResult& out) {
  const KeyHead& key = workspace.key;
  const AttentionLayer& layer = *context.layer;
  const int head = pair.head;
  workspace.cross = Matrix();
  if (pair.made != nullptr && pair.made->fits) {
    workspace.stored = pair.made->stored;
    if (pair.cross != nullptr) workspace.cross = *pair.cross;
    fold_given(pair.query, input.query, bias_of(layer.query, head), pair.made->folded,
               workspace.grams, workspace.query);
  } else {
    spectrum::GramPass pass{.stored = &workspace.stored};
    if (!key.packed.empty()) {
      pass.other = &key.packed;
      pass.product = &workspace.cross;
    }
    fold(pair.query, input.query, bias_of(layer.query, head), workspace.grams, workspace.query,
         pass);
  }
  out.finite = workspace.query.finite && key.folded.finite;
  if (!out.finite) return fill_none(refusal_of({&workspace.query, &key.folded}), out);
  out.sigma_weights = stored_sigma(pair, key, workspace);
  const Sides sides = choose_sides(context, input, pair, key, workspace);
  fill_spectrum(context, sides, out);
  const bounds::Side query_side = bounds_side(*sides.query, context.rope_factor);
  const bounds::Side key_side = bounds_side(*sides.key, context.rope_factor);
  const bounds::Head view = make_head(context, query_side, key_side);
  const RopeWork rope = fill_rope(context, sides, query_side, key_side, out);

  std::optional<QkNormSides> norm;
  if (layer.qk_norm) norm = qk_norm_sides(context, head, pair.kv_head);
  fill_amax(context, *sides.query, norm ? &*norm : nullptr, key, out);
  if (!layer.qk_norm && input.query.kind == InputKind::residual) {
    put_no_bounds(kUnboundedInput, out);
    return;
  }
  bounds::CertifyOptions options;
  if (rope.searched) options.scaling = &rope.scaling;
  options.rotated = rope.certificate;
  if (context.rope_factor.empty()) {
    options.query_norm = sides.query->norm.bound;
    options.key_norm = sides.key->norm.bound;
    if (!context.rotates) options.sigma = sides.sigma.bound;
  }
  const auto found = norm ? certify_qk_norm(context, *norm) : bounds::certify(view, options);
  if (!found.ok()) return fill_none(found.error().what, out);
  put_certificates(context, head, *found, out);
  if (norm || layer.clip_qkv > 0) {
    const char* why = norm ? "a QK-norm rescales q and k" : "q, k and v are clipped";
    out.bounds.certificate_bf16 = out.bounds.certificate_e4m3 = Figure::none(why);
    out.bounds.rank_aware = out.bounds.rank_agnostic = Figure::none(why);
    put_no_expected(why, out);
  } else {
    fill_rounded(context, sides, out);
    fill_published(context, query_side, key_side, out);
    fill_expected(context, input, pair, sides, view, rope, workspace, out);
  }
  fill_headroom(context, out);
}

void scale_amax(const LayerContext& context, AmaxFigures& query) {
  if (context.temperature == 1) return;
  for (Figure* figure : {&query.kernel, &query.expected})
    if (figure->known()) *figure = spectrum::round_up(figure->value() * context.temperature);
}

void drop_certificates(const std::string& why, HeadResult& out) {
  const auto drop = [&](Figure& figure) {
    if (figure.known()) figure = Figure::none(why);
  };
  const auto drop_all = [&](const auto& fields, auto& owner) {
    for (const auto& field : fields) drop(owner.*field.figure);
  };
  drop_all(kCertificateFields, out.bounds);
  drop_all(kCapFields, out.bounds);
  drop_all(kRoundedFields, out.bounds);
  drop_all(kAmaxFields, out);
  drop_all(kAmaxProjectionFields, out);
  if (out.rope) drop(out.rope->bound);
  out.bounds.certificate_by.clear();
  out.headroom_tier.clear();
}

void fill_headroom(const LayerContext& context, HeadResult& out) {
  for (std::size_t i = 0; i < kReportedFormats.size(); ++i)
    out.headroom_bits[i] = headroom_bits(out, context.format_max[i]);
  if (out.headroom_bits[0].known())
    out.headroom_tier = out.bounds.expected_before_cap.known() ? "expected" : "certificate";
}

void fill_none(const std::string& why, HeadResult& out) {
  const Figure none = Figure::none(why);
  for_each_figure(out,
                  [&](const char*, const char*, Figure& figure, const char*) { figure = none; });
}

}  // namespace ullage::scan
