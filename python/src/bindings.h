// One function a room; each adds its functions to ullage._core.
#pragma once

#include <nanobind/nanobind.h>

#include <utility>

#include "ullage/base/result.h"

namespace ullage::python {

void bind_formats(nanobind::module_& module);
void bind_attention(nanobind::module_& module);

// Raises the Python exception that an error stands for: TypeError, ValueError, MemoryError.
[[noreturn]] void raise(const Error& error);

// The value, or the exception.
template <class T>
T take(Result<T> result) {
  if (!result.ok()) raise(result.error());
  return std::move(result).value();
}

}  // namespace ullage::python
