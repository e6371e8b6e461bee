"""Attention's memory is linear in the number of tokens."""

import subprocess
import sys

import pytest
import torch

from ullage.torch import attention_path

PROGRAM = """
import torch
from ullage.torch import attention

def peak():  # of this program alone: getrusage's counts the parent's, from before exec
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024

def step(tokens):
    q, k, v = (torch.randn(1, 1, tokens, 64, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    output, statistics = attention(q, k, v, is_causal=True, return_statistics=True)
    output.sum().backward()

step(256)
before = peak()
step(8192)
middle = peak()
step(32768)
print(middle - before, peak() - before)
"""


def test_memory_is_linear_in_tokens():
    path, reason = attention_path(*(torch.zeros(1, 1, 1, 64, dtype=torch.bfloat16) for _ in range(3)))
    if path == "reference":
        pytest.skip(f"the reference would take minutes: {reason}")
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
        env={"PYTHONPATH": ":".join(sys.path)},
    ).stdout
    small, large = map(int, printed.split())
    # Four times the tokens: about four times the memory (dQ is summed in 16 copies from 8192 tokens on), 16 times where a
    # matrix of N x N is kept. Half of such a one in BF16 is 1 GiB.
    assert large <= 6 * small
    assert large < 512 << 20
