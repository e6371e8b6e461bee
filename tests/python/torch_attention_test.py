"""ullage.torch.attention against attention written out in FP64, PyTorch's, and finite differences."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

import dense
from ullage.torch import SOFTMAXES, attention, attention_path

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
SHAPE = {"batch": 2, "heads": 4, "kv_heads": 4, "queries": 37, "keys": 37, "width": 24, "value_width": 24}
# name -> (what differs of SHAPE, options)
CASES = {
    "full": ({}, {}),
    "causal": ({}, {"is_causal": True}),
    "fewer queries": ({"queries": 5}, {"is_causal": True}),
    "fewer keys": ({"keys": 9}, {"is_causal": True}),
    "one query": ({"queries": 1}, {}),
    "grouped": ({"kv_heads": 2}, {"is_causal": True, "enable_gqa": True}),
    "one kv head": ({"kv_heads": 1, "value_width": 40}, {"enable_gqa": True, "scale": 0.7}),
    "widest": ({"width": 256, "value_width": 1, "queries": 7}, {}),
    "window": ({"keys": 41}, {"window": 6}),
    "window of two sides": ({}, {"window": (3, 5)}),
    "window of one side": ({}, {"window": (None, 2)}),
    "causal in a window": ({}, {"window": (4, 9), "is_causal": True}),
    "cap": ({}, {"softcap": 1.5, "is_causal": True}),
    "padding": ({}, {"attn_mask": "padding", "is_causal": True}),
    "causal and padding, filled": ({"queries": 29}, {"attn_mask": "filled"}),
    "filled, keys that nobody sees": ({"queries": 5, "keys": 20}, {"attn_mask": "short"}),
    "filled mask of each head": ({"queries": 29}, {"attn_mask": "filled", "heads_apart": True}),
    "filled mask and causal": ({"queries": 29}, {"attn_mask": "filled", "is_causal": True}),
    "boolean mask": ({}, {"attn_mask": "boolean"}),
    "additive mask": ({}, {"attn_mask": "additive", "softcap": 3.0}),
    "sinks": ({"kv_heads": 2}, {"sinks": True, "enable_gqa": True, "is_causal": True}),
    "negative scale": ({}, {"scale": -0.3}),
}
MASK = "an additive bias or mask"
SLOW = {
    "boolean mask": MASK,
    "additive mask": MASK,
    "filled mask of each head": MASK,
    "filled mask and causal": MASK,
    "sinks": "attention sinks",
    "negative scale": "a score scale that is not positive",
}


def make(name, dtype, seed=0):
    """Tensors with gradients, the gradient of the output, and the options of a case."""
    changes, options = CASES[name]
    n = SHAPE | changes
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    tensors = [
        normal(n["batch"], n["heads"], n["queries"], n["width"]),
        normal(n["batch"], n["kv_heads"], n["keys"], n["width"]),
        normal(n["batch"], n["kv_heads"], n["keys"], n["value_width"]),
    ]
    options = dict(options)
    if options.get("attn_mask") == "padding":
        options["attn_mask"] = torch.rand(n["batch"], 1, 1, n["keys"], generator=generator) < 0.7
    elif options.get("attn_mask") == "filled":
        options["attn_mask"] = (torch.rand(n["batch"], 1, 1, n["keys"], generator=generator) < 0.7) & dense.visible(
            n["queries"], n["keys"], window=(4, 0), offset=n["keys"] - n["queries"]
        )
        if options.pop("heads_apart", False):
            options["attn_mask"] = options["attn_mask"].repeat(1, n["heads"], 1, 1)
    elif options.get("attn_mask") == "short":
        options["attn_mask"] = dense.visible(n["queries"], n["keys"], window=(6, 0), offset=9)
    elif options.get("attn_mask") == "boolean":
        options["attn_mask"] = torch.rand(n["heads"], n["queries"], n["keys"], generator=generator) < 0.5
        options["attn_mask"][:, 3] = False
    elif options.get("attn_mask") == "additive":
        options["attn_mask"] = normal(n["queries"], n["keys"])
    if options.get("sinks"):
        options["sinks"] = normal(n["heads"]).requires_grad_()
    return (
        [x.requires_grad_() for x in tensors],
        normal(n["batch"], n["heads"], n["queries"], n["value_width"]),
        options,
    )


def run(function, tensors, grad, options):
    """Output and gradients, in FP64."""
    output = function(*tensors, **options)
    leaves = [*tensors, *([options["sinks"]] if isinstance(options.get("sinks"), torch.Tensor) else [])]
    return [x.double() for x in (output.detach(), *torch.autograd.grad(output, leaves, grad.to(output.dtype)))]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
@pytest.mark.parametrize("softmax", SOFTMAXES)
def test_output_and_gradients(name, dtype, softmax):
    tensors, grad, options = make(name, dtype)
    ours = run(attention, tensors, grad, options | {"softmax": softmax})
    exact = run(dense.attention, tensors, grad, options)
    unfused = run(dense.attention, tensors, grad, options | {"dtype": dtype})
    # Twice what unfused attention of the same dtype is off by, and a floor: sums of at most 64 terms. The exact one is
    # FP64 too.
    unit = (8 if dtype == torch.float64 else 1) * torch.finfo(dtype).eps
    for found, wanted, other in zip(ours, exact, unfused, strict=True):
        assert found.shape == wanted.shape
        assert not found.isnan().any()
        bound = 2 * (other - wanted).abs().max() + 4 * unit * wanted.abs().max()
        assert (found - wanted).abs().max() <= bound


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
def test_path_says_why(name, dtype):
    tensors, _, options = make(name, dtype)
    path, reason = attention_path(*tensors, **options)
    if dtype in (torch.float16, torch.float64):
        assert (path, reason) == ("reference", f"{str(dtype)[6:]} tensors")
    elif path == "reference" and reason.startswith("no fast kernel"):
        pytest.skip(reason)
    elif name in SLOW:
        assert (path, reason) == ("reference", SLOW[name])
    else:
        assert path in ("avx2", "avx512", "avx512_bf16") and reason == ""
        assert attention_path(*tensors, **options, softmax="published") == ("reference", "the published shift")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"enable_gqa": True},
        {"attn_mask": causal_lower_right(6, 11)},
        {"attn_mask": causal_upper_left(6, 11)},
        {"attn_mask": torch.rand(6, 11) < 0.8},
        {"attn_mask": torch.randn(3, 1, 1, 11)},
        {"attn_mask": torch.rand(1, 11) < 0.8},
    ],
    ids=lambda options: ",".join(options),
)
@pytest.mark.parametrize("lead", [(), (4,), (3, 4), (2, 3, 4), (2, 1, 3, 4)], ids=str)
def test_arguments_mean_what_they_do_in_pytorch(options, lead):
    torch.manual_seed(1)
    if isinstance(options.get("attn_mask"), torch.Tensor) and options["attn_mask"].dim() > len(lead) + 2:
        pytest.skip("a mask of more dimensions than the tensors")
    if "enable_gqa" in options and not lead:
        pytest.skip("no heads to group")
    query, key, value = (torch.randn(*lead, rows, 8) for rows in (6, 11, 11))
    expected = F.scaled_dot_product_attention(query, key, value, **options)
    torch.testing.assert_close(attention(query, key, value, **options), expected, rtol=1e-5, atol=1e-6)


def test_leading_dimensions_broadcast():
    query, key, value = torch.randn(3, 1, 4, 6, 8), torch.randn(2, 4, 6, 8)[None], torch.randn(1, 1, 4, 6, 8)
    expected = F.scaled_dot_product_attention(*torch.broadcast_tensors(query, key, value))
    torch.testing.assert_close(attention(query, key, value), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        attention(query[0], key[0, :1], value[0]),
        F.scaled_dot_product_attention(query[0], key[0, :1], value[0]),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "options",
    [
        {"is_causal": True},
        {"softcap": 2.0, "window": (2, 1)},
        {"attn_mask": torch.eye(5, 6) == 0},
        {"sinks": True, "enable_gqa": True},
    ],
    ids=lambda options: ",".join(options),
)
@pytest.mark.parametrize("softmax", SOFTMAXES)
def test_gradients_by_finite_differences(options, softmax):
    torch.manual_seed(2)
    kv_heads = 1 if options.get("enable_gqa") else 2
    leaves = [
        torch.randn(1, heads, rows, 3, dtype=torch.float64, requires_grad=True)
        for heads, rows in ((2, 5), (kv_heads, 6), (kv_heads, 6))
    ]
    options = options | {"softmax": softmax}
    if options.pop("sinks", False):
        leaves.append(torch.randn(2, dtype=torch.float64, requires_grad=True))
        torch.autograd.gradcheck(lambda q, k, v, sinks: attention(q, k, v, sinks=sinks, **options), leaves)
    else:
        torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v, **options), leaves)


LAYOUTS = {
    "as a projection leaves it": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "columns apart": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "every second": lambda x: (
        torch.stack([x, torch.full_like(x, torch.nan)], 2)
        .flatten(1, 2)[:, 0::2]
        .clone(memory_format=torch.preserve_format)
    ),
    "a slice": lambda x: F.pad(x, (3, 5, 2, 1, 1, 1), value=torch.nan)[:, 1:-1, 2:-1, 3:-5],
    "heads in reverse of memory": lambda x: x.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
def test_strides_change_no_bit(layout, dtype):
    tensors, grad, options = make("grouped", dtype)
    expected = run(attention, tensors, grad, options)
    moved = [LAYOUTS[layout](x.detach()).requires_grad_() for x in tensors]
    assert all(torch.equal(a, b) for a, b in zip(moved, tensors, strict=True))
    for found, wanted in zip(run(attention, moved, LAYOUTS[layout](grad), options), expected, strict=True):
        assert torch.equal(found, wanted)


def test_expanded_tensors_and_gradients():
    query = torch.randn(1, 4, 6, 8).expand(3, 4, 6, 8)
    key = torch.randn(3, 4, 1, 8, requires_grad=True)
    output = attention(query, key.expand(3, 4, 5, 8), query[:, :, :5])
    [found] = torch.autograd.grad(output.sum(), key)
    expected = F.scaled_dot_product_attention(query, key.expand(3, 4, 5, 8), query[:, :, :5])
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected.sum(), key)[0], atol=1e-5, rtol=1e-5)


def test_output_lies_as_the_next_projection_reads_it():
    output = attention(*(torch.randn(2, 3, 5, 8) for _ in range(3)))
    assert output.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("shape", [(0, 4, 6, 8), (2, 0, 6, 8), (2, 4, 0, 8)], ids=str)
def test_nothing_in_nothing_out(shape):
    tensors = [torch.randn(shape, requires_grad=True) for _ in range(3)]
    output = attention(*tensors, is_causal=True)
    assert output.shape == shape
    assert all(grad.shape == shape for grad in torch.autograd.grad(output.sum(), tensors))


def test_no_keys():
    query = torch.randn(2, 4, 3, 8, requires_grad=True)
    nothing = torch.randn(2, 4, 0, 8, requires_grad=True)
    output = attention(query, nothing, nothing)
    assert torch.equal(output, torch.zeros(2, 4, 3, 8))
    assert torch.equal(torch.autograd.grad(output.sum(), query)[0], torch.zeros(2, 4, 3, 8))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
def test_rows_without_keys_are_zero_and_nan_stays_in_its_row(dtype):
    query, key, value = (torch.randn(1, 2, 6, 8).to(dtype) for _ in range(3))
    query[0, 1, 2, 3] = torch.nan
    hidden = torch.ones(1, 1, 1, 6, dtype=torch.bool)
    hidden[..., 0] = False
    output = attention(query, key, value, attn_mask=hidden, is_causal=True)
    assert torch.equal(output[:, :, 0], torch.zeros(1, 2, 8, dtype=dtype))
    assert output[0, 1, 2].isnan().all() and output.isnan().sum() == 8


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
def test_repeated_maxima_are_shifted_and_others_are_not(dtype):
    tensors, _, _ = make("full", dtype)
    query, key, value = (x.detach() for x in tensors)
    same = [attention(query, key, value, softmax=name) for name in ("standard", "stabilised")]
    assert torch.equal(*same)
    # Two keys that every query likes best: positive times positive.
    key = key.clone()
    key[:, :, 4] = key[:, :, 9] = 3
    repeated, statistics = attention(query.abs(), key, value, return_statistics=True)
    assert (statistics.repeats == 2).all()
    plain = attention(query.abs(), key, value, softmax="standard")
    torch.testing.assert_close(repeated, plain)
    if dtype != torch.bfloat16:  # whose rounding can hide it
        assert not torch.equal(repeated, plain)


def test_bits_depend_on_nothing_but_the_tensors():
    tensors, grad, options = make("grouped", torch.bfloat16)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 3):
            torch.set_num_threads(count)
            torch.manual_seed(count)
            results.append(run(attention, tensors, grad, options))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_autocast_takes_the_dtype_it_is_set_to():
    tensors = [x.requires_grad_() for x in (torch.randn(1, 2, 5, 8) for _ in range(3))]
    mask = torch.randn(5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        output = attention(*tensors, attn_mask=mask)
        assert output.dtype == torch.bfloat16
        assert attention_path(*tensors) == attention_path(*(x.bfloat16() for x in tensors))
        assert attention_path(*(x.double() for x in tensors)).reason == "float64 tensors"
    assert torch.autograd.grad(output.sum(), tensors)[0].dtype == torch.float32


def test_there_is_no_second_derivative():
    query = torch.randn(1, 1, 4, 8, requires_grad=True)
    [grad] = torch.autograd.grad(attention(query, query, query).sum(), query, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        grad.sum().backward()


def test_autocast_casts_before_dtypes_are_compared():
    query, key, value = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8).bfloat16(), torch.randn(1, 2, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        expected = F.scaled_dot_product_attention(query, key, value)
        torch.testing.assert_close(attention(query, key, value), expected)
        with pytest.raises(TypeError, match="key: dtype torch.float64 is not query's torch.bfloat16"):
            attention(query, key.double(), value)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_are_computed_anew(reentrant):
    query = torch.randn(1, 2, 6, 8, requires_grad=True)
    sinks = torch.randn(2, requires_grad=True)

    def call(x):
        return attention(x, x, x, is_causal=True, sinks=sinks)

    plain = torch.autograd.grad(call(query).sum(), query)[0]
    torch.utils.checkpoint.checkpoint(call, query, use_reentrant=reentrant).sum().backward()
    assert torch.equal(query.grad, plain) and sinks.grad is not None


def test_derivatives_that_are_not_there_say_so():
    query = torch.randn(1, 1, 2, 3)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(query, torch.ones_like(query))
        for name in ("query", "key", "value"):
            with pytest.raises(NotImplementedError, match=f"^ullage.torch.attention: {name}: forward-mode derivatives"):
                attention(**{"query": query, "key": query, "value": query} | {name: dual})
    for transform in (torch.func.grad, torch.func.jacrev):
        with pytest.raises(NotImplementedError, match="^ullage.torch.attention: query: torch.func's gradients"):
            transform(lambda q: attention(q, q, q).sum())(query)


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=lambda dtype: str(dtype)[6:])
def test_the_least_number_of_an_additive_mask_hides(dtype):
    tensors = [torch.randn(1, 2, 6, 8).to(dtype) for _ in range(3)]
    seen = torch.ones(6, 6, dtype=torch.bool).tril()
    mask = torch.randn(6, 6).to(dtype).masked_fill(~seen, torch.finfo(dtype).min)
    minus_infinity = mask.masked_fill(~seen, -torch.inf)
    for options in ({"attn_mask": mask}, {"attn_mask": mask + torch.randn(6, 6).to(dtype).abs()}):
        output, statistics = attention(*tensors, **options, return_statistics=True)
        assert torch.equal(statistics.keys[0, 0], torch.arange(1.0, 7.0).double()) and statistics.max_abs.max() < 100
    assert torch.equal(attention(*tensors, attn_mask=mask), attention(*tensors, attn_mask=minus_infinity))


def test_a_scale_that_fp32_has_not_is_nought():
    query, key, value = (torch.randn(1, 1, 4, 8) for _ in range(3))
    torch.testing.assert_close(attention(query, key, value, scale=1e-46), value.mean(2, keepdim=True).expand_as(value))
    capped = attention(query, key, value, softcap=1.2e-38, scale=100.0)
    torch.testing.assert_close(capped, value.mean(2, keepdim=True).expand_as(value))
    torch.testing.assert_close(attention(query, key, value, softcap=1e38), attention(query, key, value))


def test_a_window_of_any_size():
    query = torch.randn(1, 1, 4, 8)
    assert torch.equal(attention(query, query, query, window=2**70), attention(query, query, query, is_causal=True))


def test_tokens_get_the_same_bits_alone_and_with_those_before_them():
    torch.manual_seed(4)
    query, key, value = (torch.randn(1, 2, 9, 8).round() for _ in range(3))
    whole, statistics = attention(query, key, value, is_causal=True, return_statistics=True)
    assert (statistics.repeats > 1).any()
    for i in range(9):
        alone = attention(query[:, :, i : i + 1], key[:, :, : i + 1], value[:, :, : i + 1])
        assert torch.equal(alone, whole[:, :, i : i + 1])


Q = torch.randn(2, 4, 6, 8)
ERRORS = [
    ({"dropout_p": 0.1}, ValueError, "dropout_p: there is no dropout, 0 is needed, not 0.1"),
    ({"query": 3.0}, TypeError, "query: a tensor is needed, not float"),
    ({"query": Q.to_sparse()}, TypeError, "query: a dense tensor is needed"),
    ({"query": Q.to(torch.int64)}, TypeError, "query: dtype torch.int64 is not supported"),
    ({"key": Q.double()}, TypeError, "key: dtype torch.float64 is not query's torch.float32"),
    ({"value": Q.to("meta")}, ValueError, "value: is on meta, query on cpu"),
    ({"query": Q[0, 0, 0]}, ValueError, "query: needs at least 2 dimensions"),
    ({"key": Q[0]}, ValueError, "key: needs at least 2 dimensions and query's 4, has 3"),
    ({"key": torch.randn(2, 4, 6, 9)}, ValueError, "key: head width 9 is not query's 8"),
    ({"value": torch.randn(2, 4, 7, 8)}, ValueError, r"value: heads and length \(4, 7\) are not key's \(4, 6\)"),
    ({"value": torch.randn(2, 4, 6, 257)}, ValueError, "value: head widths from 1 to 256 are supported, not 257"),
    ({"query": torch.randn(2, 4, 6, 0)}, ValueError, "query: head widths from 1 to 256 are supported, not 0"),
    ({"query": torch.randn(3, 4, 6, 8)}, ValueError, "key: leading dimensions"),
    ({"query": torch.randn(2, 8, 6, 8)}, ValueError, "enable_gqa: query has 8 heads and key 4: pass enable_gqa=True"),
    ({"query": torch.randn(2, 6, 6, 8), "enable_gqa": True}, ValueError, "key: 4 heads do not divide query's 6"),
    ({"enable_gqa": 1}, TypeError, "enable_gqa: True or False is needed, not 1"),
    ({"is_causal": None}, TypeError, "is_causal: True or False is needed, not None"),
    ({"return_statistics": 1}, TypeError, "return_statistics: True or False"),
    ({"scale": "1"}, TypeError, "scale: a number is needed, not str"),
    ({"scale": float("inf")}, ValueError, "scale: a finite number is needed, not inf"),
    ({"softcap": -1}, ValueError, "softcap: a positive number or None is needed, within FP32, not -1"),
    ({"softcap": 1e39}, ValueError, "softcap: a positive number or None is needed, within FP32, not 1e\\+39"),
    ({"softcap": 1e-46}, ValueError, "softcap: a positive number or None"),
    (
        {"attn_mask": causal_lower_right(6, 9)},
        ValueError,
        "attn_mask: a causal bias of 6 queries and 9 keys, there are 6 and 6",
    ),
    ({"attn_mask": causal_upper_left(6, 6), "is_causal": True}, ValueError, "is_causal: attn_mask is a causal bias"),
    ({"softcap": float("nan")}, ValueError, "softcap: a finite number"),
    ({"softmax": "Standard"}, ValueError, "softmax: one of standard, published, stabilised is needed, not 'Standard'"),
    ({"window": 0}, ValueError, "window: a positive int"),
    ({"window": (1, 2, 3)}, ValueError, "window: a positive int"),
    ({"window": (1, -2)}, ValueError, "window: sides are counts of keys or None, not -2"),
    ({"attn_mask": 1}, TypeError, "attn_mask: a tensor is needed, not int"),
    ({"attn_mask": torch.ones(6, 6, dtype=torch.int64)}, TypeError, "attn_mask: dtype torch.int64 is neither bool nor"),
    ({"attn_mask": torch.ones(6, 7)}, ValueError, r"attn_mask: shape \(6, 7\) does not broadcast to \(2, 4, 6, 6\)"),
    ({"attn_mask": torch.ones(1, 5) > 0}, ValueError, "attn_mask: shape"),
    ({"attn_mask": torch.ones(6, 6, requires_grad=True)}, ValueError, "attn_mask: there is no gradient"),
    ({"attn_mask": torch.ones(6, 6, device="meta")}, ValueError, "attn_mask: is on meta, query on cpu"),
    ({"sinks": torch.ones(3)}, ValueError, r"sinks: shape \(4,\), one for each query head, is needed, not \(3,\)"),
    ({"sinks": torch.ones(4, dtype=torch.int64)}, TypeError, "sinks: a tensor of floats is needed"),
    ({"sinks": torch.ones(4, device="meta")}, ValueError, "sinks: is on meta"),
]


@pytest.mark.parametrize("changes, error, message", ERRORS, ids=lambda x: x if isinstance(x, str) else "")
def test_errors_name_the_argument(changes, error, message):
    arguments = {"query": Q, "key": Q, "value": Q} | changes
    with pytest.raises(error, match="^ullage.torch.attention: " + message):
        attention(**arguments)
    if "return_statistics" not in changes:
        with pytest.raises(error, match=message):
            attention_path(**arguments)


def test_pytorch_is_imported_on_demand():
    program = (
        "import sys, ullage\nassert 'torch' not in sys.modules\n"
        "assert ullage.torch.attention and 'torch' in sys.modules and 'transformers' not in sys.modules\n"
        "try: ullage.nothing\nexcept AttributeError as e: print(e)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    ).stdout
    assert printed.strip() == "module 'ullage' has no attribute 'nothing'"
