"""ullage.cast on a GPU's arrays: the CPU's bits, on the caller's stream, in the caller's kind of array."""

import ml_dtypes
import numpy as np
import pytest

import ullage

WHY = ullage._core.why_no_gpu()
needs_gpu = pytest.mark.skipif(WHY is not None, reason=str(WHY))
FORMATS = [
    "e4m3",
    "e4m3fnuz",
    "e5m2",
    "e5m2fnuz",
    "e8m0",
    "e2m1",
    "e2m3",
    "e3m2",
    "fp16",
    "bf16",
    "tf32",
    "fp32",
    "e3m4",
]
ROUNDINGS = ["nearest", "nearest-away", "toward-zero", "up", "down", "stochastic"]


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch sees no GPU")
    return torch


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


def some(shape, scale=10.0, seed=1):
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(shape) * scale * np.exp(generator.standard_normal(shape))).astype(np.float32)


def bits(torch, tensor):
    return (
        tensor.contiguous().view(-1).view({1: torch.uint8, 2: torch.int16, 4: torch.int32}[tensor.element_size()]).cpu()
    )


def test_says_in_one_line_why_there_is_no_gpu():
    if WHY is None:
        pytest.skip("a GPU is there")
    assert "\n" not in WHY and WHY.startswith("CUDA: ")


class OnGpu:
    """An array of a library that we do not know, in a GPU's memory."""

    def __dlpack__(self, **options):
        raise AssertionError("nothing asks for it")

    def __dlpack_device__(self):
        return (2, 0)


def test_unknown_arrays_on_a_gpu_are_told_what_to_pass():
    with pytest.raises(BufferError, match=r"ullage.cast: x: OnGpu .*torch.from_dlpack"):
        ullage.cast(OnGpu(), "e4m3")


@needs_gpu
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_torch_has_the_bits_of_the_cpu(torch, format, rounding):
    for count in (0, 1, 77, 4096, 100_003):
        x = torch.from_numpy(some(count))
        found, counts = ullage.cast(x.cuda(), format, rounding=rounding, seed=5, counts=True)
        expected, expected_counts = ullage.cast(x, format, rounding=rounding, seed=5, counts=True)
        assert found.device.type == "cuda" and found.dtype == expected.dtype and found.shape == expected.shape
        assert torch.equal(bits(torch, found), bits(torch, expected))
        assert counts == expected_counts or (np.isnan(counts.mean_error) and np.isnan(expected_counts.mean_error))


@needs_gpu
def test_torch_sources_and_views(torch):
    x = torch.from_numpy(some((60, 130)))
    for source in (
        x.bfloat16(),
        x.half(),
        x.double(),
        ullage.cast(x, "e4m3"),
        ullage.cast(x, "e5m2"),
        x.clone().requires_grad_(True),
        x.t(),
        x[::2, 3:],
        x[0],
        x[0, 0],
        x[:0],
        x.expand(3, 60, 130),
    ):
        found = ullage.cast(source.cuda(), "e5m2", saturate=False)
        assert torch.equal(bits(torch, found), bits(torch, ullage.cast(source, "e5m2", saturate=False)))
    view = x.cuda().t()[::2, 3:]  # strided on the GPU
    assert not view.is_contiguous()
    assert torch.equal(bits(torch, ullage.cast(view, "e4m3")), bits(torch, ullage.cast(view.cpu(), "e4m3")))


@needs_gpu
def test_torch_equals_torch(torch):
    x = torch.from_numpy(some(1 << 20).clip(-400, 400)).cuda()
    for name, dtype in (("e4m3", "float8_e4m3fn"), ("e5m2", "float8_e5m2"), ("bf16", "bfloat16"), ("fp16", "float16")):
        assert torch.equal(bits(torch, ullage.cast(x, name)), bits(torch, x.to(getattr(torch, dtype))))


@needs_gpu
def test_torch_casts_join_the_current_stream(torch):
    x = torch.from_numpy(some(1 << 22)).cuda()
    expected = bits(torch, ullage.cast(x.cpu(), "e4m3"))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        y = torch.zeros_like(x)
        torch.cuda._sleep(20_000_000)  # what is written next is not there yet when cast() returns
        y.copy_(x)
        result = ullage.cast(y, "e4m3")
        found, counts = ullage.cast(y, "e4m3", counts=True)
    stream.synchronize()
    assert torch.equal(bits(torch, result), expected) and torch.equal(bits(torch, found), expected)
    assert counts.elements == x.numel() and counts.amax == float(x.abs().max())


@needs_gpu
def test_torch_casts_can_be_captured(torch):
    x = torch.zeros(100_000, device="cuda")
    ullage.cast(x, "e4m3")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = ullage.cast(x, "e4m3")
    values = torch.from_numpy(some(100_000))
    x.copy_(values.cuda())
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(bits(torch, y), bits(torch, ullage.cast(values, "e4m3")))


@needs_gpu
def test_torch_casts_stay_on_their_device(torch):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    x = torch.from_numpy(some(5000)).to("cuda:1")
    y = ullage.cast(x, "e4m3")
    assert y.device == x.device and torch.cuda.current_device() == 0
    assert torch.equal(bits(torch, y), bits(torch, ullage.cast(x.cpu(), "e4m3")))


@needs_gpu
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_cupy_has_the_bits_of_the_cpu(cupy, rounding):
    x = some((301, 500))
    for view in (np.s_[:], np.s_[::2, ::3], np.s_[5], np.s_[:0]):
        for format in ("fp16", "e4m3", "e2m1", "fp32"):
            found, counts = ullage.cast(cupy.asarray(x)[view], format, rounding=rounding, counts=True)
            expected, expected_counts = ullage.cast(x[view], format, rounding=rounding, counts=True)
            assert isinstance(found, cupy.ndarray) and found.shape == expected.shape
            assert found.dtype == (np.float16 if format == "fp16" else np.float32)
            assert np.array_equal(cupy.asnumpy(found), expected.astype(found.dtype), equal_nan=True)
            assert counts == expected_counts or view == np.s_[:0]
    half = cupy.asarray(x.astype(np.float16))
    assert np.array_equal(
        cupy.asnumpy(ullage.cast(half, "e4m3")), ullage.cast(x.astype(np.float16), "e4m3").astype(np.float32)
    )


@needs_gpu
def test_cupy_casts_join_the_current_stream(cupy):
    x = cupy.asarray(some(1 << 20))
    with cupy.cuda.Stream(non_blocking=True) as stream:
        y = cupy.empty_like(x)
        y[...] = x * 2
        found = ullage.cast(y, "e4m3")
    stream.synchronize()
    expected = ullage.cast(cupy.asnumpy(x) * 2, "e4m3")
    assert expected.dtype == ml_dtypes.float8_e4m3fn
    assert np.array_equal(cupy.asnumpy(found), expected.astype(np.float32))
