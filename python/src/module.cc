// The extension module ullage._core: arrays in, arrays out; what a user calls is Python (python/ullage).
#include <nanobind/nanobind.h>

#include "bindings.h"

NB_MODULE(_core, module) {
  module.doc() = "Compiled part of ullage. Use the package ullage.";
  ullage::python::bind_formats(module);
  ullage::python::bind_cuda(module);
  ullage::python::bind_spectra(module);
}
