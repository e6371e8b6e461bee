"""Statistics of ullage.torch.attention against the N x N matrix in FP64."""

import math

import pytest
import torch

import dense
from ullage.torch import attention

CASES = {
    "full": {},
    "causal": {"is_causal": True},
    "fewer queries, window, cap": {"window": (5, 0), "softcap": 2.0},
    "padding": {"attn_mask": torch.arange(33)[None, None, None, :] < 20},
    "rows without keys": {"attn_mask": torch.arange(33)[None, None, None, :] > 7, "is_causal": True},
    "sinks": {"sinks": torch.tensor([0.5, -1.0, 2.0, 9.0])},
    "repeated maxima": {},
}


def make(name, dtype):
    torch.manual_seed(5)
    queries = 11 if name.startswith("fewer") else 33
    query, key, value = (torch.randn(2, heads, rows, 8).to(dtype) for heads, rows in ((4, queries), (2, 33), (2, 33)))
    if name == "repeated maxima":
        query, key[:, :, 3], key[:, :, 30] = query.abs(), 4, 4
    return query, key, value


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=lambda d: str(d)[6:]
)
def test_rows_and_heads(name, dtype):
    query, key, value = make(name, dtype)
    options = dict(CASES[name])
    sinks = options.pop("sinks", None)
    output, found = attention(query, key, value, **options, sinks=sinks, enable_gqa=True, return_statistics=True)
    assert torch.equal(output, attention(query, key, value, **options, sinks=sinks, enable_gqa=True))

    s = dense.scores(query, key, **options)
    seen = s > -torch.inf
    keys = seen.sum(-1)
    all_scores = dense.scores(query, key, **options, sinks=None if sinks is None else sinks.to(dtype))
    some = (all_scores > -torch.inf).any(-1)
    top = all_scores.max(-1).values
    ordered = all_scores.sort(-1, descending=True).values
    weights = torch.exp(all_scores - torch.where(some, top, 0.0)[..., None])
    total, squares = weights.sum(-1), weights.square().sum(-1)
    # Sums in FP32, of scores of which the largest is about 20 and the errors are relative to it.
    near = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(found.keys, keys.double(), rtol=0, atol=0)
    torch.testing.assert_close(found.maximum, top, **near)
    torch.testing.assert_close(found.second, ordered[..., 1], **near)
    torch.testing.assert_close(found.tail, torch.where(some, total - 1, 0.0), **near)
    torch.testing.assert_close(found.tail_squares, torch.where(some, squares - 1, 0.0), **near)
    visible = s.masked_fill(~seen, 0)
    torch.testing.assert_close(found.max_abs, visible.abs().amax(-1), **near)
    torch.testing.assert_close(found.squared_scores, visible.square().sum(-1), **near)
    if name == "repeated maxima":
        assert (found.repeats == 2).all()

    heads = found.heads()
    p = weights / torch.where(total == 0, 1.0, total)[..., None]
    jacobian = torch.diag_embed(p) - p[..., :, None] * p[..., None, :]
    norm = torch.linalg.matrix_norm(jacobian, 2).amax(-1)
    assert (heads.jacobian_lower <= norm * (1 + 1e-4)).all() and (norm <= heads.jacobian_upper * (1 + 1e-4)).all()
    assert (heads.jacobian_upper <= 2 * heads.jacobian_lower).all()
    assert torch.equal(heads.rows, some.sum(-1).double()) and torch.equal(heads.empty_rows, (~some).sum(-1).double())
    assert torch.equal(heads.repeated_rows, (found.repeats > 1).sum(-1).double())
    score_norm = torch.linalg.matrix_norm(visible)
    torch.testing.assert_close(heads.score_norm, score_norm, **near)
    torch.testing.assert_close(heads.max_abs, visible.abs().amax((-1, -2)), **near)
    torch.testing.assert_close(heads.probability_norm, torch.linalg.matrix_norm(p), **near)
    torch.testing.assert_close(
        heads.kappa_softmax_lower, heads.score_norm / heads.probability_norm * heads.jacobian_lower
    )
    torch.testing.assert_close(
        heads.kappa_softmax_upper, heads.score_norm / heads.probability_norm * heads.jacobian_upper
    )
    expected = torch.linalg.matrix_norm(query.double()) * torch.linalg.matrix_norm(key.double()).repeat_interleave(2, 1)
    torch.testing.assert_close(found.kappa_score(query, key), expected / (score_norm * math.sqrt(8)), **near)
    if not options and sinks is None:
        assert (found.kappa_score(query, key) >= 1).all()


@pytest.mark.parametrize("lead", [(), (3,), (2, 2, 3)], ids=str)
def test_shapes_follow_the_query(lead):
    query = torch.randn(*lead, 5, 8)
    _, found = attention(query, query, query, return_statistics=True)
    assert found.maximum.shape == (*lead, 5)
    assert found.heads().score_norm.shape == lead == found.kappa_score(query, query).shape


def test_they_have_no_gradient():
    query = torch.randn(1, 1, 4, 8, requires_grad=True)
    output, found = attention(query, query, query, return_statistics=True)
    assert output.requires_grad and not found.maximum.requires_grad


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float64, torch.float16], ids=lambda dtype: str(dtype)[6:]
)
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_row_without_a_softmax_is_not_a_row_without_keys(dtype, broken):
    query, key = torch.rand(1, 1, 3, 8).to(dtype), torch.rand(1, 1, 5, 8).to(dtype) + 1
    query[0, 0, 1, 0] = broken
    output, rows = attention(query, key, key, return_statistics=True)
    heads = rows.heads()
    assert output[0, 0, 1].isnan().all() and rows.maximum[0, 0].isnan().tolist() == [False, True, False]
    assert rows.tail[0, 0, 1].isnan() and rows.max_abs[0, 0, 1].isnan() and rows.keys[0, 0, 1] == 5
    assert heads.rows == 3 and heads.empty_rows == 0
    assert heads.max_abs.isnan() and heads.kappa_softmax_upper.isnan() and heads.jacobian_upper.isnan()


@pytest.mark.parametrize("shape", [(0, 2, 4, 8), (2, 0, 4, 8), (2, 2, 0, 8)], ids=str)
def test_heads_of_nothing(shape):
    tensors = [torch.randn(shape) for _ in range(3)]
    _, rows = attention(*tensors, return_statistics=True)
    assert rows.heads().max_abs.shape == shape[:2] and rows.kappa_score(*tensors[:2]).shape == shape[:2]
