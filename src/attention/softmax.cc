#include "attention/softmax.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "attention/elementary.h"

namespace ullage::attention {

namespace {

template <class Real>
struct TileTop {
  Real top = -std::numeric_limits<Real>::infinity();
  bool seen = false;  // something other than -infinity, NaN included
};

template <class Real>
TileTop<Real> top_of(std::span<const Real> scores) {
  TileTop<Real> tile;
  for (const Real score : scores) {
    tile.top = score > tile.top ? score : tile.top;
    tile.seen |= score != score;
  }
  tile.seen |= tile.top != -std::numeric_limits<Real>::infinity();
  return tile;
}

}  // namespace

template <class Real>
RowState<Real> RowSoftmax<Real>::start(RowKey row, std::span<const Real> query) const {
  RowState<Real> state;
  if (shift_.rule != ShiftRule::stabilised) return state;
  row.bits = bits_of(query);
  state.offset = static_cast<Real>(row_offset(shift_.seed, row));
  return state;
}

template <class Real>
void RowSoftmax<Real>::start_with_sink(RowState<Real>& state, Real sink) {
  if (sink == -std::numeric_limits<Real>::infinity()) return;
  state.maximum = {sink, 0, {rounders_[Quantity::subtrahend](sink), Real{0}}};
  state.sum = std::ldexp(exp_of(sink - state.maximum.subtrahend.value), recipe_.weight_exponent);
  state.started = true;
}

template <class Real>
Real RowSoftmax<Real>::take_tile(RowState<Real>& state, std::span<Real> scores) {
  const TileTop<Real> tile = top_of<Real>(scores);
  if (!tile.seen) {
    std::fill(scores.begin(), scores.end(), Real{0});
    return 1;
  }
  std::size_t equal = 0;
  std::size_t near = 0;
  Rounder<Real>& round_subtrahend = rounders_[Quantity::subtrahend];
  const Real threshold = round_subtrahend(tile.top - static_cast<Real>(shift_.tolerance));
  for (const Real score : scores) {
    equal += score == tile.top ? 1 : 0;
    near += score >= threshold ? 1 : 0;
  }
  RowMaximum<Real> after = advance(state.maximum, tile.top, equal, near, shift_, state.offset);
  after.subtrahend.value = round_subtrahend(after.subtrahend.value);

  const Subtrahend<Real> old = state.maximum.subtrahend;
  const Subtrahend<Real> now = after.subtrahend;
  // Before the first score `old` is -infinity and there is nothing to rescale.
  const Real factor = state.started ? rounders_[Quantity::rescale](exp_of(
                                          (old.value - now.value) + (old.offset - now.offset)))
                                    : Real{0};

  const Real unit = std::ldexp(Real{1}, recipe_.weight_exponent);
  Rounder<Real>& round_difference = rounders_[Quantity::difference];
  Rounder<Real>& round_exponential = rounders_[Quantity::exponential];
  for (Real& score : scores)
    score = round_exponential(exp_of(round_difference(score - now.value) - now.offset) * unit);

  const Real* summed = scores.data();
  if (recipe_.denominator == Denominator::rounded) {
    rounded_.assign(scores.begin(), scores.end());
    Rounder<Real> round_weight = rounders_[Quantity::weight];
    round_weight(rounded_);
    summed = rounded_.data();
  }
  const Real sum = std::max(sums_.sum(summed, scores.size()), static_cast<Real>(recipe_.sum_floor));
  const Real tile_sum = rounders_[Quantity::tile_sum](sum);
  state.sum =
      rounders_[Quantity::running_sum](state.started ? factor * state.sum + tile_sum : tile_sum);
  state.maximum = after;
  state.started = true;
  return factor;
}

template <class Real>
Real RowSoftmax<Real>::log_sum_exp(const RowState<Real>& state) {
  if (!state.started) return -std::numeric_limits<Real>::infinity();
  const auto unit = static_cast<Real>(recipe_.weight_exponent * std::numbers::ln2);
  const Subtrahend<Real>& subtrahend = state.maximum.subtrahend;
  return rounders_[Quantity::log_sum_exp]((log_of(state.sum) + (subtrahend.offset - unit)) +
                                          subtrahend.value);
}

template class RowSoftmax<float>;
template class RowSoftmax<double>;

}  // namespace ullage::attention
