// What reading a header may allocate: at most four times its length, whatever it says.
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "support/safetensors_builder.h"
#include "ullage/checkpoint/header.h"

namespace {

std::atomic<std::size_t> live_bytes = 0, peak_bytes = 0;

void* counted(void* block) {
  if (block == nullptr) throw std::bad_alloc();
  const std::size_t now = live_bytes += ::malloc_usable_size(block);
  std::size_t peak = peak_bytes;
  while (now > peak && !peak_bytes.compare_exchange_weak(peak, now)) {
  }
  return block;
}

void release(void* block) noexcept {
  if (block == nullptr) return;
  live_bytes -= ::malloc_usable_size(block);
  std::free(block);
}

}  // namespace

// For the whole test program: every allocation is counted.
void* operator new(std::size_t bytes) { return counted(std::malloc(bytes == 0 ? 1 : bytes)); }
void* operator new[](std::size_t bytes) { return counted(std::malloc(bytes == 0 ? 1 : bytes)); }
void operator delete(void* block) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t) noexcept { release(block); }

namespace ullage::checkpoint {
namespace {

// Bytes allocated at once, at most, while a header is parsed (the text itself included) per byte of text.
double peak_ratio(std::string json, std::uint64_t data_bytes) {
  json.shrink_to_fit();
  const std::size_t length = json.size();
  const std::size_t before = live_bytes - json.capacity();
  peak_bytes = live_bytes.load();
  const auto header = parse_header(std::move(json), 8 + length + data_bytes, "f");
  EXPECT_TRUE(header.ok()) << header.error().message();
  return static_cast<double>(peak_bytes - before) / static_cast<double>(length);
}

// Names that stay short in large numbers.
std::string short_name(int number) {
  std::string name;
  for (; number > 0; number /= 64)
    name += static_cast<char>('0' + number % 64 + (number % 64 > 43 ? 1 : 0));
  return name;
}

TEST(HeaderMemory, StaysWithinFourTimesTheText) {
  constexpr int kMany = 60'000;
  std::string scalars = "{", deep = "{", keys = "{\"__metadata__\":{";
  for (int i = 0; i < kMany; ++i) {
    const std::string name = (i == 0 ? "\"" : ",\"") + short_name(i) + "\":";
    scalars += name + R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    deep += name + R"({"dtype":"U8","shape":[0,0,0,0,0,0,0,0],"data_offsets":[0,0]})";
    keys += name + "\"\"";
  }
  EXPECT_LE(peak_ratio(scalars + "}", 0), 4);
  EXPECT_LE(peak_ratio(deep + "}", 0), 4);
  EXPECT_LE(peak_ratio(keys + "}}", 0), 4);
  EXPECT_LE(peak_ratio("{}" + std::string(1 << 22, ' '), 0), 4);
  EXPECT_LE(peak_ratio("{\"" + std::string(1 << 22, '{') +
                           R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                       0),
            4);
}

}  // namespace
}  // namespace ullage::checkpoint
