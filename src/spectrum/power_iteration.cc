#include "ullage/spectrum/power_iteration.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "spectrum/lanczos.h"
#include "spectrum/matvec.h"
#include "ullage/base/parallel.h"
#include "ullage/spectrum/dense.h"

namespace ullage::spectrum {

namespace {

// Column ranges that threads share a transposed product by: wide enough to keep rows in long runs.
constexpr std::size_t kColumnGrain = 256;

std::size_t size(int count) { return static_cast<std::size_t>(count); }

// M = sum over query heads of A_h^T B_g, and its transpose, applied to single vectors.
class Layer {
 public:
  Layer(std::span<const HeadRows> queries, std::span<const HeadRows> keys, int threads)
      : queries_(queries), keys_(keys), group_(queries.size() / keys.size()), threads_(threads) {}

  [[nodiscard]] int query_width() const { return queries_[0].width; }
  [[nodiscard]] int key_width() const { return keys_[0].width; }

  void forward(const std::vector<float>& v, std::vector<float>& u) const {
    std::vector<std::vector<float>> parts(keys_.size());
    parallel_for(keys_.size(), threads_, [&](std::size_t g, int) {
      parts[g].resize(size(keys_[g].rows));
      multiply_rows(keys_[g], v.data(), 1, parts[g].data());
    });
    add_all(queries_, parts, group_, u);
  }

  void backward(const std::vector<float>& u, std::vector<float>& v) const {
    std::vector<std::vector<float>> parts(keys_.size());
    parallel_for(keys_.size(), threads_, [&](std::size_t g, int) {
      parts[g].assign(size(keys_[g].rows), 0.0F);
      std::vector<float> one(parts[g].size());
      for (std::size_t h = g * group_; h < (g + 1) * group_; ++h) {
        multiply_rows(queries_[h], u.data(), 1, one.data());
        for (std::size_t r = 0; r < one.size(); ++r) parts[g][r] += one[r];
      }
    });
    add_all(keys_, parts, 1, v);
  }

  // u^T M v in FP64.
  [[nodiscard]] double quotient(std::span<const double> u, std::span<const double> v) const {
    std::vector<double> sums(keys_.size());
    parallel_for(keys_.size(), threads_, [&](std::size_t g, int) {
      std::vector<double> key(size(keys_[g].rows));
      std::vector<double> query(key.size());
      row_products(keys_[g], v, key);
      for (std::size_t h = g * group_; h < (g + 1) * group_; ++h) {
        row_products(queries_[h], u, query);
        sums[g] += dot(query, key);
      }
    });
    double total = 0.0;
    for (const double sum : sums) total += sum;
    return total;
  }

 private:
  // out = sum of rows_h^T parts[h / group], columns shared among the threads.
  void add_all(std::span<const HeadRows> heads, const std::vector<std::vector<float>>& parts,
               std::size_t group, std::vector<float>& out) const {
    out.assign(size(heads[0].width), 0.0F);
    parallel_ranges(out.size(), kColumnGrain, threads_, [&](std::size_t begin, std::size_t end) {
      for (std::size_t h = 0; h < heads.size(); ++h) {
        HeadRows part = heads[h];
        const auto offset = begin * (part.element == Element::bf16  ? sizeof(std::uint16_t)
                                     : part.element == Element::f32 ? sizeof(float)
                                                                    : sizeof(double));
        part.values = static_cast<const char*>(part.values) + offset;
        part.width = static_cast<int>(end - begin);
        add_transposed_rows(part, parts[h / group].data(), 1, out.data() + begin);
      }
    });
  }

  std::span<const HeadRows> queries_;
  std::span<const HeadRows> keys_;
  std::size_t group_;
  int threads_;
};

std::vector<double> to_double(std::span<const float> x) { return {x.begin(), x.end()}; }

// Divides by the 2-norm, and returns it: 0 or not finite where FP32's range was not enough.
double normalise(std::vector<float>& x) {
  double square = 0.0;
  for (const float value : x) square += static_cast<double>(value) * static_cast<double>(value);
  const double norm = std::sqrt(square);
  if (norm > 0.0 && std::isfinite(norm)) {
    for (float& value : x) value = static_cast<float>(static_cast<double>(value) / norm);
  }
  return norm;
}

// The same iteration in FP64 for weights beyond FP32's range: plain loops, every vector normalised.
double wide_iteration(std::span<const HeadRows> queries, std::span<const HeadRows> keys,
                      int iterations, std::vector<float>& state) {
  const std::size_t group = queries.size() / keys.size();
  const auto unit = [](std::vector<double>& x) {
    const double norm = norm2(x);
    for (double& value : x) value = norm > 0.0 ? value / norm : 0.0;
    return norm;
  };
  const auto add_transposed = [](const HeadRows& rows, std::span<const double> y,
                                 std::span<double> out) {
    std::vector<double> row(size(rows.width));
    for (int r = 0; r < rows.rows; ++r) {
      read_row(rows, r, row);
      for (std::size_t c = 0; c < row.size(); ++c) out[c] += row[c] * y[size(r)];
    }
  };
  // Keys times v and queries times u, by group; all scaled by one factor, so that sums over heads keep their weights.
  std::vector<double> v = to_double(state);
  std::vector<double> u(size(queries[0].width));
  const std::size_t rows = size(keys[0].rows);
  std::vector<double> left(keys.size() * rows);
  std::vector<double> right(keys.size() * rows);
  double value = 0.0;
  for (int iteration = 0; iteration <= iterations; ++iteration) {
    for (std::size_t g = 0; g < keys.size(); ++g) {
      row_products(keys[g], v, std::span(right).subspan(g * rows, rows));
    }
    const double right_norm = unit(right);
    std::fill(u.begin(), u.end(), 0.0);
    for (std::size_t h = 0; h < queries.size(); ++h) {
      add_transposed(queries[h], std::span(right).subspan(h / group * rows, rows), u);
    }
    value = unit(u) * right_norm;
    if (!(value > 0.0) || iteration == iterations) break;
    std::fill(left.begin(), left.end(), 0.0);
    std::vector<double> one(rows);
    for (std::size_t h = 0; h < queries.size(); ++h) {
      row_products(queries[h], u, one);
      for (std::size_t r = 0; r < rows; ++r) left[h / group * rows + r] += one[r];
    }
    unit(left);
    std::fill(v.begin(), v.end(), 0.0);
    for (std::size_t g = 0; g < keys.size(); ++g) {
      add_transposed(keys[g], std::span(left).subspan(g * rows, rows), v);
    }
    unit(v);
  }
  for (std::size_t c = 0; c < v.size(); ++c) state[c] = static_cast<float>(v[c]);
  return value;
}

double iterate(std::span<const HeadRows> queries, std::span<const HeadRows> keys, int iterations,
               PowerState& state, int threads) {
  const Layer layer(queries, keys, threads);
  if (state.v.size() != size(layer.key_width())) state.v = power_start(layer.key_width());
  // Squares of norms below this may have lost what matters to underflow.
  constexpr double kLeast = 1e-12;
  const std::vector<float> before = state.v;
  const auto usable = [](double norm) { return norm > kLeast && std::isfinite(norm); };
  std::vector<float> u;
  bool plain = true;
  for (int iteration = 0; iteration < iterations && plain; ++iteration) {
    layer.forward(state.v, u);
    plain = usable(normalise(u));
    if (!plain) break;
    layer.backward(u, state.v);
    plain = usable(normalise(state.v));
  }
  if (plain) {
    layer.forward(state.v, u);
    plain = usable(normalise(u));
  }
  if (plain) {
    const std::vector<double> left = to_double(u);
    const std::vector<double> right = to_double(state.v);
    return layer.quotient(left, right) / (norm2(left) * norm2(right));
  }
  state.v = before;
  return wide_iteration(queries, keys, iterations, state.v);
}

Status check(std::span<const HeadRows> queries, std::span<const HeadRows> keys) {
  const auto invalid = [](const char* what, std::size_t expected, std::size_t found) {
    return Error{.code = Code::value_invalid,
                 .what = what,
                 .where = "heads of a layer",
                 .expected = std::to_string(expected),
                 .found = std::to_string(found)};
  };
  if (keys.empty() || queries.empty()) return invalid("a layer has query and key heads", 1, 0);
  if (queries.size() % keys.size() != 0) {
    return invalid("key heads share out query heads evenly", keys.size(), queries.size());
  }
  for (const auto& heads : {queries, keys}) {
    for (const HeadRows& head : heads) {
      if (head.rows != queries[0].rows || head.rows < 1) {
        return invalid("all heads have one width", size(queries[0].rows), size(head.rows));
      }
      if (head.width != heads[0].width || head.width < 1) {
        return invalid("all heads read one input", size(heads[0].width), size(head.width));
      }
    }
  }
  return {};
}

// Rows made orthonormal in FP64, in order; one that vanishes becomes a fixed direction of its own.
void orthonormalise(std::vector<float>& block, int width) {
  constexpr int kRows = StreamingSigma::kBlock;
  Matrix rows(kRows, width);
  for (int v = 0; v < kRows; ++v) {
    std::copy_n(block.begin() + static_cast<std::ptrdiff_t>(v) * width, width, rows.row(v).begin());
    // Twice is enough (Kahan); the third pass is for a row made anew. Narrower inputs than the block leave zeros.
    for (int attempt = 0; attempt < 3; ++attempt) {
      const double norm = norm2(rows.row(v));
      for (double& value : rows.row(v))
        value = norm > 0.0 && std::isfinite(norm) ? value / norm : 0.0;
      for (int k = 0; k < v; ++k) {
        const double part = dot(rows.row(v), rows.row(k));
        for (int c = 0; c < width; ++c) rows(v, c) -= part * rows(k, c);
      }
      const double left = norm2(rows.row(v));
      if (left < 1e-6) {
        if (v >= width) {
          std::fill(rows.row(v).begin(), rows.row(v).end(), 0.0);
        } else {
          fill_start(rows.row(v), static_cast<std::uint64_t>(10 * v + attempt + 7));
        }
        continue;
      }
      for (double& value : rows.row(v)) value /= left;
      if (left > 0.5) break;
    }
    for (int c = 0; c < width; ++c) {
      block[size(v) * size(width) + size(c)] = static_cast<float>(rows(v, c));
    }
  }
}

// To the nearest number of BF16: halves to even, no overflow from entries of unit vectors.
void round_to_bf16(std::vector<float>& block) {
  for (float& value : block) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    value = std::bit_cast<float>((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000U);
  }
}

Matrix gram_of(const std::vector<float>& block, int width) {
  constexpr int kRows = StreamingSigma::kBlock;
  Matrix rows(kRows, width);
  for (int v = 0; v < kRows; ++v) {
    std::copy_n(block.begin() + static_cast<std::ptrdiff_t>(v) * width, width, rows.row(v).begin());
  }
  return multiply_transposed(rows, rows);
}

// Largest |image c| / |input c|: Rayleigh-Ritz over a block whose rows are orthonormal (or zero) up to BF16's rounding.
double largest_growth(const Matrix& image, const Matrix& input) {
  SymmetricEigen basis = symmetric_eigen(input, true);
  for (int k = 0; k < input.rows(); ++k) {
    const double square = basis.values[size(k)];
    const double unit = square > 0.5 ? 1.0 / std::sqrt(square) : 0.0;
    for (int i = 0; i < input.rows(); ++i) basis.vectors(i, k) *= unit;
  }
  const Matrix whitened = transposed_multiply(basis.vectors, multiply(image, basis.vectors));
  return std::sqrt(std::max(symmetric_eigen(whitened, false).values.back(), 0.0));
}

}  // namespace

std::vector<float> power_start(int width) {
  std::vector<double> direction(size(width));
  fill_start(direction);
  std::vector<float> v(direction.begin(), direction.end());
  normalise(v);
  return v;
}

double power_iteration(const HeadRows& a, const HeadRows& b, int iterations, PowerState& state) {
  assert(a.rows == b.rows);
  return iterate({&a, 1}, {&b, 1}, iterations, state, 1);
}

Result<double> power_iteration(std::span<const HeadRows> queries, std::span<const HeadRows> keys,
                               int iterations, PowerState& state, int threads) {
  ULLAGE_TRY(check(queries, keys));
  return iterate(queries, keys, iterations, state, threads);
}

Result<ConcatenatedSigma> concatenated_sigma(std::span<const HeadRows> queries,
                                             std::span<const HeadRows> keys, int passes,
                                             int threads) {
  ULLAGE_TRY(check(queries, keys));
  const std::size_t group = queries.size() / keys.size();
  if (concatenates_exactly(queries.size(), queries[0].rows)) {
    const Layer layer(queries, keys, threads);
    std::vector<float> v;
    std::vector<float> u;
    // FP32 products: a Ritz value that moves by less than this has only rounding left to follow.
    constexpr double kRest = 2e-7;
    const auto width = layer.key_width();
    const double square =
        lanczos_largest<float>(width, padded_lanes(width), kRest, [&](const float* x, float* y) {
          v.assign(x, x + width);
          layer.forward(v, u);
          layer.backward(u, v);
          std::copy(v.begin(), v.end(), y);
        });
    return ConcatenatedSigma{.value = std::sqrt(std::max(square, 0.0)), .iterations = 0};
  }
  passes = std::max(passes, 1);
  StreamingSigma streaming(queries[0].width, keys[0].width, static_cast<int>(keys.size()), passes);
  for (int pass = 0; pass < passes; ++pass) {
    parallel_for(keys.size(), threads, [&](std::size_t g, int) {
      streaming.add(static_cast<int>(g), queries.subspan(g * group, group), keys[g]);
    });
    streaming.finish_pass();
  }
  return ConcatenatedSigma{.value = streaming.estimate(), .iterations = streaming.passes()};
}

StreamingSigma::StreamingSigma(int query_width, int key_width, int groups, int last_pass)
    : query_width_(query_width),
      key_width_(key_width),
      groups_(groups),
      last_pass_(last_pass),
      input_(size(kBlock) * size(key_width)),
      sum_(size(kBlock) * size(query_width)) {
  orthonormalise(input_, key_width);
  round_to_bf16(input_);
}

void StreamingSigma::add(int group, std::span<const HeadRows> queries, const HeadRows& key) {
  const bool forwards = passes_ % 2 == 0;
  std::vector<float> part(sum_.size());
  std::vector<float> middle(size(kBlock) * size(key.rows));
  if (forwards) {
    multiply_rows_bf16(key, input_.data(), middle.data());
    for (const HeadRows& query : queries) {
      add_transposed_rows(query, middle.data(), kBlock, part.data());
    }
  } else {
    std::vector<float> one(middle.size());
    for (const HeadRows& query : queries) {
      multiply_rows_bf16(query, input_.data(), one.data());
      for (std::size_t i = 0; i < one.size(); ++i) middle[i] += one[i];
    }
    add_transposed_rows(key, middle.data(), kBlock, part.data());
  }
  const std::lock_guard lock(mutex_);
  if (group != next_) {
    early_.emplace(group, std::move(part));
    return;
  }
  merge(part);
  for (auto first = early_.begin(); first != early_.end() && first->first == next_;
       first = early_.erase(first)) {
    merge(first->second);
  }
}

void StreamingSigma::merge(const std::vector<float>& part) {
  for (std::size_t i = 0; i < part.size(); ++i) sum_[i] += part[i];
  ++next_;
}

void StreamingSigma::finish_pass() {
  assert(next_ == groups_);
  const int width = passes_ % 2 == 0 ? query_width_ : key_width_;
  const int other = passes_ % 2 == 0 ? key_width_ : query_width_;
  ++passes_;
  if (passes_ >= last_pass_ || last_pass_ == std::numeric_limits<int>::max())
    estimate_ = largest_growth(gram_of(sum_, width), gram_of(input_, other));
  if (passes_ >= last_pass_) return;
  orthonormalise(sum_, width);
  input_ = std::move(sum_);
  round_to_bf16(input_);
  sum_.assign(size(kBlock) * size(other), 0.0F);
  early_.clear();
  next_ = 0;
}

}  // namespace ullage::spectrum
