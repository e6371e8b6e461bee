// The pool hands blocks back as they were asked for, from any thread, also while threads and the program end.
#include "ullage/spectrum/pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "ullage/spectrum/dense.h"

namespace ullage::spectrum {
namespace {

const Matrix kFreedAfterThePool(200, 200);

TEST(Pool, BlocksAreWholeAndDistinct) {
  std::vector<void*> blocks;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 100; ++i) {  // more than it keeps
      void* block = pooled_allocate(100000);
      std::memset(block, i, 100000);
      blocks.push_back(block);
    }
    for (int i = 0; i < 100; ++i) {
      const auto* bytes = static_cast<const unsigned char*>(blocks[static_cast<std::size_t>(i)]);
      ASSERT_EQ(bytes[0], i);
      ASSERT_EQ(bytes[99999], i);
    }
    for (void* block : blocks) pooled_free(block, 100000);
    blocks.clear();
  }
}

TEST(Pool, FreedByAnotherThread) {
  Matrix m(150, 150);
  m(149, 149) = 7.0;
  double seen = 0.0;
  std::thread([moved = std::move(m), &seen]() mutable {
    seen = moved(149, 149);
    const Matrix other(150, 150);
    moved = other;
    seen += moved(149, 149);
  }).join();
  EXPECT_EQ(seen, 7.0);
}

TEST(Pool, MatricesStartAtZero) {
  for (int round = 0; round < 3; ++round) {
    Matrix m(128, 128);
    for (int i = 0; i < 128; ++i) {
      for (double& value : m.row(i)) {
        ASSERT_EQ(value, 0.0);
        value = 1.0;
      }
    }
  }
}

}  // namespace
}  // namespace ullage::spectrum
