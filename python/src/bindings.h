// One function a room; each adds its functions to ullage._core. And what they share: errors and arrays.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/formats/cast.h"
#include "ullage/formats/format.h"

namespace ullage::python {

void bind_formats(nanobind::module_& module);
void bind_attention(nanobind::module_& module);
void bind_cuda(nanobind::module_& module);
void bind_spectra(nanobind::module_& module);

// Raises the Python exception that an error stands for: ValueError, TypeError, MemoryError, RuntimeError (no GPU).
[[noreturn]] void raise(const Error& error);

// The value, or the exception.
template <class T>
T take(Result<T> result) {
  if (!result.ok()) raise(result.error());
  return std::move(result).value();
}

// The arguments of a cast, checked.
struct Cast {
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  formats::ArrayView source;
  formats::Format to;
  formats::CastOptions options = {.overflow = formats::Overflow::saturate};
  bool values = false;  // FP32 values where `out` is that and the format's codes are not
};

// What the elements of an array are: its own dtype, or `format`'s codes in integers.
std::optional<formats::Format> element_format(const nanobind::dlpack::dtype& dtype,
                                              const std::optional<std::string>& format);
formats::CastOptions cast_options(const std::string& rounding, bool saturate, std::uint64_t seed);
nanobind::dict to_dict(const formats::CastCounts& counts);

// PyTorch exports tensors that stand for others in a trace (fake, functional, under vmap or grad) without memory.
template <class Array>
void check_memory(const Array& array, const char* name) {
  if (array.data() == nullptr && array.size() > 0)
    raise({Code::value_invalid, "the array has no memory", name, "", ""});
}

// On any device. The result's views refer to itself: it stays where it is.
template <class Source, class Target>
void read_arguments(const Source& x, const std::optional<std::string>& source,
                    const std::string& to, const Target& out, const std::string& rounding,
                    bool saturate, std::uint64_t seed, Cast& cast) {
  check_memory(x, "x");
  check_memory(out, "out");
  cast.to = take(formats::format_from_text(to));
  cast.options = cast_options(rounding, saturate, seed);
  for (std::size_t axis = 0; axis < x.ndim(); ++axis) {
    cast.shape.push_back(static_cast<std::int64_t>(x.shape(axis)));
    cast.strides.push_back(x.stride(axis));
  }
  cast.source = {.data = x.data(),
                 .format = element_format(x.dtype(), source),
                 .shape = cast.shape,
                 .strides = cast.strides};
  cast.values = out.dtype() == nanobind::dtype<float>() && cast.to != formats::kFp32;
  if (out.size() != x.size() || (!cast.values && out.dtype().bits != 8 * cast.to.bytes()))
    raise(
        {Code::size_mismatch, "out does not have x's shape, or the format's width", "out", "", ""});
}

}  // namespace ullage::python
