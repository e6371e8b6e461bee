// Loops over the entries of small matrices: the same operations, and so the same bits, on every CPU path.
#pragma once

#include <cstddef>

namespace ullage::spectrum {

struct EntryKernels {
  // The largest |x|, NaN passed over; and whether all are finite.
  double (*largest)(const double* x, std::size_t count, bool& finite);
  // to = (from factor) columns; columns null: ones.
  void (*scale)(const double* from, double factor, const double* columns, double* to,
                std::size_t count);
  // to = (from factor) factor, rounded to FP32.
  void (*narrow)(const double* from, double factor, float* to, std::size_t count);
};

// Of the CPU path in use.
const EntryKernels& entry_kernels();

}  // namespace ullage::spectrum
