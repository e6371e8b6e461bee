// Spectra of a model's heads on the GPU, beside reading the weights once and beside a device-to-device copy.
//
//   cuda_spectra_bench [LAYERS HEADS KV_HEADS HEAD_DIM WIDTH ROUNDS]
//
// Prints one JSON object: milliseconds as [first quartile, median, third], from device events. Every round reads all of
// the model's Q and K weights, which are far larger than the second-level cache.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "ullage/cuda/device.h"
#include "ullage/cuda/power_iteration.h"
#include "ullage/cuda/spectra.h"

namespace {

using ullage::Result;
using ullage::Status;
using ullage::cuda::DeviceMemory;
using ullage::cuda::DeviceRows;

[[noreturn]] void stop(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}
template <class T>
T take(Result<T> result) {
  if (!result.ok()) stop(result.error().message());
  return std::move(result).value();
}
void take(const Status& status) {
  if (!status.ok()) stop(status.error().message());
}
void take(cudaError_t error) {
  if (error != cudaSuccess) stop(cudaGetErrorString(error));
}

__device__ std::uint32_t mixed(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7FEB352DU;
  x ^= x >> 15;
  x *= 0x846CA68BU;
  return x ^ (x >> 16);
}

// BF16 numbers, roughly normal, of size 0.02.
__global__ void fill(std::uint16_t* values, std::size_t count, std::uint32_t seed) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    float sum = 0;
    for (std::uint32_t k = 0; k < 4; ++k)
      sum += static_cast<float>(mixed(static_cast<std::uint32_t>(i) * 4 + k + seed * 0x9E3779B9U)) *
                 0x1p-32F -
             0.5F;
    values[i] = static_cast<std::uint16_t>(__float_as_uint(sum * 0.035F) >> 16);
  }
}

// Every byte once, as fast as they come.
__global__ void __launch_bounds__(512)
    read_all(const uint4* words, std::size_t count, std::uint32_t* sink) {
  std::uint32_t sum = 0;
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i + 7 * step < count; i += 8 * step) {
    uint4 word[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) word[k] = __ldcs(words + i + k * step);
#pragma unroll
    for (int k = 0; k < 8; ++k) sum ^= word[k].x ^ word[k].y ^ word[k].z ^ word[k].w;
  }
  for (; i < count; i += step) sum ^= words[i].x;
  if (sum == 0x12345678U) *sink = sum;
}

struct Triple {
  double low, middle, high;
};

Triple measure(int rounds, cudaStream_t stream, const std::function<void()>& launch) {
  cudaEvent_t begin;
  cudaEvent_t end;
  take(cudaEventCreate(&begin));
  take(cudaEventCreate(&end));
  std::vector<double> times;
  for (int round = -3; round < rounds; ++round) {
    take(cudaEventRecord(begin, stream));
    launch();
    take(cudaEventRecord(end, stream));
    take(cudaEventSynchronize(end));
    float ms = 0;
    take(cudaEventElapsedTime(&ms, begin, end));
    if (round >= 0) times.push_back(static_cast<double>(ms));
  }
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1) + 0.5)];
  };
  return {at(0.25), at(0.5), at(0.75)};
}

void print(const char* name, const Triple& t) {
  std::printf(",\n \"%s\": [%.5f, %.5f, %.5f]", name, t.low, t.middle, t.high);
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int i, int otherwise) {
    return argc > i ? std::atoi(argv[i]) : otherwise;
  };
  const int layers = argument(1, 32);
  const int heads = argument(2, 32);
  const int kv_heads = argument(3, 32);
  const int head_dim = argument(4, 128);
  const int width = argument(5, 4096);
  const int rounds = argument(6, 20);

  const ullage::cuda::Device device = take(ullage::cuda::current_device());
  const std::size_t per_head = static_cast<std::size_t>(head_dim) * static_cast<std::size_t>(width);
  const std::size_t count =
      per_head * static_cast<std::size_t>(heads + kv_heads) * static_cast<std::size_t>(layers);
  const DeviceMemory weights = take(DeviceMemory::allocate(count * 2));
  const DeviceMemory copy = take(DeviceMemory::allocate(count * 2));
  const DeviceMemory sink = take(DeviceMemory::allocate(4));
  std::vector<double> gain(static_cast<std::size_t>(width));
  for (std::size_t i = 0; i < gain.size(); ++i) gain[i] = 0.5 + static_cast<double>(i % 97) / 97.0;
  const DeviceMemory gains = take(ullage::cuda::uploaded<double>(gain, nullptr));
  cudaStream_t stream = nullptr;
  take(cudaStreamCreate(&stream));
  fill<<<1024, 256, 0, stream>>>(weights.data<std::uint16_t>(), count, 1);
  take(cudaGetLastError());

  std::vector<DeviceRows> plain;
  std::vector<ullage::cuda::HeadPair> pairs;
  for (int layer = 0; layer < layers; ++layer) {
    const int first = static_cast<int>(plain.size());
    for (int head = 0; head < heads + kv_heads; ++head) {
      DeviceRows rows;
      rows.values = weights.data<std::uint16_t>() + per_head * plain.size();
      rows.rows = head_dim;
      rows.width = width;
      rows.stride = width;
      plain.push_back(rows);
    }
    for (int head = 0; head < heads; ++head)
      pairs.push_back({first + head, first + heads + head / (heads / kv_heads)});
  }
  std::vector<DeviceRows> folded = plain;
  for (DeviceRows& rows : folded) rows.gain = gains.data<double>();

  auto power = take(ullage::cuda::PowerIteration::make(plain, pairs));
  auto stored = take(ullage::cuda::Spectra::make(plain, pairs));
  auto certified = take(ullage::cuda::Spectra::make(folded, pairs));

  std::printf(
      "{\"gpu\": \"%s\", \"driver\": %d, \"layers\": %d, \"heads\": %d, \"kv_heads\": %d, "
      "\"head_dim\": %d, "
      "\"width\": %d, \"rounds\": %d, \"weight_bytes\": %zu",
      device.name.c_str(), device.driver_version, layers, heads, kv_heads, head_dim, width, rounds,
      count * 2);
  print("copy ms", measure(rounds, stream, [&] {
          take(cudaMemcpyAsync(copy.data(), weights.data(), count * 2, cudaMemcpyDeviceToDevice,
                               stream));
        }));
  print("read ms", measure(rounds, stream, [&] {
          read_all<<<device.multiprocessors * 4, 512, 0, stream>>>(weights.data<uint4>(), count / 8,
                                                                   sink.data<std::uint32_t>());
        }));
  for (const int iterations : {0, 1, 2})
    print(("power iteration " + std::to_string(iterations) + " ms").c_str(),
          measure(rounds, stream, [&] { take(power.run(iterations, stream)); }));
  print("spectra stored ms", measure(rounds, stream, [&] { take(stored.refresh(stream)); }));
  print("spectra folded ms", measure(rounds, stream, [&] { take(certified.refresh(stream)); }));

  // The same work from a graph: what a training loop replays.
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  take(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  take(power.run(1, stream));
  take(certified.refresh(stream));
  take(cudaStreamEndCapture(stream, &graph));
  take(cudaGraphInstantiate(&executable, graph, 0));
  print("graph of both ms",
        measure(rounds, stream, [&] { take(cudaGraphLaunch(executable, stream)); }));

  const auto found = take(certified.read(stream));
  const auto sigmas = take(power.read(stream));
  double looseness = 0;
  int precise = 0;
  for (const auto& pair : found) {
    looseness = std::max(looseness, pair.sigma.bound / pair.sigma.estimate - 1);
    precise += pair.precise;
  }
  std::printf(
      ",\n \"sigma of head 0\": %.6g, \"power iteration of head 0\": %.6g, \"loosest "
      "certificate\": %.3g, "
      "\"heads in FP64\": %d}\n",
      found[0].sigma.estimate, sigmas[0], looseness, precise);
  return 0;
}
