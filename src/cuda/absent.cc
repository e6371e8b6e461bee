// The room where the build has no CUDA: everything refuses, in the same words.
#include <utility>

#include "ullage/cuda/cast.h"
#include "ullage/cuda/device.h"

namespace ullage::cuda {
namespace {

Error absent() {
  return {Code::device_unavailable,
          "this build has no CUDA component; `make cuda` builds one where nvcc is", "CUDA", "", ""};
}

}  // namespace

Status usable() { return absent(); }
Result<Device> current_device() { return absent(); }

Result<DeviceMemory> DeviceMemory::allocate(std::size_t) { return absent(); }
DeviceMemory::~DeviceMemory() = default;
DeviceMemory::DeviceMemory(DeviceMemory&&) noexcept = default;
DeviceMemory& DeviceMemory::operator=(DeviceMemory&&) noexcept = default;
Status upload(const void*, std::size_t, void*, Stream) { return absent(); }
Status download(const void*, std::size_t, void*, Stream) { return absent(); }
Status synchronise(Stream) { return absent(); }

std::size_t cast_scratch_bytes(std::size_t) { return 0; }
Status cast(const formats::ArrayView&, const formats::Format&, void*, const formats::CastOptions&,
            const CountsOnDevice&, Stream) {
  return absent();
}
Status cast_to_values(const formats::ArrayView&, const formats::Format&, float*,
                      const formats::CastOptions&, const CountsOnDevice&, Stream) {
  return absent();
}

}  // namespace ullage::cuda
