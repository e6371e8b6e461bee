#include "ullage/formats/arithmetic.h"

#include <algorithm>
#include <string>

#include "formats/float_environment.h"

namespace ullage::formats {

Result<double> dot(std::span<const double> a, std::span<const double> b,
                   const DotOptions& options) {
  ULLAGE_TRY(check_format(options.accumulator));
  if (options.product) ULLAGE_TRY(check_format(*options.product));
  if (a.size() != b.size())
    return Error{Code::size_mismatch, "the vectors of a dot product differ in length", "b",
                 std::to_string(a.size()), std::to_string(b.size())};
  const ScopedDefaultEnvironment environment;
  const std::size_t block = options.block == 0 ? a.size() : options.block;
  std::uint64_t operation = 0;
  double total = 0;
  for (std::size_t begin = 0; begin < a.size(); begin += block) {
    const std::size_t end = begin + std::min(block, a.size() - begin);
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) {
      double product = a[i] * b[i];
      if (options.product) product = round_to(*options.product, product, options.cast, operation++);
      sum = add(options.accumulator, sum, product, options.cast, operation++);
    }
    total = begin == 0 ? sum : add(options.accumulator, total, sum, options.cast, operation++);
  }
  return total;
}

}  // namespace ullage::formats
