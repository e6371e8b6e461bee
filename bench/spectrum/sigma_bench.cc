// Seconds for sigma of every head of one layer, |W_Q,h^T W_K,h|_2 of the weights as stored, BF16 and in memory.
//
//   spectrum_sigma_bench HEADS HEAD_DIM WIDTH THREADS
//
// Waits for a line on standard input before each measurement and answers it with the seconds, so that another process can
// take its turn in between; ends with the input. The first line says which CPU path is in use.
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "ullage/base/cpu.h"
#include "ullage/base/parallel.h"
#include "ullage/spectrum/gram.h"
#include "ullage/spectrum/spectrum.h"

int main(int argc, char** argv) {
  using namespace ullage;
  using namespace ullage::spectrum;
  if (argc != 5) {
    std::fputs("usage: spectrum_sigma_bench HEADS HEAD_DIM WIDTH THREADS\n", stderr);
    return 2;
  }
  const int heads = std::atoi(argv[1]), head_dim = std::atoi(argv[2]), width = std::atoi(argv[3]),
            threads = std::atoi(argv[4]);
  const std::size_t head_size =
      static_cast<std::size_t>(head_dim) * static_cast<std::size_t>(width);
  std::vector<std::uint16_t> weights(2 * head_size * static_cast<std::size_t>(heads));
  std::mt19937_64 random(1);
  // Sign, an exponent around 2^-7 and any mantissa: what matters here is that products cost what they cost.
  for (std::uint16_t& weight : weights) {
    const std::uint64_t bits = random();
    weight = static_cast<std::uint16_t>((bits & 0x80ff) | (0x3b80 + ((bits >> 20) & 0x100)));
  }
  std::vector<GramWorkspace> workspaces(static_cast<std::size_t>(threads));
  std::vector<Gram> query(workspaces.size()), key(workspaces.size());
  std::vector<double> sigma(static_cast<std::size_t>(heads));
  const auto rows = [&](std::size_t head, std::size_t part) {
    HeadRows out;
    out.values = weights.data() + (2 * head + part) * head_size;
    out.rows = head_dim;
    out.width = width;
    out.stride = width;
    return out;
  };
  fmt::print("{}\n", name_of(cpu_path()));
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    const auto start = std::chrono::steady_clock::now();
    parallel_for(sigma.size(), threads, [&](std::size_t head, int worker) {
      const auto w = static_cast<std::size_t>(worker);
      const bool finite = gram(rows(head, 0), Arithmetic::fast, workspaces[w], query[w]) &&
                          gram(rows(head, 1), Arithmetic::fast, workspaces[w], key[w]);
      sigma[head] = finite ? sigma_of_product(query[w].values, key[w].values) : 0.0;
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    for (const double value : sigma) {
      if (!(value > 0.0)) return 1;
    }
    fmt::print("{:.9f}\n", seconds.count());
    std::fflush(stdout);
  }
  return 0;
}
