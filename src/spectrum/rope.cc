#include "spectrum/rope.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ullage/spectrum/certificate.h"

namespace ullage::spectrum {

Result<Rotation> make_rotation(int head_dim, int rotary_dim, Pairing pairing,
                               std::span<const double> frequencies, int first) {
  const auto invalid = [](const char* what, std::string expected, std::string found) {
    return Error{.code = Code::value_invalid,
                 .what = what,
                 .where = "rotary position embedding",
                 .expected = std::move(expected),
                 .found = std::move(found)};
  };
  if (head_dim < 1)
    return invalid("a head has no coordinates", "1 or more", std::to_string(head_dim));
  if (rotary_dim < 0 || rotary_dim % 2 != 0) {
    return invalid("rotated coordinates come in pairs", "an even number",
                   std::to_string(rotary_dim));
  }
  if (first < 0 || first > head_dim || rotary_dim > head_dim - first) {
    return invalid("rotated coordinates do not fit the head",
                   "at most " + std::to_string(head_dim) + " with those before them",
                   std::to_string(rotary_dim) + " from " + std::to_string(first));
  }
  const int half = rotary_dim / 2;
  if (frequencies.size() != static_cast<std::size_t>(half)) {
    return invalid("one frequency a rotated pair", std::to_string(half),
                   std::to_string(frequencies.size()));
  }
  for (const double frequency : frequencies) {
    if (!std::isfinite(frequency)) {
      return invalid("a frequency is not finite", "a finite number", std::to_string(frequency));
    }
  }
  Rotation out;
  out.head_dim = head_dim;
  out.frequencies.assign(frequencies.begin(), frequencies.end());
  for (int i = 0; i < half; ++i) {
    if (pairing == Pairing::half_split) {
      out.pairs.push_back({first + i, first + i + half});
    } else {
      out.pairs.push_back({first + 2 * i, first + 2 * i + 1});
    }
  }
  for (int i = 0; i < head_dim; ++i) {
    if (i < first || i >= first + rotary_dim) out.fixed.push_back(i);
  }
  return out;
}

Matrix augmented_gram(const Side& side, double t) {
  return t > 0.0 ? with_column(*side.gram, side.bias, t) : *side.gram;
}

const Matrix& augmented_gram(const Side& side, double t, Matrix& room) {
  if (!(t > 0.0)) return *side.gram;
  room = with_column(*side.gram, side.bias, t);
  return room;
}

double column_factor(const Side& side, double t) { return std::hypot(side.radius, t); }

std::vector<double> inverses(std::span<const double> d) {
  std::vector<double> out(d.begin(), d.end());
  for (double& value : out) value = 1.0 / value;
  return out;
}

Matrix rotated(const Rotation& rotation, const Matrix& g, double offset) {
  Matrix out = g;
  const auto turn = [&](auto entry) {
    for (std::size_t p = 0; p < rotation.pairs.size(); ++p) {
      const auto [i, j] = rotation.pairs[p];
      const double c = std::cos(offset * rotation.frequencies[p]);
      const double s = std::sin(offset * rotation.frequencies[p]);
      for (int k = 0; k < g.rows(); ++k) {
        const double x = entry(i, k);
        const double y = entry(j, k);
        entry(i, k) = c * x - s * y;
        entry(j, k) = s * x + c * y;
      }
    }
  };
  turn([&](int i, int k) -> double& { return out(i, k); });
  turn([&](int i, int k) -> double& { return out(k, i); });
  return out;
}

}  // namespace ullage::spectrum
