"""What the processes that the daemon starts may know of its environment. Whatever runs native code starts with this."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_PASSED_ON = frozenset(
    {
        "COMSPEC", "GPU_DEVICE_ORDINAL", "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LLAMA_CPP_LIB_PATH", "PATH",
        "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "TZ", "USERPROFILE", "WINDIR",
    }
)  # fmt: skip
_PASSED_ON_PREFIXES = (
    "CUDA_", "DYLD_", "GGML_", "GOMP_", "HIP_", "HSA_", "KMP_", "LC_", "MTL_", "NVIDIA_", "OMP_", "ROCR_", "VK_",
)  # fmt: skip


def worker_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a worker may know of the daemon's environment: no keys, tokens, proxies or settings of Runner's."""
    passed = {
        name: value
        for name, value in environ.items()
        if name.upper() in _PASSED_ON or name.upper().startswith(_PASSED_ON_PREFIXES)
    }
    passed["GGML_NO_BACKTRACE"] = "1"  # an abort would otherwise start a debugger and hang on it
    passed["PYTHONUTF8"] = "1"
    if sys.platform == "linux":  # pages of 2 MB, where the kernel has some: a third of the time to make a context
        passed["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    passed["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's threads would be there before the sandbox, and outside of it
    root = Path(__file__).resolve().parents[2]
    if root.name not in ("site-packages", "dist-packages"):  # a checkout: the worker must find the same one
        passed["PYTHONPATH"] = str(root)
    return passed
