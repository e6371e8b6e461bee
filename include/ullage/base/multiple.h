// Whole numbers divided upwards: how many blocks hold them, and what the blocks hold together.
#pragma once

#include <concepts>
#include <type_traits>

namespace ullage {

// Neither is negative; count + size must not overflow.
template <std::integral T>
constexpr T ceil_divide(T count, std::type_identity_t<T> size) {
  return (count + size - 1) / size;
}

template <std::integral T>
constexpr T rounded_up(T count, std::type_identity_t<T> multiple) {
  return ceil_divide(count, multiple) * multiple;
}

}  // namespace ullage
