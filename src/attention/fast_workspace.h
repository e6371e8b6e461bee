// Memory of one call of fast attention: grown when a call needs more, never shrunk.
#pragma once

#include <cstddef>
#include <vector>

#include "attention/fast_kernels.h"
#include "ullage/attention/fast.h"

namespace ullage::attention {

// Elements that a call fills before it reads them.
template <class T>
class Scratch {
 public:
  T* at_least(std::size_t count) {
    if (values_.size() < count) values_.resize(count);
    return values_.data();
  }

 private:
  std::vector<T> values_;
};

// One thread's own.
struct WorkerBuffers {
  Scratch<Word> queries;
  Scratch<float> output;
  Scratch<float> rows;  // kRowStates arrays and factors
  Scratch<std::int32_t> ranges;
  std::vector<RowStatistics> statistics;  // of a block
};

struct FastWorkspace::Buffers {
  Scratch<Word> keys;
  Scratch<Word> values;
  Scratch<float> key_bias;
  std::vector<WorkerBuffers> workers;
};

}  // namespace ullage::attention
