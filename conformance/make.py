"""Writes the conformance vectors beside this file, or with --check says which of them are not what it would write.

  build/venv/bin/python conformance/make.py [--check]

Every expected result comes from exact.py, which computes in integers. Where ml_dtypes or numpy has the same cast
(binary32 inputs, ties to even, not saturating; binary64 to binary32 and binary16), its bits are compared too, and any
difference that is not one of the conventions named in README.md stops the program.
"""

import argparse
import dataclasses
import json
import pathlib
import random
import sys

import ml_dtypes
import numpy as np

import exact
from exact import FORMATS, SCALE

HERE = pathlib.Path(__file__).resolve().parent
VERSION = 1  # of the vectors: a new one whenever an expected result or a field changes
ML_DTYPES = {
    "e4m3": "float8_e4m3fn",
    "e4m3fnuz": "float8_e4m3fnuz",
    "e5m2": "float8_e5m2",
    "e5m2fnuz": "float8_e5m2fnuz",
    "e8m0": "float8_e8m0fnu",
    "e2m1": "float4_e2m1fn",
    "e2m3": "float6_e2m3fn",
    "e3m2": "float6_e3m2fn",
    "bf16": "bfloat16",
    "e3m4": "float8_e3m4",
}
SIGN32, INFINITY32 = 0x80000000, 0x7F800000
SPECIAL32 = [0, 1, 2, 0x7FFFFF, 0x800000, 0x800001, 0x7F7FFFFF, INFINITY32, 0x7FC00000, 0x7F800001, 0x7FFFFFFF]
RULES = ("floor", "ceil", "round-up", "even")
TRANSFORMER_ENGINE = {
    0.0: 0,
    1.0: 119,
    1.75: 119,
    3.5: 120,
    7.0: 121,
    112.0: 125,
    224.0: 126,
    447.0: 127,
    448.0: 127,
    449.0: 128,
    float(np.float32(3.4e38)): 247,
    float("inf"): 254,
    float("nan"): 255,
}


def header(kind, method, compared_with=()):
    return {
        "schema": 1,
        "kind": kind,
        "version": VERSION,
        "source": {
            "project": "ullage",
            "generator": "conformance/make.py",
            "method": method,
            "compared_with": list(compared_with),
        },
    }


def describe(f):
    return {
        "name": f.name,
        "exponent_bits": f.exponent_bits,
        "mantissa_bits": f.mantissa_bits,
        "bias": f.bias,
        "nan": f.nan,
        "infinity": f.infinity,
        "subnormals": f.subnormals,
        "sign": f.sign,
    }


def patterns32(magnitude):
    """binary32 patterns at a magnitude, or on both sides of it."""
    return [code for code in exact.neighbours(FORMATS["fp32"], magnitude) if code < INFINITY32]


def codes_to_visit(f, generator):
    """All codes of small formats; of others the ends, the edges of some binades, and some at random."""
    count = f.max_code + 1
    if count <= 256:
        return range(count)
    mantissas = 1 << f.mantissa_bits
    fields = count // mantissas + 1
    edges = {field * mantissas + m for field in range(0, fields, fields // 12) for m in (0, 1, mantissas - 1)}
    some = edges | set(range(4)) | set(range(count - 4, count)) | {generator.randrange(count) for _ in range(40)}
    return sorted(code for code in some if code < count)


def inputs32(f, generator):
    found = set(SPECIAL32) | {pattern << 23 for pattern in range(0, 255, 9)}
    for code in codes_to_visit(f, generator):
        value, above = f.magnitude(code), f.magnitude(code + 1)
        found.update(patterns32(value))
        for pattern in patterns32((value + above) // 2):
            found.update((pattern - 1, pattern, pattern + 1))
            if code % 4 == 0:  # close to the tie: rounding twice goes wrong here
                found.update((pattern - (1 << 12), pattern + (1 << 12)))
    low = exact.log2_floor(f.magnitude(1)) - 3
    high = min(exact.log2_floor(f.magnitude(f.max_code)) + 3, 127)
    for _ in range(100):
        found.add(max(1, generator.randint(low, high) + 127) << 23 | generator.getrandbits(23))
    found = sorted(p for p in found if 0 <= p <= 0x7FFFFFFF)
    return found if not f.sign else found + [p | SIGN32 for p in found]


def inputs64(f, generator):
    """Around the codes' midpoints, closer than binary32 can see: what binary32 on the way would round twice."""
    found = {0, 1, 1 << 52, 0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0x7FF8000000000000}
    for code in sorted({generator.randrange(f.max_code) for _ in range(40)} | {0, 1, f.max_code - 1, f.max_code}):
        for magnitude in (f.magnitude(code), (f.magnitude(code) + f.magnitude(code + 1)) // 2):
            power = exact.log2_floor(magnitude) if magnitude else 0
            bits = ((power + 1023) << 52) + ((magnitude >> (power + SCALE - 52)) - (1 << 52)) if magnitude else 0
            found.update((bits, bits + 1, bits + (1 << 20)))
            if bits:
                found.update((bits - 1, bits - (1 << 20)))
    found = sorted(p for p in found if p <= 0x7FF8000000000000)
    return found + [p | 1 << 63 for p in found]


def compare_with_library(f, inputs, codes, fp64):
    """Our non-saturating ties-to-even codes against another library's; which that was."""
    values = np.array(inputs, np.uint64 if fp64 else np.uint32).view(np.float64 if fp64 else np.float32)
    native = {"fp16": np.float16, "fp32": np.float32}.get(f.name)
    if native is None and (fp64 or f.name not in ML_DTYPES):
        return []
    with np.errstate(all="ignore"):
        theirs = values.astype(native or getattr(ml_dtypes, ML_DTYPES[f.name]))
    theirs = theirs.view(f"uint{8 * theirs.itemsize}")
    for pattern, value, ours, code in zip(inputs, values, codes, map(int, theirs), strict=True):
        if f.is_nan(ours) and f.is_nan(code) or f.nan == "none" and np.isnan(value):
            continue
        if f.name == "e8m0" and value < 1.5 * 2.0**-127:  # their subnormal inputs are rounded up
            continue
        if ours != code:
            sys.exit(f"{f.name}: {pattern:08x} ({value}): exact {ours:#x}, library {code:#x}")
    return [f"numpy {np.__version__}" if native else f"ml_dtypes {ml_dtypes.__version__}"]


def cast_file(f, fp64=False):
    generator = random.Random(f"cast {f.name} {fp64}")
    inputs = inputs64(f, generator) if fp64 else inputs32(f, generator)
    unpacked = [exact.unpack(pattern, fp64) for pattern in inputs]
    codes = {
        overflow: {rounding: [exact.encode(f, x, rounding, overflow) for x in unpacked] for rounding in exact.ROUNDINGS}
        for overflow in exact.OVERFLOWS
    }
    compared = compare_with_library(f, inputs, codes["non-saturating"]["nearest-even"], fp64)
    return {
        **header("cast", "each input rounded once, in exact integers", compared),
        "format": describe(f),
        "input": "fp64" if fp64 else "fp32",
        "inputs": [f"{p:0{16 if fp64 else 8}x}" for p in inputs],
        "codes": codes,
    }


def stochastic_file():
    generator = random.Random("stochastic")
    runs = []
    for name in ("e4m3", "e5m2", "e2m1", "e3m2", "fp16", "bf16", "tf32"):
        f = FORMATS[name]
        low, high = exact.log2_floor(f.magnitude(1)) - 2, min(exact.log2_floor(f.magnitude(f.max_code)) + 1, 127)
        inputs = [
            max(1, generator.randint(low, high) + 127) << 23
            | generator.getrandbits(23)
            | generator.getrandbits(1) << 31
            for _ in range(90)
        ] + SPECIAL32
        for seed, first in ((0, 0), (1, 61), (2**64 - 1, 2**36 + 3)):
            words = [exact.random_word(seed, first + i) for i in range(len(inputs))]
            unpacked = [exact.unpack(p) for p in inputs]
            runs.append(
                {
                    "format": describe(f),
                    "seed": f"{seed:016x}",
                    "first_index": f"{first:016x}",
                    "words": [f"{word:08x}" for word in words],
                    "inputs": [f"{p:08x}" for p in inputs],
                    "codes": {
                        o: [exact.encode(f, x, "stochastic", o, word) for x, word in zip(unpacked, words, strict=True)]
                        for o in exact.OVERFLOWS
                    },
                }
            )
    return {**header("stochastic", "Philox-4x32-7 and exact integers"), "runs": runs}


def scales_file():
    generator = random.Random("scales")
    amax = set(SPECIAL32) | {int(np.float32(x).view(np.uint32)) for x in TRANSFORMER_ENGINE}
    amax |= {exponent << 23 | m for exponent in range(0, 255, 17) for m in (0, 1, 0x600000, 0x600001, 0x7FFFFF)}
    amax |= {exponent << 23 | generator.getrandbits(23) for exponent in range(1, 255, 5)}
    amax |= {
        int(np.float32(x).view(np.uint32)) for x in (6, 7, 7.5, 28, 464, 480, 495.9, 496, 511, 511.99997, 57344, 61440)
    }
    amax = sorted(amax)
    elements = [FORMATS[name] for name in ("e4m3", "e5m2", "e2m3", "e3m2", "e2m1")]
    codes = {
        f.name: {rule: [exact.mx_scale(rule, f, exact.unpack(p)[1]) for p in amax] for rule in RULES} for f in elements
    }
    for value, code in TRANSFORMER_ENGINE.items():
        found = codes["e4m3"]["round-up"][amax.index(int(np.float32(value).view(np.uint32)))]
        if found != code:
            sys.exit(f"round-up of {value}: exact {found}, TransformerEngine {code}")
    return {
        **header("mx-scales", "exact integers", ["TransformerEngine 2.x, E4M3, 13 largest magnitudes of round-up"]),
        "elements": [describe(f) for f in elements],
        "amax": [f"{p:08x}" for p in amax],
        "scale_codes": codes,
        "can_clip": {f.name: {rule: clips(f, rule) for rule in RULES} for f in elements},
    }


def clips(f, rule):
    """Whether some largest magnitude overflows under its own block's scale, ties to even. A binade is enough: rules
    look at nothing else. The amax that are tried lie on both sides of every value and midpoint of the element."""
    wider = dataclasses.replace(f, exponent_bits=f.exponent_bits + 1)
    steps = 1 << (f.mantissa_bits + 2)
    edges = [((steps + i) << SCALE) // steps for i in range(steps)]
    ulp = 1 << (SCALE - 23)
    for amax in (edge + side for edge in edges for side in (0, ulp, (1 << SCALE) // steps - ulp)):
        up = 127 - exact.mx_scale(rule, f, amax)
        scaled = amax << up if up >= 0 else amax >> -up
        if exact.encode(wider, (False, scaled), "nearest-even", "saturate") > f.max_code:
            return True
    return False


def mx_blocks():
    """Blocks of 32 binary32 patterns: ordinary ones, and each that a rule treats in a way of its own."""
    generator = np.random.default_rng(7)
    blocks = [generator.standard_normal(32) * scale for scale in (1, 1e-3, 300, 1e30, 3e-39, 1e-44)]
    for largest in (448, 449, 480, 496, 511, 6, 7.9, 57344, 65000):
        block = generator.standard_normal(32)
        block *= largest / 2 / np.abs(block).max()
        block[11] = -largest
        blocks.append(block)
    wide = generator.standard_normal(32) * np.exp(8 * generator.standard_normal(32))
    blocks += [np.zeros(32), wide, np.full(32, 3.4028235e38)]
    for special in (np.nan, np.inf):
        block = generator.standard_normal(32)
        block[5] = special
        blocks.append(block)
    return [[int(p) for p in np.array(block, np.float32).view(np.uint32)] for block in blocks]


def mx_file():
    blocks = mx_blocks()
    results = []
    for name in ("e4m3", "e5m2", "e2m3", "e3m2", "e2m1"):
        f = FORMATS[name]
        for rule in RULES:
            scales, codes = [], []
            for block in blocks:
                unpacked = [exact.unpack(p) for p in block]
                kinds = [m for _, m in unpacked]
                amax = "nan" if "nan" in kinds else "inf" if "inf" in kinds else max(kinds)
                scale = exact.mx_scale(rule, f, amax)
                scales.append(scale)
                shift = 127 - scale  # the elements are multiplied by 2^shift, exactly
                codes.append(
                    None
                    if scale == 255
                    else [
                        exact.encode(
                            f,
                            (n, m if m == "inf" else m << shift if shift >= 0 else m >> -shift),
                            "nearest-even",
                            "saturate",
                        )
                        for n, m in unpacked
                    ]
                )
            results.append(
                {
                    "format": {
                        "e4m3": "mxfp8-e4m3",
                        "e5m2": "mxfp8-e5m2",
                        "e2m3": "mxfp6-e2m3",
                        "e3m2": "mxfp6-e3m2",
                        "e2m1": "mxfp4",
                    }[name],
                    "element": describe(f),
                    "rule": rule,
                    "scale_codes": scales,
                    "codes": codes,
                }
            )
    return {
        **header("mx", "exact integers"),
        "block": 32,
        "rounding": "nearest-even",
        "overflow": "saturate",
        "blocks": [[f"{p:08x}" for p in block] for block in blocks],
        "results": results,
    }


FLT_MAX = FORMATS["fp32"].magnitude(FORMATS["fp32"].max_code)


def encode_product(f, pattern, multiplier):
    """binary32(x * multiplier), cast to nearest even, saturating; and the multiplier's sign is plus."""
    negative, magnitude = exact.unpack(pattern)
    return exact.encode(
        f, (negative, min(exact.multiply32(magnitude, multiplier), FLT_MAX)), "nearest-even", "saturate"
    )


def nvfp4_file():
    """NVIDIA's two levels; every operation is binary32, rounded to nearest even."""
    e2m1, e4m3 = FORMATS["e2m1"], FORMATS["e4m3"]
    generator = np.random.default_rng(11)
    arrays = []
    for scale, columns in ((1, 48), (1e-4, 40), (1e4, 17), (1e-42, 16)):
        x = generator.standard_normal((2, columns)) * np.exp(1.5 * generator.standard_normal((2, columns))) * scale
        x[0, :16] *= 1e-3
        arrays.append([[int(p) for p in row] for row in x.astype(np.float32).view(np.uint32)])
    arrays.append([[0] * 32])
    results = []
    for rows in arrays:
        magnitudes = [[exact.unpack(p)[1] for p in row] for row in rows]
        amax = max(max(row) for row in magnitudes)
        one, six = 1 << SCALE, 6 << SCALE
        everything = min(exact.divide32(2688 << SCALE, amax), FLT_MAX) if amax else FLT_MAX
        decode_all = exact.divide32(one, everything)
        scale_codes, scales, codes = [], [], []
        for row, found in zip(rows, magnitudes, strict=True):
            codes.append([])
            for at in range(0, len(row), 16):
                wanted = exact.multiply32(exact.divide32(max(found[at : at + 16]), six), everything)
                code = exact.encode(e4m3, (False, wanted), "nearest-even", "saturate")
                decode_block = exact.multiply32(e4m3.magnitude(code), decode_all)
                multiplier = min(exact.divide32(one, decode_block), FLT_MAX) if decode_block else FLT_MAX
                scale_codes.append(code)
                scales.append(exact.pattern32(decode_block))
                codes[-1] += [encode_product(e2m1, p, multiplier) for p in row[at : at + 16]]
        results.append(
            {
                "rows": len(rows),
                "columns": len(rows[0]),
                "inputs": [f"{p:08x}" for row in rows for p in row],
                "global_scale": f"{exact.pattern32(decode_all):08x}",
                "scale_codes": scale_codes,
                "scales": [f"{p:08x}" for p in scales],
                "codes": [c for row in codes for c in row],
            }
        )
    return {**header("nvfp4", "binary32 operations in exact integers"), "block": 16, "arrays": results}


def tiles_file():
    """Tiles of 128 x 128 under one binary32 scale; arrays of few rows, so that the file stays small."""
    e4m3 = FORMATS["e4m3"]
    generator = np.random.default_rng(13)
    x = (generator.standard_normal((3, 300)) * np.exp(generator.standard_normal((3, 300)))).astype(np.float32)
    x[:, 128:256] *= 1e-20
    x[:, 256:] = 0
    patterns = [[int(p) for p in row] for row in x.view(np.uint32)]
    results = []
    for power_of_two in (True, False):
        multipliers = []
        for left in range(0, 300, 128):
            amax = max(exact.unpack(p)[1] for row in patterns for p in row[left : left + 128])
            multiplier = min(exact.divide32(448 << SCALE, amax), FLT_MAX) if amax else 1 << SCALE
            multipliers.append(1 << (exact.log2_floor(multiplier) + SCALE) if power_of_two else multiplier)
        results.append(
            {
                "power_of_two": power_of_two,
                "scales": [f"{exact.pattern32(exact.divide32(1 << SCALE, m)):08x}" for m in multipliers],
                "codes": [
                    encode_product(e4m3, p, multipliers[i // 128]) for row in patterns for i, p in enumerate(row)
                ],
            }
        )
    return {
        **header("block128", "binary32 operations in exact integers"),
        "element": describe(e4m3),
        "tile": [128, 128],
        "rows": 3,
        "columns": 300,
        "inputs": [f"{p:08x}" for row in patterns for p in row],
        "results": results,
    }


def files():
    for name, f in FORMATS.items():
        if name != "fp32":
            yield f"cast-{name}.json", cast_file(f)
    for name in ("e4m3", "e5m2", "fp16", "bf16", "fp32"):
        yield f"cast-fp64-{name}.json", cast_file(FORMATS[name], fp64=True)
    yield "stochastic.json", stochastic_file()
    yield "mx-scales.json", scales_file()
    yield "mx.json", mx_file()
    yield "nvfp4.json", nvfp4_file()
    yield "block128.json", tiles_file()


def text_of(value, depth=0):
    """JSON with a line for each field, lists of numbers and of strings on one."""
    if isinstance(value, dict) and depth < 3:
        inner = ",\n".join(
            " " * (depth + 1) + json.dumps(key) + ": " + text_of(item, depth + 1) for key, item in value.items()
        )
        return "{\n" + inner + "\n" + " " * depth + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return (
            "[\n"
            + ",\n".join(" " * (depth + 1) + text_of(item, depth + 1) for item in value)
            + "\n"
            + " " * depth
            + "]"
        )
    return json.dumps(value, separators=(",", ":"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if a file is not what would be written"
    )
    options = parser.parse_args()
    stale, names = [], set()
    for name, content in files():
        names.add(name)
        path, text = HERE / name, text_of(content) + "\n"
        if not options.check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    stale += sorted(path.name for path in HERE.glob("*.json") if path.name not in names)
    print(f"{len(names)} files" + (f"; not current: {', '.join(stale)}" if stale else ""))
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
