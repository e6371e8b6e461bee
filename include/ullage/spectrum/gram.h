// Grams of one head's rows: A A^T of the folded projection A, with a bound on its error.
//
// A = W diag(gain) P is head_dim x width; P takes each row's mean away where a LayerNorm stands
// before the projection. The product A^T B that attention scores depend on is width x width and
// never formed: all spectra follow from the head_dim x head_dim Grams, one pass over the weights.
// Biases are not here: the Gram of [A, a/t] is A A^T + a a^T / t^2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ullage/spectrum/dense.h"
#include "ullage/spectrum/error_terms.h"

namespace ullage::spectrum {

enum class Element : std::uint8_t { bf16, f32, f64 };

// The rows of one head as they lie in memory, and what folds into them. Owns nothing.
struct HeadRows {
  const void* values = nullptr;  // uint16_t (bfloat16 bits), float or double
  Element element = Element::bf16;
  int rows = 0;                  // head width
  int width = 0;                 // columns: the model's width
  std::ptrdiff_t stride = 0;     // elements between the starts of two rows
  std::span<const double> gain;  // one a column; empty: ones
  bool project_mean = false;     // take each row's mean away after the gain
};

// The same rows without gain and projection: what `sigma_weights` is about.
HeadRows unfolded(HeadRows rows);

// fast: FP32 products (BF16 ones where the CPU multiplies them and nothing is folded) summed in
// short FP32 blocks, blocks in FP64. precise: FP64 throughout, on entries scaled by a power of two,
// for heads whose sigma is far below |A||B| and for weights of wide range; about three times
// slower.
enum class Arithmetic : std::uint8_t { fast, precise };

// G^ = values, of the rows times 2^-exponent. With A the folded rows times 2^-exponent:
//   A A^T <= G^ + inflation I,
//   |(A A^T)_ij - G^_ij| <= entry_unit sqrt(G^_ii G^_jj) + entry_floor (with project_mean: no lower side).
struct Gram {
  Matrix values;
  double inflation = 0.0;
  double entry_unit = 0.0;
  double entry_floor = 0.0;
  // 0 for all rows that BF16 and FP32 can hold; FP64 rows beyond 1e+-130 are scaled, so that squares
  // stay finite.
  int exponent = 0;
  // With project_mean, the means (times 2^-exponent) that were taken from the folded rows: those rows
  // unprojected are, up to the error above, X + means 1^T with X X^T = values, so their norm is
  // at most |A|_2 + sqrt(width) |means|.
  std::vector<double> means;
};

// values + inflation I, rounded up: above the Gram of the true rows.
Matrix inflated(const Gram& gram);

// Fills the bounds of `gram`, whose values and means are made, from the errors that its arithmetic makes.
void set_bounds(const HeadRows& rows, const GramErrors& errors, Gram& gram);

// Scratch of one thread: grows to the largest head it has seen (under 2 MiB at 256 x 8192), then is
// reused.
class GramWorkspace {
 public:
  GramWorkspace();
  ~GramWorkspace();
  GramWorkspace(GramWorkspace&&) noexcept;
  GramWorkspace& operator=(GramWorkspace&&) noexcept;
  struct Buffers;
  Buffers& buffers() { return *buffers_; }

 private:
  std::unique_ptr<Buffers> buffers_;
};

// One side of a cross Gram in the layout in which the CPU multiplies it, kept from the pass that made its own Gram: the
// folded rows times the other side's gain, so that the other side takes part as it is stored. BF16 where the CPU multiplies
// that, else FP32.
class PackedRows {
 public:
  [[nodiscard]] bool empty() const { return rows_ == 0; }
  [[nodiscard]] int rows() const { return rows_; }
  void clear() { rows_ = 0; }
  // Room for `width` columns of `rows` rows, of unknown content; then the panel that starts at a column.
  void reserve(int rows, int width, bool pairs);
  [[nodiscard]] std::uint32_t* panel(int column) const;

 private:
  std::unique_ptr<std::uint32_t[]> words_;
  std::size_t capacity_ = 0;
  int rows_ = 0;
  int lines_ = 0;  // of a panel
};

// What one reading of a head's rows is to make; null: nothing.
struct GramPass {
  Gram* stored = nullptr;  // of the rows as stored
  Gram* folded = nullptr;  // of the folded rows
  // The folded rows times keep_gain; empty where only FP64 resolves them.
  PackedRows* keep = nullptr;
  // Of the rows that they will be multiplied with; empty: ones.
  std::span<const double> keep_gain = {};
  // These rows' folded ones times other's, transposed, as cross_gram makes it; 0 x 0 where only FP64 resolves these rows.
  // `other` was kept with this side's gain and with its mean taken away if this side's is. Asks for `stored` too, whose
  // range it shares, where anything is folded.
  const PackedRows* other = nullptr;
  Matrix* product = nullptr;
};

// Fast Grams, each precise where its trace is out of FP32's range. False when a weight or a gain is NaN or
// infinite: the results are then of no use. Reuses their memory. Same bits for any thread and any alignment of the
// rows; CPU paths agree within `inflation`.
[[nodiscard]] bool gram_pass(const HeadRows& rows, GramWorkspace& workspace, const GramPass& pass);

// The Gram of the folded rows alone, in the arithmetic given.
[[nodiscard]] bool gram(const HeadRows& rows, Arithmetic arithmetic, GramWorkspace& workspace,
                        Gram& out);

// A B^T of two heads' folded rows of one width, given their Grams (for means, range and exponents, which hold for the
// result too). For figures that only estimate: where it is faster entries are rounded to BF16 first (each within 2^-8 of
// itself, independently; those of A only where they are not BF16 as stored). The result is then off by up to
// 2^-7 |A|_F |B|_F in theory and by about 2^-9 |A||B| / sqrt(width) an entry in practice.
[[nodiscard]] bool cross_gram(const HeadRows& a, const Gram& gram_a, const HeadRows& b,
                              const Gram& gram_b, GramWorkspace& workspace, Matrix& out);

// Squared 2-norms of the folded rows, from above: all that amax(V) needs. False as above; infinite
// where a square is beyond FP64.
[[nodiscard]] bool row_norms_squared(const HeadRows& rows, GramWorkspace& workspace,
                                     std::span<double> out);

// out = W x in FP64, gain and projection left out, |error of a row| <= 2 width 2^-53 |row||x|: W beta
// of a folded bias.
void row_products(const HeadRows& rows, std::span<const double> x, std::span<double> out);

// One row's weights as stored, in FP64.
void read_row(const HeadRows& rows, int row, std::span<double> out);

// Largest |weight| as stored, NaN if any is NaN.
double largest_magnitude(const HeadRows& rows);

}  // namespace ullage::spectrum
