"""ullage.cast on numpy arrays and PyTorch tensors, against ml_dtypes, PyTorch and plain arithmetic."""

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import ullage

NAMES = {
    "e4m3": "float8_e4m3fn",
    "e4m3fnuz": "float8_e4m3fnuz",
    "e5m2": "float8_e5m2",
    "e5m2fnuz": "float8_e5m2fnuz",
    "e2m1": "float4_e2m1fn",
    "e2m3": "float6_e2m3fn",
    "e3m2": "float6_e3m2fn",
    "bf16": "bfloat16",
}


def some(shape=(40, 50), scale=10.0, seed=1):
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(shape) * scale * np.exp(generator.standard_normal(shape))).astype(np.float32)


def bits(array):
    return array.view(f"uint{8 * array.itemsize}")


@pytest.mark.parametrize("name", NAMES)
def test_equals_ml_dtypes_where_nothing_overflows(name):
    dtype = getattr(ml_dtypes, NAMES[name])
    x = np.clip(some(), -float(ml_dtypes.finfo(dtype).max), float(ml_dtypes.finfo(dtype).max))
    y = ullage.cast(x, name)
    assert y.dtype == dtype and y.shape == x.shape
    assert (bits(y) == bits(x.astype(dtype))).all()


@pytest.mark.parametrize("name", NAMES)
def test_equals_ml_dtypes_beyond_without_saturation(name):
    dtype = getattr(ml_dtypes, NAMES[name])
    x = np.concatenate([some(scale=1e4), some(scale=1e-4), np.float32([[np.inf, -np.inf] * 25])])
    expected = x.astype(dtype).astype(np.float32)
    found = ullage.cast(x, name, saturate=False).astype(np.float32)
    assert np.array_equal(found, expected, equal_nan=True)


def test_native_dtypes_and_values():
    x = some()
    assert ullage.cast(x, "fp16").dtype == np.float16
    assert np.array_equal(ullage.cast(x, "fp16"), x.astype(np.float16))
    assert np.array_equal(ullage.cast(x, "fp32"), x)
    tf32 = ullage.cast(x, "tf32", rounding="toward-zero")
    assert tf32.dtype == np.float32
    assert np.array_equal(tf32.view(np.uint32), x.view(np.uint32) & 0xFFFFE000)
    e3m4 = ullage.cast(x, "e3m4:nan=all-ones")
    assert e3m4.dtype == np.float32 and np.abs(e3m4).max() == 30.0


def test_what_stands_after_the_colon_changes_the_format():
    x = some()
    for text, least in (("e4m3:subnormals=no", 2.0**-6), ("e4m3:bias=7", 2.0**-9)):
        found = ullage.cast(x, text)
        assert found.dtype == np.float32 and np.abs(found).max() == 448
        kept = np.abs(x) >= least
        assert np.array_equal(found[kept], ullage.cast(x, "e4m3").astype(np.float32)[kept])


def test_fp64_is_rounded_once():
    x = np.array([1 + 2.0**-4 + 2.0**-40])  # in float32 a tie, which goes to 1
    assert float(ullage.cast(x, "e4m3")[0]) == 1.125
    assert float(ullage.cast(x.astype(np.float32), "e4m3")[0]) == 1.0


@pytest.mark.parametrize("source", ["e4m3", "e5m2", "e2m1", "bf16", "e8m0"])
def test_sources_of_ml_dtypes(source):
    dtype = np.dtype(getattr(ml_dtypes, {**NAMES, "e8m0": "float8_e8m0fnu"}[source]))
    codes = np.arange(16 if source == "e2m1" else 256, dtype=f"uint{8 * dtype.itemsize}").view(dtype)
    values = ullage.cast(codes, "fp32", saturate=False)
    assert np.array_equal(values, codes.astype(np.float32), equal_nan=True)


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_strides_do_not_matter(rounding):
    x = some((12, 30, 8))
    for view in (x.T, x[::-1, ::3], x[:, ::-2, 1:], np.broadcast_to(x[0, 0], (5, 8)), x[3, 2, 1], x[:0]):
        found = ullage.cast(view, "e4m3", rounding=rounding, seed=3)
        expected = ullage.cast(np.ascontiguousarray(view), "e4m3", rounding=rounding, seed=3)
        assert found.shape == view.shape
        assert (bits(found) == bits(expected)).all()


def test_read_only_arrays_are_read():
    x = some()
    x.flags.writeable = False
    assert (bits(ullage.cast(x, "bf16")) == bits(x.astype(ml_dtypes.bfloat16))).all()


def test_stochastic_depends_on_seed_and_place_alone():
    x = some((100, 100))
    one = bits(ullage.cast(x, "e4m3", rounding="stochastic", seed=1))
    assert (one == bits(ullage.cast(x, "e4m3", rounding="stochastic", seed=1))).all()
    assert (one != bits(ullage.cast(x, "e4m3", rounding="stochastic", seed=2))).any()
    assert (bits(ullage.cast(x[:7], "e4m3", rounding="stochastic", seed=1)) == one[:7]).all()
    mean = np.mean([ullage.cast(x, "e4m3", rounding="stochastic", seed=s).astype(np.float64) for s in range(200)], 0)
    inside = (np.abs(x) < 448) & (np.abs(x) > 2.0**-6)
    assert np.abs((mean - x)[inside] / x[inside]).max() < 0.05  # one cast is off by up to 0.125


def test_counts():
    x = np.float32([0, 1, 449, 465, np.inf, -np.inf, np.nan, 1e-9, 0.0625 + 0.001])
    y, counts = ullage.cast(x, "e4m3", counts=True)
    assert isinstance(counts, ullage.Counts)
    assert (counts.elements, counts.nan, counts.saturated, counts.flushed) == (9, 1, 3, 1)
    assert counts.amax == np.inf
    inside = np.array([0, 1, 2, 7, 8])
    assert counts.mean_error == pytest.approx((y.astype(np.float64) - x)[inside].mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "exception", "words"),
    [
        (dict(x=[1.0], format="e4m3"), TypeError, "x: a numpy array"),
        (dict(x=np.arange(3), format="e4m3"), TypeError, "x: dtype int64"),
        (dict(x=np.zeros(3, np.complex64), format="e4m3"), TypeError, "x: dtype complex64"),
        (dict(x=np.zeros(3, ">f4"), format="e4m3"), TypeError, "byte order"),
        (dict(x=np.zeros(3, [("a", "f4"), ("b", "i1")])["a"], format="e4m3"), ValueError, "x: strides (5,)"),
        (dict(x=np.ma.array([1.0, 2.0], mask=[0, 1]), format="e4m3"), TypeError, "x: a masked array"),
        (dict(x=np.zeros(3), format="e4m3:"), ValueError, "format: options"),
        (dict(x=np.zeros(3), format="e8m7:bias=-128"), ValueError, "bias: FP32 does not hold every value"),
        (dict(x=np.zeros(3), format="e4m4x"), ValueError, "format: no such format"),
        (dict(x=np.zeros(3), format=8), TypeError, "format: a name"),
        (dict(x=np.zeros(3), format="e4m3:bias=x"), ValueError, "format: options"),
        (dict(x=np.zeros(3), format="e4m3", rounding="up-ish"), ValueError, "rounding: no such rounding"),
        (dict(x=np.zeros(3), format="e4m3", rounding=1), TypeError, "rounding: a name"),
        (dict(x=np.zeros(3), format="e4m3", seed=-1), ValueError, "seed: 0 to 2**64 - 1"),
        (dict(x=np.zeros(3), format="e4m3", seed=1.5), TypeError, "seed: an integer"),
        (dict(x=np.zeros(3), format="e4m3", saturate="no"), TypeError, "saturate: True or False"),
        (dict(x=np.zeros((1,) * 33), format="e4m3"), ValueError, "x: shape has 33 dimensions"),
    ],
)
def test_errors_name_the_argument(arguments, exception, words):
    with pytest.raises(exception, match="ullage.cast: ") as caught:
        ullage.cast(**arguments)
    assert words in str(caught.value)


class Foreign:
    """An array of some other library: DLPack is all that it speaks."""

    def __init__(self, array, device=None):
        self.array = array
        self.device = device or array.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


def test_dlpack_in_and_out():
    x = some((6, 7)).T[::2]
    y, counts = ullage.cast(Foreign(x), "e4m3", counts=True)
    assert y.dtype == ml_dtypes.float8_e4m3fn and counts.elements == x.size
    assert (bits(y) == bits(ullage.cast(x, "e4m3"))).all()
    back = np.from_dlpack(Foreign(ullage.cast(x, "tf32")))
    assert np.array_equal(back, ullage.cast(x, "tf32"))


def test_dlpack_elsewhere_is_refused():
    with pytest.raises((BufferError, RuntimeError, ValueError), match="ullage.cast: x: Foreign gave no array"):
        ullage.cast(Foreign(some(), device=(2, 0)), "e4m3")


# PyTorch -----------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    import torch

    return torch


def test_torch_equals_torch(torch):
    x = torch.from_numpy(some().clip(-400, 400))
    for name, dtype in (("e4m3", "float8_e4m3fn"), ("e5m2", "float8_e5m2"), ("bf16", "bfloat16"), ("fp16", "float16")):
        y = ullage.cast(x, name)
        assert y.dtype == getattr(torch, dtype) and y.shape == x.shape
        integers = torch.uint8 if y.element_size() == 1 else torch.int16
        assert torch.equal(y.view(integers), x.to(getattr(torch, dtype)).view(integers))


def test_torch_sources_and_views(torch):
    x = torch.from_numpy(some((20, 30)))
    codes = ullage.cast(x, "e4m3")
    for source in (x.bfloat16(), x.half(), x.double(), codes, x.requires_grad_(True)):
        expected = ullage.cast(source.detach().float().numpy(), "e5m2")
        assert np.array_equal(bits(expected), ullage.cast(source, "e5m2").view(torch.uint8).numpy())
    view = x.detach().t()[::2, 3:]
    expected = ullage.cast(view.contiguous(), "e4m3").view(torch.uint8)
    assert torch.equal(ullage.cast(view, "e4m3").view(torch.uint8), expected)


def test_torch_without_a_dtype_gives_values(torch):
    y, counts = ullage.cast(torch.tensor([0.4, 100.0, float("nan")]), "e2m1", counts=True)
    assert y.dtype == torch.float32
    assert y.tolist() == [0.5, 6.0, 6.0]
    assert (counts.saturated, counts.nan) == (1, 1)


def test_torch_memory_is_read_in_place_and_results_travel_by_dlpack(torch):
    x = torch.from_numpy(some())
    y = ullage.cast(x, "tf32")
    assert np.array_equal(np.from_dlpack(y), ullage.cast(x.numpy(), "tf32"))
    assert torch.equal(torch.from_dlpack(ullage.cast(x.numpy(), "tf32")), y)


def test_torch_errors(torch):
    with pytest.raises(TypeError, match="x: dtype torch.int64"):
        ullage.cast(torch.zeros(3, dtype=torch.int64), "e4m3")
    with pytest.raises(TypeError, match="x: a dense tensor"):
        ullage.cast(torch.zeros(3, 3).to_sparse(), "e4m3")
    with pytest.raises(ValueError, match="x: the tensor is on meta"):
        ullage.cast(torch.zeros(3, device="meta"), "e4m3")


@pytest.mark.filterwarnings(
    "ignore:Accessing the data pointer of FakeTensor"
)  # what the export does here is deprecated
def test_torch_tensors_without_memory_are_refused(torch):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    def cast(x):
        return ullage.cast(x, "bf16")

    with FakeTensorMode():
        fake = torch.zeros(3)
    ones = torch.ones(3)
    for call in (
        lambda: cast(fake),
        lambda: torch.func.functionalize(cast)(ones),
        lambda: torch.vmap(cast)(ones),
        lambda: torch.func.grad(lambda x: cast(x).float().sum())(ones),
        lambda: make_fx(cast, tracing_mode="fake")(ones),
    ):
        with pytest.raises(TypeError, match="^ullage.cast: x: the tensor has no memory"):
            call()
    assert cast(torch.zeros(0)).shape == (0,)
    # Past the checks in Python: PyTorch exports a fake tensor as an array at address 0.
    with pytest.raises(ValueError, match="x: the array has no memory"):
        ullage._core.cast(fake, None, "bf16", np.zeros(3, np.uint16), "nearest", True, 0)


def test_holds_when_torch_flushes_denormals(torch):
    x = torch.tensor([1e-40, 2.0**-130, 1.0])
    expected = ullage.cast(x, "bf16").view(torch.int16)
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush denormals")
    try:
        found = ullage.cast(x, "bf16").view(torch.int16)
    finally:
        torch.set_flush_denormal(False)
    assert torch.equal(found, expected) and expected[0] != 0


def test_needs_neither_torch_nor_ml_dtypes():
    program = """if True:
        import sys
        sys.modules["ml_dtypes"] = None
        import numpy, ullage
        y = ullage.cast(numpy.float32([0.3, 1000]), "e4m3")
        assert y.dtype == numpy.float32 and y.tolist() == [0.3125, 448.0], y
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})
