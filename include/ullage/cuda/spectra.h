// Certified spectra of many heads at once: Grams on the tensor cores, proofs in FP64, nothing on the host.
//
// spectrum::pair_spectra for all heads of all layers in a few launches. BF16 rows without gain are
// multiplied as they are; everything else is folded in FP32 and cut into three BF16 pieces, which hold it whole. Tensor
// cores sum 64 products before FP64 takes over; such a sum is trusted to 2^-22 a product (measured: docs/cuda.md).
// Heads that are then too coarse (spectrum::needs_precise) are done again in FP64, on the device too.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/cuda/device.h"
#include "ullage/cuda/rows.h"
#include "ullage/spectrum/pair_spectra.h"

namespace ullage::cuda {

// Not finite here also: beyond FP64, with FP64 gains or rows, which the CPU would scale.
using spectrum::PairSpectrum;

// Made once for weights that stay where they are; refreshed whenever their values have changed.
class Spectra {
 public:
  // `sides` are read in place at every refresh. Device memory: about 16 rows^2 bytes a pair, and scratch.
  // Codes: value_invalid (sides that no kernel takes, or that do not fit each other), resource, and
  // device_unavailable as usable().
  static Result<Spectra> make(std::span<const DeviceRows> sides, std::span<const HeadPair> pairs);
  ~Spectra();
  Spectra(Spectra&&) noexcept;
  Spectra& operator=(Spectra&&) noexcept;

  // Launches what makes all figures anew; no synchronisation, no allocation.
  Status refresh(Stream stream);
  // Device memory, one a pair, valid after refresh() in the stream's order.
  [[nodiscard]] const PairSpectrum* on_device() const;
  // The same on the host; waits for the stream.
  Result<std::vector<PairSpectrum>> read(Stream stream) const;

 private:
  struct Plan;
  explicit Spectra(std::unique_ptr<Plan> plan);
  std::unique_ptr<Plan> plan_;
};

}  // namespace ullage::cuda
