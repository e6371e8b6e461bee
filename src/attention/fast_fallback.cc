#include "attention/fast_fallback.h"

#include <vector>

#include "ullage/attention/recipe.h"
#include "ullage/attention/reference.h"
#include "ullage/formats/format.h"
#include "ullage/formats/scalar.h"

namespace ullage::attention {

namespace {

// A BF16 tensor as FP32, (batch, head, row, column) without gaps.
class Widened {
 public:
  Widened(const View<const Bf16>& from, std::size_t batch, std::size_t heads, std::size_t rows,
          std::size_t columns)
      : values_(batch * heads * rows * columns) {
    if (!from) return;
    view_ = contiguous<const float>(values_.data(), heads, rows, columns);
    std::size_t e = 0;
    for (std::size_t b = 0; b < batch; ++b) {
      for (std::size_t h = 0; h < heads; ++h) {
        for (std::size_t i = 0; i < rows; ++i) {
          for (std::size_t c = 0; c < columns; ++c) values_[e++] = from.at(b, h, i, c).value();
        }
      }
    }
  }

  [[nodiscard]] const View<const float>& view() const { return view_; }

 private:
  std::vector<float> values_;
  View<const float> view_;
};

// An FP32 tensor that is written back as BF16.
class Narrowed {
 public:
  Narrowed(const View<Bf16>& to, std::size_t batch, std::size_t heads, std::size_t rows,
           std::size_t columns)
      : to_(to), batch_(batch), heads_(heads), rows_(rows), columns_(columns) {
    if (!to) return;
    values_.resize(batch * heads * rows * columns);
    view_ = contiguous(values_.data(), heads, rows, columns);
  }

  [[nodiscard]] const View<float>& view() const { return view_; }

  void write() const {
    if (!to_) return;
    std::size_t e = 0;
    for (std::size_t b = 0; b < batch_; ++b) {
      for (std::size_t h = 0; h < heads_; ++h) {
        for (std::size_t i = 0; i < rows_; ++i) {
          for (std::size_t c = 0; c < columns_; ++c)
            to_.at(b, h, i, c).bits = static_cast<std::uint16_t>(
                formats::encode(formats::kBf16, static_cast<double>(values_[e++]),
                                {.overflow = formats::Overflow::non_saturating}, 0));
        }
      }
    }
  }

 private:
  View<Bf16> to_;
  std::size_t batch_, heads_, rows_, columns_;
  std::vector<float> values_;
  View<float> view_;
};

// Packed tensors have one batch entry.
template <class T>
std::size_t batches(const Inputs<T>& inputs) {
  return inputs.packed.query_starts.empty() ? inputs.shape.batch : 1;
}

// Inputs whose tensors are BF16, as FP32.
struct WideInputs {
  Widened q, k, v, bias;
  std::vector<float> sinks;
  Inputs<float> inputs;

  explicit WideInputs(const Inputs<Bf16>& in)
      : q(in.q, batches(in), in.shape.query_heads, in.shape.queries, in.shape.width),
        k(in.k, batches(in), in.shape.kv_heads, in.shape.keys, in.shape.width),
        v(in.v, batches(in), in.shape.kv_heads, in.shape.keys, in.shape.value_width),
        bias(in.bias, in.bias ? in.shape.batch : 0, in.shape.query_heads, in.shape.queries,
             in.shape.keys) {
    for (const Bf16 sink : in.sinks) sinks.push_back(sink.value());
    inputs = {in.shape,    q.view(),    k.view(), v.view(),  in.mask,    in.scale,
              in.soft_cap, bias.view(), sinks,    in.packed, in.descales};
  }
};

Options reference_options(const FastOptions& options) {
  return {.shift = options.shift, .tiles = {}, .threads = options.threads};
}

}  // namespace

template <>
Status reference_forward(const Inputs<float>& inputs, const FastOptions& options,
                         const FastOutputs<float>& outputs, const View<RowStatistics>& statistics) {
  Outputs<float> out;
  out.output = outputs.output;
  out.log_sum_exp = outputs.log_sum_exp;
  out.statistics = statistics;
  return forward(inputs, fp32(), reference_options(options), out);
}

template <>
Status reference_forward(const Inputs<Bf16>& inputs, const FastOptions& options,
                         const FastOutputs<Bf16>& outputs, const View<RowStatistics>& statistics) {
  const WideInputs wide(inputs);
  const Shape& shape = inputs.shape;
  const Narrowed output(outputs.output, batches(inputs), shape.query_heads, shape.queries,
                        shape.value_width);
  Outputs<float> out;
  out.output = output.view();
  out.log_sum_exp = outputs.log_sum_exp;
  out.statistics = statistics;
  ULLAGE_TRY(forward(wide.inputs, bf16_flash(), reference_options(options), out));
  output.write();
  return {};
}

template <>
Status reference_backward(const Inputs<float>& inputs, const FastOptions& options,
                          const View<const float>& grad_output, const FastSaved<float>& saved,
                          const FastGradients<float>& gradients) {
  return backward(inputs, fp32(), reference_options(options), grad_output,
                  {saved.output, saved.log_sum_exp},
                  {gradients.q, gradients.k, gradients.v, gradients.delta});
}

template <>
Status reference_backward(const Inputs<Bf16>& inputs, const FastOptions& options,
                          const View<const Bf16>& grad_output, const FastSaved<Bf16>& saved,
                          const FastGradients<Bf16>& gradients) {
  const WideInputs wide(inputs);
  const Shape& shape = inputs.shape;
  const auto like_output = [&](const View<const Bf16>& view) {
    return Widened(view, batches(inputs), shape.query_heads, shape.queries, shape.value_width);
  };
  const Widened grad = like_output(grad_output);
  const Widened output = like_output(saved.output);
  const Narrowed q(gradients.q, batches(inputs), shape.query_heads, shape.queries, shape.width);
  const Narrowed k(gradients.k, batches(inputs), shape.kv_heads, shape.keys, shape.width);
  const Narrowed v(gradients.v, batches(inputs), shape.kv_heads, shape.keys, shape.value_width);
  ULLAGE_TRY(backward(wide.inputs, bf16_flash(), reference_options(options), grad.view(),
                      {output.view(), saved.log_sum_exp},
                      {q.view(), k.view(), v.view(), gradients.delta}));
  for (const Narrowed* tensor : {&q, &k, &v}) tensor->write();
  return {};
}

}  // namespace ullage::attention
