// The GPU: whether one can be used and why not, its memory, and the stream that work is ordered on.
//
// Every function of the room takes device pointers and a stream, launches and returns: results are there when the
// stream has come that far. Nothing waits for the GPU but download() and synchronise(), and nothing allocates but
// DeviceMemory::allocate(), so what a function launches can be captured in a CUDA graph. A build without the
// component has the same functions; all refuse with the reason that usable() gives. What CUDA itself refuses is
// device_unavailable or resource, in its own words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "ullage/base/result.h"

struct CUstream_st;

namespace ullage::cuda {

// A cudaStream_t; null: the default stream.
using Stream = CUstream_st*;

// Nothing, or in one sentence (Code::device_unavailable) why no GPU can be used: the build has no component, the
// driver is missing or older than the component's CUDA, there is no device, or it is older than compute capability 8.0.
Status usable();

struct Device {
  std::string name;
  int capability_major = 0;
  int capability_minor = 0;
  int multiprocessors = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t free_bytes = 0;
  int driver_version = 0;   // the newest CUDA that the driver runs, 1000 major + 10 minor
  int runtime_version = 0;  // the CUDA that the component was built with
};
// The calling thread's current device.
Result<Device> current_device();

// Makes a device the calling thread's current one, and the one before it again at the end.
class ScopedDevice {
 public:
  explicit ScopedDevice(int index);
  ~ScopedDevice();
  ScopedDevice(const ScopedDevice&) = delete;
  ScopedDevice& operator=(const ScopedDevice&) = delete;
  // Whether there is such a device.
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  int before_ = -1;
  Status status_;
};

// Device memory that goes with this object. Not ordered on a stream: let work on it end first.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Aligned to 256 bytes. Code::resource, with what was asked for and what is free, where it does not fit.
  static Result<DeviceMemory> allocate(std::size_t bytes);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;

  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  template <class T = void>
  [[nodiscard]] T* data() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Between host and device memory, in the stream's order. upload() returns when the host memory may be reused,
// download() when the bytes are there.
Status upload(const void* host, std::size_t bytes, void* device, Stream stream);
Status download(const void* device, std::size_t bytes, void* host, Stream stream);
Status synchronise(Stream stream);

template <class T>
Result<DeviceMemory> uploaded(std::span<const T> values, Stream stream) {
  ULLAGE_ASSIGN(DeviceMemory memory, DeviceMemory::allocate(values.size_bytes()));
  ULLAGE_TRY(upload(values.data(), values.size_bytes(), memory.data(), stream));
  return Result<DeviceMemory>(std::move(memory));
}

}  // namespace ullage::cuda
