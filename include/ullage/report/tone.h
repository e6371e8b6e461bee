// Tone: what a piece of output means for the reader. Colour only ever repeats what the text says.
#pragma once

#include <cstdint>

namespace ullage::report {

enum class Tone : std::uint8_t { plain, good, warn, bad, dim, strong };

}  // namespace ullage::report
