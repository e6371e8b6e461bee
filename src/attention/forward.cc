// The reference's forward pass: heads in parallel, each tile by tile, every quantity rounded as the recipe says.
#include <algorithm>
#include <cmath>
#include <vector>

#include "attention/head.h"
#include "attention/run.h"
#include "attention/softmax.h"
#include "ullage/attention/reference.h"
#include "ullage/base/parallel.h"

namespace ullage::attention {

namespace {

// The forward pass of one query head of one sequence.
template <class Real>
class HeadForward {
 public:
  HeadForward(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
              const Outputs<Real>& outputs, std::size_t sequence, std::size_t head)
      : inputs_(inputs),
        recipe_(recipe),
        outputs_(outputs),
        head_index_(head),
        tiles_(tiles_of(recipe, options)),
        rounders_(recipe, sequence * inputs.shape.query_heads + head),
        head_(inputs, recipe, sequence, head, rounders_),
        softmax_(recipe, options.shift, rounders_),
        product_(recipe.output, inputs.shape.value_width) {}

  void run() {
    for_tiles(head_.sequence().queries, tiles_.queries,
              [&](std::size_t begin, std::size_t rows) { run_rows(begin, rows); });
  }

 private:
  void run_rows(std::size_t begin, std::size_t rows) {
    const std::size_t columns = head_.value_width();
    queries_.resize(rows * head_.width());
    head_.read_queries(begin, rows, queries_.data());
    states_.clear();
    for (std::size_t i = 0; i < rows; ++i) {
      const Sequence& sequence = head_.sequence();
      states_.push_back(softmax_.start({.batch = sequence.index,
                                        .head = head_index_,
                                        .position = position_of(sequence, begin + i)},
                                       {queries_.data() + i * head_.width(), head_.width()}));
    }
    statistics_.assign(rows, {});
    ones_.assign(rows, 0);
    output_.assign(rows * columns, Real{0});
    twin_.assign(rows * columns, Real{0});
    if (!inputs_.sinks.empty()) {
      for (std::size_t i = 0; i < rows; ++i) {
        softmax_.start_with_sink(states_[i], inputs_.sinks[head_index_]);
        if (outputs_.statistics)
          add_sink(statistics_[i], static_cast<double>(inputs_.sinks[head_index_]));
      }
    }
    for_tiles(head_.sequence().keys, tiles_.keys, [&](std::size_t key, std::size_t keys) {
      const Tile tile = {begin, rows, key, keys};
      if (head_.sees(tile)) take(tile);
    });
    for (std::size_t i = 0; i < rows; ++i) finish(begin + i, i);
  }

  void take(const Tile& tile) {
    const std::size_t columns = head_.value_width();
    scores_.resize(tile.rows * tile.keys);
    head_.scores(tile, queries_.data(), scores_.data(), nullptr);
    factors_.resize(tile.rows);
    for (std::size_t i = 0; i < tile.rows; ++i) {
      const std::span<Real> row(scores_.data() + i * tile.keys, tile.keys);
      if (outputs_.statistics) gather(statistics_[i], row);
      factors_[i] = softmax_.take_tile(states_[i], row);
      if (recipe_.order == Order::two_pass && states_[i].started) {
        for (Real& weight : row) weight /= states_[i].sum;
      }
    }
    rounders_[Quantity::weight]({scores_.data(), tile.rows * tile.keys});
    if (outputs_.ones) count_ones(tile);
    tile_output_.resize(tile.rows * columns);
    product_({scores_.data(), tile.keys, 1}, {head_.values().data() + tile.key * columns, columns},
             tile.rows, tile.keys, columns, Zeros::skip, tile_output_.data());
    Rounder<Real>& round_tile = rounders_[Quantity::tile_output];
    Rounder<Real>& round_running = rounders_[Quantity::running_output];
    for (std::size_t i = 0; i < tile.rows; ++i) {
      for (std::size_t c = 0; c < columns; ++c) {
        const std::size_t e = i * columns + c;
        const Real z = tile_output_[e];
        twin_[e] = twin_[e] * factors_[i] + z;
        output_[e] = round_running(output_[e] * factors_[i] + round_tile(z));
      }
    }
  }

  static void gather(RowStatistics& row, std::span<const Real> scores) {
    for (const Real score : scores) {
      if (score != Head<Real>::kMasked) add_score(row, static_cast<double>(score));
    }
  }

  void count_ones(const Tile& tile) {
    const Real one = std::ldexp(Real{1}, recipe_.weight_exponent);
    for (std::size_t i = 0; i < tile.rows; ++i) {
      const Real* row = scores_.data() + i * tile.keys;
      ones_[i] += static_cast<std::uint32_t>(std::count(row, row + tile.keys, one));
    }
  }

  void finish(std::size_t query, std::size_t i) {
    const Sequence& sequence = head_.sequence();
    const std::size_t row = sequence.query_begin + query;
    const std::size_t columns = head_.value_width();
    const bool divide = states_[i].started && recipe_.order == Order::online;
    const Real sum = divide ? states_[i].sum : Real{1};
    const auto descale = static_cast<Real>(head_.value_descale());
    Rounder<Real>& round = rounders_[Quantity::output];
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t e = i * columns + c;
      const auto put = [&](const View<Real>& view, Real x) {
        if (view) view.at(sequence.batch, head_index_, row, c) = x;
      };
      put(outputs_.unnormalised, output_[e]);
      put(outputs_.unnormalised_twin, twin_[e]);
      put(outputs_.output, round(output_[e] / sum * descale));
      put(outputs_.twin, twin_[e] / sum * descale);
    }
    const auto put = [&](const auto& view, auto x) {
      if (view) view.at(sequence.batch, head_index_, row, 0) = x;
    };
    put(outputs_.log_sum_exp, softmax_.log_sum_exp(states_[i]));
    put(outputs_.ones, ones_[i]);
    if (std::isnan(states_[i].sum)) statistics_[i].invalidate();
    put(outputs_.statistics, statistics_[i]);
  }

  const Inputs<Real>& inputs_;
  const Recipe& recipe_;
  const Outputs<Real>& outputs_;
  std::size_t head_index_;
  Tiles tiles_;
  Rounders<Real> rounders_;
  Head<Real> head_;
  RowSoftmax<Real> softmax_;
  Products<Real> product_;
  std::vector<Real> queries_;
  std::vector<RowState<Real>> states_;
  std::vector<RowStatistics> statistics_;
  std::vector<std::uint32_t> ones_;
  std::vector<Real> scores_;
  std::vector<Real> factors_;
  std::vector<Real> tile_output_;
  std::vector<Real> output_;
  std::vector<Real> twin_;
};

}  // namespace

template <class Real>
void forward_head(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
                  const Outputs<Real>& outputs, std::size_t sequence, std::size_t head) {
  HeadForward<Real>(inputs, recipe, options, outputs, sequence, head).run();
}

template <class Real>
Status forward(const Inputs<Real>& inputs, const Recipe& recipe, const Options& options,
               const Outputs<Real>& outputs) {
  ULLAGE_TRY(check(inputs));
  ULLAGE_TRY(check_run<Real>(recipe, options));
  if (!outputs.output)
    return Error{Code::value_invalid, "the output must not be null", "outputs.output", {}, {}};
  return run_heads(
      inputs.shape.batch * inputs.shape.query_heads, options.threads, [&](std::size_t index) {
        const std::size_t heads = inputs.shape.query_heads;
        HeadForward<Real>(inputs, recipe, options, outputs, index / heads, index % heads).run();
      });
}

template void forward_head(const Inputs<float>&, const Recipe&, const Options&,
                           const Outputs<float>&, std::size_t, std::size_t);
template void forward_head(const Inputs<double>&, const Recipe&, const Options&,
                           const Outputs<double>&, std::size_t, std::size_t);
template Status forward(const Inputs<float>&, const Recipe&, const Options&, const Outputs<float>&);
template Status forward(const Inputs<double>&, const Recipe&, const Options&,
                        const Outputs<double>&);

}  // namespace ullage::attention
