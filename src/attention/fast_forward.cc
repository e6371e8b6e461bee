// The fast forward pass: packs keys and values once, cuts the queries into blocks, and hands each
// block to a kernel.
#include <algorithm>
#include <cmath>
#include <new>
#include <numbers>
#include <stdexcept>
#include <vector>

#include "attention/fast_fallback.h"
#include "attention/fast_kernels.h"
#include "attention/fast_plan.h"
#include "attention/fast_workspace.h"
#include "ullage/attention/fast.h"
#include "ullage/base/parallel.h"

namespace ullage::attention {

namespace {

// Query rows [row, row + rows) of one head.
struct Piece {
  std::size_t sequence;
  std::size_t head;
  std::size_t row;
  std::size_t rows;
};

template <class T>
class FastForward {
 public:
  FastForward(const Inputs<T>& inputs, const FastOptions& options, const FastOutputs<T>& outputs,
              FastWorkspace::Buffers& buffers)
      : inputs_(inputs),
        options_(options),
        outputs_(outputs),
        buffers_(buffers),
        kernels_(*fast_kernels(cpu_path(), kIsBf16<T>)),
        plan_(kernels_, inputs, kernels_.panel, 1),
        units_(score_units(inputs)),
        block_rows_(static_cast<std::size_t>(kernels_.row_tile) * kRowTiles),
        wants_statistics_(outputs.statistics || !outputs.heads.empty()) {}

  void run() {
    const int threads = options_.threads > 0 ? options_.threads : default_threads();
    pack_all(threads);
    std::vector<Piece> pieces;
    for (std::size_t b = 0; b < plan_.sequences.size(); ++b) {
      for (std::size_t h = 0; h < inputs_.shape.query_heads; ++h) {
        // The last blocks see most keys under a causal mask: they come first, so that threads end
        // together.
        const std::size_t queries = plan_.sequences[b].rows.queries;
        for (std::size_t n = rounded_up(queries, block_rows_); n > 0; n -= block_rows_) {
          const std::size_t row = n - block_rows_;
          pieces.push_back({b, h, row, std::min(block_rows_, queries - row)});
        }
      }
    }
    std::vector<HeadStatistics> parts(outputs_.heads.empty() ? 0 : pieces.size());
    buffers_.workers.resize(
        std::max(buffers_.workers.size(), static_cast<std::size_t>(std::max(threads, 1))));
    parallel_for(pieces.size(), threads, [&](std::size_t index, int worker) {
      WorkerBuffers& own = buffers_.workers[static_cast<std::size_t>(worker)];
      run_piece(pieces[index], own);
      if (!parts.empty()) parts[index] = reduce(own.statistics);
    });
    if (parts.empty()) return;
    std::fill(outputs_.heads.begin(), outputs_.heads.end(), HeadStatistics{});
    for (std::size_t n = 0; n < pieces.size(); ++n)
      outputs_.heads[pieces[n].sequence * inputs_.shape.query_heads + pieces[n].head].merge(
          parts[n]);
  }

 private:
  void pack_all(int threads) {
    const Shape& shape = inputs_.shape;
    const std::size_t key_words = plan_.all_keys * plan_.steps;
    const std::size_t value_words = plan_.all_keys / plan_.pair * plan_.value_stride;
    Word* keys = buffers_.keys.at_least(key_words * shape.kv_heads);
    Word* values = buffers_.values.at_least(value_words * shape.kv_heads);
    parallel_for(plan_.sequences.size() * shape.kv_heads, threads, [&](std::size_t index, int) {
      const std::size_t g = index % shape.kv_heads;
      const PlannedSequence& sequence = plan_.sequences[index / shape.kv_heads];
      kernels_.pack_lanes(plan_.key_source(inputs_.k, sequence, g, shape.width), kernels_.panel,
                          keys + g * key_words + sequence.key_begin * plan_.steps);
      kernels_.pack_panels(
          plan_.key_source(inputs_.v, sequence, g, shape.value_width),
          static_cast<int>(sequence.padded_keys),
          values + g * value_words + sequence.key_begin / plan_.pair * plan_.value_stride);
    });
    keys_ = keys;
    values_ = values;
    key_words_ = key_words;
    value_words_ = value_words;
    key_bias_ = plan_.key_bias(buffers_.key_bias);
  }

  void run_piece(const Piece& piece, WorkerBuffers& worker) {
    const Shape& shape = inputs_.shape;
    const PlannedSequence& sequence = plan_.sequences[piece.sequence];
    const std::size_t kv_head = piece.head / shape.group();
    const std::size_t padded = rounded_up(piece.rows, static_cast<std::size_t>(kernels_.row_tile));
    Word* queries = worker.queries.at_least(padded * plan_.steps);
    const SourceRows source =
        plan_.source(inputs_.q, sequence.rows.batch, piece.head,
                     sequence.rows.query_begin + piece.row, piece.rows, shape.width);
    kernels_.pack_lanes(source, kernels_.row_tile, queries);

    ForwardBlock block = {};
    block.queries = queries;
    block.keys = keys_ + kv_head * key_words_ + sequence.key_begin * plan_.steps;
    block.values =
        values_ + kv_head * value_words_ + sequence.key_begin / plan_.pair * plan_.value_stride;
    block.value_panel =
        static_cast<std::ptrdiff_t>(sequence.padded_keys / plan_.pair * plan_.panel);
    block.rows = static_cast<int>(padded);
    block.steps = static_cast<int>(plan_.steps);
    block.value_panels = static_cast<int>(plan_.value_stride / plan_.panel);
    block.key_bias = key_bias_ == nullptr ? nullptr : key_bias_ + sequence.key_begin;
    block.scale = units_.scale;
    block.cap = units_.cap;
    block.cap_scale = units_.cap_scale;
    block.statistics = wants_statistics_;
    block.output_stride = static_cast<int>(plan_.value_stride);
    block.output = worker.output.at_least(padded * static_cast<std::size_t>(block.output_stride));

    std::int32_t* ranges = worker.ranges.at_least(2 * block_rows_);
    for (std::size_t i = 0; i < padded; ++i) {
      const KeyRange range =
          i < piece.rows ? visible_keys(inputs_.mask, sequence.rows, piece.row + i) : KeyRange{};
      ranges[i] = static_cast<std::int32_t>(range.begin);
      ranges[block_rows_ + i] = static_cast<std::int32_t>(range.end);
    }
    block.begin = ranges;
    block.end = ranges + block_rows_;

    float* rows = worker.rows.at_least((kRowStates + 2) * block_rows_);
    const auto next = [&] { return std::exchange(rows, rows + block_rows_); };
    block.states = {next(), next(), next(), next(), next(), next(), next(), next(), next()};
    float* offsets = next();
    if (options_.shift.rule == ShiftRule::stabilised) {
      write_offsets(piece, sequence.rows, source, worker, offsets);
      std::fill(offsets + piece.rows, offsets + padded, 0.0F);
      block.offsets = offsets;
    }
    kernels_.forward(block);
    if (wants_statistics_) gather_statistics(piece, sequence.rows, block, worker.statistics);
    finish(piece, sequence.rows, block, next());
  }

  // In powers of two.
  void write_offsets(const Piece& piece, const Sequence& sequence, const SourceRows& queries,
                     WorkerBuffers& worker, float* offsets) const {
    std::uint32_t* bits = worker.query_bits.at_least(block_rows_);
    kernels_.row_bits(queries, bits);
    for (std::size_t i = 0; i < piece.rows; ++i) {
      const RowKey row = {.batch = sequence.index,
                          .head = piece.head,
                          .position = position_of(sequence, piece.row + i),
                          .bits = bits[i]};
      offsets[i] = static_cast<float>(std::numbers::log2e * row_offset(options_.shift.seed, row));
    }
  }

  void finish(const Piece& piece, const Sequence& sequence, const ForwardBlock& block,
              float* factors) {
    const std::size_t first = sequence.query_begin + piece.row;
    for (std::size_t i = 0; i < piece.rows; ++i) {
      const float sum = block.states.sum[i];
      factors[i] = sum == 0 ? 0 : 1 / sum;
      const std::size_t row = first + i;
      if (outputs_.log_sum_exp)
        outputs_.log_sum_exp.at(sequence.batch, piece.head, row, 0) = log_sum_exp(block.states, i);
    }
    kernels_.store_rows({block.output, block.output_stride, static_cast<int>(piece.rows),
                         static_cast<int>(inputs_.shape.value_width), factors},
                        {&outputs_.output.at(sequence.batch, piece.head, first, 0), kIsBf16<T>,
                         outputs_.output.row, outputs_.output.column});
  }

  void gather_statistics(const Piece& piece, const Sequence& sequence, const ForwardBlock& block,
                         std::vector<RowStatistics>& rows) const {
    const std::uint8_t* keep = plan_.keep(plan_.sequences[sequence.index]);
    rows.resize(piece.rows);
    for (std::size_t i = 0; i < piece.rows; ++i)
      rows[i] = statistics_of(block.states, i, keys_seen(keep, block, i));
    if (!outputs_.statistics) return;
    for (std::size_t i = 0; i < piece.rows; ++i)
      outputs_.statistics.at(sequence.batch, piece.head, sequence.query_begin + piece.row + i, 0) =
          rows[i];
  }

  float log_sum_exp(const RowStates& states, std::size_t i) const {
    if (states.sum[i] == 0) return -std::numeric_limits<float>::infinity();
    return static_cast<float>(units_.score * static_cast<double>(states.top[i]) +
                              std::numbers::ln2 * static_cast<double>(states.shift[i]) +
                              std::log(static_cast<double>(states.sum[i])));
  }

  static std::size_t keys_seen(const std::uint8_t* keep, const ForwardBlock& block, std::size_t i) {
    const auto begin = static_cast<std::size_t>(block.begin[i]);
    const auto end = static_cast<std::size_t>(block.end[i]);
    if (keep == nullptr) return end - begin;
    return static_cast<std::size_t>(
        std::count_if(keep + begin, keep + end, [](std::uint8_t kept) { return kept != 0; }));
  }

  RowStatistics statistics_of(const RowStates& states, std::size_t i, std::size_t keys) const {
    RowStatistics row;
    row.keys = static_cast<std::uint32_t>(keys);
    if (keys == 0) return row;
    const double raise = states.shift[i] == 0 ? 1 : std::exp2(static_cast<double>(states.shift[i]));
    const double others = static_cast<double>(states.repeats[i]) - 1;
    row.maximum = units_.score * static_cast<double>(states.top[i]);
    row.second = others > 0 ? row.maximum : units_.score * static_cast<double>(states.second[i]);
    row.tail = static_cast<double>(states.tail[i]) * raise + others;
    row.tail_squares = static_cast<double>(states.tail_squares[i]) * raise * raise + others;
    row.max_abs = units_.score * static_cast<double>(states.max_abs[i]);
    row.squared_scores = units_.score * units_.score * static_cast<double>(states.squares[i]);
    row.repeats = static_cast<std::uint32_t>(states.repeats[i]);
    // The maxima of vectors drop a NaN; the sum keeps it.
    if (std::isnan(states.sum[i])) row.invalidate();
    return row;
  }

  const Inputs<T>& inputs_;
  const FastOptions& options_;
  const FastOutputs<T>& outputs_;
  FastWorkspace::Buffers& buffers_;
  const FastKernels& kernels_;
  FastPlan<T> plan_;
  ScoreUnits units_;
  std::size_t block_rows_;
  bool wants_statistics_;
  const Word* keys_ = nullptr;
  const Word* values_ = nullptr;
  std::size_t key_words_ = 0;  // of one kv head
  std::size_t value_words_ = 0;
  const float* key_bias_ = nullptr;
};

template <class T>
void run_fast(const Inputs<T>& inputs, const FastOptions& options, const FastOutputs<T>& outputs) {
  FastWorkspace own;
  const FastWorkspace& workspace = options.workspace == nullptr ? own : *options.workspace;
  FastForward<T>(inputs, options, outputs, workspace.buffers()).run();
}

// The reference, and its rows' statistics reduced.
template <class T>
Status run_reference(const Inputs<T>& inputs, const FastOptions& options,
                     const FastOutputs<T>& outputs) {
  const Shape& shape = inputs.shape;
  std::vector<RowStatistics> rows;
  View<RowStatistics> statistics = outputs.statistics;
  if (!outputs.heads.empty() && !statistics) {
    rows.resize(shape.batch * shape.query_heads * shape.queries);
    statistics = contiguous(rows.data(), shape.query_heads, shape.queries, 1);
  }
  ULLAGE_TRY(reference_forward(inputs, options, outputs, statistics));
  if (outputs.heads.empty()) return {};
  std::vector<RowStatistics> head;
  for (std::size_t b = 0; b < shape.batch; ++b) {
    const Sequence sequence = sequence_of(shape, inputs.packed, b);
    for (std::size_t h = 0; h < shape.query_heads; ++h) {
      head.clear();
      for (std::size_t i = 0; i < sequence.queries; ++i)
        head.push_back(statistics.at(sequence.batch, h, sequence.query_begin + i, 0));
      outputs.heads[b * shape.query_heads + h] = reduce(head);
    }
  }
  return {};
}

}  // namespace

template <class T>
Status fast_forward(const Inputs<T>& inputs, const FastOptions& options,
                    const FastOutputs<T>& outputs) {
  ULLAGE_TRY(check(inputs));
  ULLAGE_TRY(check(options.shift));
  if (!outputs.output)
    return Error{Code::value_invalid, "the output must not be null", "outputs.output", {}, {}};
  const Shape& shape = inputs.shape;
  if (!outputs.heads.empty() && outputs.heads.size() != shape.batch * shape.query_heads)
    return Error{Code::value_invalid, "needs an entry for each query head of each sequence",
                 "heads", std::to_string(shape.batch * shape.query_heads),
                 std::to_string(outputs.heads.size())};
  try {
    if (!fast_path_reason(inputs, options).empty()) return run_reference(inputs, options, outputs);
    run_fast(inputs, options, outputs);
  } catch (const std::bad_alloc&) {
    return Error{Code::resource, "not enough memory for the scratch of attention", {}, {}, {}};
  } catch (const std::length_error&) {
    return Error{Code::resource, "more scratch than memory can address", "attention", {}, {}};
  }
  return {};
}

template Status fast_forward(const Inputs<float>&, const FastOptions&, const FastOutputs<float>&);
template Status fast_forward(const Inputs<Bf16>&, const FastOptions&, const FastOutputs<Bf16>&);

}  // namespace ullage::attention
