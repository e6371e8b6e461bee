// ullage._core: attention on arrays that the caller owns. What an argument means to a user, and which
// path runs, is Python's (python/ullage/torch).
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings.h"
#include "ullage/attention/dense_mask.h"
#include "ullage/attention/fast.h"
#include "ullage/attention/recipe.h"
#include "ullage/attention/reference.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ullage::python {
namespace {

namespace room = attention;
using room::Bf16;
using room::RowStatistics;
using room::View;

using Source = nb::ndarray<nb::ro, nb::device::cpu, nb::ndim<4>>;
using Target = nb::ndarray<nb::device::cpu, nb::ndim<4>>;
using VectorSource = nb::ndarray<nb::ro, nb::device::cpu, nb::ndim<1>>;
using VectorTarget = nb::ndarray<nb::device::cpu, nb::ndim<1>>;
using Padding = nb::ndarray<std::uint8_t, nb::ro, nb::device::cpu, nb::ndim<2>, nb::c_contig>;
// (..., kRowFields) and (..., kHeadFields); python/ullage/torch/_statistics.py names the columns.
using FieldsSource = nb::ndarray<double, nb::ro, nb::device::cpu, nb::c_contig>;
using FieldsTarget = nb::ndarray<double, nb::device::cpu, nb::c_contig>;
constexpr std::size_t kRowFields = 8;
constexpr std::size_t kHeadFields = 12;

template <class T>
bool holds(const nb::dlpack::dtype& dtype) {
  if constexpr (std::is_same_v<T, Bf16>)
    return dtype.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat) &&
           dtype.bits == 16;
  else
    return dtype == nb::dtype<T>();
}

void require(bool fits, const char* where) {
  if (!fits)
    raise({Code::size_mismatch, "the shape does not fit those of the other arrays", where, "", ""});
}

// T may be const; the array's elements must be T's.
template <class T>
T* data_of(const auto& array, const char* where) {
  if (!holds<std::remove_const_t<T>>(array.dtype()))
    raise({Code::dtype_unsupported, "the dtype is another than is needed here", where, "", ""});
  return static_cast<T*>(array.data());
}

template <class T>
View<T> view_of(const auto& array, const char* where) {
  return {data_of<T>(array, where), array.stride(0), array.stride(1), array.stride(2),
          array.stride(3)};
}

// One problem and how it is computed. Holds its arrays, copies none.
class Attention {
 public:
  // left, right: keys seen before and after the diagonal, negative for all of them.
  Attention(Source q, Source k, Source v, std::optional<Source> bias,
            std::optional<Padding> padding, std::optional<VectorSource> sinks, std::int64_t left,
            std::int64_t right, bool top_left, double scale, double soft_cap,
            const std::string& shift, std::uint64_t seed, int threads)
      : q_(std::move(q)),
        k_(std::move(k)),
        v_(std::move(v)),
        bias_(std::move(bias)),
        padding_(std::move(padding)),
        sinks_(std::move(sinks)),
        scale_(scale),
        soft_cap_(soft_cap),
        shift_{.rule = take(room::shift_rule_from_name(shift)), .seed = seed},
        threads_(threads) {
    if (left >= 0) mask_.left = static_cast<std::size_t>(left);
    if (right >= 0) mask_.right = static_cast<std::size_t>(right);
    mask_.alignment = top_left ? room::Alignment::top_left : room::Alignment::bottom_right;
    const auto queries = q_.shape(2);
    const auto keys = k_.shape(2);
    require_shape(k_, k_.shape(1), keys, q_.shape(3), "k");
    require_shape(v_, k_.shape(1), keys, v_.shape(3), "v");
    if (bias_) require_shape(*bias_, q_.shape(1), queries, keys, "bias");
    if (padding_)
      require(padding_->shape(0) == q_.shape(0) && padding_->shape(1) == keys, "padding");
    if (sinks_) require(sinks_->shape(0) == q_.shape(1) && sinks_->stride(0) == 1, "sinks");
  }

  // (kernel, why not: empty where it does it); FP32 and BF16.
  [[nodiscard]] std::pair<std::string, std::string> path() const {
    std::pair<std::string, std::string> found;
    by_element([&]<class T>() {
      if constexpr (!std::is_same_v<T, double>)
        found = {room::fast_path_name<T>(),
                 room::fast_path_reason(inputs<T>(), {.shift = shift_, .threads = threads_})};
    });
    return found;
  }

  // By the named recipe of the reference (FP32 and FP64), or without one by the fast kernels (FP32 and
  // BF16); log_sum_exp is FP64 with FP64 and FP32 otherwise.
  void forward(const Target& output, const Target& log_sum_exp,
               const std::optional<FieldsTarget>& rows,
               const std::optional<std::string>& recipe) const {
    std::vector<RowStatistics> kept;
    View<RowStatistics> statistics;
    if (rows) {
      const std::size_t count = q_.shape(0) * q_.shape(1) * q_.shape(2);
      require(rows->size() == count * kRowFields, "rows");
      kept.resize(count);
      statistics = room::contiguous(kept.data(), q_.shape(1), q_.shape(2), 1);
    }
    dispatch(
        recipe,
        [&]<class T>(const auto& fast) {
          room::FastOutputs<T> out;
          out.output = output_view<T>(output, "output");
          out.log_sum_exp = row_view<float>(log_sum_exp);
          out.statistics = statistics;
          return unlocked([&, in = inputs<T>()] { return fast_forward(in, fast, out); });
        },
        [&]<class T>(const room::Recipe& named, const room::Options& options) {
          room::Outputs<T> out;
          out.output = output_view<T>(output, "output");
          out.log_sum_exp = row_view<T>(log_sum_exp);
          out.statistics = statistics;
          return unlocked([&, in = inputs<T>()] { return room::forward(in, named, options, out); });
        });
    double* field = rows ? rows->data() : nullptr;
    for (const RowStatistics& row : kept) {
      for (const double value :
           {row.maximum, row.second, row.tail, row.tail_squares, row.max_abs, row.squared_scores,
            static_cast<double>(row.keys), static_cast<double>(row.repeats)})
        *field++ = value;
    }
  }

  // grad_sinks: by a recipe only.
  void backward(const Source& grad_output, const Source& output, const Source& log_sum_exp,
                const Target& grad_q, const Target& grad_k, const Target& grad_v,
                const std::optional<VectorTarget>& grad_sinks,
                const std::optional<std::string>& recipe) const {
    dispatch(
        recipe,
        [&]<class T>(const auto& fast) {
          const room::FastSaved<T> saved = {output_view<const T>(output, "output"),
                                            row_view<const float>(log_sum_exp)};
          const room::FastGradients<T> gradients = {.q = like<T>(grad_q, q_, "grad_q"),
                                                    .k = like<T>(grad_k, k_, "grad_k"),
                                                    .v = like<T>(grad_v, v_, "grad_v")};
          const auto grad = output_view<const T>(grad_output, "grad_output");
          return unlocked(
              [&, in = inputs<T>()] { return fast_backward(in, fast, grad, saved, gradients); });
        },
        [&]<class T>(const room::Recipe& named, const room::Options& options) {
          const room::Saved<T> saved = {output_view<const T>(output, "output"),
                                        row_view<const T>(log_sum_exp)};
          room::Gradients<T> gradients;
          gradients.q = like<T>(grad_q, q_, "grad_q");
          gradients.k = like<T>(grad_k, k_, "grad_k");
          gradients.v = like<T>(grad_v, v_, "grad_v");
          if (grad_sinks) {
            require(grad_sinks->shape(0) == q_.shape(1) && grad_sinks->stride(0) == 1,
                    "grad_sinks");
            gradients.sinks = {data_of<T>(*grad_sinks, "grad_sinks"), q_.shape(1)};
          }
          const auto grad = output_view<const T>(grad_output, "grad_output");
          return unlocked([&, in = inputs<T>()] {
            return room::backward(in, named, options, grad, saved, gradients);
          });
        });
  }

 private:
  void require_shape(const auto& array, std::size_t heads, std::size_t rows, std::size_t columns,
                     const char* where) const {
    require(array.shape(0) == q_.shape(0) && array.shape(1) == heads && array.shape(2) == rows &&
                array.shape(3) == columns,
            where);
  }

  template <class Run>
  void by_element(Run run) const {
    if (holds<float>(q_.dtype())) return run.template operator()<float>();
    if (holds<Bf16>(q_.dtype())) return run.template operator()<Bf16>();
    if (holds<double>(q_.dtype())) return run.template operator()<double>();
    raise({Code::dtype_unsupported, "neither float32, bfloat16 nor float64", "q", "", ""});
  }

  // fast<T>(FastOptions) or reference<T>(Recipe, Options), and their errors raised.
  template <class Fast, class Reference>
  void dispatch(const std::optional<std::string>& recipe, Fast fast, Reference reference) const {
    by_element([&]<class T>() {
      if constexpr (!std::is_same_v<T, double>) {
        if (!recipe)
          return check(
              fast.template operator()<T>(room::FastOptions{.shift = shift_, .threads = threads_}));
      }
      if constexpr (!std::is_same_v<T, Bf16>) {
        if (recipe)
          return check(reference.template operator()<T>(
              take(room::find_recipe(*recipe)),
              room::Options{.shift = shift_, .threads = threads_}));
      }
      raise({Code::dtype_unsupported, "recipes take FP32 and FP64, fast kernels FP32 and BF16", "q",
             "", ""});
    });
  }

  static void check(const Status& status) {
    if (!status.ok()) raise(status.error());
  }

  template <class Call>
  static Status unlocked(Call call) {
    const nb::gil_scoped_release release;
    return call();
  }

  template <class T>
  [[nodiscard]] room::Inputs<T> inputs() const {
    room::Inputs<T> in;
    in.shape = {.batch = q_.shape(0),
                .query_heads = q_.shape(1),
                .kv_heads = k_.shape(1),
                .queries = q_.shape(2),
                .keys = k_.shape(2),
                .width = q_.shape(3),
                .value_width = v_.shape(3)};
    in.q = view_of<const T>(q_, "q");
    in.k = view_of<const T>(k_, "k");
    in.v = view_of<const T>(v_, "v");
    in.mask = mask_;
    if (padding_) {
      // No padding at all costs less where it is not looked for.
      const std::uint8_t* end = padding_->data() + padding_->size();
      if (std::find(padding_->data(), end, 0) != end)
        in.mask.padding = {padding_->data(), padding_->size()};
    }
    in.scale = scale_;
    in.soft_cap = soft_cap_;
    if (bias_) in.bias = view_of<const T>(*bias_, "bias");
    if (sinks_) in.sinks = {data_of<const T>(*sinks_, "sinks"), q_.shape(1)};
    return in;
  }

  template <class T>
  [[nodiscard]] View<T> output_view(const auto& array, const char* where) const {
    require_shape(array, q_.shape(1), q_.shape(2), v_.shape(3), where);
    return view_of<T>(array, where);
  }

  // One value a row: (batch, head, row, 1).
  template <class T>
  [[nodiscard]] View<T> row_view(const auto& array) const {
    require_shape(array, q_.shape(1), q_.shape(2), 1, "log_sum_exp");
    return view_of<T>(array, "log_sum_exp");
  }

  template <class T>
  [[nodiscard]] View<T> like(const Target& array, const Source& other, const char* where) const {
    require_shape(array, other.shape(1), other.shape(2), other.shape(3), where);
    return view_of<T>(array, where);
  }

  Source q_, k_, v_;
  std::optional<Source> bias_;
  std::optional<Padding> padding_;
  std::optional<VectorSource> sinks_;
  room::Mask mask_;
  double scale_;
  double soft_cap_;
  room::Shift shift_;
  int threads_;
};

// The rows of each head, (heads, rows, kRowFields), reduced to (heads, kHeadFields).
void reduce_heads(const FieldsSource& rows, const FieldsTarget& heads) {
  require(rows.ndim() == 3 && rows.shape(2) == kRowFields, "rows");
  require(heads.ndim() == 2 && heads.shape(0) == rows.shape(0) && heads.shape(1) == kHeadFields,
          "heads");
  const double* field = rows.data();
  double* out = heads.data();
  std::vector<RowStatistics> head(rows.shape(1));
  for (std::size_t h = 0; h < rows.shape(0); ++h) {
    for (RowStatistics& row : head) {
      row = {.maximum = field[0],
             .second = field[1],
             .tail = field[2],
             .tail_squares = field[3],
             .max_abs = field[4],
             .squared_scores = field[5],
             .keys = static_cast<std::uint32_t>(field[6]),
             .repeats = static_cast<std::uint32_t>(field[7])};
      field += kRowFields;
    }
    const room::HeadStatistics all = room::reduce(head);
    const room::Interval kappa = room::kappa_softmax(all);
    for (const double value :
         {static_cast<double>(all.rows), static_cast<double>(all.empty_rows),
          static_cast<double>(all.repeated_rows), all.max_abs, all.score_norm, all.probability_norm,
          all.jacobian.lower, all.jacobian.upper, all.row_condition.lower, all.row_condition.upper,
          kappa.lower, kappa.upper})
      *out++ = value;
  }
}

using Limit = std::optional<std::ptrdiff_t>;

// The limits of the band that `mask`, (batch, query, key), lets through, and `keep`, (batch, key),
// written; none where it is no band.
std::optional<std::pair<Limit, Limit>> mask_band(
    const nb::ndarray<std::uint8_t, nb::ro, nb::device::cpu, nb::ndim<3>>& mask,
    const nb::ndarray<std::uint8_t, nb::device::cpu, nb::ndim<2>, nb::c_contig>& keep) {
  require(keep.shape(0) == mask.shape(0) && keep.shape(1) == mask.shape(2), "keep");
  const auto band = room::band_of({mask.data(), mask.stride(0), 0, mask.stride(1), mask.stride(2)},
                                  mask.shape(0), mask.shape(1), mask.shape(2));
  if (!band) return std::nullopt;
  std::copy(band->keep.begin(), band->keep.end(), keep.data());
  return std::pair(band->first, band->last);
}

}  // namespace

void bind_attention(nb::module_& module) {
  nb::class_<Attention>(module, "Attention",
                        "One attention problem on (batch, head, row, column) arrays of the caller.")
      .def(nb::init<Source, Source, Source, std::optional<Source>, std::optional<Padding>,
                    std::optional<VectorSource>, std::int64_t, std::int64_t, bool, double, double,
                    const std::string&, std::uint64_t, int>(),
           "q"_a, "k"_a, "v"_a, "bias"_a.none(), "padding"_a.none(), "sinks"_a.none(), "left"_a,
           "right"_a, "top_left"_a, "scale"_a, "softcap"_a, "shift"_a, "seed"_a, "threads"_a)
      .def(
          "path", &Attention::path,
          "The fast kernel of this dtype and CPU, and why it does not do this problem: empty where "
          "it does.")
      .def("forward", &Attention::forward, "output"_a, "log_sum_exp"_a, "rows"_a.none(),
           "recipe"_a.none(),
           "Writes the outputs, by a recipe of the reference or without one by the fast kernels.")
      .def("backward", &Attention::backward, "grad_output"_a, "output"_a, "log_sum_exp"_a,
           "grad_q"_a, "grad_k"_a, "grad_v"_a, "grad_sinks"_a.none(), "recipe"_a.none(),
           "Writes the gradients, from what forward wrote.");
  module.def("reduce_heads", &reduce_heads, "rows"_a, "heads"_a,
             "Reduces the row statistics of each head.");
  module.def("mask_band", &mask_band, "mask"_a, "keep"_a,
             "The first and last j - i that a mask lets through, and keep, the keys that are no "
             "padding; None where it is no such band.");
}

}  // namespace ullage::python
