// The order in which a product of panels is cut into register tiles.
#pragma once

#include "spectrum/gram_kernels.h"

namespace ullage::spectrum {

// Tiles of 8 rows by 32 (wide) or 16 columns that cover rows x columns, both multiples of 16; for
// Part::upper those that touch the diagonal or lie above it. Calls body(i, j, wide).
template <class Body>
void for_each_tile(int rows, int columns, Part part, Body body) {
  for (int j = 0; j < columns; j += 32) {
    const bool wide = j + 32 <= columns;
    const int last = part == Part::all ? rows : (wide ? j + 32 : j + 16);
    for (int i = 0; i < last; i += 8) {
      if (part == Part::upper && wide && i >= j + 16) {
        body(i, j + 16, false);
      } else {
        body(i, j, wide);
      }
    }
  }
}

}  // namespace ullage::spectrum
