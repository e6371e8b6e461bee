#include "ullage/cuda/device.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "cuda/requirements.h"
#include "cuda/runtime.h"

namespace ullage::cuda {
namespace {

Result<Machine> find_machine() {
  Machine machine;
  cudaRuntimeGetVersion(&machine.runtime_version);
  if (cudaDriverGetVersion(&machine.driver_version) != cudaSuccess) machine.driver_version = 0;
  const cudaError_t error = cudaGetDeviceCount(&machine.devices);
  cudaGetLastError();
  if (error != cudaSuccess) machine.devices = 0;
  if (error != cudaSuccess && error != cudaErrorNoDevice)
    machine.trouble = cudaGetErrorString(error);
  if (machine.devices == 0) return machine;
  int device = 0;
  ULLAGE_TRY(check(cudaGetDevice(&device), "choosing a GPU"));
  ULLAGE_TRY(check(
      cudaDeviceGetAttribute(&machine.capability_major, cudaDevAttrComputeCapabilityMajor, device),
      "asking a GPU"));
  ULLAGE_TRY(check(
      cudaDeviceGetAttribute(&machine.capability_minor, cudaDevAttrComputeCapabilityMinor, device),
      "asking a GPU"));
  return machine;
}

Status look_for_device() {
  ULLAGE_ASSIGN(const Machine machine, find_machine());
  return meets_requirements(machine);
}

}  // namespace

Status check(cudaError_t error, const char* doing) {
  if (error == cudaSuccess) return {};
  // An error of a launch stays behind until it is read.
  cudaGetLastError();
  const std::string what = std::string(doing) + " failed: " + cudaGetErrorString(error);
  switch (error) {
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
      return Error{Code::device_unavailable, what, "CUDA", "", ""};
    default:
      return Error{Code::resource, what, "CUDA", "", ""};
  }
}

Status usable() {
  // What a process finds once stays so: drivers and GPUs do not come later.
  static const Status found = look_for_device();
  return found;
}

Result<Device> current_device() {
  ULLAGE_TRY(usable());
  int index = 0;
  cudaDeviceProp properties = {};
  ULLAGE_TRY(check(cudaGetDevice(&index), "choosing a GPU"));
  ULLAGE_TRY(check(cudaGetDeviceProperties(&properties, index), "asking a GPU"));
  Device device;
  device.name = properties.name;
  device.capability_major = properties.major;
  device.capability_minor = properties.minor;
  device.multiprocessors = properties.multiProcessorCount;
  std::size_t free = 0;
  std::size_t total = 0;
  ULLAGE_TRY(check(cudaMemGetInfo(&free, &total), "asking a GPU for its memory"));
  device.memory_bytes = total;
  device.free_bytes = free;
  cudaDriverGetVersion(&device.driver_version);
  cudaRuntimeGetVersion(&device.runtime_version);
  return device;
}

ScopedDevice::ScopedDevice(int index) : status_(usable()) {
  if (!status_.ok()) return;
  int before = 0;
  status_ = check(cudaGetDevice(&before), "choosing a GPU");
  if (!status_.ok() || before == index) return;
  status_ = check(cudaSetDevice(index), "choosing a GPU");
  if (status_.ok()) before_ = before;
}

ScopedDevice::~ScopedDevice() {
  if (before_ >= 0) cudaSetDevice(before_);
}

Result<DeviceMemory> DeviceMemory::allocate(std::size_t bytes) {
  ULLAGE_TRY(usable());
  DeviceMemory memory;
  if (bytes == 0) return memory;
  const cudaError_t error = cudaMalloc(&memory.data_, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free = 0;
    std::size_t total = 0;
    cudaMemGetInfo(&free, &total);
    memory.data_ = nullptr;
    return Error{Code::resource, "the GPU has too little free memory; free some, or use the CPU",
                 "CUDA", std::to_string((bytes >> 20) + 1) + " MiB",
                 std::to_string(free >> 20) + " MiB"};
  }
  ULLAGE_TRY(check(error, "asking the GPU for memory"));
  memory.bytes_ = bytes;
  return memory;
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) cudaFree(data_);
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Status upload(const void* host, std::size_t bytes, void* device, Stream stream) {
  ULLAGE_TRY(usable());
  if (bytes == 0) return {};
  ULLAGE_TRY(check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream),
                   "a copy to the GPU"));
  return synchronise(stream);
}

Status download(const void* device, std::size_t bytes, void* host, Stream stream) {
  ULLAGE_TRY(usable());
  if (bytes == 0) return {};
  ULLAGE_TRY(check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream),
                   "a copy from the GPU"));
  return synchronise(stream);
}

Status synchronise(Stream stream) {
  ULLAGE_TRY(usable());
  return check(cudaStreamSynchronize(stream), "work on the GPU");
}

}  // namespace ullage::cuda
