"""ullage.Spectra and ullage.PowerIteration against numpy's SVD in float64; the same problems serve the GPU's test."""

import ml_dtypes
import numpy as np
import pytest

import ullage

HEADS, KV_HEADS, HEAD_DIM, WIDTH = 6, 2, 16, 96


def problem(dtype, seed=1, gains=True, layer_norm=True):
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((HEADS * HEAD_DIM, WIDTH)).astype(dtype)
    key = rng.standard_normal((KV_HEADS * HEAD_DIM, WIDTH)).astype(dtype)
    query += np.asarray(3, dtype) if layer_norm else np.asarray(0, dtype)
    gain = rng.uniform(0.2, 2, WIDTH).astype(dtype) if gains else None
    return ullage.Heads(query, key, HEADS, KV_HEADS, query_gain=gain, layer_norm=layer_norm)


def truth(layer):
    """(sigma, |A|, |B|) of every head, from SVDs in float64."""

    def folded(weight, gain):
        rows = np.asarray(weight, np.float64) * (1 if gain is None else np.asarray(gain, np.float64))
        return rows - rows.mean(1, keepdims=True) if layer.layer_norm else rows

    query = folded(layer.query, layer.query_gain)
    key = folded(layer.key, layer.query_gain if layer.key_gain is None else layer.key_gain)

    def norm(m):
        return np.linalg.svd(m, compute_uv=False)[0]

    found = []
    for head in range(layer.heads):
        g = head // (layer.heads // layer.kv_heads)
        a, b = query[head * HEAD_DIM : (head + 1) * HEAD_DIM], key[g * HEAD_DIM : (g + 1) * HEAD_DIM]
        found.append((norm(a.T @ b), norm(a), norm(b)))
    return np.array(found).T


def check(found, layer):
    sigma, query, key = truth(layer)
    assert found.finite.all()
    for estimate, bound, want, scale in (
        (found.sigma, found.sigma_bound, sigma, query * key),
        (found.query_norm, found.query_bound, query, query),
        (found.key_norm, found.key_bound, key, key),
    ):
        assert (abs(estimate - want) <= 1e-5 * scale).all()
        assert (bound >= want * (1 - 1e-12)).all() and (bound <= want * 1.006 + 1e-6 * scale).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", ml_dtypes.bfloat16])
@pytest.mark.parametrize("folded", [False, True])
def test_spectra_of_numpy_arrays(dtype, folded):
    layer = problem(dtype, gains=folded, layer_norm=folded)
    check(ullage.spectra(layer), layer)


def test_several_layers_and_views():
    layers = [problem("float32", seed) for seed in (1, 2)]
    # Rows of a fused projection, at a stride wider than they are.
    fused = np.zeros((HEADS * HEAD_DIM, WIDTH + 5), np.float32)
    fused[:, :WIDTH] = layers[0].query
    layers[0] = ullage.Heads(
        fused[:, :WIDTH], layers[0].key, HEADS, KV_HEADS, query_gain=layers[0].query_gain, layer_norm=True
    )
    for found, layer in zip(ullage.spectra(layers), layers, strict=True):
        check(found, layer)


def test_a_refresh_sees_new_weights_and_gains():
    layer = problem("float32")
    spectra = ullage.Spectra(layer)
    spectra.refresh()
    before = spectra.read()[0]
    layer.query[...] *= 2
    layer.query_gain[...] *= 4
    spectra.refresh()
    after = spectra.read()[0]
    check(after, layer)
    np.testing.assert_allclose(after.query_norm, 8 * before.query_norm, rtol=1e-6)
    np.testing.assert_allclose(after.key_norm, 4 * before.key_norm, rtol=1e-6)


def test_not_finite_heads_are_nan_alone():
    layer = problem("float32")
    layer.query[HEAD_DIM, 5] = np.nan
    found = ullage.spectra(layer)
    assert found.finite.tolist() == [True, False] + [True] * 4
    assert np.isnan(found.sigma_bound).tolist() == [False, True] + [False] * 4


def test_power_iteration_comes_from_below():
    layer = problem("float32", gains=False, layer_norm=False)
    sigma, _, _ = truth(layer)
    power = ullage.PowerIteration(layer)
    power.run(1)
    first = power.read()[0]
    for _ in range(60):
        power.run(2)
    last = power.read()[0]
    assert (first <= last * (1 + 1e-6)).all() and (last <= sigma * (1 + 1e-6)).all()
    np.testing.assert_allclose(last, sigma, rtol=1e-3)


def test_torch_tensors_in_cpu_memory():
    torch = pytest.importorskip("torch")
    layer = problem(ml_dtypes.bfloat16)

    def tensor(x):
        return torch.from_numpy(np.asarray(x, np.float32)).bfloat16().requires_grad_()

    on_torch = ullage.Heads(
        tensor(layer.query), tensor(layer.key), HEADS, KV_HEADS, tensor(layer.query_gain), layer_norm=True
    )
    found, want = ullage.spectra(on_torch), ullage.spectra(layer)
    np.testing.assert_array_equal(found.sigma_bound, want.sigma_bound)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 5}, "do not share out"),
        ({"kv_heads": 7}, "do not share out"),
        ({"heads": 0}, "do not share out"),
        ({"query": np.zeros((7, WIDTH), np.float32)}, "multiple of"),
        ({"query": np.zeros(96, np.float32)}, "2 dimensions"),
        ({"query": np.zeros((HEADS * 8, WIDTH), np.float32)}, "differ in rows"),
        ({"query_gain": np.ones(WIDTH - 1, np.float32)}, "one number a column"),
        ({"query_gain": np.ones((2, WIDTH), np.float32)}, "one number a column"),
        ({"query": np.zeros((HEADS * HEAD_DIM, 2 * WIDTH), np.float32)[:, ::2]}, "contiguous"),
    ],
)
def test_what_does_not_fit_is_said(change, words):
    base = problem("float32")
    fields = {name: getattr(base, name) for name in ("query", "key", "heads", "kv_heads", "query_gain", "layer_norm")}
    with pytest.raises(ValueError, match=words):
        ullage.spectra(ullage.Heads(**(fields | change)))


@pytest.mark.parametrize("query", [[[1.0]], np.zeros((HEADS * HEAD_DIM, WIDTH), np.int32), "weights"])
def test_other_types_are_type_errors(query):
    base = problem("float32")
    with pytest.raises(TypeError, match="ullage.Spectra"):
        ullage.spectra(ullage.Heads(query, base.key, HEADS, KV_HEADS))


def test_torch_tensors_without_memory_are_refused():
    torch = pytest.importorskip("torch")
    from torch._subclasses.fake_tensor import FakeTensorMode

    def sigma(weight):
        return torch.from_numpy(ullage.spectra(ullage.Heads(weight, weight, 2)).sigma)

    with FakeTensorMode():
        fake = torch.zeros(8, 4)
    for call in (
        lambda: sigma(fake),
        lambda: sigma(torch.zeros(8, 4, device="meta")),
        lambda: torch.vmap(sigma)(torch.zeros(3, 8, 4)),
        lambda: torch.func.functionalize(sigma)(torch.zeros(8, 4)),
    ):
        with pytest.raises(TypeError, match="^ullage.Spectra: query: the tensor has no memory"):
            call()


def test_nothing_is_refused():
    for layers in ([], [1]):
        with pytest.raises(TypeError):
            ullage.Spectra(layers)
    for plan in (ullage.Spectra(problem("float32")), ullage.PowerIteration(problem("float32"))):
        with pytest.raises(RuntimeError, match="before the first"):
            plan.read()
    with pytest.raises(ValueError, match="iterations"):
        ullage.PowerIteration(problem("float32")).run(-1)
