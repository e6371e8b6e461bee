// One function an experiment; experiment.cc has the table.
#pragma once

#include "ullage/experiments/experiment.h"

namespace ullage::experiments {

Result<Outcome> rank_aware(const Request& request);
Result<Outcome> rounding_vector(const Request& request);
Result<Outcome> biased_rounding(const Request& request);
Result<Outcome> switches(const Request& request);

}  // namespace ullage::experiments
