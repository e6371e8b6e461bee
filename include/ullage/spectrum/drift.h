// What the certificates of a refresh are worth after the weights moved.
#pragma once

namespace ullage::spectrum {

// |sigma_k(M') - sigma_k(M)| <= delta_a |B| + |A| delta_b + delta_a delta_b for every k, where
// |dA|_2 <= delta_a, |dB|_2 <= delta_b. Rounded up.
double sigma_drift(double norm_a, double norm_b, double delta_a, double delta_b);

// |d(W diag gain)|_2 <= max|gain| |dW|_F + |W diag(dgain)|_F. Rounded up.
double folded_change(double largest_gain, double weight_change, double gain_change);

// Largest |update| / learning rate of one AdamW coordinate, weight decay apart:
// (1 - b1)/sqrt((1 - b2)(1 - b1^2/b2)) where b1^2 < b2, else infinite. 7.27 for (0.9, 0.999), 1.165 for
// (0.9, 0.95), not 1. Rounded up.
double adamw_reach(double beta1, double beta2);

// |dW|_F of one AdamW step: lr (reach sqrt(count) + weight_decay |W|_F). Rounded up. Parameters
// that anything else writes to need a refresh instead.
double adamw_change(double learning_rate, double reach, double count, double weight_decay,
                    double frobenius);

}  // namespace ullage::spectrum
