#include "ullage/spectrum/drift.h"

#include <cmath>
#include <limits>

#include "ullage/spectrum/certificate.h"

namespace ullage::spectrum {

double sigma_drift(double norm_a, double norm_b, double delta_a, double delta_b) {
  return round_up(delta_a * norm_b + norm_a * delta_b + delta_a * delta_b);
}

double folded_change(double largest_gain, double weight_change, double gain_change) {
  return round_up(largest_gain * weight_change + gain_change);
}

double adamw_reach(double beta1, double beta2) {
  if (!(beta1 >= 0.0 && beta2 >= 0.0 && beta2 < 1.0 && beta1 * beta1 < beta2)) {
    return std::numeric_limits<double>::infinity();
  }
  return round_up((1.0 - beta1) / std::sqrt((1.0 - beta2) * (1.0 - beta1 * beta1 / beta2)));
}

double adamw_change(double learning_rate, double reach, double count, double weight_decay,
                    double frobenius) {
  return round_up(learning_rate * (reach * std::sqrt(count) + weight_decay * frobenius));
}

}  // namespace ullage::spectrum
