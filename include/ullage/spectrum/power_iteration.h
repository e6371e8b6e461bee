// Implicit power iteration ([R] arXiv 2602.18851): the largest singular value of A^T B by
// v <- normalise(B^T (A (A^T (B v)))), four matrix-vector products, no product of weights formed.
//
// One head, a layer's concatenated heads, and the form for grouped heads ([R] Proposition 4.1): y = B v of a kv head is
// read by every query head of its group, and on the way back the heads' parts are summed inside the group, so keys
// are never repeated. All approach from below: the published figures, estimates, never certificates.
// Rows are taken as they are stored: gain and projection of HeadRows are ignored.
#pragma once

#include <limits>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "ullage/base/result.h"
#include "ullage/spectrum/gram.h"

namespace ullage::spectrum {

// Kept from one call to the next: after a small step of training an iteration or two are enough. Empty (or of another
// length): starts from a fixed pseudo-random direction.
struct PowerState {
  std::vector<float> v;  // unit length, one entry a column of B
};

// The direction from which an empty state starts: fixed, pseudo-random, of unit length.
std::vector<float> power_start(int width);

// |A^T B v| of the last v, in FP64 (iterations run in FP32): |A^T B|_2 from below, but for 1e-12 relative
// to |A||B|. NaN where a weight is not finite.
double power_iteration(const HeadRows& a, const HeadRows& b, int iterations, PowerState& state);

// |sum over query heads h of A_h^T B_(h / group)|_2 for group = queries.size() / keys.size() (value_invalid where that
// is no whole number, heads differ in size, or there are none).
Result<double> power_iteration(std::span<const HeadRows> queries, std::span<const HeadRows> keys,
                               int iterations, PowerState& state, int threads = 1);

// A layer's concatenated sigma.
struct ConcatenatedSigma {
  double value = 0.0;
  int iterations = 0;  // 0: exact
};

// Whether concatenated_sigma is exact: up to 1024 rows of all query heads together.
inline constexpr bool concatenates_exactly(std::size_t query_heads, int rows) {
  return query_heads * static_cast<std::size_t>(rows) <= 1024;
}

// Exact (to about 1e-6) by Lanczos' recurrence run to its end where that is small; else `passes` passes of
// StreamingSigma, from below.
Result<ConcatenatedSigma> concatenated_sigma(std::span<const HeadRows> queries,
                                             std::span<const HeadRows> keys, int passes,
                                             int threads = 1);

// Block power iteration with Rayleigh-Ritz for callers that hold one group of heads at a time, while its weights are in
// cache. Every pass: add() each group once, from any threads in any order, then finish_pass() on one thread. Passes
// go forwards (U = M V) and backwards (V = M^T U) in turn, the block made orthonormal between them; estimate() is the
// largest singular value of the last pass's result, from below. Same bits for any order and threads: groups are
// summed in their order, those that come early wait.
class StreamingSigma {
 public:
  static constexpr int kBlock = 8;
  // After `last_pass` passes the block is not made ready for another; where that is given, only then is there an estimate.
  StreamingSigma(int query_width, int key_width, int groups,
                 int last_pass = std::numeric_limits<int>::max());
  // The query heads that share a key head, and that key head.
  void add(int group, std::span<const HeadRows> queries, const HeadRows& key);
  void finish_pass();
  [[nodiscard]] double estimate() const { return estimate_; }
  [[nodiscard]] int passes() const { return passes_; }

 private:
  void merge(const std::vector<float>& part);
  int query_width_;
  int key_width_;
  int groups_;
  int last_pass_;
  int passes_ = 0;
  double estimate_ = 0.0;
  std::vector<float> input_;  // kBlock x width of the side it multiplies
  std::vector<float> sum_;    // kBlock x width of the other side
  std::mutex mutex_;
  int next_ = 0;
  std::map<int, std::vector<float>> early_;
};

}  // namespace ullage::spectrum
