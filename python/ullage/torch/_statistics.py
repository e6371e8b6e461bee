"""What the rows of an attention left behind: [N]'s diagnostics (arXiv 2510.21770) without an N x N matrix.

All from the pass that made the output, in memory linear in queries. Sums are FP32 in the fast kernels.
"""

import dataclasses
import math

import torch

from .. import _core

# Columns as _core.Attention.forward and _core.reduce_heads have them.
ROW_FIELDS = ("maximum", "second", "tail", "tail_squares", "max_abs", "squared_scores", "keys", "repeats")
HEAD_FIELDS = (
    "rows",
    "empty_rows",
    "repeated_rows",
    "max_abs",
    "score_norm",
    "probability_norm",
    "jacobian_lower",
    "jacobian_upper",
    "row_condition_lower",
    "row_condition_upper",
    "kappa_softmax_lower",
    "kappa_softmax_upper",
)


@dataclasses.dataclass(frozen=True)
class HeadStatistics:
    """All rows of each head: FP64 tensors (batch, head). S: visible scores; P: softmax of them; pairs: lower, upper.

    jacobian: of max over rows of |diag(p) - p p^T|_2. row_condition: of max over rows of that times |s|_2 / |p|_2
    ([N]'s first kappa_softmax, no row left out). kappa_softmax: of |S|_F / |P|_F times jacobian ([N]'s final one).
    A score that is NaN or infinite makes all but the counts of its head NaN.
    """

    rows: torch.Tensor  # that see a key or a sink
    empty_rows: torch.Tensor  # that see neither
    repeated_rows: torch.Tensor  # whose maximum is repeated: where BF16 attention can be biased [F]
    max_abs: torch.Tensor  # max |S|
    score_norm: torch.Tensor  # |S|_F
    probability_norm: torch.Tensor  # |P|_F
    jacobian_lower: torch.Tensor
    jacobian_upper: torch.Tensor
    row_condition_lower: torch.Tensor
    row_condition_upper: torch.Tensor
    kappa_softmax_lower: torch.Tensor
    kappa_softmax_upper: torch.Tensor


@dataclasses.dataclass(frozen=True)
class AttentionStatistics:
    """Each row s of scores, after scale, cap and additive mask: FP64 tensors of query's shape without its last dimension.

    l = sum exp(s - m). The maximum's own 1 stays out of tail and tail_squares: 1 - 1 / l would lose a small tail. A
    sink is one more score in maximum, second, tail and tail_squares only. A row without keys has -inf maxima and zeros;
    one without a softmax (a score is NaN or infinite) is NaN but for squared_scores, keys and repeats.
    """

    maximum: torch.Tensor  # m
    second: torch.Tensor  # largest of the others; m where m is repeated
    tail: torch.Tensor  # l - 1
    tail_squares: torch.Tensor  # sum exp(2 (s - m)) - 1
    max_abs: torch.Tensor  # max |s|
    squared_scores: torch.Tensor  # sum s^2
    keys: torch.Tensor  # seen
    repeats: torch.Tensor  # scores equal to m

    def heads(self) -> HeadStatistics:
        """The rows of each head, reduced; by the function that the C++ library reduces them with."""
        rows = torch.stack([getattr(self, name) for name in ROW_FIELDS], -1)
        lead = rows.shape[:-2]
        heads = torch.empty((math.prod(lead), len(HEAD_FIELDS)), dtype=torch.float64)
        _core.reduce_heads(rows.reshape(heads.size(0), *rows.shape[-2:]).contiguous(), heads)
        return HeadStatistics(*heads.reshape(*lead, len(HEAD_FIELDS)).unbind(-1))

    def kappa_score(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """|Q|_F |K|_F / (|S|_F sqrt(E)) of each head ([N]'s kappa_score with Frobenius norms): FP64, at least 1 where
        S = Q K^T / sqrt(E) whole. query (..., Hq, L, E) and key (..., Hkv, S, E), as attention had them."""
        query_norm, key_norm = (x.detach().double().square().sum((-2, -1)).sqrt() for x in (query, key))
        if query.dim() > 2 and key.size(-3) > 0:
            key_norm = key_norm.repeat_interleave(query.size(-3) // key.size(-3), -1)
        score_norm = self.squared_scores.sum(-1).sqrt()
        return query_norm * key_norm / (score_norm * math.sqrt(query.size(-1)))
