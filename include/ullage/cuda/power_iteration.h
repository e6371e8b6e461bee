// Warm implicit power iteration of many heads at once: spectrum::power_iteration in one launch.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/cuda/device.h"
#include "ullage/cuda/rows.h"

namespace ullage::cuda {

// |A^T B|_2 of each pair from below ([R], published; an estimate, never a certificate): v <- normalise(B^T (A (A^T (B v)))),
// gains and projections ignored, in FP32, norms in FP64. Each iteration reads the weights once, and the figure
// |A^T B v| of the last v once more: A A^T y needs one reading, since a tile of columns gives its part of A^T y and takes it.
class PowerIteration {
 public:
  // `sides` are read in place at every run. Directions start where spectrum::power_iteration starts.
  // Codes: value_invalid (sides that no kernel takes or that do not fit each other, FP64 rows, pairs of BF16
  // and FP32), resource, and device_unavailable as usable().
  static Result<PowerIteration> make(std::span<const DeviceRows> sides,
                                     std::span<const HeadPair> pairs);
  ~PowerIteration();
  PowerIteration(PowerIteration&&) noexcept;
  PowerIteration& operator=(PowerIteration&&) noexcept;

  // One launch; no synchronisation, no allocation. iterations: 0 or more.
  Status run(int iterations, Stream stream);
  // Device memory, one a pair: NaN where a weight is not finite or FP32 ends (the direction then stays as it was).
  [[nodiscard]] const double* on_device() const;
  Result<std::vector<double>> read(Stream stream) const;

 private:
  struct Plan;
  explicit PowerIteration(std::unique_ptr<Plan> plan);
  std::unique_ptr<Plan> plan_;
};

}  // namespace ullage::cuda
