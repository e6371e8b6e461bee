// Softmax attention in FP64 over a recipe's stored scores: what the study's errors are errors of.
#pragma once

#include <cstddef>
#include <vector>

#include "attention/head.h"
#include "ullage/attention/statistics.h"

namespace ullage::attention {

struct ExactRow {
  RowStatistics statistics;
  double log_sum_exp = 0;      // -infinity where the row sees no key
  std::vector<double> output;  // value_width
  std::vector<double> sizes;   // P |V|, value_width: what O would be without cancellation
  std::vector<double> keys;    // P K, width
};

class ExactHead {
 public:
  explicit ExactHead(Head<float>& head);

  ExactRow row(std::size_t query);

 private:
  Head<float>& head_;
  std::vector<double> values_;
  std::vector<double> value_sizes_;
  std::vector<double> key_rows_;
  std::vector<float> query_;
  std::vector<float> scores_;
  std::vector<double> weights_;
  Products<double> value_product_;
  Products<double> key_product_;
};

}  // namespace ullage::attention
