// What the MX kernels need to know of a rule and an element format.
#pragma once

#include "formats/kernels.h"
#include "ullage/formats/blocks.h"

namespace ullage::formats {

MxParameters mx_parameters(ScaleRule rule, const Format& element);

}  // namespace ullage::formats
