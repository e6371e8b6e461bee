// What the search over D and t shares with the policy around it.
#pragma once

#include <span>
#include <vector>

#include "spectrum/scaled_side.h"
#include "ullage/spectrum/rope.h"

namespace ullage::spectrum {

// The group of each coordinate: coordinates of a group share one D. Pairs first, then the fixed ones alone.
std::vector<int> groups_of(const Rotation& rotation);
int group_count(const Rotation& rotation);

// A side with what its products need: made once, used for every D that is tried.
struct Searched {
  const Side& side;
  ScaledSide scaled;
  explicit Searched(const Side& made) : side(made), scaled(made) {}
};

// |D [A, a/t]|, an estimate.
double scaled_norm(Searched& searched, double t, std::span<const double> d);

// The best point on the way from `start` by quasi-Newton steps on the softened product: d, t_q and t_k of it.
Scaling searched_scaling(const Rotation& rotation, Searched& q, Searched& k, const Scaling& start,
                         int evaluations, double least_gain);

}  // namespace ullage::spectrum
