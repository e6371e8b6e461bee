// The reference's backward pass: the heads of a group one after another, so that their sums have one order.
#include <algorithm>
#include <vector>

#include "attention/elementary.h"
#include "attention/head.h"
#include "attention/run.h"
#include "ullage/attention/reference.h"

namespace ullage::attention {

namespace {

// The backward pass of one query head of one sequence; dK and dV of its kv head are handed in, since
// the heads of a group add to them one after another.
template <class Real>
class HeadBackward {
 public:
  HeadBackward(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
               const View<const Real>& grad_output, const Saved<Real>& saved,
               const Gradients<Real>& gradients, std::size_t sequence, std::size_t head)
      : inputs_(inputs),
        recipe_(recipe),
        grad_output_view_(grad_output),
        saved_(saved),
        gradients_(gradients),
        head_index_(head),
        tiles_(tiles_of(recipe, options)),
        rounders_(recipe, kBackwardStream + sequence * inputs.shape.query_heads + head),
        head_(inputs, recipe, sequence, head, rounders_),
        score_products_(recipe.scores, head_.sequence().keys),
        output_products_(recipe.output, inputs.shape.value_width),
        gradient_products_(recipe.gradients,
                           std::max(inputs.shape.width, inputs.shape.value_width)),
        values_transposed_(head_.values_transposed()) {
    const double scale = inputs.score_scale();
    query_scale_ = static_cast<Real>(scale * head_.key_descale());
    key_scale_ = static_cast<Real>(scale * head_.query_descale());
    value_descale_ = static_cast<Real>(head_.value_descale());
  }

  // Adds to dK (keys x width) and dV (keys x value_width), writes dQ and delta; returns this head's
  // part of the sink's gradient.
  Real run(std::vector<Real>& grad_keys, std::vector<Real>& grad_values) {
    const Sequence& sequence = head_.sequence();
    run_delta();
    grad_queries_.assign(sequence.queries * head_.width(), Real{0});
    for_tiles(sequence.keys, tiles_.keys, [&](std::size_t key, std::size_t keys) {
      for_tiles(sequence.queries, tiles_.queries, [&](std::size_t query, std::size_t rows) {
        const Tile tile = {query, rows, key, keys};
        if (head_.sees(tile)) take(tile, grad_keys, grad_values);
      });
    });
    write_queries();
    return sink_gradient();
  }

  void run_delta() {
    read_rows();
    compute_delta();
  }

 private:
  // Forward streams are far below: batch x heads never reaches it.
  static constexpr std::uint64_t kBackwardStream = std::uint64_t{1} << 20;

  void read_rows() {
    const Sequence& sequence = head_.sequence();
    queries_.resize(sequence.queries * head_.width());
    head_.read_queries(0, sequence.queries, queries_.data());
    grad_output_.resize(sequence.queries * head_.value_width());
    head_.read_rows(grad_output_view_, 0, sequence.queries, head_.value_width(),
                    Quantity::grad_output, grad_output_.data());
    log_sum_exp_.resize(sequence.queries);
    for (std::size_t i = 0; i < sequence.queries; ++i)
      log_sum_exp_[i] =
          saved_.log_sum_exp.at(sequence.batch, head_index_, sequence.query_begin + i, 0);
  }

  // P of the tile, in FP32 or FP64, not rounded; 0 where a key is not seen.
  void probabilities(const Tile& tile, Real* slope) {
    scores_.resize(tile.rows * tile.keys);
    head_.scores(tile, queries_.data() + tile.query * head_.width(), scores_.data(), slope);
    for (std::size_t i = 0; i < tile.rows; ++i) {
      const Real lse = log_sum_exp_[tile.query + i];
      for (std::size_t j = 0; j < tile.keys; ++j) {
        Real& x = scores_[i * tile.keys + j];
        x = x == Head<Real>::kMasked ? Real{0} : exp_of(x - lse);
      }
    }
  }

  // dP = dO V^T of the tile, as stored.
  void grad_probabilities(const Tile& tile) {
    grad_scores_.resize(tile.rows * tile.keys);
    const std::size_t columns = head_.value_width();
    score_products_({grad_output_.data() + tile.query * columns, columns, 1},
                    {values_transposed_.data() + tile.key, head_.sequence().keys}, tile.rows,
                    columns, tile.keys, Zeros::multiply, grad_scores_.data());
    if (value_descale_ != 1) {
      for (Real& x : grad_scores_) x *= value_descale_;
    }
    rounders_[Quantity::grad_probability](grad_scores_);
  }

  void compute_delta() {
    const Sequence& sequence = head_.sequence();
    delta_.assign(sequence.queries, Real{0});
    switch (recipe_.delta_source) {
      case DeltaSource::output:
        delta_from_output(saved_.output);
        break;
      case DeltaSource::twin:
        delta_from_output(saved_.twin);
        break;
      case DeltaSource::recomputed:
        delta_from_tiles(true);
        break;
      case DeltaSource::probability:
        delta_from_tiles(false);
        break;
    }
    rounders_[Quantity::delta](delta_);
    if (!gradients_.delta) return;
    for (std::size_t i = 0; i < sequence.queries; ++i)
      gradients_.delta.at(sequence.batch, head_index_, sequence.query_begin + i, 0) = delta_[i];
  }

  void delta_from_output(const View<const Real>& output) {
    const Sequence& sequence = head_.sequence();
    const std::size_t columns = head_.value_width();
    for (std::size_t i = 0; i < sequence.queries; ++i) {
      for (std::size_t c = 0; c < columns; ++c)
        delta_[i] += grad_output_[i * columns + c] *
                     output.at(sequence.batch, head_index_, sequence.query_begin + i, c);
    }
  }

  // rowsum(dO o P V) where `through_output`, else rowsum(dP o P).
  void delta_from_tiles(bool through_output) {
    const Sequence& sequence = head_.sequence();
    const std::size_t columns = head_.value_width();
    std::vector<Real> product;
    for_tiles(sequence.keys, tiles_.keys, [&](std::size_t key, std::size_t keys) {
      for_tiles(sequence.queries, tiles_.queries, [&](std::size_t query, std::size_t rows) {
        const Tile tile = {query, rows, key, keys};
        if (!head_.sees(tile)) return;
        probabilities(tile, nullptr);
        const Real* left = grad_output_.data() + query * columns;
        const Real* right = nullptr;
        std::size_t count = columns;
        Real factor = 1;
        if (through_output) {
          product.resize(rows * columns);
          output_products_({scores_.data(), keys, 1},
                           {head_.values().data() + key * columns, columns}, rows, keys, columns,
                           Zeros::skip, product.data());
          right = product.data();
          factor = value_descale_;
        } else {
          grad_probabilities(tile);
          left = grad_scores_.data();
          right = scores_.data();
          count = keys;
        }
        for (std::size_t i = 0; i < rows; ++i) {
          Real sum = 0;
          for (std::size_t c = 0; c < count; ++c) sum += left[i * count + c] * right[i * count + c];
          delta_[query + i] += sum * factor;
        }
      });
    });
  }

  void take(const Tile& tile, std::vector<Real>& grad_keys, std::vector<Real>& grad_values) {
    const std::size_t width = head_.width();
    const std::size_t columns = head_.value_width();
    const std::size_t count = tile.rows * tile.keys;
    const bool capped = inputs_.soft_cap != 0;
    slopes_.resize(capped ? count : 0);
    probabilities(tile, capped ? slopes_.data() : nullptr);
    grad_probabilities(tile);
    const bool scale_scores = recipe_.gradient_scale == GradientScale::grad_score;
    const auto scale = static_cast<Real>(scale_scores ? inputs_.score_scale() : 1.0);
    for (std::size_t i = 0; i < tile.rows; ++i) {
      const Real delta = delta_[tile.query + i];
      for (std::size_t j = 0; j < tile.keys; ++j) {
        const std::size_t e = i * tile.keys + j;
        Real x = scores_[e] == 0 ? Real{0} : scores_[e] * (grad_scores_[e] - delta);
        if (capped) x *= slopes_[e];
        grad_scores_[e] = scale_scores ? x * scale : x;
      }
    }
    rounders_[Quantity::probability]({scores_.data(), count});
    rounders_[Quantity::grad_score]({grad_scores_.data(), count});

    const Real query_scale = scale_scores ? static_cast<Real>(head_.key_descale()) : query_scale_;
    const Real key_scale = scale_scores ? static_cast<Real>(head_.query_descale()) : key_scale_;
    // dV += P^T dO, dK += dS^T Q, dQ += dS K.
    accumulate({scores_.data(), 1, tile.keys},
               {grad_output_.data() + tile.query * columns, columns}, tile.keys, tile.rows, columns,
               Real{1}, grad_values.data() + tile.key * columns);
    accumulate({grad_scores_.data(), 1, tile.keys}, {queries_.data() + tile.query * width, width},
               tile.keys, tile.rows, width, key_scale, grad_keys.data() + tile.key * width);
    accumulate({grad_scores_.data(), tile.keys, 1}, {head_.keys().data() + tile.key * width, width},
               tile.rows, tile.keys, width, query_scale, grad_queries_.data() + tile.query * width);
  }

  void accumulate(Left<Real> left, Right<Real> right, std::size_t rows, std::size_t terms,
                  std::size_t columns, Real factor, Real* total) {
    product_.resize(rows * columns);
    gradient_products_(left, right, rows, terms, columns, Zeros::skip, product_.data());
    Rounder<Real>& round = rounders_[Quantity::running_gradient];
    for (std::size_t e = 0; e < rows * columns; ++e)
      total[e] = round(total[e] + factor * product_[e]);
  }

  void write_queries() {
    if (!gradients_.q) return;
    const Sequence& sequence = head_.sequence();
    Rounder<Real>& round = rounders_[Quantity::gradient];
    for (std::size_t i = 0; i < sequence.queries; ++i) {
      for (std::size_t c = 0; c < head_.width(); ++c)
        gradients_.q.at(sequence.batch, head_index_, sequence.query_begin + i, c) =
            round(grad_queries_[i * head_.width() + c]);
    }
  }

  // The sink has no value: its dP is 0.
  Real sink_gradient() {
    if (inputs_.sinks.empty()) return 0;
    Real sum = 0;
    for (std::size_t i = 0; i < head_.sequence().queries; ++i)
      sum -= exp_of(inputs_.sinks[head_index_] - log_sum_exp_[i]) * delta_[i];
    return sum;
  }

  const Inputs<Real>& inputs_;
  const Recipe& recipe_;
  const View<const Real>& grad_output_view_;
  const Saved<Real>& saved_;
  const Gradients<Real>& gradients_;
  std::size_t head_index_;
  Tiles tiles_;
  Rounders<Real> rounders_;
  Head<Real> head_;
  Products<Real> score_products_;
  Products<Real> output_products_;
  Products<Real> gradient_products_;
  std::vector<Real> values_transposed_;
  Real query_scale_ = 1;
  Real key_scale_ = 1;
  Real value_descale_ = 1;
  std::vector<Real> queries_;
  std::vector<Real> grad_output_;
  std::vector<Real> log_sum_exp_;
  std::vector<Real> delta_;
  std::vector<Real> scores_;
  std::vector<Real> slopes_;
  std::vector<Real> grad_scores_;
  std::vector<Real> product_;
  std::vector<Real> grad_queries_;
};

// All query heads of one kv head of one sequence, in ascending order.
template <class Real>
void run_group(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
               const View<const Real>& grad_output, const Saved<Real>& saved,
               const Gradients<Real>& gradients, std::size_t b, std::size_t kv_head,
               std::span<Real> sinks) {
  const Shape& shape = inputs.shape;
  const Sequence sequence = sequence_of(shape, inputs.packed, b);
  std::vector<Real> grad_keys(sequence.keys * shape.width);
  std::vector<Real> grad_values(sequence.keys * shape.value_width);
  for (std::size_t member = 0; member < shape.group(); ++member) {
    const std::size_t head = kv_head * shape.group() + member;
    HeadBackward<Real> pass(inputs, recipe, options, grad_output, saved, gradients, b, head);
    const Real sink = pass.run(grad_keys, grad_values);
    if (!sinks.empty()) sinks[b * shape.query_heads + head] = sink;
  }
  Rounder<Real> round(
      recipe[Quantity::gradient], recipe.seed,
      ~std::uint64_t{0} - (b * shape.kv_heads + kv_head + 1) * (std::uint64_t{1} << 36));
  const auto write = [&](const View<Real>& view, const std::vector<Real>& values,
                         std::size_t columns) {
    if (!view) return;
    for (std::size_t j = 0; j < sequence.keys; ++j) {
      for (std::size_t c = 0; c < columns; ++c)
        view.at(sequence.batch, kv_head, sequence.key_begin + j, c) =
            round(values[j * columns + c]);
    }
  };
  write(gradients.k, grad_keys, shape.width);
  write(gradients.v, grad_values, shape.value_width);
}

}  // namespace

template <class Real>
void delta_head(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
                const View<const Real>& grad_output, const Saved<Real>& saved,
                const View<Real>& delta, std::size_t sequence, std::size_t head) {
  const Gradients<Real> gradients = {.delta = delta};
  HeadBackward<Real>(inputs, recipe, options, grad_output, saved, gradients, sequence, head)
      .run_delta();
}

namespace {

Error missing(const char* where) {
  return {Code::value_invalid, "the recipe's backward pass needs it", where, {}, {}};
}

}  // namespace

template <class Real>
Status backward(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
                View<const Real> grad_output, const Saved<Real>& saved,
                const Gradients<Real>& gradients) {
  ULLAGE_TRY(check(inputs));
  ULLAGE_TRY(check_run<Real>(recipe, options));
  if (!grad_output) return missing("grad_output");
  if (!saved.log_sum_exp) return missing("saved.log_sum_exp");
  if (recipe.delta_source == DeltaSource::output && !saved.output) return missing("saved.output");
  if (recipe.delta_source == DeltaSource::twin && !saved.twin) return missing("saved.twin");
  const Shape& shape = inputs.shape;
  if (!gradients.sinks.empty() && gradients.sinks.size() != inputs.sinks.size())
    return missing("gradients.sinks, one value a sink");
  std::vector<Real> sinks(gradients.sinks.empty() ? 0 : shape.batch * shape.query_heads);
  ULLAGE_TRY(run_heads(shape.batch * shape.kv_heads, options.threads, [&](std::size_t index) {
    run_group(inputs, recipe, options, grad_output, saved, gradients, index / shape.kv_heads,
              index % shape.kv_heads, std::span<Real>(sinks));
  }));
  for (std::size_t h = 0; h < gradients.sinks.size(); ++h) {
    Real sum = 0;
    for (std::size_t b = 0; b < shape.batch; ++b) sum += sinks[b * shape.query_heads + h];
    gradients.sinks[h] = sum;
  }
  return {};
}

template void delta_head(const Inputs<float>&, const Recipe&, const Options&,
                         const View<const float>&, const Saved<float>&, const View<float>&,
                         std::size_t, std::size_t);
template void delta_head(const Inputs<double>&, const Recipe&, const Options&,
                         const View<const double>&, const Saved<double>&, const View<double>&,
                         std::size_t, std::size_t);
template Status backward(const Inputs<float>&, const Recipe&, const Options&, View<const float>,
                         const Saved<float>&, const Gradients<float>&);
template Status backward(const Inputs<double>&, const Recipe&, const Options&, View<const double>,
                         const Saved<double>&, const Gradients<double>&);

}  // namespace ullage::attention
