// ullage, the numerical headroom of attention layers: the table of contents. Include what you use.
// Written by tools/table_of_contents.py (make format).
#pragma once

// ---- base
// Arithmetic on sizes that come from files: nullopt instead of wrapping.
#include "ullage/base/checked.h"
// What the CPU offers, and which of our code paths it takes.
#include "ullage/base/cpu.h"
// Whole numbers divided upwards: how many blocks hold them, and what the blocks hold together.
#include "ullage/base/multiple.h"
// parallel_for, and parallel_jobs for jobs that are made of such loops: the one way in which
// ullage uses threads.
#include "ullage/base/parallel.h"
// Names of files and folders, as text: nothing is looked up.
#include "ullage/base/path.h"
// Result<T>: a value, or an Error that says which rule was broken, where, and what was found.
#include "ullage/base/result.h"
// Untrusted text made safe to show.
#include "ullage/base/text.h"
// The version of ullage, as CMakeLists.txt states it and nothing else does.
#include "ullage/base/version.h"

// ---- formats
// Arithmetic as a processor with a given format would do it: each result is the exact one,
// rounded once.
#include "ullage/formats/arithmetic.h"
// Block formats: short runs of narrow elements that share a scale.
#include "ullage/formats/blocks.h"
// Arrays: decode to FP32 or FP64, cast from FP32 or FP64 to codes, with counts in the same pass.
#include "ullage/formats/cast.h"
// A format and its rounding as loops over FP32 patterns want them, and the blocks that counts
// are added up in: what the casts of every processor share, so that all give the same bits.
#include "ullage/formats/cast_parameters.h"
// Number formats as data: one card each, and any format a user defines.
#include "ullage/formats/format.h"
// The counter-based generator behind stochastic rounding: one 32-bit word for each (seed,
// index).
#include "ullage/formats/random.h"
// How a cast rounds, and what it does past the largest finite value.
#include "ullage/formats/rounding.h"
// One number: decode, encode and round by definition, with integer arithmetic on FP64's bits.
#include "ullage/formats/scalar.h"
// Scales of whole arrays, rows or columns, from their largest magnitudes, and casts under them.
#include "ullage/formats/scaling.h"

// ---- report
// CSV as in RFC 4180, for spreadsheets and pandas alike.
#include "ullage/report/csv.h"
// A JSON writer: ordered, streaming, the same bytes everywhere.
#include "ullage/report/json.h"
// Numbers as text, the same in every locale: exact for machines, short for people.
#include "ullage/report/numbers.h"
// Output files that are there whole or not at all.
#include "ullage/report/output.h"
// One self-contained HTML page from plain data: cards, notes, charts, heat maps, tables.
#include "ullage/report/page.h"
// A progress bar on stderr: shown to a person at a terminal, never written into a pipe or a
// file.
#include "ullage/report/progress.h"
// Tables of text cells, for a terminal.
#include "ullage/report/table.h"
// What the terminal behind a file descriptor can show, and text measured and coloured for it.
#include "ullage/report/terminal.h"
// Tone: what a piece of output means for the reader.
#include "ullage/report/tone.h"

// ---- checkpoint
// From the names and shapes of a checkpoint's tensors and its config to its attention layers.
#include "ullage/checkpoint/architectures.h"
// The attention layers of a checkpoint, in one form for every architecture.
#include "ullage/checkpoint/attention.h"
// config.json: untrusted numbers and names, read through getters that check type and range.
#include "ullage/checkpoint/config.h"
// A checkpoint opened: where it is, its tensors, and its config.json.
#include "ullage/checkpoint/container.h"
// The element types that safetensors names, and which of them can hold weights.
#include "ullage/checkpoint/dtype.h"
// The header of one safetensors file: bytes that nobody vouches for, turned into checked
// tensors.
#include "ullage/checkpoint/header.h"
// model.safetensors.index.json: which shard holds which tensor of a sharded checkpoint.
#include "ullage/checkpoint/index.h"
// From what the user typed to the files of one checkpoint: a folder, one .safetensors file, an
// index file, or ORG/NAME in the local Hugging Face cache.
#include "ullage/checkpoint/locate.h"
// The weights of a projection, head by head, out of whatever layout the checkpoint has.
#include "ullage/checkpoint/projection.h"
// Every tensor of a checkpoint by name, over one file or a sharded set, and thread-safe reads of
// their bytes by pread.
#include "ullage/checkpoint/store.h"
// Numbers out of a TensorStore: rows of weight matrices and vectors, decoded from any stored
// type, with FP8 scale tensors applied.
#include "ullage/checkpoint/weights.h"
// A safetensors file from a few small FP32 tensors: what `ullage scales` writes.
#include "ullage/checkpoint/writer.h"

// ---- spectrum
// The threads that OpenBLAS starts when it is loaded, which this library never uses.
#include "ullage/spectrum/blas_threads.h"
// Bounds from above that floating point cannot break: spectral norms from Grams, proved by a
// Cholesky factor.
#include "ullage/spectrum/certificate.h"
// Small dense matrices in double precision (a few hundred rows at most) and the LAPACK calls on
// them.
#include "ullage/spectrum/dense.h"
// What the certificates of a refresh are worth after the weights moved.
#include "ullage/spectrum/drift.h"
// The error terms of Grams and of proofs by a Cholesky factor, for whatever computes them: CPU
// paths and GPUs.
#include "ullage/spectrum/error_terms.h"
// Grams of one head's rows: A A^T of the folded projection A, with a bound on its error.
#include "ullage/spectrum/gram.h"
// Grams of many heads made elsewhere than in this CPU's own pass: what a scan hands a layer's
// rows to, when it is told to.
#include "ullage/spectrum/gram_engine.h"
// Certified spectra of pairs of heads: what bounds ask first of every query head and its key
// head.
#include "ullage/spectrum/pair_spectra.h"
// Triangular factors and products of head_dim x head_dim in registers: what LAPACK does too
// slowly at this size.
#include "ullage/spectrum/panels.h"
// Memory of matrices, kept by each thread for the next one.
#include "ullage/spectrum/pool.h"
// Implicit power iteration ([R] arXiv 2602.18851): the largest singular value of A^T B by v <-
// normalise(B^T (A (A^T (B v)))), four matrix-vector products, no product of weights formed.
#include "ullage/spectrum/power_iteration.h"
// What rotary position embedding leaves of a spectrum: bounds on |A^T R_t B|_2 over offsets t,
// from Grams alone.
#include "ullage/spectrum/rope.h"
// Exact spectra of M = A^T B from the Grams of A and B, to FP64's accuracy of the Grams given.
#include "ullage/spectrum/spectrum.h"
// Householder reduction of a small symmetric matrix, and its eigenvalues by bisection on all
// lanes at once.
#include "ullage/spectrum/tridiagonal.h"

// ---- attention
// When is BF16 attention biased? The bit-exact addition of [F], and its law over many random
// rows.
#include "ullage/attention/biased_rounding.h"
// Is a filled mask one that the fast kernels know: a band of keys around a diagonal, and
// padding?
#include "ullage/attention/dense_mask.h"
// Attention as fast as this CPU does it: FP32 and BF16 tensors, dispatched at run time.
#include "ullage/attention/fast.h"
// Inputs of a study: owned tensors, and made ones from a counter-based generator.
#include "ullage/attention/made.h"
// One attention problem: its shape, strided views of its tensors, and which keys a query sees.
#include "ullage/attention/problem.h"
// Recipes: in which format, and rounded how, each quantity of tiled attention is kept.
#include "ullage/attention/recipe.h"
// Tiled attention, forward and backward, with every rounding settable: the definition that the
// fast kernels are tested against, and the instrument of the study.
#include "ullage/attention/reference.h"
// What the softmax subtracts before exp: the row maximum, or what takes its place where the
// maximum is repeated.
#include "ullage/attention/shift.h"
// Is a rounding error one-signed? Mean, standard error, sign test, histogram.
#include "ullage/attention/signed_error.h"
// What a softmax row leaves behind when its scores are gone, and what that says of the row.
#include "ullage/attention/statistics.h"
// The study: what rounding does to attention on given inputs, by recipe and shift.
#include "ullage/attention/study.h"
// The diagnosis of [F] (arXiv 2510.04212): ten changes to a failing layer, and which of them
// cure it.
#include "ullage/attention/switches.h"
// One number of a paper's table or figure beside ours.
#include "ullage/attention/values.h"

// ---- cuda
// formats::cast on device memory: the same codes and the same counts, to the bit, as on the CPU.
#include "ullage/cuda/cast.h"
// The GPU: whether one can be used and why not, its memory, and the stream that work is ordered
// on.
#include "ullage/cuda/device.h"
// Grams for a scan on the GPU.
#include "ullage/cuda/gram_engine.h"
// The Grams of a layer's heads, for what goes on from them on the host.
#include "ullage/cuda/grams.h"
// Warm implicit power iteration of many heads at once: spectrum::power_iteration in one launch.
#include "ullage/cuda/power_iteration.h"
// One head's rows in device memory.
#include "ullage/cuda/rows.h"
// Certified spectra of many heads at once: Grams on the tensor cores, proofs in FP64, nothing on
// the host.
#include "ullage/cuda/spectra.h"

// ---- bounds
// Certificates: bounds on |S| over every input the head can see, in exact arithmetic (tier 1).
#include "ullage/bounds/certificates.h"
// clip_qkv = c: q and k are clamped to [-c, c] before RoPE, which voids whatever is built on A^T
// B (A = (10, 2)^T, B = (1, -5)^T has A^T B = 0; clipped at 5 the score is -5).
#include "ullage/bounds/clip.h"
// Expected maxima of |S| (tier 2): n_i independent and uniform on the sphere of radius sqrt(d).
#include "ullage/bounds/expected.h"
// Figure: a bound, or the reason why there is none.
#include "ullage/bounds/figure.h"
// What bounds know of one attention head: Gram matrices, biases, and what stands between
// projections and score.
#include "ullage/bounds/head.h"
// Multi-head latent attention: S = s (n_q^T A_n^T B_n n_kv + n_q^T A_r^T R B_r n + ...).
#include "ullage/bounds/latent.h"
// The largest entries of Q, K and V: what an FP8 attention kernel quantises, after QK-norm,
// clipping and RoPE.
#include "ullage/bounds/projections.h"
// The published probabilistic bounds, under their published names and with their raw values.
#include "ullage/bounds/published.h"
// QK-norm: the norm rescales q and k, so bounds built on W_Q and W_K are void and the norm's own
// gain takes their place: A := diag(g_q), a := beta_q, with |n|^2 <= head_dim (or the full
// width).
#include "ullage/bounds/qk_norm.h"
// certificate_rounded: a bound on |S| as a low-precision forward pass computes it.
#include "ullage/bounds/rounded.h"

// ---- scaling
// Descales from bounds: x is about x_fp8 * descale, cast(x / descale).
#include "ullage/scaling/descale.h"

// ---- scan
// Two scans compared: heads whose headroom moved, and what scales that a stale amax history
// leaves behind would do to the second checkpoint (the resume check).
#include "ullage/scan/diff.h"
// One head explained: its figures, and the inputs that come closest to its certificate.
#include "ullage/scan/explain.h"
// What a scan finds, as plain data: the fields of the JSON report (docs/schema/scan.json), in
// its order.
#include "ullage/scan/result.h"
// Q/K/V scales of a scan under the names, shapes and direction that each consumer reads.
#include "ullage/scan/scales.h"
// The scan: checkpoint -> Grams -> spectra -> bounds -> descales, from the weights alone.
#include "ullage/scan/scan.h"

// ---- experiments
// The frame of `ullage reproduce`: an experiment computes rows, each beside the published value,
// and says by rule whether the paper's figure was met.
#include "ullage/experiments/experiment.h"
