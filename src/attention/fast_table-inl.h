// A path's table, from the bodies that its vectors were given to.
#pragma once

#include "attention/fast_backward-inl.h"
#include "attention/fast_elementary-inl.h"
#include "attention/fast_forward-inl.h"
#include "attention/fast_pack-inl.h"

namespace ullage::attention {

namespace {

constexpr FastKernels kernels_of_path(const char* name) {
  return {
      .name = name,
      .pair = kPair,
      .row_tile = kRowTile,
      .panel = kPanel,
      .query_block = kQueryBlock,
      .key_tile = kKeyTile,
      .pack_lanes = pack_lanes,
      .pack_panels = pack_panels,
      .forward = forward_block,
      .backward = backward_block,
      .row_products = row_products,
      .row_bits = row_bits,
      .store_rows = store_rows,
  };
}

}  // namespace

}  // namespace ullage::attention
