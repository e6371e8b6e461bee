// Seconds to open one safetensors file: its header read and checked, all names known.
//
//   scan_header_bench FILE
#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "ullage/checkpoint/locate.h"
#include "ullage/checkpoint/store.h"

int main(int argc, char** argv) {
  using namespace ullage;
  if (argc != 2) {
    std::fputs("usage: scan_header_bench FILE\n", stderr);
    return 2;
  }
  const auto start = std::chrono::steady_clock::now();
  checkpoint::Location location;
  location.weights = argv[1];
  const Result<checkpoint::TensorStore> store = checkpoint::TensorStore::open(location);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (!store.ok()) {
    std::fprintf(stderr, "%s\n", store.error().message().c_str());
    return 3;
  }
  fmt::print("{:.6f}\n", store->tensors().empty() ? 0.0 : seconds.count());
  return 0;
}
