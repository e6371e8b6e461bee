// The extension module ullage._core: arrays in, arrays out; what a user calls is Python (python/ullage).
#include <nanobind/nanobind.h>

#include <stdexcept>
#include <string>

#include "bindings.h"
#include "ullage/base/version.h"

namespace nb = nanobind;

namespace ullage::python {

void raise(const Error& error) {
  const std::string message = error.message();
  if (error.code == Code::resource) {
    PyErr_SetString(PyExc_MemoryError, message.c_str());
    throw nb::python_error();
  }
  if (error.code == Code::device_unavailable) throw std::runtime_error(message);
  if (error.code == Code::dtype_unsupported) throw nb::type_error(message.c_str());
  throw nb::value_error(message.c_str());
}

}  // namespace ullage::python

NB_MODULE(_core, module) {
  module.doc() = "Compiled part of ullage. Use the package ullage.";
  module.def("version", &ullage::version, "Of the library, as CMakeLists.txt has it.");
  ullage::python::bind_formats(module);
  ullage::python::bind_attention(module);
  ullage::python::bind_cuda(module);
  ullage::python::bind_spectra(module);
}
