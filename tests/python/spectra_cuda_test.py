"""ullage.Spectra and ullage.PowerIteration on CUDA tensors: the CPU's figures, on the caller's stream."""

import numpy as np
import pytest

import ullage

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or bool(ullage._core.why_no_gpu()),
    reason=f"no GPU: {ullage._core.why_no_gpu() or 'PyTorch sees none'}",
)

HEADS, KV_HEADS, HEAD_DIM, WIDTH = 8, 2, 64, 520


def layer(dtype, device, seed=1):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).to(dtype).to(device)

    return ullage.Heads(
        normal(HEADS * HEAD_DIM, WIDTH) + 1,
        normal(KV_HEADS * HEAD_DIM, WIDTH),
        HEADS,
        KV_HEADS,
        query_gain=normal(WIDTH).abs() + 0.1,
        layer_norm=True,
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_same_figures_as_on_the_cpu(dtype):
    found, want = (ullage.spectra([layer(dtype, device), layer(dtype, device, 2)]) for device in ("cuda", "cpu"))
    for ours, theirs in zip(found, want, strict=True):
        assert ours.finite.all()
        np.testing.assert_allclose(ours.sigma, theirs.sigma, rtol=1e-4)
        # Both bounds hold; neither is far above.
        assert (ours.sigma_bound >= theirs.sigma * (1 - 1e-6)).all()
        np.testing.assert_allclose(ours.sigma_bound, theirs.sigma_bound, rtol=6e-3)
        np.testing.assert_allclose(ours.query_norm, theirs.query_norm, rtol=1e-4)


def test_in_place_steps_are_seen_on_the_callers_stream():
    own = layer(torch.bfloat16, "cuda")
    spectra, power = ullage.Spectra(own), ullage.PowerIteration(own)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        # Much work before the change: a plan that ran on another stream would read the old weights.
        busy = torch.randn(4096, 4096, device="cuda")
        for _ in range(20):
            busy = torch.tanh(busy @ busy)
        own.query.mul_(2)
        own.query_gain.mul_(2)
        spectra.refresh()
        power.run(4)
        after, sigma = spectra.read()[0], power.read()[0]
    want = ullage.spectra(
        ullage.Heads(own.query.cpu(), own.key.cpu(), HEADS, KV_HEADS, own.query_gain.cpu(), layer_norm=True)
    )
    np.testing.assert_allclose(after.query_norm, want.query_norm, rtol=1e-4)
    assert (sigma > 0).all()


def test_power_iteration_is_the_cpus():
    on_cpu = layer(torch.float32, "cpu")
    on_gpu = ullage.Heads(on_cpu.query.cuda(), on_cpu.key.cuda(), HEADS, KV_HEADS)
    ours, theirs = ullage.PowerIteration(on_gpu), ullage.PowerIteration(on_cpu)
    for iterations in (0, 1, 3):
        ours.run(iterations)
        theirs.run(iterations)
        np.testing.assert_allclose(ours.read()[0], theirs.read()[0], rtol=5e-5)


def test_a_captured_graph_replays():
    own = layer(torch.bfloat16, "cuda")
    power = ullage.PowerIteration(own)
    power.run(1)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        power.run(1)
    before = power.read()[0]
    for _ in range(20):
        graph.replay()
    assert (power.read()[0] >= before * (1 - 1e-5)).all()


def test_cupy_arrays():
    cupy = pytest.importorskip("cupy")
    own = layer(torch.float32, "cpu")

    def array(x):
        return cupy.asarray(x.numpy())

    found = ullage.spectra(
        ullage.Heads(array(own.query), array(own.key), HEADS, KV_HEADS, array(own.query_gain), layer_norm=True)
    )
    np.testing.assert_allclose(found.sigma, ullage.spectra(own).sigma, rtol=1e-4)


def test_two_memories_are_refused():
    own = layer(torch.float32, "cpu")
    with pytest.raises(ValueError, match="one memory"):
        ullage.spectra(ullage.Heads(own.query.cuda(), own.key, HEADS, KV_HEADS))
