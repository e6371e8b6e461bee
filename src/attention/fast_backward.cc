// The fast backward pass: packs every tensor once, gives each piece of work a part of one head's keys,
// and adds up what the pieces leave of dQ (and, for grouped heads, of dK and dV) in a fixed order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <numbers>
#include <stdexcept>
#include <vector>

#include "attention/fast_fallback.h"
#include "attention/fast_kernels.h"
#include "attention/fast_plan.h"
#include "attention/fast_workspace.h"
#include "ullage/attention/fast.h"
#include "ullage/base/multiple.h"
#include "ullage/base/parallel.h"

namespace ullage::attention {

namespace {

// Pieces of work at least, where there are keys enough: each costs a copy of dQ.
constexpr std::size_t kPieces = 16;
// Tiles of keys that a piece has at least.
constexpr std::size_t kLeastTiles = 4;

template <class T>
struct BackwardTensors {
  View<const T> grad_output;
  FastSaved<T> saved;
  FastGradients<T> gradients;
};

template <class T>
class FastBackward {
 public:
  FastBackward(const Inputs<T>& inputs, int threads, const BackwardTensors<T>& tensors,
               FastWorkspace::Buffers& buffers)
      : inputs_(inputs),
        shape_(inputs.shape),
        tensors_(tensors),
        buffers_(buffers),
        threads_(threads > 0 ? threads : default_threads()),
        kernels_(*fast_kernels(cpu_path(), kIsBf16<T>)),
        key_tile_(static_cast<std::size_t>(kernels_.key_tile)),
        query_block_(static_cast<std::size_t>(kernels_.query_block)),
        plan_(kernels_, inputs, kernels_.key_tile, kernels_.query_block),
        units_(score_units(inputs)),
        grouped_(shape_.group() > 1) {}

  void run() {
    allocate();
    pack_keys();
    pack_queries();
    find_ranges();
    const std::size_t heads = plan_.sequences.size() * shape_.query_heads;
    // Early keys are seen by most queries under a causal mask: they come first.
    parallel_for(parts_ * heads, threads_, [&](std::size_t index, int worker) {
      run_piece(index / heads, index % heads / shape_.query_heads, index % shape_.query_heads,
                buffers_.workers[static_cast<std::size_t>(worker)]);
    });
    write_queries();
    if (grouped_) write_keys();
  }

 private:
  struct Hull {
    std::size_t begin;
    std::size_t end;
  };

  // Words of one head's tensor in each form.
  std::size_t lane_words(std::size_t rows, std::size_t steps) const { return rows * steps; }
  std::size_t panel_words(std::size_t rows, std::size_t stride) const {
    return rows / plan_.pair * stride;
  }

  void allocate() {
    const std::size_t heads = plan_.sequences.size() * shape_.query_heads;
    std::size_t most_tiles = 1;
    for (const PlannedSequence& sequence : plan_.sequences)
      most_tiles = std::max(most_tiles, sequence.padded_keys / key_tile_);
    // By the shape alone, so that results do not depend on the threads.
    parts_ = std::clamp(ceil_divide(kPieces, heads), std::size_t{1},
                        std::max<std::size_t>(1, most_tiles / kLeastTiles));
    const std::size_t keys = plan_.all_keys;
    const std::size_t queries = plan_.all_queries;
    const std::size_t kv = shape_.kv_heads;
    const std::size_t q = shape_.query_heads;
    keys_ = buffers_.keys.at_least(kv * lane_words(keys, plan_.steps));
    values_ = buffers_.values.at_least(kv * lane_words(keys, plan_.value_steps));
    key_rows_ = buffers_.key_rows.at_least(kv * panel_words(keys, plan_.width_stride));
    queries_ = buffers_.queries.at_least(q * lane_words(queries, plan_.steps));
    grads_ = buffers_.grads.at_least(q * lane_words(queries, plan_.value_steps));
    query_rows_ = buffers_.query_rows.at_least(q * panel_words(queries, plan_.width_stride));
    grad_rows_ = buffers_.grad_rows.at_least(q * panel_words(queries, plan_.value_stride));
    minus_log_ = buffers_.minus_log.at_least(q * queries);
    minus_delta_ = buffers_.minus_delta.at_least(q * queries);
    begin_ = buffers_.begin.at_least(queries);
    end_ = buffers_.end.at_least(queries);
    grad_queries_ = buffers_.grad_queries.at_least(parts_ * q * queries * plan_.width_stride);
    if (grouped_) {
      grad_keys_ = buffers_.grad_keys.at_least(q * keys * plan_.width_stride);
      grad_values_ = buffers_.grad_values.at_least(q * keys * plan_.value_stride);
    }
    buffers_.workers.resize(std::max(buffers_.workers.size(), static_cast<std::size_t>(threads_)));
    key_bias_ = plan_.key_bias(buffers_.key_bias);
  }

  void pack_keys() {
    parallel_for(plan_.sequences.size() * shape_.kv_heads, threads_, [&](std::size_t index, int) {
      const std::size_t g = index % shape_.kv_heads;
      const PlannedSequence& sequence = plan_.sequences[index / shape_.kv_heads];
      const SourceRows k = plan_.key_source(inputs_.k, sequence, g, shape_.width);
      const SourceRows v = plan_.key_source(inputs_.v, sequence, g, shape_.value_width);
      const std::size_t row = g * plan_.all_keys + sequence.key_begin;
      kernels_.pack_lanes(k, kernels_.row_tile, keys_ + lane_words(row, plan_.steps));
      kernels_.pack_lanes(v, kernels_.row_tile, values_ + lane_words(row, plan_.value_steps));
      kernels_.pack_panels(k, static_cast<int>(sequence.padded_keys),
                           key_rows_ + panel_words(row, plan_.width_stride));
    });
  }

  void pack_queries() {
    parallel_for(
        plan_.sequences.size() * shape_.query_heads, threads_, [&](std::size_t index, int) {
          const std::size_t h = index % shape_.query_heads;
          const PlannedSequence& sequence = plan_.sequences[index / shape_.query_heads];
          const SourceRows q = plan_.query_source(inputs_.q, sequence, h, shape_.width);
          const SourceRows grad =
              plan_.query_source(tensors_.grad_output, sequence, h, shape_.value_width);
          const SourceRows output =
              plan_.query_source(tensors_.saved.output, sequence, h, shape_.value_width);
          const std::size_t row = h * plan_.all_queries + sequence.query_begin;
          const int padded = static_cast<int>(sequence.padded_queries);
          kernels_.pack_lanes(q, kernels_.panel, queries_ + lane_words(row, plan_.steps));
          kernels_.pack_lanes(grad, kernels_.panel, grads_ + lane_words(row, plan_.value_steps));
          kernels_.pack_panels(q, padded, query_rows_ + panel_words(row, plan_.width_stride));
          kernels_.pack_panels(grad, padded, grad_rows_ + panel_words(row, plan_.value_stride));
          kernels_.row_products(grad, output, minus_delta_ + row);
          finish_rows(sequence, h, row);
        });
  }

  // delta and L of a head's queries, as the kernels want them. A row without keys has P = 0.
  void finish_rows(const PlannedSequence& sequence, std::size_t h, std::size_t first) {
    const Sequence& rows = sequence.rows;
    for (std::size_t i = 0; i < sequence.padded_queries; ++i) {
      float& log = minus_log_[first + i];
      float& delta = minus_delta_[first + i];
      log = -std::numeric_limits<float>::infinity();
      if (i >= rows.queries) {
        delta = 0;
        continue;
      }
      const std::size_t row = rows.query_begin + i;
      if (tensors_.gradients.delta) tensors_.gradients.delta.at(rows.batch, h, row, 0) = delta;
      delta = -delta;
      const auto saved = static_cast<double>(tensors_.saved.log_sum_exp.at(rows.batch, h, row, 0));
      if (saved != -std::numeric_limits<double>::infinity())
        log = static_cast<float>(-saved * std::numbers::log2e);
    }
  }

  // Which keys each query sees, and each block of queries.
  void find_ranges() {
    hulls_.assign(plan_.all_queries / query_block_, {std::numeric_limits<std::size_t>::max(), 0});
    for (const PlannedSequence& sequence : plan_.sequences) {
      for (std::size_t i = 0; i < sequence.padded_queries; ++i) {
        const KeyRange range =
            i < sequence.rows.queries ? visible_keys(inputs_.mask, sequence.rows, i) : KeyRange{};
        const std::size_t row = sequence.query_begin + i;
        begin_[row] = static_cast<std::int32_t>(range.begin);
        end_[row] = static_cast<std::int32_t>(range.end);
        if (range.begin >= range.end) continue;
        Hull& hull = hulls_[row / query_block_];
        hull.begin = std::min(hull.begin, range.begin);
        hull.end = std::max(hull.end, range.end);
      }
    }
  }

  [[nodiscard]] bool sees(std::size_t block, std::size_t begin, std::size_t end) const {
    return hulls_[block].begin < end && hulls_[block].end > begin;
  }

  // Keys of a part of a sequence.
  [[nodiscard]] Hull keys_of(const PlannedSequence& sequence, std::size_t part) const {
    const std::size_t tiles = sequence.padded_keys / key_tile_;
    return {tiles * part / parts_ * key_tile_, tiles * (part + 1) / parts_ * key_tile_};
  }

  [[nodiscard]] float* partial_queries(std::size_t part, std::size_t head, std::size_t row) const {
    return grad_queries_ +
           ((part * shape_.query_heads + head) * plan_.all_queries + row) * plan_.width_stride;
  }

  void run_piece(std::size_t part, std::size_t b, std::size_t h, WorkerBuffers& worker) {
    const PlannedSequence& sequence = plan_.sequences[b];
    const Hull keys = keys_of(sequence, part);
    const std::size_t first = sequence.query_begin / query_block_;
    const std::size_t last = first + sequence.padded_queries / query_block_;
    for (std::size_t n = first; n < last; ++n) {
      if (sees(n, keys.begin, keys.end))
        std::fill_n(partial_queries(part, h, n * query_block_), query_block_ * plan_.width_stride,
                    0.0F);
    }
    for (std::size_t key = keys.begin; key < keys.end; key += key_tile_) {
      BackwardBlock block = tile_block(sequence, h / shape_.group(), key);
      block.grad_keys = worker.grad_keys.at_least(key_tile_ * plan_.width_stride);
      block.grad_values = worker.grad_values.at_least(key_tile_ * plan_.value_stride);
      std::fill_n(block.grad_keys, key_tile_ * plan_.width_stride, 0.0F);
      std::fill_n(block.grad_values, key_tile_ * plan_.value_stride, 0.0F);
      for (std::size_t n = first; n < last; ++n) {
        if (!sees(n, key, key + key_tile_)) continue;
        add_queries(block, sequence, h, n);
        block.grad_queries = partial_queries(part, h, n * query_block_);
        kernels_.backward(block);
      }
      keep_keys(sequence, h, key, block);
    }
  }

  BackwardBlock tile_block(const PlannedSequence& sequence, std::size_t kv_head,
                           std::size_t key) const {
    const std::size_t head_row = kv_head * plan_.all_keys + sequence.key_begin;
    BackwardBlock block = {};
    block.keys = keys_ + lane_words(head_row + key, plan_.steps);
    block.values = values_ + lane_words(head_row + key, plan_.value_steps);
    block.key_rows =
        key_rows_ + panel_words(head_row, plan_.width_stride) + key / plan_.pair * plan_.panel;
    block.key_panel = panel_stride(sequence.padded_keys);
    block.steps = static_cast<int>(plan_.steps);
    block.value_steps = static_cast<int>(plan_.value_steps);
    block.width_panels = static_cast<int>(plan_.width_stride / plan_.panel);
    block.value_panels = static_cast<int>(plan_.value_stride / plan_.panel);
    block.key = static_cast<int>(key);
    block.key_count = static_cast<int>(std::min(key_tile_, sequence.rows.keys - key));
    block.key_bias = key_bias_ == nullptr ? nullptr : key_bias_ + sequence.key_begin + key;
    block.scale = units_.scale;
    block.cap = units_.cap;
    block.cap_scale = units_.cap_scale;
    return block;
  }

  [[nodiscard]] std::ptrdiff_t panel_stride(std::size_t rows) const {
    return static_cast<std::ptrdiff_t>(rows / plan_.pair * plan_.panel);
  }

  // Block n of all queries, which belongs to the sequence.
  void add_queries(BackwardBlock& block, const PlannedSequence& sequence, std::size_t h,
                   std::size_t n) const {
    const std::size_t head_row = h * plan_.all_queries;
    const std::size_t row = n * query_block_;
    const std::size_t within = row - sequence.query_begin;
    const std::size_t sequence_row = head_row + sequence.query_begin;
    block.queries = queries_ + lane_words(head_row + row, plan_.steps);
    block.grads = grads_ + lane_words(head_row + row, plan_.value_steps);
    const std::size_t step = within / plan_.pair * plan_.panel;
    block.query_rows = query_rows_ + panel_words(sequence_row, plan_.width_stride) + step;
    block.grad_rows = grad_rows_ + panel_words(sequence_row, plan_.value_stride) + step;
    block.query_panel = block.grad_panel = panel_stride(sequence.padded_queries);
    const std::size_t left = std::min(query_block_, sequence.rows.queries - within);
    block.query_panels = static_cast<int>(ceil_divide(left, plan_.panel));
    block.begin = begin_ + row;
    block.end = end_ + row;
    block.minus_log = minus_log_ + head_row + row;
    block.minus_delta = minus_delta_ + head_row + row;
  }

  [[nodiscard]] static TargetRows target(const View<T>& view, std::size_t batch, std::size_t head,
                                         std::size_t row) {
    return {&view.at(batch, head, row, 0), kIsBf16<T>, view.row, view.column};
  }

  // A finished tile of dK and dV: to its owner, or aside until the group's heads are added.
  void keep_keys(const PlannedSequence& sequence, std::size_t h, std::size_t key,
                 const BackwardBlock& block) const {
    const std::size_t rows = std::min(key_tile_, sequence.rows.keys - key);
    if (grouped_) {
      const std::size_t row = h * plan_.all_keys + sequence.key_begin + key;
      std::copy_n(block.grad_keys, rows * plan_.width_stride,
                  grad_keys_ + row * plan_.width_stride);
      std::copy_n(block.grad_values, rows * plan_.value_stride,
                  grad_values_ + row * plan_.value_stride);
      return;
    }
    store_keys(sequence, h, key, rows, block.grad_keys, block.grad_values);
  }

  void store_keys(const PlannedSequence& sequence, std::size_t kv_head, std::size_t key,
                  std::size_t rows, const float* grad_keys, const float* grad_values) const {
    const std::size_t row = sequence.rows.key_begin + key;
    const FastGradients<T>& to = tensors_.gradients;
    if (to.k)
      store(grad_keys, plan_.width_stride, rows, shape_.width, inputs_.score_scale(),
            target(to.k, sequence.rows.batch, kv_head, row));
    if (to.v)
      store(grad_values, plan_.value_stride, rows, shape_.value_width, 1,
            target(to.v, sequence.rows.batch, kv_head, row));
  }

  void store(const float* values, std::size_t stride, std::size_t rows, std::size_t columns,
             double factor, const TargetRows& to) const {
    const std::vector<float> factors(rows, static_cast<float>(factor));
    kernels_.store_rows({values, static_cast<int>(stride), static_cast<int>(rows),
                         static_cast<int>(columns), factors.data()},
                        to);
  }

  // Parts of dQ in ascending order of keys, block by block.
  void write_queries() {
    if (!tensors_.gradients.q) return;
    const std::size_t blocks = plan_.all_queries / query_block_;
    std::vector<std::size_t> sequence_of_block(blocks);
    for (std::size_t b = 0; b < plan_.sequences.size(); ++b) {
      const PlannedSequence& sequence = plan_.sequences[b];
      std::fill_n(sequence_of_block.begin() +
                      static_cast<std::ptrdiff_t>(sequence.query_begin / query_block_),
                  sequence.padded_queries / query_block_, b);
    }
    const std::size_t count = query_block_ * plan_.width_stride;
    parallel_for(blocks * shape_.query_heads, threads_, [&](std::size_t index, int) {
      const std::size_t n = index % blocks;
      const std::size_t h = index / blocks;
      const PlannedSequence& sequence = plan_.sequences[sequence_of_block[n]];
      const std::size_t within = n * query_block_ - sequence.query_begin;
      float* sum = nullptr;
      for (std::size_t part = 0; part < parts_; ++part) {
        const Hull keys = keys_of(sequence, part);
        if (!sees(n, keys.begin, keys.end)) continue;
        float* more = partial_queries(part, h, n * query_block_);
        if (sum == nullptr) {
          sum = more;
        } else {
          for (std::size_t e = 0; e < count; ++e) sum[e] += more[e];
        }
      }
      if (sum == nullptr) {
        sum = partial_queries(0, h, n * query_block_);
        std::fill_n(sum, count, 0.0F);
      }
      store(
          sum, plan_.width_stride, std::min(query_block_, sequence.rows.queries - within),
          shape_.width, inputs_.score_scale(),
          target(tensors_.gradients.q, sequence.rows.batch, h, sequence.rows.query_begin + within));
    });
  }

  // dK and dV of a group: its heads in ascending order, tile by tile.
  void write_keys() {
    struct Place {
      const PlannedSequence* sequence;
      std::size_t key;
    };
    std::vector<Place> places;
    for (const PlannedSequence& sequence : plan_.sequences) {
      for (std::size_t key = 0; key < sequence.rows.keys; key += key_tile_)
        places.push_back({&sequence, key});
    }
    parallel_for(places.size() * shape_.kv_heads, threads_, [&](std::size_t index, int) {
      const auto [sequence, key] = places[index % places.size()];
      const std::size_t g = index / places.size();
      const std::size_t rows = std::min(key_tile_, sequence->rows.keys - key);
      const auto row_of = [&](std::size_t h) {
        return h * plan_.all_keys + sequence->key_begin + key;
      };
      const std::size_t first = g * shape_.group();
      const auto add_heads = [&](float* all, std::size_t stride) {
        float* sum = all + row_of(first) * stride;
        for (std::size_t h = first + 1; h < first + shape_.group(); ++h) {
          const float* more = all + row_of(h) * stride;
          for (std::size_t e = 0; e < rows * stride; ++e) sum[e] += more[e];
        }
        return sum;
      };
      const float* grad_keys = add_heads(grad_keys_, plan_.width_stride);
      const float* grad_values = add_heads(grad_values_, plan_.value_stride);
      store_keys(*sequence, g, key, rows, grad_keys, grad_values);
    });
  }

  const Inputs<T>& inputs_;
  const Shape& shape_;
  const BackwardTensors<T>& tensors_;
  FastWorkspace::Buffers& buffers_;
  int threads_;
  const FastKernels& kernels_;
  std::size_t key_tile_;
  std::size_t query_block_;
  FastPlan<T> plan_;
  ScoreUnits units_;
  bool grouped_;
  std::size_t parts_ = 1;
  std::vector<Hull> hulls_;  // of each block of queries
  Word* keys_ = nullptr;
  Word* values_ = nullptr;
  Word* key_rows_ = nullptr;
  Word* queries_ = nullptr;
  Word* grads_ = nullptr;
  Word* query_rows_ = nullptr;
  Word* grad_rows_ = nullptr;
  float* minus_log_ = nullptr;
  float* minus_delta_ = nullptr;
  std::int32_t* begin_ = nullptr;
  std::int32_t* end_ = nullptr;
  float* grad_queries_ = nullptr;
  float* grad_keys_ = nullptr;
  float* grad_values_ = nullptr;
  const float* key_bias_ = nullptr;
};

// The tensor itself, or a copy whose columns lie next to each other (a gradient that comes from a sum
// is one number with strides 0).
template <class T>
class Gathered {
 public:
  Gathered(const Inputs<T>& inputs, const View<const T>& from) : view_(from) {
    if (from.column == 1) return;
    const Shape& shape = inputs.shape;
    const std::size_t batch = inputs.packed.query_starts.empty() ? shape.batch : 1;
    values_.reserve(batch * shape.query_heads * shape.queries * shape.value_width);
    for (std::size_t b = 0; b < batch; ++b) {
      for (std::size_t h = 0; h < shape.query_heads; ++h) {
        for (std::size_t i = 0; i < shape.queries; ++i) {
          for (std::size_t c = 0; c < shape.value_width; ++c)
            values_.push_back(from.at(b, h, i, c));
        }
      }
    }
    view_ =
        contiguous<const T>(values_.data(), shape.query_heads, shape.queries, shape.value_width);
  }

  [[nodiscard]] const View<const T>& view() const { return view_; }

 private:
  std::vector<T> values_;
  View<const T> view_;
};

Error missing(const char* where) {
  return {Code::value_invalid, "the backward pass needs this tensor", where, {}, {}};
}

}  // namespace

template <class T>
Status fast_backward(const Inputs<T>& inputs, const FastOptions& options,
                     const View<const T>& grad_output, const FastSaved<T>& saved,
                     const FastGradients<T>& gradients) {
  ULLAGE_TRY(check(inputs));
  ULLAGE_TRY(check(options.shift));
  if (!grad_output) return missing("grad_output");
  if (!saved.output) return missing("saved.output");
  if (!saved.log_sum_exp) return missing("saved.log_sum_exp");
  try {
    if (!fast_path_reason(inputs, options).empty())
      return reference_backward(inputs, options, grad_output, saved, gradients);
    const Gathered<T> grad(inputs, grad_output);
    const Gathered<T> output(inputs, saved.output);
    const BackwardTensors<T> tensors = {grad.view(), {output.view(), saved.log_sum_exp}, gradients};
    FastWorkspace own;
    const FastWorkspace& workspace = options.workspace == nullptr ? own : *options.workspace;
    FastBackward<T>(inputs, options.threads, tensors, workspace.buffers()).run();
  } catch (const std::bad_alloc&) {
    return Error{Code::resource, "not enough memory for the scratch of attention", {}, {}, {}};
  } catch (const std::length_error&) {
    return Error{Code::resource, "more scratch than memory can address", "attention", {}, {}};
  }
  return {};
}

template Status fast_backward(const Inputs<float>&, const FastOptions&, const View<const float>&,
                              const FastSaved<float>&, const FastGradients<float>&);
template Status fast_backward(const Inputs<Bf16>&, const FastOptions&, const View<const Bf16>&,
                              const FastSaved<Bf16>&, const FastGradients<Bf16>&);

}  // namespace ullage::attention
