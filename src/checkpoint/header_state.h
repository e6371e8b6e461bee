// What a Header owns.
#pragma once

#include <memory_resource>
#include <string>
#include <vector>

#include "checkpoint/name_table.h"
#include "ullage/checkpoint/header.h"

namespace ullage::checkpoint {

struct Header::State {
  std::string json;  // escapes decoded in place: the names are views into it
  std::vector<TensorInfo> tensors;
  std::pmr::monotonic_buffer_resource sizes;  // the numbers of every shape
  NameTable names;
};

}  // namespace ullage::checkpoint
