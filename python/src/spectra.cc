// ullage._core: certified spectra and power iteration of pairs of heads, in the CPU's memory or a GPU's.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings.h"
#include "ullage/base/parallel.h"
#include "ullage/cuda/power_iteration.h"
#include "ullage/cuda/spectra.h"
#include "ullage/spectrum/pair_spectra.h"
#include "ullage/spectrum/power_iteration.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ullage::python {
namespace {

using spectrum::Element;
using spectrum::HeadPair;
using spectrum::HeadRows;
using spectrum::PairSpectrum;

template <class Device>
using Weights = nb::ndarray<nb::ro, nb::ndim<2>, Device>;
template <class Device>
using Gain = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, Device>;

// Heads of one projection: weights [rows, width], BF16 as such or as its bits, FP32 or FP64; the first row and the rows
// of the head; the gain of its input, or None; whether the rows' means are taken away.
template <class Device>
using Side = std::tuple<Weights<Device>, int, int, std::optional<Gain<Device>>, bool>;
using Pair = std::tuple<int, int>;
// sigma, its bound, |A| and its bound, |B| and its bound, finite, from FP64.
using Figures = std::tuple<double, double, double, double, double, double, bool, bool>;

Element element_of(const nb::dlpack::dtype& dtype) {
  using nb::dlpack::dtype_code;
  if (dtype.lanes == 1 && dtype.bits == 16 &&
      (dtype.code == static_cast<std::uint8_t>(dtype_code::Bfloat) ||
       dtype == nb::dtype<std::uint16_t>()))
    return Element::bf16;
  if (dtype == nb::dtype<float>()) return Element::f32;
  if (dtype == nb::dtype<double>()) return Element::f64;
  raise({Code::dtype_unsupported, "weights are bfloat16, float32 or float64", "weight", "", ""});
}

std::ptrdiff_t bytes_of(Element element) {
  return element == Element::bf16 ? 2 : element == Element::f32 ? 4 : 8;
}

// HeadRows or cuda::DeviceRows, but for its gain.
template <class Rows, class Device>
Rows rows_of(const Side<Device>& side) {
  const auto& [weights, first, count, gain, project] = side;
  check_memory(weights, "weight");
  if (gain) check_memory(*gain, "gain");
  Rows rows;
  rows.element = element_of(weights.dtype());
  const auto height = static_cast<std::int64_t>(weights.shape(0));
  if (first < 0 || count < 1 || first > height - count)
    raise({Code::value_invalid, "a head's rows are not among the weight's", "rows",
           std::to_string(height) + " rows",
           std::to_string(first) + " to " + std::to_string(std::int64_t{first} + count)});
  if (weights.shape(1) > 1 && weights.stride(1) != 1)
    raise({Code::value_invalid, "a weight's rows lie contiguous in memory", "weight", "stride 1",
           std::to_string(weights.stride(1))});
  if (gain && gain->shape(0) != weights.shape(1))
    raise({Code::size_mismatch, "a gain has one number a column", "gain",
           std::to_string(weights.shape(1)), std::to_string(gain->shape(0))});
  if (weights.shape(1) > 1U << 24)
    raise({Code::value_invalid, "a weight has too many columns", "weight", "", ""});
  rows.rows = count;
  rows.width = static_cast<int>(weights.shape(1));
  rows.stride = weights.stride(0);
  rows.values =
      static_cast<const char*>(weights.data()) + first * weights.stride(0) * bytes_of(rows.element);
  rows.project_mean = project;
  return rows;
}

std::vector<HeadRows> host_rows(const std::vector<Side<nb::device::cpu>>& sides) {
  std::vector<HeadRows> out;
  for (const auto& side : sides) {
    out.push_back(rows_of<HeadRows>(side));
    if (const auto& gain = std::get<3>(side))
      out.back().gain = {gain->data(), static_cast<std::size_t>(gain->shape(0))};
  }
  return out;
}

std::vector<HeadPair> pairs_of(const std::vector<Pair>& pairs) {
  std::vector<HeadPair> out;
  for (const auto& [query, key] : pairs) out.push_back({query, key});
  return out;
}

std::vector<Figures> figures_of(const std::vector<PairSpectrum>& spectra) {
  std::vector<Figures> out;
  for (const PairSpectrum& pair : spectra)
    out.emplace_back(pair.sigma.estimate, pair.sigma.bound, pair.query.estimate, pair.query.bound,
                     pair.key.estimate, pair.key.bound, pair.finite != 0, pair.precise != 0);
  return out;
}

// The value of a call that gives up the interpreter's lock; errors are raised with it.
template <class Call>
auto released(Call call) {
  auto result = [&] {
    const nb::gil_scoped_release release;
    return call();
  }();
  if (!result.ok()) raise(result.error());
  if constexpr (!std::is_same_v<decltype(result), Status>) return std::move(result).value();
}

std::vector<Figures> pair_spectra(const std::vector<Side<nb::device::cpu>>& sides,
                                  const std::vector<Pair>& pairs) {
  const std::vector<HeadRows> rows = host_rows(sides);
  const std::vector<HeadPair> which = pairs_of(pairs);
  return figures_of(released([&] { return spectrum::pair_spectra(rows, which, 0); }));
}

// Warm directions of pairs in the CPU's memory. Keeps the arrays it reads.
class HostPowerIteration {
 public:
  HostPowerIteration(std::vector<Side<nb::device::cpu>> sides, const std::vector<Pair>& pairs)
      : sides_(std::move(sides)), rows_(host_rows(sides_)), pairs_(pairs_of(pairs)) {
    std::vector<int> heights;
    for (const HeadRows& rows : rows_) heights.push_back(rows.rows);
    if (const Status status = spectrum::check_pairs(heights, pairs_); !status.ok())
      raise(status.error());
    states_.resize(pairs_.size());
  }
  std::vector<double> run(int iterations) {
    const nb::gil_scoped_release release;
    std::vector<double> out(pairs_.size());
    parallel_for(pairs_.size(), default_threads(), [&](std::size_t p, int) {
      out[p] = spectrum::power_iteration(rows_[static_cast<std::size_t>(pairs_[p].query)],
                                         rows_[static_cast<std::size_t>(pairs_[p].key)], iterations,
                                         states_[p]);
    });
    return out;
  }

 private:
  std::vector<Side<nb::device::cpu>> sides_;
  std::vector<HeadRows> rows_;
  std::vector<HeadPair> pairs_;
  std::vector<spectrum::PowerState> states_;
};

// A plan on a GPU: cuda::Spectra or cuda::PowerIteration, with the arrays it reads and its device.
template <class Plan>
class GpuPlan {
 public:
  GpuPlan(std::vector<Side<nb::device::cuda>> sides, const std::vector<Pair>& pairs)
      : sides_(std::move(sides)) {
    std::vector<cuda::DeviceRows> rows;
    for (const auto& side : sides_) {
      rows.push_back(rows_of<cuda::DeviceRows>(side));
      if (const auto& gain = std::get<3>(side)) rows.back().gain = gain->data();
      device_ = std::get<0>(side).device_id();
    }
    const std::vector<HeadPair> which = pairs_of(pairs);
    plan_ = released([&]() -> Result<Plan> {
      const cuda::ScopedDevice current(device_);
      ULLAGE_TRY(current.status());
      return Plan::make(rows, which);
    });
  }

  // `launch` on the plan's device.
  template <class Launch>
  auto on_device(Launch launch) {
    return released([&]() -> decltype(launch(*plan_)) {
      const cuda::ScopedDevice current(device_);
      ULLAGE_TRY(current.status());
      return launch(*plan_);
    });
  }

 private:
  std::vector<Side<nb::device::cuda>> sides_;
  int device_ = 0;
  std::optional<Plan> plan_;
};

cuda::Stream stream_of(std::uintptr_t stream) { return reinterpret_cast<cuda::Stream>(stream); }

using GpuSpectra = GpuPlan<cuda::Spectra>;
using GpuPowerIteration = GpuPlan<cuda::PowerIteration>;

}  // namespace

void bind_spectra(nb::module_& module) {
  module.def("pair_spectra", &pair_spectra, "sides"_a, "pairs"_a,
             "Certified spectra of pairs of heads. sides: (weight [rows, width], first row, rows, "
             "gain or None, whether row means are taken away); pairs: (query side, key side). A "
             "tuple a pair: sigma, its bound, |A|, bound, |B|, bound, finite, from FP64.");
  nb::class_<HostPowerIteration>(module, "PowerIteration", "Warm power iteration of pairs.")
      .def(nb::init<std::vector<Side<nb::device::cpu>>, const std::vector<Pair>&>(), "sides"_a,
           "pairs"_a)
      .def("run", &HostPowerIteration::run, "iterations"_a, "sigma of each pair, from below.");
  nb::class_<GpuSpectra>(module, "GpuSpectra", "pair_spectra on a GPU, refreshed at will.")
      .def(nb::init<std::vector<Side<nb::device::cuda>>, const std::vector<Pair>&>(), "sides"_a,
           "pairs"_a)
      .def(
          "refresh",
          [](GpuSpectra& plan, std::uintptr_t stream) {
            plan.on_device([&](cuda::Spectra& own) { return own.refresh(stream_of(stream)); });
          },
          "stream"_a, "Launches what makes all figures anew on the stream (a cudaStream_t).")
      .def(
          "read",
          [](GpuSpectra& plan, std::uintptr_t stream) {
            return figures_of(
                plan.on_device([&](cuda::Spectra& own) { return own.read(stream_of(stream)); }));
          },
          "stream"_a, "The figures, as pair_spectra gives them; waits for the stream.");
  nb::class_<GpuPowerIteration>(module, "GpuPowerIteration", "PowerIteration on a GPU.")
      .def(nb::init<std::vector<Side<nb::device::cuda>>, const std::vector<Pair>&>(), "sides"_a,
           "pairs"_a)
      .def(
          "run",
          [](GpuPowerIteration& plan, int iterations, std::uintptr_t stream) {
            plan.on_device(
                [&](cuda::PowerIteration& own) { return own.run(iterations, stream_of(stream)); });
          },
          "iterations"_a, "stream"_a, "One launch on the stream (a cudaStream_t).")
      .def(
          "read",
          [](GpuPowerIteration& plan, std::uintptr_t stream) {
            return plan.on_device(
                [&](cuda::PowerIteration& own) { return own.read(stream_of(stream)); });
          },
          "stream"_a, "sigma of each pair, from below; waits for the stream.");
}

}  // namespace ullage::python
