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
  Scratch<std::uint32_t> query_bits;
  std::vector<RowStatistics> statistics;  // of a block
  Scratch<float> grad_keys;               // of a tile
  Scratch<float> grad_values;
};

struct FastWorkspace::Buffers {
  Scratch<Word> keys;
  Scratch<Word> values;
  Scratch<float> key_bias;
  // Backward, by kv head (keys, values: above too) and by query head.
  Scratch<Word> key_rows;
  Scratch<Word> queries;
  Scratch<Word> query_rows;
  Scratch<Word> grads;
  Scratch<Word> grad_rows;
  Scratch<float> minus_log;
  Scratch<float> minus_delta;
  Scratch<std::int32_t> begin;
  Scratch<std::int32_t> end;
  Scratch<float> grad_queries;
  Scratch<float> grad_keys;
  Scratch<float> grad_values;
  std::vector<WorkerBuffers> workers;
};

}  // namespace ullage::attention
