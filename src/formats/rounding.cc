#include "ullage/formats/rounding.h"

#include <string>

namespace ullage::formats {

const char* name_of(Rounding rounding) {
  switch (rounding) {
    case Rounding::nearest_even:
      return "nearest-even";
    case Rounding::nearest_away:
      return "nearest-away";
    case Rounding::toward_zero:
      return "toward-zero";
    case Rounding::up:
      return "up";
    case Rounding::down:
      return "down";
    case Rounding::stochastic:
      return "stochastic";
  }
  return "unknown";
}

Result<Rounding> rounding_from_name(std::string_view name) {
  if (name == "nearest") return Rounding::nearest_even;
  std::string names;
  for (const Rounding rounding : kRoundings) {
    if (name == name_of(rounding)) return rounding;
    names += (names.empty() ? "" : ", ") + std::string(name_of(rounding));
  }
  return Error{Code::usage, "no such rounding; there are " + names, "rounding", "",
               std::string(name)};
}

const char* name_of(Overflow overflow) {
  return overflow == Overflow::saturate ? "saturate" : "non-saturating";
}

}  // namespace ullage::formats
