// The room where the build has no CUDA: everything refuses, in the same words.

#include "ullage/cuda/cast.h"
#include "ullage/cuda/device.h"
#include "ullage/cuda/gram_engine.h"
#include "ullage/cuda/grams.h"
#include "ullage/cuda/power_iteration.h"
#include "ullage/cuda/spectra.h"

namespace ullage::cuda {
namespace {

Error absent() {
  return {Code::device_unavailable,
          "this build has no CUDA component; `make cuda` builds one where nvcc is", "CUDA", "", ""};
}

}  // namespace

Status usable() { return absent(); }
Result<Device> current_device() { return absent(); }

ScopedDevice::ScopedDevice(int) : status_(absent()) {}
ScopedDevice::~ScopedDevice() = default;

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

struct Spectra::Plan {};
Spectra::~Spectra() = default;
Spectra::Spectra(Spectra&&) noexcept = default;
Spectra& Spectra::operator=(Spectra&&) noexcept = default;
Result<Spectra> Spectra::make(std::span<const DeviceRows>, std::span<const HeadPair>) {
  return absent();
}
Status Spectra::refresh(Stream) { return absent(); }
const PairSpectrum* Spectra::on_device() const { return nullptr; }
Result<std::vector<PairSpectrum>> Spectra::read(Stream) const { return absent(); }

struct PowerIteration::Plan {};
PowerIteration::~PowerIteration() = default;
PowerIteration::PowerIteration(PowerIteration&&) noexcept = default;
PowerIteration& PowerIteration::operator=(PowerIteration&&) noexcept = default;
Result<PowerIteration> PowerIteration::make(std::span<const DeviceRows>,
                                            std::span<const HeadPair>) {
  return absent();
}
Status PowerIteration::run(int, Stream) { return absent(); }
const double* PowerIteration::on_device() const { return nullptr; }
Result<std::vector<double>> PowerIteration::read(Stream) const { return absent(); }

Result<std::unique_ptr<spectrum::GramEngine>> make_gram_engine() { return absent(); }
Result<std::vector<SideGram>> grams(std::span<const DeviceRows>, Stream) { return absent(); }
Result<std::vector<spectrum::Matrix>> cross_grams(std::span<const DeviceRows>,
                                                  std::span<const HeadPair>, Stream) {
  return absent();
}

}  // namespace ullage::cuda
