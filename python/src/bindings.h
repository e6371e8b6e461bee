// One function a room; each adds its functions to ullage._core.
#pragma once

#include <nanobind/nanobind.h>

#include "ullage/base/result.h"

namespace ullage::python {

void bind_formats(nanobind::module_& module);

// Raises the Python exception that an error stands for: ValueError, MemoryError.
[[noreturn]] void raise(const Error& error);

}  // namespace ullage::python
