// Streams and graphs of the tests' own: what only CUDA's headers can make, in on_stream.cu.
#pragma once

#include <functional>

#include "ullage/base/result.h"
#include "ullage/cuda/device.h"

namespace ullage::cuda {

using Work = std::function<Status(Stream)>;

// Runs the work on a stream that the default stream does not wait for, and waits for it.
Status on_own_stream(const Work& work);
// Captures the work in a graph, which must not run it, and replays that so many times.
Status captured_and_replayed(const Work& work, int times);

}  // namespace ullage::cuda
