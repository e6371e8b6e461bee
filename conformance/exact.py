"""Number formats by their definitions, in exact integers: no floating-point operation decides anything here.

A magnitude is an integer number of steps of 2^-SCALE, small enough that every binary64 number is one. The code below a
magnitude is found by a binary search over the codes, whose values follow from the format's definition; every rounding
then chooses between that code and the next.
"""

import bisect
import dataclasses

SCALE = 1140
ROUNDINGS = ("nearest-even", "nearest-away", "toward-zero", "up", "down")
OVERFLOWS = ("saturate", "non-saturating")


@dataclasses.dataclass(frozen=True)
class Format:
    """nan: ieee (top exponent, mantissa not zero), all-ones, negative-zero (the code of -0) or none."""

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    nan: str = "ieee"
    infinity: bool = True
    subnormals: bool = True
    sign: bool = True

    @property
    def magnitude_bits(self):
        return self.exponent_bits + self.mantissa_bits

    @property
    def sign_mask(self):
        return 1 << self.magnitude_bits if self.sign else 0

    @property
    def infinity_code(self):
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits

    @property
    def max_code(self):
        if self.infinity:
            return self.infinity_code - 1
        return (1 << self.magnitude_bits) - (2 if self.nan == "all-ones" else 1)

    @property
    def quiet_nan(self):
        return {
            "ieee": self.infinity_code | 1 << max(self.mantissa_bits - 1, 0),
            "all-ones": (1 << self.magnitude_bits) - 1,
            "negative-zero": self.sign_mask,
            "none": None,
        }[self.nan]

    def is_nan(self, code):
        magnitude = code & ((1 << self.magnitude_bits) - 1)
        return {
            "ieee": magnitude > self.infinity_code,
            "all-ones": magnitude == (1 << self.magnitude_bits) - 1,
            "negative-zero": code == self.sign_mask,
            "none": False,
        }[self.nan]

    def magnitude(self, code):
        """Of a code without sign, as if the exponents went on for ever: past max_code too."""
        field, mantissa = code >> self.mantissa_bits, code & ((1 << self.mantissa_bits) - 1)
        if field == 0 and self.sign:
            return (mantissa if self.subnormals else 0) << (SCALE + 1 - self.bias - self.mantissa_bits)
        return (mantissa + (1 << self.mantissa_bits)) << (SCALE + field - self.bias - self.mantissa_bits)


FORMATS = {
    f.name: f
    for f in (
        Format("e4m3", 4, 3, 7, "all-ones", False),
        Format("e4m3fnuz", 4, 3, 8, "negative-zero", False),
        Format("e5m2", 5, 2, 15),
        Format("e5m2fnuz", 5, 2, 16, "negative-zero", False),
        Format("e8m0", 8, 0, 127, "all-ones", False, False, False),
        Format("e2m1", 2, 1, 1, "none", False),
        Format("e2m3", 2, 3, 1, "none", False),
        Format("e3m2", 3, 2, 3, "none", False),
        Format("fp16", 5, 10, 15),
        Format("bf16", 8, 7, 127),
        Format("tf32", 8, 10, 127),
        Format("fp32", 8, 23, 127),
        Format("e3m4", 3, 4, 3),
        Format("e4m3-flush", 4, 3, 7, "all-ones", False, False),
    )
}


def unpack(pattern, fp64=False):
    """(negative, "nan" | "inf" | magnitude) of a binary32 or binary64 pattern."""
    bits, mantissa_bits, bias = (63, 52, 1023) if fp64 else (31, 23, 127)
    field, mantissa = (pattern >> mantissa_bits) % (1 << (bits - mantissa_bits)), pattern % (1 << mantissa_bits)
    negative = bool(pattern >> bits)
    if field == (1 << (bits - mantissa_bits)) - 1:
        return negative, "nan" if mantissa else "inf"
    hidden = 1 << mantissa_bits if field else 0
    return negative, (mantissa + hidden) << (SCALE + max(field, 1) - bias - mantissa_bits)


def pattern32(magnitude):
    """The binary32 pattern of a magnitude that is one of its values."""
    fp32 = FORMATS["fp32"]
    code = bisect.bisect_right(range(1 << 31), magnitude, key=fp32.magnitude) - 1
    assert fp32.magnitude(code) == magnitude
    return code


def neighbours(f, magnitude):
    """The code below or at a magnitude, and the next, which may be past max_code."""
    codes = range(f.max_code + 2)
    below = bisect.bisect_right(codes, magnitude, key=f.magnitude) - 1
    if below < 0:  # no zero, and below the smallest value: that is all there is
        return 0, 0
    if below >> f.mantissa_bits == 0 and f.sign and not f.subnormals:
        return 0, 1 << f.mantissa_bits
    return below, below + 1


def rounds_up(f, negative, below, fraction, whole, rounding, word):
    """fraction / whole of a step is left above `below`; 0 < fraction < whole."""
    if rounding == "stochastic":  # the fraction in 2^-23, rounded down, and 23 random bits: a carry
        return (fraction << 23) // whole + (word >> 9) >= 1 << 23
    if rounding == "nearest-even":
        odd = f.mantissa_bits == 0 and (below > 0 or not f.sign) or f.mantissa_bits > 0 and below & 1
        return 2 * fraction > whole or 2 * fraction == whole and bool(odd)
    return {"nearest-away": 2 * fraction >= whole, "toward-zero": False, "up": not negative, "down": negative}[rounding]


def encode(f, unpacked, rounding, overflow, word=0):
    """The code of a number; README.md says what each rule is for NaN, overflow and zero."""
    negative, magnitude = unpacked
    sign = f.sign_mask if negative else 0
    if magnitude == "nan":
        if f.nan == "none":
            return f.max_code
        return f.quiet_nan if f.nan == "negative-zero" else f.quiet_nan | sign
    if not f.sign and overflow == "non-saturating" and (negative or magnitude == 0):
        return f.quiet_nan
    if magnitude != "inf":
        below, above = neighbours(f, magnitude)
        step = f.magnitude(above) - f.magnitude(below)
        left = magnitude - f.magnitude(below)
        code = below
        if below > f.max_code:
            code = f.max_code + 1
        elif step > 0 and left > 0 and rounds_up(f, negative, below, left, step, rounding, word):
            code = above
        if code <= f.max_code:
            return 0 if code == 0 and f.nan == "negative-zero" else code | sign
    inward = magnitude != "inf" and rounding in ("toward-zero", "down" if not negative else "up")
    if overflow == "saturate" or inward:
        return f.max_code | sign
    if f.infinity:
        return f.infinity_code | sign
    if f.nan == "none":
        return f.max_code | sign
    return f.quiet_nan if f.nan == "negative-zero" else f.quiet_nan | sign


def random_word(seed, index):
    """Word of element `index`: Philox-4x32 with 7 rounds (Salmon and others, SC 2011). Of each 64 elements,
    element 16 w + l takes word w of the block with counter 16 (index // 64) + l."""
    counter = 16 * (index // 64) + index % 16
    c = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(7):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[index % 64 // 16]


def log2_floor(magnitude):
    return magnitude.bit_length() - 1 - SCALE


def mx_scale(rule, f, amax):
    """E8M0 code of an MX block whose largest magnitude is amax (unpacked); f: the element format."""
    if amax == "nan":
        return 255
    if amax == "inf":
        return 254 if rule == "round-up" else 255
    if amax == 0:
        return 0
    emax = log2_floor(f.magnitude(f.max_code))
    power = log2_floor(amax)
    if rule == "ceil" and amax != 1 << (power + SCALE):
        power += 1
    if rule == "even":  # of amax rounded to the element's mantissa, ties away from zero
        step = 1 << (power + SCALE - f.mantissa_bits)
        power = log2_floor((amax + step // 2) // step * step)
    if rule == "round-up":  # the smallest power of two that is not below binary32(amax * binary32(1 / max))
        product = multiply32(amax, reciprocal32(f.magnitude(f.max_code)))
        power = log2_floor(product) if product else -127
        emax = -1 if product and product != 1 << (power + SCALE) else 0
    return min(max(power - emax + 127, 0), 254)


def round32(numerator, denominator=1):
    """The binary32 magnitude nearest to a quotient, ties to even; both in whole steps of anything."""
    fp32 = FORMATS["fp32"]
    scaled = (numerator << SCALE) // denominator
    sticky = (numerator << SCALE) % denominator != 0
    below, above = neighbours(fp32, scaled)
    left = 2 * (scaled - fp32.magnitude(below)) + sticky
    step = fp32.magnitude(above) - fp32.magnitude(below)
    return fp32.magnitude(above if left > step or left == step and below & 1 else below)


def multiply32(a, b):
    return round32(a * b, 1 << 2 * SCALE)


def reciprocal32(a):
    return round32(1 << SCALE, a)


def divide32(a, b):
    return round32(a, b)
