"""The Python programs in docs/attention.md run, in the order in which they stand."""

import pathlib
import re

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/attention.md"


def test_examples_run():
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(programs) == 2
    names = {}
    for program in programs:
        exec(compile(program, str(PAGE), "exec"), names)
    assert names["query"].grad.isfinite().all() and (names["statistics"].repeats >= 1).all()
    assert names["model"].config._attn_implementation == "ullage"
    assert names["model"].model.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0
