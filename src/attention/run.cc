#include "attention/run.h"

#include <exception>
#include <new>

#include "ullage/base/parallel.h"

namespace ullage::attention {

Status check_arithmetic(const Recipe& recipe, bool fp64) {
  if ((recipe.arithmetic == Arithmetic::fp64) == fp64) return {};
  return Error{Code::usage, "the recipe's arithmetic and the tensors' type must agree", recipe.name,
               fp64 ? "fp64" : "fp32", fp64 ? "fp32" : "fp64"};
}

Tiles tiles_of(const Recipe& recipe, const Options& options) {
  Tiles tiles = options.tiles.value_or(recipe.tiles);
  if (recipe.order == Order::two_pass) tiles.keys = 0;
  return tiles;
}

Status run_heads(std::size_t count, int threads, const std::function<void(std::size_t)>& body) {
  try {
    parallel_for(count, threads, [&](std::size_t index, int) { body(index); });
  } catch (const std::bad_alloc&) {
    return Error{Code::resource, "not enough memory for the scratch of attention", {}, {}, {}};
  } catch (const std::exception& error) {
    return Error{Code::resource, error.what(), "attention", {}, {}};
  }
  return {};
}

}  // namespace ullage::attention
