"""docs/parameters.md, made from the table of parameters: `python -m modelfiles.reference > docs/parameters.md`."""

import sys
from collections.abc import Iterable

from modelfiles.parameters import DEPRECATED, PARAMETERS, Spec

_HEAD = """\
# Parameters

What a [Modelfile](modelfile.md)'s `PARAMETER` lines take, `options` in a request of Ollama's dialect, `options` in
[config.yaml](configuration.md) and `--option NAME=VALUE` on the command line. This page is generated from the one table
that they all go by (`python -m modelfiles.reference > docs/parameters.md`), and a test holds it to that.

Where several say something, the request weighs most, then the Modelfile, then `per_model` and `options` of config.yaml,
then what the model's author recommends, then the default given here.
"""
_LOADING = """\
## On loading

They say how a model is loaded. A request that names another value than the model was loaded with has it loaded anew,
except for a smaller `num_ctx`. What the ones for GPUs do is told in [devices](devices.md).
"""
_SAMPLING = """\
## On answering

They hold for one request, and cost nothing to change.
"""


def page() -> str:
    """The whole page."""
    loading = [spec for spec in PARAMETERS.values() if spec.when == "load"]
    sampling = [spec for spec in PARAMETERS.values() if spec.when == "sample"]
    old = ", ".join(f"`{name}`" for name in sorted(DEPRECATED))
    tail = f"Read from older Modelfiles, with a warning and without effect: {old}.\n"
    return "\n".join((_HEAD, _LOADING, _table(loading), _SAMPLING, _table(sampling), tail))


def _table(specs: Iterable[Spec]) -> str:
    lines = [("parameter", "takes", "default", "meaning"), ("---",) * 4]
    lines += [(f"`{spec.name}`", _takes(spec), _default(spec), spec.help) for spec in specs]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _takes(spec: Spec) -> str:
    if spec.type is bool:
        return "true or false"
    if spec.choices:
        return ", ".join(f"`{choice}`" for choice in spec.choices)
    if spec.type is str:
        return "text; may be given several times" if spec.repeatable else "text"
    kind = "whole number" if spec.type is int else "number"
    if spec.minimum is None or spec.maximum is None:
        return kind
    return f"{kind}, {spec.minimum:,} to {spec.maximum:,}"


def _default(spec: Spec) -> str:
    if spec.default is None:
        return ""
    if isinstance(spec.default, tuple):
        return " ".join(f"`{each}`" for each in spec.default).replace("\n", "\\n")
    return f"`{str(spec.default).lower() if isinstance(spec.default, bool) else spec.default}`"


if __name__ == "__main__":
    sys.stdout.write(page())
