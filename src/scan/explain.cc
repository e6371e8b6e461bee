#include "ullage/scan/explain.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <optional>

#include "scan/head.h"
#include "scan/layer.h"
#include "scan/rows.h"
#include "ullage/base/parallel.h"
#include "ullage/formats/format.h"

namespace ullage::scan {
namespace {

using checkpoint::AttentionLayer;
using checkpoint::InputNorm;

constexpr int kSteps = 60;  // of alternating maximisation at one offset
constexpr std::size_t kCoordinates = 5;

// A, a of one side in FP64: rows folded, projected, with RoPE's factor.
struct DenseSide {
  int rows = 0, width = 0;
  std::vector<double> matrix, bias;
  double radius = 0;

  [[nodiscard]] std::vector<double> apply(const std::vector<double>& n) const {
    std::vector<double> out = bias;
    for (int i = 0; i < rows; ++i)
      out[static_cast<std::size_t>(i)] += std::inner_product(
          n.begin(), n.end(), matrix.begin() + static_cast<std::ptrdiff_t>(i) * width, 0.0);
    return out;
  }
  // The n of length `radius` that makes A n point along x: radius A^T x / |A^T x|.
  [[nodiscard]] std::vector<double> along(const std::vector<double>& x) const {
    std::vector<double> n(static_cast<std::size_t>(width), 0.0);
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < width; ++j)
        n[static_cast<std::size_t>(j)] +=
            x[static_cast<std::size_t>(i)] *
            matrix[static_cast<std::size_t>(i) * static_cast<std::size_t>(width) +
                   static_cast<std::size_t>(j)];
    const double length = std::sqrt(std::inner_product(n.begin(), n.end(), n.begin(), 0.0));
    if (length > 0)
      for (double& v : n) v *= radius / length;
    return n;
  }
};

double element(const spectrum::HeadRows& rows, std::size_t at) {
  switch (rows.element) {
    case spectrum::Element::bf16:
      return std::bit_cast<float>(std::uint32_t{static_cast<const std::uint16_t*>(rows.values)[at]}
                                  << 16);
    case spectrum::Element::f32:
      return static_cast<double>(static_cast<const float*>(rows.values)[at]);
    case spectrum::Element::f64:
      return static_cast<const double*>(rows.values)[at];
  }
  return 0;
}

DenseSide dense_side(const LayerContext& context, const spectrum::HeadRows& stored,
                     const InputNorm& input, std::span<const double> projection_bias) {
  DenseSide side;
  side.rows = stored.rows;
  side.width = stored.width;
  side.radius = std::sqrt(input.squared_norm);
  side.bias.assign(static_cast<std::size_t>(stored.rows), 0);
  side.matrix.resize(static_cast<std::size_t>(stored.rows) *
                     static_cast<std::size_t>(stored.width));
  for (int i = 0; i < stored.rows; ++i) {
    const std::size_t begin = static_cast<std::size_t>(i) * static_cast<std::size_t>(stored.width);
    double mean = 0,
           bias = projection_bias.empty() ? 0 : projection_bias[static_cast<std::size_t>(i)];
    for (std::size_t j = 0; j < static_cast<std::size_t>(stored.width); ++j) {
      const double w = element(
          stored, static_cast<std::size_t>(i) * static_cast<std::size_t>(stored.stride) + j);
      if (!input.bias.empty()) bias += w * input.bias[j];
      side.matrix[begin + j] = w * (input.gain.empty() ? 1 : input.gain[j]);
      mean += side.matrix[begin + j] / stored.width;
    }
    const double factor =
        context.rope_factor.empty() ? 1 : context.rope_factor[static_cast<std::size_t>(i)];
    for (std::size_t j = 0; j < static_cast<std::size_t>(stored.width); ++j)
      side.matrix[begin + j] = factor * (side.matrix[begin + j] - (input.layer_norm ? mean : 0));
    side.bias[static_cast<std::size_t>(i)] = factor * bias;
  }
  return side;
}

// R_t x, or its inverse for -t.
std::vector<double> rotate(const spectrum::Rotation& rotation, std::vector<double> x,
                           double offset) {
  for (std::size_t p = 0; p < rotation.pairs.size(); ++p) {
    const double angle = offset * rotation.frequencies[p];
    double& u = x[static_cast<std::size_t>(rotation.pairs[p][0])];
    double& v = x[static_cast<std::size_t>(rotation.pairs[p][1])];
    const double c = std::cos(angle), s = std::sin(angle), before = u;
    u = c * before - s * v;
    v = s * before + c * v;
  }
  return x;
}

std::vector<Coordinate> largest(const std::vector<double>& n) {
  const double squares = std::inner_product(n.begin(), n.end(), n.begin(), 0.0);
  std::vector<Coordinate> all;
  for (std::size_t i = 0; i < n.size(); ++i)
    all.push_back({static_cast<int>(i), n[i], squares > 0 ? n[i] * n[i] / squares : 0});
  const std::size_t keep = std::min(kCoordinates, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(keep), all.end(),
                    [](const Coordinate& a, const Coordinate& b) { return a.share > b.share; });
  all.resize(keep);
  return all;
}

// Alternating maximisation of |(A n_q + a)^T R_t (B n_k + b)| over both tokens, from the keys that one
// direction after another excites, at each offset.
void search(const LayerContext& context, const DenseSide& query, const DenseSide& key,
            Explanation& out) {
  std::vector<double> offsets = context.turns.offsets;
  if (offsets.empty()) offsets.push_back(0);
  double best = -1;
  std::vector<double> start(static_cast<std::size_t>(key.rows), 1.0);
  for (const double offset : offsets)
    for (const double sign : {1.0, -1.0}) {
      std::vector<double> n_k = key.along(start), n_q;
      double value = 0;
      for (int step = 0; step < kSteps; ++step) {
        std::vector<double> k = rotate(context.rotation, key.apply(n_k), offset);
        for (double& x : k) x *= sign;
        n_q = query.along(k);
        const std::vector<double> q = query.apply(n_q);
        value = std::inner_product(q.begin(), q.end(), k.begin(), 0.0);
        std::vector<double> back = rotate(context.rotation, q, -offset);
        for (double& x : back) x *= sign;
        n_k = key.along(back);
      }
      if (value > best) {
        best = value;
        out.offset = offset;
        out.query_input = largest(n_q);
        out.key_input = largest(n_k);
        start = rotate(context.rotation, query.apply(n_q),
                       -offset);  // a good key direction for the next offset
      }
    }
  out.attained = context.score_scale * std::max(best, 0.0);
}

std::string refusal(const AttentionLayer& layer, const LayerContext& context) {
  if (layer.qk_norm) return "a QK-norm stands between the weights and the logit";
  if (layer.clip_qkv > 0) return "q, k and v are clipped";
  if (layer.latent) return "latent attention";
  if (context.rotates && !context.pairing_known)
    return "the pairing of this architecture's RoPE is not known";
  if (context.rotates && context.turns.offsets.empty())
    return "angles follow two-dimensional positions";
  if (layer.inputs[0].query.kind == checkpoint::InputKind::residual)
    return "no norm bounds the input";
  return "";
}

Result<Explanation> explain(Job& job, const checkpoint::Container& container,
                            const checkpoint::AttentionModel& model, int layer, int head,
                            const std::string& name, const ScanOptions& options) {
  const AttentionLayer* found = nullptr;
  Explanation result;
  for (const AttentionLayer& candidate : model.layers) {
    if (candidate.layer != layer || candidate.name.find(name) == std::string::npos) continue;
    if (found == nullptr) {
      found = &candidate;
    } else {
      result.others.push_back(candidate.name);
    }
  }
  if (found == nullptr)
    return Error{Code::not_found, "the checkpoint has no such attention layer", "LAYER.HEAD", "",
                 std::to_string(layer)};
  if (head < 0 || head >= found->query_heads)
    return Error{Code::not_found, "the layer has no such head", found->name,
                 "0 to " + std::to_string(found->query_heads - 1), std::to_string(head)};
  const std::int64_t tokens = options.context > 0       ? options.context
                              : model.max_positions > 0 ? model.max_positions
                                                        : 2048;
  ULLAGE_ASSIGN(const LayerContext context, make_context(*found, options, tokens));
  LayerMemory memory(job.threads(), 1);
  ULLAGE_ASSIGN(LayerOutcome outcome, scan_layer(container, context, job, memory));
  ULLAGE_ASSIGN(const formats::Format format, formats::find_format(options.format));
  fill_descales(format, outcome.result);
  result.layer = std::move(outcome.result);
  const HeadResult chosen = result.layer.heads[static_cast<std::size_t>(head)];
  result.layer.heads = {chosen};
  if (!chosen.finite) {
    result.attained = Figure::none("weights are not finite");
    return result;
  }
  if (const std::string why = refusal(*found, context); !why.empty()) {
    result.attained = Figure::none(why);
    return result;
  }
  ULLAGE_ASSIGN(LayerRows rows, LayerRows::open(container, *found, job, memory.rows));
  ULLAGE_ASSIGN(const spectrum::HeadRows query, rows.rows(Part::query, head, job.worker()));
  ULLAGE_ASSIGN(const spectrum::HeadRows key, rows.rows(Part::key, chosen.kv_head, job.worker()));
  search(context, dense_side(context, query, found->inputs[0].query, bias_of(found->query, head)),
         dense_side(context, key, found->inputs[0].key, bias_of(found->key, chosen.kv_head)),
         result);
  return result;
}

}  // namespace

Result<Explanation> explain(const checkpoint::Container& container,
                            const checkpoint::AttentionModel& model, int layer, int head,
                            const std::string& name, const ScanOptions& options) {
  std::optional<Result<Explanation>> result;
  parallel_jobs(1, 1, options.threads, [&](Job& job) {
    result = explain(job, container, model, layer, head, name, options);
  });
  return *std::move(result);
}

}  // namespace ullage::scan
