// What the fast kernels do not do, done by the reference.
#pragma once

#include "ullage/attention/fast.h"
#include "ullage/base/result.h"

namespace ullage::attention {

// The recipe fp32 for FP32 tensors, bf16-flash for BF16 ones. The inputs have been checked.
template <class T>
Status reference_forward(const Inputs<T>& inputs, const FastOptions& options,
                         const FastOutputs<T>& outputs, const View<RowStatistics>& statistics);

template <class T>
Status reference_backward(const Inputs<T>& inputs, const FastOptions& options,
                          const View<const T>& grad_output, const FastSaved<T>& saved,
                          const FastGradients<T>& gradients);

}  // namespace ullage::attention
