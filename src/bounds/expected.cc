#include "ullage/bounds/expected.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "bounds/chernoff.h"
#include "bounds/pencil.h"
#include "bounds/plain.h"
#include "bounds/turned.h"
#include "bounds/upper.h"

namespace ullage::bounds {

namespace {

using spectrum::Matrix;

// Of a positive number. std::lgamma writes its sign to a variable that all threads share.
double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

// Mean length of a standard Gaussian vector over sqrt(d): sqrt(2/d) Gamma((d+1)/2)/Gamma(d/2).
double radial_mean(int dimensions) {
  const double d = dimensions;
  return std::exp(0.5 * std::log(2.0 / d) + log_gamma(0.5 * (d + 1.0)) - log_gamma(0.5 * d));
}

// One side in units in which its Gram's trace is of order one, with the sphere's factor of a
// LayerNorm in it: n is uniform on a sphere of d - 1 dimensions, A sqrt(d/(d - 1)).
struct UnitSide {
  Matrix gram;
  std::vector<double> bias;  // always head_dim long
  double sphere = 1.0;
  int exponent = 0;  // true A = 2^exponent A, and the bias alike
};

UnitSide in_units(const Side& side) {
  UnitSide out;
  const int n = side.gram.rows();
  const double size =
      std::sqrt(std::max(spectrum::trace(side.gram), 0.0)) + spectrum::norm2(side.bias);
  out.exponent = size > 0.0 ? std::ilogb(size) : 0;
  if (side.layer_norm) out.sphere = std::sqrt(side.width / (side.width - 1.0));
  const double unit = std::ldexp(1.0, -out.exponent);
  out.gram = spectrum::scaled_symmetric(
      side.gram, std::vector<double>(static_cast<std::size_t>(n), unit * out.sphere));
  out.bias = side.bias;
  out.bias.resize(static_cast<std::size_t>(n));
  for (double& value : out.bias) value *= unit;
  return out;
}

// One side behind T = D blockdiag(I, X) of a Scaling, or T^-T = D^-1 blockdiag(I, Y).
struct TurnedSide {
  std::vector<double> values;  // eigenvalues of T G T^T, ascending
  double bias = 0.0;           // |T a|
};

TurnedSide turned_side(const UnitSide& side, std::span<const int> fixed, const Matrix& mix,
                       const std::vector<double>& d) {
  Matrix mixed;
  std::vector<double> bias = side.bias;
  if (mix.rows() > 0) {
    const Matrix& gram = side.gram;
    Matrix transform(gram.rows(), gram.rows());
    for (int i = 0; i < gram.rows(); ++i) transform(i, i) = 1.0;
    for (std::size_t i = 0; i < fixed.size(); ++i) {
      for (std::size_t j = 0; j < fixed.size(); ++j) {
        transform(fixed[i], fixed[j]) = mix(static_cast<int>(i), static_cast<int>(j));
      }
    }
    mixed = spectrum::multiply_transposed(spectrum::multiply(transform, gram), transform);
    bias = spectrum::multiply(transform, bias);
  }
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] *= d[i];
  TurnedSide out;
  const Matrix& gram = mix.rows() > 0 ? mixed : side.gram;
  out.values = spectrum::estimated_eigenvalues(spectrum::scaled_symmetric(gram, d));
  out.bias = spectrum::norm2(bias);
  return out;
}

// sum over groups of |a_p||b_p|: the most that a rotation makes of a^T R b.
double turned_bias_product(const UnitSide& q, const UnitSide& k,
                           const spectrum::Rotation& rotation) {
  const Groups groups = groups_of(q.gram.rows(), rotation.pairs);
  std::vector<double> a(static_cast<std::size_t>(groups.count));
  std::vector<double> b(static_cast<std::size_t>(groups.count));
  for (std::size_t c = 0; c < q.bias.size(); ++c) {
    const auto g = static_cast<std::size_t>(groups.of_coordinate[c]);
    a[g] = std::hypot(a[g], q.bias[c]);
    b[g] = std::hypot(b[g], k.bias[c]);
  }
  return spectrum::dot(a, b);
}

TurnedScore turned_score(const UnitSide& q, const UnitSide& k, const spectrum::Rotation& rotation,
                         const spectrum::Scaling& scaling) {
  std::vector<double> inverse(scaling.d);
  for (double& value : inverse) value = 1.0 / value;
  const TurnedSide dq = turned_side(q, rotation.fixed, scaling.x, scaling.d);
  const TurnedSide dk = turned_side(k, rotation.fixed, scaling.y, inverse);
  const double u_square = std::max(dq.values.back(), 0.0) * dk.bias * dk.bias;
  const double w_square = std::max(dk.values.back(), 0.0) * dq.bias * dq.bias;
  return {dq.values, dk.values, u_square + w_square, turned_bias_product(q, k, rotation)};
}

bool is_zero(const UnitSide& side) {
  return spectrum::trace(side.gram) == 0.0 && spectrum::norm2(side.bias) == 0.0;
}

// True where neither projection moves the score: it is a^T b for every input. Where R turns, B^T a = 0 at R = I says
// nothing about other offsets: then the score is a^T R b, or one side is zero.
bool is_constant(const UnitSide& q, const UnitSide& k, bool turned) {
  if (turned) {
    return (spectrum::trace(q.gram) == 0.0 && spectrum::trace(k.gram) == 0.0) || is_zero(q) ||
           is_zero(k);
  }
  const auto still = [](const UnitSide& side, const UnitSide& other) {
    return spectrum::trace(side.gram) == 0.0 ||
           spectrum::dot(other.bias, spectrum::multiply(side.gram, other.bias)) <= 0.0;
  };
  return (spectrum::trace(q.gram) == 0.0 || spectrum::trace(k.gram) == 0.0) && still(q, k) &&
         still(k, q);
}

Status check(const Head& head, const ExpectedModel& model) {
  ULLAGE_TRY(check_side(head.query, "query"));
  ULLAGE_TRY(check_side(head.key, "key"));
  if (const std::string_view why = expected_refusal(head); !why.empty()) {
    return Error{Code::usage, std::string(why), "expected", {}, {}};
  }
  if (model.context < 1) {
    return Error{Code::value_invalid, "a context holds at least one token", "context", "1 or more",
                 std::to_string(model.context)};
  }
  if (!(model.probability > 0.0 && model.probability < 1.0)) {
    return Error{Code::value_invalid,
                 "a probability lies between 0 and 1",
                 "probability",
                 {},
                 std::to_string(model.probability)};
  }
  const int n = head.query.gram.rows();
  if (head.key.gram.rows() != n ||
      (head.cross != nullptr && (head.cross->rows() != n || head.cross->columns() != n))) {
    return Error{Code::value_invalid,
                 "query, key and their product differ in head width",
                 "expected",
                 {},
                 {}};
  }
  return {};
}

}  // namespace

struct LogitTails::State {
  double scale = 1.0;  // of t: the score scale and both sides' units
  double probability = 0.0;
  // Where inputs do not matter: |S| of a token with itself, and the largest of two tokens.
  struct Constant {
    double diagonal = 0.0;
    double off_diagonal = 0.0;
    [[nodiscard]] double of(bool off, bool on) const {
      return std::max(off ? off_diagonal : 0.0, on ? diagonal : 0.0);
    }
  };
  std::optional<Constant> constant;
  std::string_view no_diagonal;
  std::unique_ptr<Cumulant> off_diagonal;  // null: no pairs of tokens
  std::unique_ptr<Cumulant> diagonal;
  std::deque<Tail> off_tails;  // of the two signs, or one where they are alike
  std::deque<Tail> diagonal_tails;

  [[nodiscard]] std::vector<Tail*> tails(bool off, bool on) {
    std::vector<Tail*> out;
    if (off) {
      for (Tail& tail : off_tails) out.push_back(&tail);
    }
    if (on) {
      for (Tail& tail : diagonal_tails) out.push_back(&tail);
    }
    return out;
  }
  [[nodiscard]] Figure solved(bool off, bool on) {
    return scale *
           (constant ? constant->of(off, on) : solve(tails(off, on), std::log(probability)));
  }
};

LogitTails::LogitTails(std::unique_ptr<State> state) : state_(std::move(state)) {}
LogitTails::LogitTails(LogitTails&&) noexcept = default;
LogitTails& LogitTails::operator=(LogitTails&&) noexcept = default;
LogitTails::~LogitTails() = default;

std::string_view expected_refusal(const Head& head) {
  if (head.between == Between::clip) return "the isotropic model does not hold behind clipping";
  if (head.between != Between::nothing) return "the isotropic model does not hold behind a QK-norm";
  if (head.rotation_unknown) return "RoPE with an unknown pairing";
  const auto isotropic = [](const Side& side) {
    return side.width > (side.layer_norm ? 1 : 0) && side.squared_norm == side.width;
  };
  if (!isotropic(head.query) || !isotropic(head.key)) return "the input is not a normalised one";
  return {};
}

Result<LogitTails> LogitTails::make(const Head& head, const ExpectedModel& model,
                                    const spectrum::Scaling* scaling) {
  ULLAGE_TRY(check(head, model));
  const UnitSide q = in_units(head.query);
  const UnitSide k = in_units(head.key);
  auto state = std::make_unique<State>();
  state->scale = std::ldexp(head.scale, q.exponent + k.exponent);
  state->probability = model.probability;
  const bool diagonal = !head.cross_attention && head.cross != nullptr;
  if (!diagonal) {
    state->no_diagonal = head.cross_attention ? "cross-attention has no diagonal"
                                              : "the product of query and key rows was not given";
  }
  const auto tokens = static_cast<double>(model.context);
  // Queries and keys of cross-attention are different tokens all.
  const double pairs =
      head.cross_attention ? tokens * tokens : tokens * (tokens - 1.0) / (model.causal ? 2.0 : 1.0);
  const bool turned = !pairs_of(head).empty();
  if (is_constant(q, k, turned)) {
    state->constant = State::Constant{};
    State::Constant& constant = *state->constant;
    constant.diagonal = std::abs(spectrum::dot(q.bias, k.bias));
    if (pairs > 0.0) {
      constant.off_diagonal =
          turned ? turned_bias_product(q, k, *head.rotation) : constant.diagonal;
    }
    return LogitTails(std::move(state));
  }

  Matrix cross;
  if (diagonal) {
    const double unit = std::ldexp(q.sphere * k.sphere, -(q.exponent + k.exponent));
    cross = *head.cross;
    for (int i = 0; i < cross.rows(); ++i) {
      for (double& value : cross.row(i)) value *= unit;
    }
  }
  const double mean = radial_mean(head.query.width - (head.query.layer_norm ? 1 : 0));
  // Without a rotation both scores share one reduction, in FP64.
  if (diagonal && turned && q.gram.rows() > spectrum::kSingleFrom) {
    const ReductionOf<float> single(q.gram, k.gram, q.bias, k.bias);
    if (single.resolved)
      state->diagonal = std::make_unique<PencilScore<float>>(single, cross, mean);
  }
  std::optional<Reduction> reduction;
  if (!turned || (diagonal && state->diagonal == nullptr))
    reduction.emplace(q.gram, k.gram, q.bias, k.bias);
  if (turned && pairs > 0.0) {
    const spectrum::Rotation& rotation = *head.rotation;
    spectrum::Scaling own;
    if (scaling == nullptr) {
      own = spectrum::balanced_scaling(rotation,
                                       {&q.gram, q.bias, std::sqrt(head.query.squared_norm)},
                                       {&k.gram, k.bias, std::sqrt(head.key.squared_norm)});
      scaling = &own;
    }
    state->off_diagonal = std::make_unique<TurnedScore>(turned_score(q, k, rotation, *scaling));
    state->off_tails.emplace_back(*state->off_diagonal, 1.0, 2.0 * pairs, model.probability);
  } else if (pairs > 0.0) {
    auto plain =
        std::make_unique<PlainScore>(reduction->x, reduction->sigma, reduction->p, reduction->q,
                                     reduction->key_at_query_bias, reduction->bias_product);
    if (plain->even()) {
      state->off_tails.emplace_back(*plain, 1.0, 2.0 * pairs, model.probability);
    } else {
      state->off_tails.emplace_back(*plain, 1.0, pairs, model.probability);
      state->off_tails.emplace_back(*plain, -1.0, pairs, model.probability);
    }
    state->off_diagonal = std::move(plain);
  }
  if (diagonal) {
    if (state->diagonal == nullptr)
      state->diagonal = std::make_unique<PencilScore<double>>(*reduction, cross, mean);
    state->diagonal_tails.emplace_back(*state->diagonal, 1.0, tokens, model.probability);
    state->diagonal_tails.emplace_back(*state->diagonal, -1.0, tokens, model.probability);
  }
  return LogitTails(std::move(state));
}

Figure LogitTails::off_diagonal() { return state_->solved(true, false); }

Figure LogitTails::diagonal() {
  if (!state_->no_diagonal.empty()) return Figure::none(state_->no_diagonal);
  return state_->solved(false, true);
}

Figure LogitTails::joint() { return state_->solved(true, true); }

double LogitTails::exceedance(double limit) {
  if (!(state_->scale > 0.0)) return 0.0;
  const double t = limit / state_->scale;
  if (state_->constant) return state_->constant->of(true, true) > t ? 1.0 : 0.0;
  return bounds::exceedance(state_->tails(true, true), t);
}

Result<ExpectedLogits> expected_logits(const Head& head, const ExpectedModel& model,
                                       double certificate, std::span<const double> limits,
                                       const spectrum::Scaling* scaling) {
  ULLAGE_ASSIGN(LogitTails tails, LogitTails::make(head, model, scaling));
  ExpectedLogits out;
  const auto clamped = [&](Figure figure) {
    if (figure) figure.value = std::min(figure.value, certificate);
    return figure;
  };
  out.off_diagonal = clamped(tails.off_diagonal());
  out.diagonal = clamped(tails.diagonal());
  out.joint = clamped(tails.joint());
  for (const double limit : limits) {
    out.overflow_probability.push_back(certificate > limit ? tails.exceedance(limit) : 0.0);
  }
  return out;
}

}  // namespace ullage::bounds
