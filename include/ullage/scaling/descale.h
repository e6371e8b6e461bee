// Descales from bounds: x is about x_fp8 * descale, cast(x / descale).
//
// `scale` means only TransformerEngine's multiplier, about 1/descale. Everything is rounded so that
// an input at the bound does not exceed the format's maximum, whether the kernel divides by the
// descale or multiplies by its FP32 reciprocal.
#pragma once

#include <span>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/formats/format.h"

namespace ullage::scaling {

struct DescaleRule {
  formats::Format target = formats::kE4M3;  // what x is cast to
  formats::Format stored = formats::kFp32;  // what the descale is kept in: FP32, BF16, E8M0
  double eta = 1.0;                         // share of the target's range to use, 0 < eta <= 1
};

// bound / (eta max), rounded up in its own format (E8M0: the next power of two). 1 where the bound
// is 0 or the descale would be subnormal: casting such inputs as they are cannot overflow.
// Errors: not_finite (the bound is NaN or infinite, or its descale is beyond the stored format),
// value_invalid (a negative bound, eta outside (0, 1]).
Result<double> descale(double bound, const DescaleRule& rule = {});

// TransformerEngine's multiplier for the same bound: eta max / bound in FP32, rounded down; 1 where
// the FP32 descale is. Errors as descale.
Result<float> multiplier(double bound, const DescaleRule& rule = {});

// max|x| / (descale * max): the share of the range that x uses.
double utilisation(double largest, double descale, const formats::Format& target);

// The largest bound of each `group` consecutive query heads: kernels keep one q descale a kv head.
// Errors: value_invalid where the heads are no whole number of groups.
Result<std::vector<double>> group_maximum(std::span<const double> query_bounds, int group);

// Probabilities are at most 1, so their multiplier needs no data: the target's maximum (448 for
// E4M3), or the power of two below it (256).
double static_probability_multiplier(const formats::Format& target, bool power_of_two);

}  // namespace ullage::scaling
