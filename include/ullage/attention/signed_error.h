// Is a rounding error one-signed? Mean, standard error, sign test, histogram.
//
// Errors come in clusters (the elements of one row of O share roundings, and so are not independent):
// the standard error and the sign test are over cluster means.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ullage::attention {

struct SignedError {
  std::size_t count = 0;       // elements
  std::size_t not_finite = 0;  // that were left out
  std::size_t clusters = 0;
  double mean = 0;            // over elements
  double spread = 0;          // standard deviation over elements
  double standard_error = 0;  // of the mean, from cluster means
  std::size_t positive = 0;   // clusters whose mean is above 0, and below
  std::size_t negative = 0;
  // Two-sided probability of such a split if both signs were as likely (normal approximation).
  double sign_probability = 1;

  [[nodiscard]] double lower() const { return mean - 2 * standard_error; }
  [[nodiscard]] double upper() const { return mean + 2 * standard_error; }
};

// Fixed bins of width 1/16 over [-2, 2), what lies outside in the end bins.
struct Histogram {
  static constexpr std::size_t kBins = 64;
  static constexpr double kWidth = 1.0 / 16;
  std::array<std::uint64_t, kBins> counts = {};

  void add(double x);
  static double bin_begin(std::size_t bin) { return -2 + kWidth * static_cast<double>(bin); }
};

class SignedErrorSum {
 public:
  // One cluster; elements that are not finite are counted apart and left out.
  void add(std::span<const double> cluster);
  void merge(const SignedErrorSum& other);

  [[nodiscard]] SignedError result() const;
  [[nodiscard]] const Histogram& histogram() const { return histogram_; }
  [[nodiscard]] std::size_t not_finite() const { return not_finite_; }

 private:
  std::size_t count_ = 0;
  std::size_t clusters_ = 0;
  std::size_t positive_ = 0;
  std::size_t negative_ = 0;
  std::size_t not_finite_ = 0;
  double sum_ = 0;
  double squares_ = 0;
  double cluster_sum_ = 0;
  double cluster_squares_ = 0;
  Histogram histogram_;
};

}  // namespace ullage::attention
