"""Runs a library against the cast vectors and says what differs: an example of how to read the files.

  python conformance/run.py ml_dtypes|torch|ullage [--show N]

ml_dtypes and PyTorch have one rounding, ties to even. ml_dtypes does not saturate; PyTorch on a CPU saturates to E4M3
and not to E5M2, so it is held against both and the better is reported. Exit code 1 if anything differs but for NaN
where a format has none, and what E8M0 does at zero and below, which are conventions (README.md).
"""

import argparse
import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
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
TORCH = {name: ML_DTYPES[name] for name in ("e4m3", "e4m3fnuz", "e5m2", "e5m2fnuz", "bf16")} | {"fp16": "float16"}


def with_ml_dtypes(name, values, rounding, overflow):
    import ml_dtypes

    if name not in ML_DTYPES or (rounding, overflow) != ("nearest-even", "non-saturating"):
        return None
    codes = values.astype(getattr(ml_dtypes, ML_DTYPES[name]))
    return codes.view(f"uint{8 * codes.itemsize}")


def with_torch(name, values, rounding, overflow):
    import torch

    if name not in TORCH or rounding != "nearest-even":
        return None
    codes = torch.from_numpy(values).to(getattr(torch, TORCH[name]))
    return (
        codes.view(torch.uint8 if codes.element_size() == 1 else torch.int16)
        .numpy()
        .view(f"uint{8 * codes.element_size()}")
    )


def with_ullage(name, values, rounding, overflow):
    import ullage

    text = {"e4m3-flush": "e4m3:bias=7,nan=all-ones,infinity=no,subnormals=no"}.get(name, name)
    result = ullage.cast(values, text, rounding=rounding, saturate=overflow == "saturate")
    return None if name in ("tf32", "e3m4", "e4m3-flush") else result.view(f"uint{8 * result.itemsize}")


def is_nan(f, codes):
    magnitude = codes & ((1 << f["exponent_bits"] + f["mantissa_bits"]) - 1)
    top = (1 << f["exponent_bits"]) - 1 << f["mantissa_bits"]
    return {
        "ieee": magnitude > top,
        "all-ones": magnitude == (1 << f["exponent_bits"] + f["mantissa_bits"]) - 1,
        "negative-zero": codes == 1 << f["exponent_bits"] + f["mantissa_bits"],
        "none": codes < 0,
    }[f["nan"]]


def differences(file, call, rounding, overflow):
    """(inputs compared, indices that differ), or None where the library has no such cast."""
    f = file["format"]
    fp64 = file["input"] == "fp64"
    values = np.array([int(p, 16) for p in file["inputs"]], "u8" if fp64 else "u4").view("f8" if fp64 else "f4")
    with np.errstate(all="ignore"):
        found = call(f["name"], values, rounding, overflow)
    if found is None:
        return None
    expected = np.array(file["codes"][overflow][rounding], np.int64)
    found = found.astype(np.int64)
    convention = np.isnan(values) & (f["nan"] == "none")
    if f["name"] == "e8m0":
        convention |= values < 1.5 * 2.0**-127
    same = (found == expected) | (is_nan(f, found) & is_nan(f, expected)) | convention
    return len(values), values, np.flatnonzero(~same), found, expected


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("library", choices=("ml_dtypes", "torch", "ullage"))
    parser.add_argument("--show", type=int, default=3, help="differences to print of each cast")
    options = parser.parse_args()
    call = {"ml_dtypes": with_ml_dtypes, "torch": with_torch, "ullage": with_ullage}[options.library]
    compared = wrong = 0
    for path in sorted(HERE.glob("cast-*.json")):
        file = json.loads(path.read_text())
        if file["input"] == "fp64" and options.library != "ullage":
            continue  # neither casts binary64 with one rounding
        for rounding in file["codes"]["saturate"]:
            results = {o: differences(file, call, rounding, o) for o in file["codes"]}
            results = {o: r for o, r in results.items() if r is not None}
            if options.library == "torch" and results:
                best = min(results, key=lambda o: len(results[o][2]))
                results = {best: results[best]}
            for overflow, (count, values, places, found, expected) in results.items():
                compared += count
                wrong += len(places)
                print(f"{path.name:24} {rounding:13} {overflow:15} {count:5} inputs, {len(places)} differ")
                for i in places[: options.show]:
                    print(
                        f"    {values[i]!r} ({file['inputs'][i]}): {options.library} {found[i]:#x}, expected {expected[i]:#x}"
                    )
    print(f"{options.library}: {compared} casts, {wrong} differ")
    return 1 if wrong or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
