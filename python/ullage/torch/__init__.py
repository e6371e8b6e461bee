"""ullage for PyTorch: attention with the stabilised softmax, on CPU tensors, with autograd and under torch.compile.

Imported on demand: `import ullage` alone imports no PyTorch. The Hugging Face integration is ullage.huggingface.
"""

try:
    import torch as _torch  # noqa: F401  (a clear message before anything else of it is needed)
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError("ullage.torch needs PyTorch: pip install 'ullage[torch]'", name="torch") from None

from ._attention import SOFTMAXES, AttentionPath, attention, attention_path
from ._statistics import AttentionStatistics, HeadStatistics

__all__ = ["SOFTMAXES", "AttentionPath", "AttentionStatistics", "HeadStatistics", "attention", "attention_path"]
