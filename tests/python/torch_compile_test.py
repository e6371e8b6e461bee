"""torch.ops.ullage.attention as PyTorch's own machinery sees it: opcheck, and torch.compile without a graph break."""

import pytest
import torch

import dense
from ullage.torch import attention

OPTIONS = {
    "causal": {"is_causal": True},
    "window, cap": {"window": 4, "softcap": 2.0},
    "padding": {"attn_mask": torch.arange(9)[None, None, None, :] < torch.tensor([9, 5])[:, None, None, None]},
    "boolean mask": {"attn_mask": torch.arange(9)[None, :] != torch.arange(7)[:, None]},
    "published": {"softmax": "published"},
    "grouped": {"enable_gqa": True},
}


def tensors(dtype=torch.float32, kv_heads=4, rows=7, keys=9):
    torch.manual_seed(3)
    # As a projection leaves them: (batch, row, head, column) in memory.
    return [
        torch.randn(2, n, heads, width).to(dtype).transpose(1, 2).requires_grad_()
        for n, heads, width in ((rows, 4, 8), (keys, kv_heads, 8), (keys, kv_heads, 6))
    ]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=lambda d: str(d)[6:]
)
@pytest.mark.parametrize("extra", ["nothing", "padding", "bias", "sinks"])
def test_opcheck(dtype, extra):
    query, key, value = tensors(dtype, kv_heads=2)
    band = torch.tensor([-1, 0, 2])
    bias = torch.randn(2, 4, 7, 9).to(dtype) if extra == "bias" else None
    padding = torch.arange(18).reshape(2, 9) % 3 > 0 if extra == "padding" else None
    sinks = torch.randn(4).to(dtype).requires_grad_() if extra == "sinks" else None
    problem = (query, key, value, band, bias, padding, sinks)
    settings = (0.3, 0.0, "stabilised", 0)
    for statistics in (False, True):
        torch.library.opcheck(torch.ops.ullage.attention, (*problem, *settings, statistics))
    output, log_sum_exp, _ = torch.ops.ullage.attention(*problem, *settings, False)
    plain = [None if x is None else x.detach() for x in problem]
    torch.library.opcheck(
        torch.ops.ullage.attention_backward, (torch.randn_like(output), output.detach(), log_sum_exp, *plain, *settings)
    )


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_one_graph_forward_and_backward(name, dynamic):
    torch._dynamo.reset()
    options = OPTIONS[name]

    def layer(query, key, value):
        output, statistics = attention(2 * query, key, value, **options, return_statistics=True)
        return output.square().sum() + statistics.maximum.sum(), output

    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    leaves = tensors(kv_heads=2 if name == "grouped" else 4)
    results = []
    for function in (layer, compiled):
        loss, output = function(*leaves)
        results.append([loss, output, *torch.autograd.grad(loss, leaves)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.long
def test_compiled_to_machine_code():
    torch._dynamo.reset()

    @torch.compile(fullgraph=True)
    def layer(x, weight):
        query, key, value = (x @ weight).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        return torch.relu(attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2))

    torch.manual_seed(4)
    x, weight = torch.randn(2, 6, 16), torch.randn(16, 48, requires_grad=True)
    [found] = torch.autograd.grad(layer(x, weight).sum(), weight)
    query, key, value = (x.double() @ weight.double()).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
    expected = torch.relu(dense.attention(query, key, value, is_causal=True)).sum()
    [wanted] = torch.autograd.grad(expected, weight)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_shapes_without_data():
    output, statistics = attention(
        *(torch.randn(2, 3, rows, 8, device="meta") for rows in (5, 7, 7)), is_causal=True, return_statistics=True
    )
    assert output.device.type == "meta" and output.shape == (2, 3, 5, 8) and statistics.maximum.shape == (2, 3, 5)
