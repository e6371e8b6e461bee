// A head of multi-head latent attention: no single W_Q^T W_K exists, so its spectra are null and its
// certificates are those of bounds/latent.h.
#pragma once

#include "scan/head.h"

namespace ullage::scan {

// `stored` are the query's nope rows, then its rope rows; `key_rope` is common to all heads.
void scan_latent_head(const LayerContext& context, const checkpoint::LayerInput& input, int head,
                      const spectrum::HeadRows& stored, const spectrum::HeadRows& key_nope,
                      const Folded& key_rope, HeadWorkspace& workspace, HeadResult& out);

}  // namespace ullage::scan
