// Work on an array in chunks that threads take as they come free, its counts added up in the array's order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <string>
#include <vector>

#include "formats/float_environment.h"
#include "formats/run_caster.h"
#include "formats/stream.h"
#include "ullage/base/multiple.h"
#include "ullage/base/parallel.h"

namespace ullage::formats {

// work(begin, end) -> CastCounts of items [begin, end), `grain` items at a time.
template <class Work>
Result<CastCounts> in_chunks(std::size_t items, std::size_t grain, int threads, const Work& work) {
  grain = std::max<std::size_t>(grain, 1);
  try {
    std::vector<CastCounts> parts(ceil_divide(items, grain));
    parallel_for(parts.size(), threads, [&](std::size_t part, int) {
      const ScopedDefaultEnvironment environment;
      parts[part] = work(part * grain, std::min(items, (part + 1) * grain));
      stream_fence();
    });
    CastCounts counts;
    for (const CastCounts& part : parts) add(counts, part);
    return counts;
  } catch (const std::exception& failure) {
    return Error{Code::resource, std::string("a cast could not finish: ") + failure.what(), "", "",
                 ""};
  }
}

}  // namespace ullage::formats
