// ullage._core: casts of arrays between formats, in place of the caller's choice.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/format.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ullage::python {
namespace {

using formats::CastCounts;
using formats::Format;

// What the elements of an array are: its own dtype, or `format`'s codes in integers.
std::optional<Format> element_format(const nb::dlpack::dtype& dtype,
                                     const std::optional<std::string>& format) {
  if (format) {
    const Format named = take(formats::format_from_text(*format));
    if (dtype.bits != 8 * named.bytes())
      raise({Code::dtype_unsupported, "codes of this format take integers of another width", "x",
             std::to_string(8 * named.bytes()) + " bits", std::to_string(dtype.bits) + " bits"});
    return named;
  }
  if (dtype == nb::dtype<double>()) return std::nullopt;
  if (dtype == nb::dtype<float>()) return formats::kFp32;
  if (dtype.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float) && dtype.bits == 16)
    return formats::kFp16;
  if (dtype.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat) && dtype.bits == 16)
    return formats::kBf16;
  raise({Code::dtype_unsupported, "the dtype is neither float16, bfloat16, float32 nor float64",
         "x", "", ""});
}

using Source = nb::ndarray<nb::ro, nb::device::cpu>;
using Target = nb::ndarray<nb::device::cpu, nb::c_contig>;

nb::dict to_dict(const CastCounts& counts) {
  nb::dict dict;
  dict["elements"] = counts.elements;
  dict["nan"] = counts.nan;
  dict["saturated"] = counts.saturated;
  dict["flushed"] = counts.flushed;
  dict["amax"] = counts.amax;
  dict["mean_error"] = counts.mean_error();
  return dict;
}

nb::dict cast(const Source& x, const std::optional<std::string>& source, const std::string& to,
              const Target& out, const std::string& rounding, bool saturate, std::uint64_t seed) {
  const Format format = take(formats::format_from_text(to));
  const formats::CastOptions options = {
      .overflow = saturate ? formats::Overflow::saturate : formats::Overflow::non_saturating,
      .rounding = take(formats::rounding_from_name(rounding)),
      .seed = seed,
      .threads = 0};
  std::vector<std::int64_t> shape(x.ndim());
  std::vector<std::int64_t> strides(x.ndim());
  for (std::size_t axis = 0; axis < x.ndim(); ++axis) {
    shape[axis] = static_cast<std::int64_t>(x.shape(axis));
    strides[axis] = x.stride(axis);
  }
  const formats::ArrayView view = {.data = x.data(),
                                   .format = element_format(x.dtype(), source),
                                   .shape = shape,
                                   .strides = strides};
  // Values in FP32 where `out` is that and the format's codes are not.
  const bool values = out.dtype() == nb::dtype<float>() && format != formats::kFp32;
  if (out.size() != x.size() || (!values && out.dtype().bits != 8 * format.bytes()))
    raise(
        {Code::size_mismatch, "out does not have x's shape, or the format's width", "out", "", ""});
  Result<CastCounts> counts = CastCounts{};
  {
    const nb::gil_scoped_release release;
    counts = values
                 ? formats::cast_to_values(view, format, static_cast<float*>(out.data()), options)
                 : formats::cast(view, format, out.data(), options);
  }
  return to_dict(take(std::move(counts)));
}

// (name as understood, bits of a code, bytes of a code in memory, largest finite value)
nb::tuple describe(const std::string& format) {
  const Format card = take(formats::format_from_text(format));
  return nb::make_tuple(card.name, card.bits(), card.bytes(), card.max_finite());
}

}  // namespace

void bind_formats(nb::module_& module) {
  module.def(
      "cast", &cast, "x"_a, "source"_a.none(), "to"_a, "out"_a, "rounding"_a, "saturate"_a,
      "seed"_a,
      "Casts x, whose elements are its dtype's or codes of `source`, into out: codes of `to`, or "
      "FP32 values; returns the counts.");
  module.def("describe", &describe, "format"_a,
             "Name, bits, bytes in memory and largest finite value of a format.");
}

}  // namespace ullage::python
