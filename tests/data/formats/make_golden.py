"""Writes the golden cast vectors beside this file, or with --check says which of them are not what it would write.

  build/venv/bin/python tests/data/formats/make_golden.py [--check] [NAME...]

Inputs: the values of codes, their midpoints and what lies near both, powers of two, FP32's ends and subnormals, NaN of
many payloads, and numbers at random over the format's range. Codes come from conformance/exact.py, in integers, and must
be what ml_dtypes (numpy for FP16) gives without saturation, but where a convention decides, which is flagged. NaN codes
are the library's. tests/formats/golden.h says how a file is laid out.
"""

import argparse
import pathlib
import struct
import sys

import ml_dtypes
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "conformance"))
import exact  # noqa: E402
from exact import SCALE  # noqa: E402

NAMES = {
    "float8_e4m3fn": "e4m3",
    "float8_e5m2": "e5m2",
    "float8_e4m3fnuz": "e4m3fnuz",
    "float8_e5m2fnuz": "e5m2fnuz",
    "float8_e8m0fnu": "e8m0",
    "float4_e2m1fn": "e2m1",
    "float6_e2m3fn": "e2m3",
    "float6_e3m2fn": "e3m2",
    "bfloat16": "bf16",
    "float16": "fp16",
}
NAN, TIE, OVERFLOW, CONVENTION, TINY, DIFFER, EXACT, TRAP = (1 << bit for bit in range(8))
INFINITY = 0x7F800000


def patterns(magnitude):
    """The FP32 pattern of a magnitude, or those below and above it."""
    below, above = exact.neighbours(exact.FORMATS["fp32"], magnitude)
    exactly = exact.FORMATS["fp32"].magnitude(below) == magnitude
    return [below] if exactly else [code for code in (below, above) if code < INFINITY]


def codes_to_visit(f, generator):
    codes = range(f.max_code + 1)
    if f.magnitude_bits < 15:
        return codes
    mantissas = 1 << f.mantissa_bits
    edges = {0, 1, 2, 3, mantissas // 2 - 1, mantissas // 2, mantissas // 2 + 1, mantissas - 2, mantissas - 1}
    sample = set(generator.integers(0, len(codes), 1500).tolist())
    return [i for i in codes if i % mantissas in edges or i in sample or i < 64 or i > f.max_code - 64]


def inputs(f, seed):
    """Patterns without sign, ascending but for NaN at the end; and those close to a tie."""
    generator = np.random.Generator(np.random.PCG64(seed))
    numbers, traps = set(), set()

    def near(pattern, reach):
        numbers.update(x for x in range(pattern - reach, pattern + reach + 1) if 0 <= x <= INFINITY)

    for code in codes_to_visit(f, generator):
        value, above = f.magnitude(code), f.magnitude(code + 1)
        for pattern in patterns(value):
            near(pattern, 2)
        for pattern in patterns((value + above) // 2):
            near(pattern, 3)
            for steps in (1, 2, 4, 8, 12, 13, 14, 16):
                close = {x for x in (pattern - (1 << steps), pattern + (1 << steps)) if 0 < x < INFINITY}
                numbers |= close
                traps |= close
        low = patterns(value)[0]
        high = patterns(above)[0] if code < f.max_code else 0
        if high - low > 8:
            numbers.update(range(low, high, max((high - low) // 8, 1)))
    for exponent in range(-149, 128):
        pattern = patterns(1 << (SCALE + exponent))[0]
        near(pattern, 2)
        near(pattern | 0x400000 if exponent > -127 else pattern, 1)
    numbers.update(range(130))
    near(0x00800000, 40)
    near(0x7F7FFFFF, 40)
    numbers.add(INFINITY)
    nan = {0x7F800001, 0x7FBFFFFF, 0x7FC00000, 0x7FFFFFFF, 0x7FC00001}
    nan |= {INFINITY | 1 << bit for bit in range(23)} | {0x7FC00000 | 1 << bit for bit in range(22)}
    nan |= {INFINITY | int(x) for x in generator.integers(1, 1 << 23, 64)}
    low = max(patterns(f.magnitude(1 if f.sign else 0))[0] - (3 << 23), 1)
    high = min(patterns(f.magnitude(f.max_code))[-1] + (2 << 23), INFINITY)
    numbers.update(int(x) for x in generator.integers(low, high, 6000))
    numbers.update(int(x) for x in generator.integers(0, INFINITY, 2000))
    while 2 * (len(numbers) + len(nan)) < 20480:
        numbers.update(int(x) for x in generator.integers(low, high, 2000))
    return sorted(numbers) + sorted(nan), traps


def flags_of(f, pattern, unpacked, codes):
    negative, magnitude = unpacked
    if magnitude == "nan":
        return NAN | (CONVENTION | DIFFER if f.nan == "none" else 0)
    flags = DIFFER if codes[0] != codes[1] else 0
    if magnitude == "inf":
        return flags | OVERFLOW | (CONVENTION if not f.sign and negative else 0)
    below, above = exact.neighbours(f, magnitude)
    low, high = f.magnitude(below), f.magnitude(above)
    rounded = (
        above if exact.rounds_up(f, False, below, max(magnitude - low, 0), high - low, "nearest-even", 0) else below
    )
    # A step past the largest value there is only overflow; below E8M0's smallest only that.
    flags |= TIE if below <= f.max_code and low <= magnitude < high and 2 * (magnitude - low) == high - low else 0
    flags |= OVERFLOW if rounded > f.max_code else 0
    flags |= EXACT if rounded <= f.max_code and f.magnitude(rounded) == magnitude else 0
    if f.sign:
        return flags | (TINY if magnitude and rounded < 1 << f.mantissa_bits and rounded <= f.max_code else 0)
    smallest = f.magnitude(0)
    convention = negative or magnitude < smallest or smallest < magnitude < 3 * smallest // 2
    return flags | (CONVENTION if convention else 0)


def library_codes(name, f, every):
    values = np.array(every, np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        codes = values.astype(np.float16 if name == "float16" else getattr(ml_dtypes, name))
    return [int(code) for code in codes.view(f"uint{8 * codes.itemsize}")]


def expected(f, unpacked):
    """Codes of the variants: not saturating, saturating, and for E8M0 towards zero and up. The sign of what E8M0 has no
    sign for is dropped; formats without NaN get what ml_dtypes gives."""
    negative, magnitude = unpacked
    saturating = unpacked if f.sign else (False, magnitude)
    codes = [
        exact.encode(f, unpacked, "nearest-even", "non-saturating"),
        exact.encode(f, saturating, "nearest-even", "saturate"),
    ]
    if magnitude == "nan" and f.nan == "none":
        codes[0] = 0 if negative else f.sign_mask
    if not f.sign:
        codes += [exact.encode(f, saturating, rounding, "saturate") for rounding in ("toward-zero", "up")]
    return codes


def golden(name, seed):
    f = exact.FORMATS[NAMES[name]]
    positive, traps = inputs(f, seed)
    every = positive + [pattern | 0x80000000 for pattern in positive]
    library = library_codes(name, f, every)
    codes, flags = [], []
    for pattern, theirs in zip(every, library, strict=True):
        unpacked = exact.unpack(pattern)
        ours = expected(f, unpacked)
        flags.append(flags_of(f, pattern, unpacked, ours) | (TRAP if pattern & 0x7FFFFFFF in traps else 0))
        if f.is_nan(theirs) and f.is_nan(ours[0]):
            if (
                name == "float16"
            ):  # numpy's NaN where the processor does not make it: the payload's upper bits, never none
                theirs = pattern >> 16 & 0x8000 | 0x7C00 | (pattern >> 13 & 0x3FF or 1)
            ours[0] = theirs
        if ours[0] != theirs and not flags[-1] & CONVENTION:
            sys.exit(f"{name}: {pattern:08x}: exact {ours[0]:#x}, library {theirs:#x}")
        codes.append(ours)
    bits = f.magnitude_bits + f.sign
    every_code = np.arange(1 << bits, dtype=np.uint16 if bits > 8 else np.uint8)
    values = every_code.view(np.float16 if name == "float16" else getattr(ml_dtypes, name)).astype(np.float32)
    values[np.isnan(values)] = np.nan
    for code, value in enumerate(values):
        magnitude = exact.unpack(int(value.view(np.uint32)))[1]
        if not isinstance(magnitude, str) and magnitude != f.magnitude(code & ((1 << f.magnitude_bits) - 1)):
            sys.exit(f"{name}: code {code:#x} is {value} to the library")
    head = struct.pack("<8s24sIIII", b"ULGOLD1", name.encode(), bits, len(values), len(every), len(codes[0]))
    return (
        head
        + values.tobytes()
        + np.array(positive, "<u4").tobytes()
        + np.array(codes, "<u2").T.tobytes()
        + bytes(flags)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a file is not what would be written"
    )
    parser.add_argument("names", nargs="*", help="default: all")
    options = parser.parse_args()
    stale = []
    for index, name in enumerate(NAMES):
        if options.names and name not in options.names:
            continue
        path, content = HERE / f"{name}.bin", golden(name, 1000 + index)
        if not options.check:
            path.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            stale.append(name)
    print("not current: " + ", ".join(stale) if stale else "all current")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
