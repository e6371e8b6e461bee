#include "scan/amax.h"

#include <algorithm>
#include <cmath>

#include "ullage/bounds/projections.h"
#include "ullage/spectrum/certificate.h"

namespace ullage::scan {
namespace {

using checkpoint::InputKind;
using checkpoint::InputNorm;
using checkpoint::QkNorm;

constexpr const char* kResidual = "the layer reads the residual stream, which no norm bounds";

std::vector<double> slice(const std::vector<double>& all, int head, int width) {
  if (all.empty()) return {};
  const auto begin = all.begin() + static_cast<std::ptrdiff_t>(head) * width;
  return {begin, begin + width};
}

void multiply_by(std::vector<double>& values, std::span<const double> factor) {
  for (std::size_t i = 0; i < values.size() && i < factor.size(); ++i) values[i] *= factor[i];
}

std::span<const std::array<int, 2>> pairs_after(const LayerContext& context) {
  const auto& norm = context.layer->qk_norm;
  if (norm && norm->after_rope) return {};
  return context.rotation.pairs;
}

double largest(const std::vector<double>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

double rope_growth(const LayerContext& context) {
  return context.rope_factor.empty()
             ? 1.0
             : *std::max_element(context.rope_factor.begin(), context.rope_factor.end());
}

// What clamping before RoPE leaves: c a coordinate, the diagonal of the square where a pair turns.
double clip_limit(const LayerContext& context) {
  const double turn = context.rotates ? std::sqrt(2.0) * rope_growth(context) : 1.0;
  return spectrum::round_up(context.layer->clip_qkv * turn);
}

Figure expected_figure(const LayerContext& context, const InputNorm& input,
                       std::span<const bounds::Rows> rows, double certificate) {
  if (input.kind != InputKind::normalised)
    return Figure::none("the layer reads raw embeddings, which no isotropic model describes");
  const double expected = bounds::expected_amax(rows, input.width, input.layer_norm,
                                                context.model.context, context.model.probability);
  return std::min(expected, certificate);
}

// q or k without QK-norm, as the kernel sees it.
double kernel_amax(const LayerContext& context, const bounds::Side& side,
                   std::span<const bounds::Rows> rows) {
  const double bound = bounds::amax(rows, side.squared_norm);
  if (context.layer->clip_qkv == 0) return bound;
  return std::min(bound, clip_limit(context));
}

// The same behind a QK-norm.
double kernel_amax(const LayerContext& context, const bounds::QkNormSide& norm) {
  const double bound = largest(bounds::qk_norm_amax(norm, pairs_after(context)));
  if (context.layer->clip_qkv == 0) return bound;
  return std::min(bound, clip_limit(context));
}

}  // namespace

bounds::QkNormSide QkNormSides::query(const LayerContext& context) const {
  const QkNorm& norm = *context.layer->qk_norm;
  const int width = norm.full_width ? context.layer->query_heads * context.layer->head_dim
                                    : context.layer->head_dim;
  return {query_gain, query_bias, width, norm.kind == checkpoint::QkNormKind::layer};
}

bounds::QkNormSide QkNormSides::key(const LayerContext& context) const {
  const QkNorm& norm = *context.layer->qk_norm;
  const int width =
      norm.full_width ? context.layer->kv_heads * context.layer->head_dim : context.layer->head_dim;
  return {key_gain, key_bias, width, norm.kind == checkpoint::QkNormKind::layer};
}

QkNormSides qk_norm_sides(const LayerContext& context, int head, int kv_head) {
  const checkpoint::AttentionLayer& layer = *context.layer;
  const QkNorm& norm = *layer.qk_norm;
  QkNormSides sides{
      slice(norm.query_gain, head, layer.head_dim), slice(norm.query_bias, head, layer.head_dim),
      slice(norm.key_gain, kv_head, layer.head_dim), slice(norm.key_bias, kv_head, layer.head_dim)};
  if (!norm.after_rope)
    for (auto* values : {&sides.query_gain, &sides.query_bias, &sides.key_gain, &sides.key_bias})
      multiply_by(*values, context.rope_factor);
  return sides;
}

AmaxFigures side_amax(const LayerContext& context, const Folded& folded,
                      const bounds::QkNormSide* qk_norm) {
  AmaxFigures figures;
  const InputNorm& input = *folded.input;
  const bool bounded = input.kind != InputKind::residual;
  const bounds::Side plain = bounds_side(folded, {});
  const std::vector<bounds::Rows> projection = bounds::rows_of(plain, {});
  if (bounded) {
    double bound = bounds::amax(projection, plain.squared_norm);
    if (context.layer->clip_qkv > 0 && qk_norm == nullptr)
      bound = std::min(bound, context.layer->clip_qkv);
    figures.projection = bound;
  } else {
    figures.projection = Figure::none(kResidual);
  }
  if (qk_norm != nullptr) {
    figures.kernel = kernel_amax(context, *qk_norm);
    figures.expected = Figure::none("a QK-norm rescales q and k");
    return figures;
  }
  if (!bounded) {
    figures.kernel = figures.expected = Figure::none(kResidual);
    return figures;
  }
  const bool same = context.rope_factor.empty();
  const bounds::Side with_factor = same ? bounds::Side{} : bounds_side(folded, context.rope_factor);
  const bounds::Side& turned = same ? plain : with_factor;
  const std::vector<bounds::Rows> rows = bounds::rows_of(turned, context.rotation.pairs);
  figures.kernel = kernel_amax(context, turned, rows);
  figures.expected = context.layer->clip_qkv > 0
                         ? Figure::none("q, k and v are clipped")
                         : expected_figure(context, input, rows, figures.kernel.value());
  return figures;
}

ValueFigures value_amax(const LayerContext& context, const InputNorm& input,
                        const spectrum::HeadRows& stored, std::span<const double> projection_bias,
                        spectrum::GramWorkspace& workspace) {
  ValueFigures figures;
  std::vector<double> squares(static_cast<std::size_t>(stored.rows));
  if (!spectrum::row_norms_squared(folded_rows(stored, input), workspace, squares)) return figures;
  figures.finite = true;
  if (context.layer->value_normed) {
    figures.amax = spectrum::round_up(std::sqrt(static_cast<double>(stored.rows)));
    figures.expected = Figure::none("a norm rescales v");
    return figures;
  }
  if (input.kind == InputKind::residual) {
    figures.amax = figures.expected = Figure::none(kResidual);
    return figures;
  }
  std::vector<double> bias(projection_bias.begin(), projection_bias.end());
  if (!input.bias.empty()) {
    std::vector<double> product(squares.size());
    spectrum::row_products(stored, input.bias, product);
    bias.resize(product.size());
    std::vector<double> stored_squares(squares.size());
    if (!spectrum::row_norms_squared(stored, workspace, stored_squares)) return {};
    const double beta = spectrum::norm2(input.bias);
    for (std::size_t i = 0; i < product.size(); ++i) {
      bias[i] += product[i];
      const double error =
          product_error(stored.width, std::sqrt(stored_squares[i]), beta, std::abs(bias[i]));
      bias[i] += std::copysign(error, bias[i]);
    }
  }
  const std::vector<bounds::Rows> rows = bounds::rows_of(squares, bias);
  double bound = bounds::amax(rows, input.squared_norm);
  if (context.layer->clip_qkv > 0) {
    figures.amax = std::min(bound, context.layer->clip_qkv);
    figures.expected = Figure::none("q, k and v are clipped");
    return figures;
  }
  figures.amax = bound;
  figures.expected = expected_figure(context, input, rows, bound);
  return figures;
}

Figure additive_bias(const LayerContext& context, int head) {
  const checkpoint::AttentionLayer& layer = *context.layer;
  if (!layer.bias_unknown.empty()) return Figure::none(layer.bias_unknown);
  double bias = 0;
  const auto h = static_cast<std::size_t>(head);
  if (!layer.bias_constant.empty()) bias += std::abs(layer.bias_constant[h]);
  if (!layer.bias_slope.empty())
    bias += std::abs(layer.bias_slope[h]) * static_cast<double>(context.model.context - 1);
  return bias;
}

}  // namespace ullage::scan
