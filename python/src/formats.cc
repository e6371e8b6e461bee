// ullage._core: casts of arrays between formats, in place of the caller's choice.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>

#include "bindings.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/format.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ullage::python {
namespace {

using formats::CastCounts;
using formats::Format;

using Source = nb::ndarray<nb::ro, nb::device::cpu>;
using Target = nb::ndarray<nb::device::cpu, nb::c_contig>;

nb::dict cast(const Source& x, const std::optional<std::string>& source, const std::string& to,
              const Target& out, const std::string& rounding, bool saturate, std::uint64_t seed) {
  Cast job;
  read_arguments(x, source, to, out, rounding, saturate, seed, job);
  Result<CastCounts> counts = CastCounts{};
  {
    const nb::gil_scoped_release release;
    counts = job.values ? formats::cast_to_values(job.source, job.to,
                                                  static_cast<float*>(out.data()), job.options)
                        : formats::cast(job.source, job.to, out.data(), job.options);
  }
  return to_dict(take(std::move(counts)));
}

// (name as understood, bits of a code, bytes of a code in memory, largest finite value)
nb::tuple describe(const std::string& format) {
  const Format card = take(formats::format_from_text(format));
  return nb::make_tuple(card.name, card.bits(), card.bytes(), card.max_finite());
}

}  // namespace

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

formats::CastOptions cast_options(const std::string& rounding, bool saturate, std::uint64_t seed) {
  return {.overflow = saturate ? formats::Overflow::saturate : formats::Overflow::non_saturating,
          .rounding = take(formats::rounding_from_name(rounding)),
          .seed = seed,
          .threads = 0};
}

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
