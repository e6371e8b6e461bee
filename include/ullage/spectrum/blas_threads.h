// The threads that OpenBLAS starts when it is loaded, which this library never uses.
#pragma once

namespace ullage::spectrum {

// Ends them: idle ones spin for a tenth of a second before they sleep, beside threads that work. For programs that own their
// process, at their start, before any other thread calls BLAS; a library that is a guest must not. Does nothing where
// this OpenBLAS has no such call.
void stop_idle_blas_threads();

}  // namespace ullage::spectrum
