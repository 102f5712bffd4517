"""THE table of parameters: name, type, default, bounds, and whether it acts on loading or on sampling.

Every surface that takes a parameter (Modelfile, API, CLI, docs) reads this table and checks values here.
Bounds keep values inside what native code takes: nothing wraps an int32, divides by zero or overflows.
Knows nothing of who asks, nor of the other names that dialects have for the same parameters.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from modelfiles.errors import ParameterError
from modelfiles.near import did_you_mean

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | tuple[str, ...]
Kind: TypeAlias = type[bool] | type[int] | type[float] | type[str]
When: TypeAlias = Literal["load", "sample"]

MOST_VALUES = 256
"""How many values a repeatable parameter may hold."""
LONGEST_TEXT = 4096
"""How many characters one text value may have."""

_INT32 = 2**31 - 1
_CONTEXT = 2**24  # tokens; the longest trained context so far is 10 million
_WINDOW = 2**20  # tokens; native samplers allocate this window per request, so it can't be unbounded
_THREADS = 512  # ggml aborts the process above this


@dataclass(frozen=True, slots=True)
class Spec:
    """One row. A `default` of None leaves the choice to Runner; bounds are inclusive.

    A `repeatable` parameter is given once per value in a Modelfile and holds a tuple of texts. A text with
    `choices` must be one of them; a `form` is a regular expression for a text, and in words what it takes.
    """

    name: str
    type: Kind
    default: Value | None
    minimum: float | None
    maximum: float | None
    when: When
    help: str
    repeatable: bool = False
    choices: tuple[str, ...] = ()
    form: tuple[str, str] | None = None


_DEVICE = r"[A-Za-z][\w.:\[\]-]*"
_SHARE = r"(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})"
_DEVICES = (rf"{_DEVICE}(?: *, *{_DEVICE})*", "auto, cpu, a backend such as cuda, or devices such as CUDA0,CUDA1")
_PARTS = (rf"(?i:auto)|{_SHARE}(?: *, *{_SHARE})*", "auto, or shares of 0 or more such as 3,1")
_KV_TYPES = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
_SIDES = ("auto", *_KV_TYPES)
_BREAKERS = ("\n", ":", '"', "*")

_ROWS = (
    Spec("num_ctx", int, None, 1, _CONTEXT, "load", "Context length in tokens; unset, memory decides."),
    Spec("num_batch", int, 512, 1, 65536, "load", "Most tokens in one decode step."),
    Spec("num_gpu", int, -1, -1, _INT32, "load", "Layers kept on the GPU; -1 chooses, 0 is CPU only."),
    Spec("main_gpu", int, 0, 0, 1023, "load", "Index of the GPU that holds what isn't split."),
    Spec("num_thread", int, 0, 0, _THREADS, "load", "CPU threads; 0 chooses."),
    Spec("use_mmap", bool, True, None, None, "load", "Map the weights from disk instead of reading them."),
    Spec("flash_attn", str, "auto", None, None, "load", "Flash attention.", choices=("auto", "on", "off")),
    Spec("kv_cache_type", str, "f16", None, None, "load", "Format of the KV cache.", choices=_KV_TYPES),
    Spec("cache_type_k", str, "auto", None, None, "load", "Format of its keys; auto: kv_cache_type.", choices=_SIDES),
    Spec("cache_type_v", str, "auto", None, None, "load", "Format of its values; the same.", choices=_SIDES),
    Spec("device", str, "auto", None, None, "load", "Where to compute: auto, cpu, cuda, CUDA0,CUDA1.", form=_DEVICES),
    Spec("split_mode", str, "layer", None, None, "load", "How GPUs share a model.", choices=("layer", "row", "none")),
    Spec("tensor_split", str, "auto", None, None, "load", "Shares of the GPUs such as 3,1; auto chooses.", form=_PARTS),
    Spec("num_cpu_moe", int, -1, -1, _INT32, "load", "Layers whose experts stay with the CPU; -1 chooses."),
    Spec("draft_model", str, None, None, None, "load", "A model of the store that drafts for this one, like DRAFT."),
    Spec("num_keep", int, 4, -1, _INT32, "sample", "Prompt tokens kept when the context shifts; -1 all."),
    Spec("num_predict", int, -1, -2, _INT32, "sample", "Most tokens generated; -1 and -2: no limit."),
    Spec("min_tokens", int, 0, 0, _INT32, "sample", "Tokens generated before the end of text is allowed."),
    Spec("ignore_eos", bool, False, None, None, "sample", "Go on past the end of text until num_predict."),
    Spec("stop", str, (), None, None, "sample", "Text that ends the answer.", repeatable=True),
    Spec("seed", int, -1, -1, 2**63 - 1, "sample", "Random seed (its low 32 bits); -1 picks one."),
    Spec("temperature", float, 0.8, 0.0, 100.0, "sample", "How random the choice is; 0 takes the likeliest."),
    Spec("top_k", int, 40, -1, _INT32, "sample", "Choose among the k likeliest tokens; 0 or -1 is off."),
    Spec("top_p", float, 0.9, 0.0, 1.0, "sample", "Choose among the likeliest up to this mass; 1 is off."),
    Spec("min_p", float, 0.0, 0.0, 1.0, "sample", "Drop tokens below this share of the best; 0 is off."),
    Spec("typical_p", float, 1.0, 0.0, 1.0, "sample", "Mass of typical tokens kept; 1 is off."),
    Spec("top_n_sigma", float, -1.0, -1.0, 100.0, "sample", "Keep logits within n deviations; -1 is off."),
    Spec("xtc_probability", float, 0.0, 0.0, 1.0, "sample", "Chance of dropping the top choices; 0 is off."),
    Spec("xtc_threshold", float, 0.1, 0.0, 1.0, "sample", "Probability of a top choice for XTC."),
    Spec("repeat_last_n", int, 64, -1, _WINDOW, "sample", "Tokens that penalties see; 0 off, -1 all."),
    Spec("repeat_penalty", float, 1.0, 0.01, 100.0, "sample", "Weakens repeated tokens; 1 is off."),
    Spec("presence_penalty", float, 0.0, -100.0, 100.0, "sample", "Against tokens that occurred; 0 is off."),
    Spec("frequency_penalty", float, 0.0, -100.0, 100.0, "sample", "The same, per occurrence; 0 is off."),
    Spec("dry_multiplier", float, 0.0, 0.0, 100.0, "sample", "Strength of DRY against repeats; 0 is off."),
    Spec("dry_base", float, 1.75, 0.0, 100.0, "sample", "How fast the DRY penalty grows; below 1 is off."),
    Spec("dry_allowed_length", int, 2, 0, _WINDOW, "sample", "Tokens that may repeat before DRY penalises."),
    Spec("dry_penalty_last_n", int, -1, -1, _WINDOW, "sample", "Tokens that DRY sees; 0 off, -1 all."),
    Spec("dry_sequence_breakers", str, _BREAKERS, None, None, "sample", "Texts that end a repeat.", True),
    Spec("mirostat", int, 0, 0, 2, "sample", "Mirostat 1 or 2 instead of the above; 0 is off."),
    Spec("mirostat_tau", float, 5.0, 0.0, 100.0, "sample", "The surprise that Mirostat steers to."),
    Spec("mirostat_eta", float, 0.1, 0.0, 1.0, "sample", "How fast Mirostat steers."),
    Spec("draft_num_predict", int, 4, 0, 1024, "sample", "Tokens a draft model proposes per step; 0 is off."),
    Spec("prompt_lookup_num_tokens", int, 0, 0, 1024, "sample", "Tokens drafted from the text itself; 0 is off."),
)

PARAMETERS: Mapping[str, Spec] = MappingProxyType({spec.name: spec for spec in _ROWS})
"""Every parameter that Runner honours, by name."""

DEPRECATED = frozenset(
    {
        "embedding_only",
        "f16_kv",
        "logits_all",
        "low_vram",
        "num_gqa",
        "numa",
        "penalize_newline",
        "rope_frequency_base",
        "rope_frequency_scale",
        "tfs_z",
        "use_mlock",
        "vocab_only",
    }
)
"""Parameters of older Modelfiles: still read, with a warning, and without effect."""


def check(name: str, value: object) -> Value:
    """`value` as the table types it; a repeatable parameter takes one text or a list and gives a tuple.

    Raises ParameterError naming the parameter: unknown, of the wrong type, not finite, or out of bounds.
    """
    spec = _spec(name)
    if not spec.repeatable:
        return _one(spec, value)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple):
        raise ParameterError(name, f"must be a text or a list of texts, not {_shown(value)}")
    if len(values) > MOST_VALUES:
        raise ParameterError(name, f"must hold at most {MOST_VALUES} values, not {len(values)}")
    return tuple(_text(spec, each) for each in values)


def check_one(name: str, value: object) -> Scalar:
    """`value` as a single PARAMETER line carries it: for a repeatable parameter, one of its texts.

    Raises ParameterError as `check` does.
    """
    return _one(_spec(name), value)


def from_text(name: str, text: str) -> Scalar:
    """The value that `text` writes, as a PARAMETER line or a command line has it; checked as by `check_one`.

    Whole numbers may look as Ollama prints large ones (1e+06), booleans as Go reads them (1, t, true, ...).
    """
    spec = _spec(name)
    if spec.type is bool:
        return _boolean(name, text)
    if spec.type is str:
        return _text(spec, text)
    return _number(spec, _numeral(spec, text))


def _spec(name: str) -> Spec:
    spec = PARAMETERS.get(name)
    if spec is not None:
        return spec
    if name in DEPRECATED:
        raise ParameterError(name, "no longer has an effect")
    raise ParameterError(name, f"unknown parameter{did_you_mean(name, PARAMETERS)}")


def _one(spec: Spec, value: object) -> Scalar:
    if spec.type is str:
        return _text(spec, value)
    if spec.type is not bool:
        return _number(spec, value)
    if not isinstance(value, bool):
        raise ParameterError(spec.name, f"must be true or false, not {_shown(value)}")
    return value


def _number(spec: Spec, value: object) -> int | float:
    wanted = "a whole number" if spec.type is int else "a number"
    # bool is an int to Python; a client that sends true for a number has made a mistake.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ParameterError(spec.name, f"must be {wanted}, not {_shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ParameterError(spec.name, f"must be a finite number, not {value}")
    if spec.type is int and isinstance(value, float):
        if not value.is_integer():
            raise ParameterError(spec.name, f"must be {wanted}, not {value}")
        value = int(value)
    low = -math.inf if spec.minimum is None else spec.minimum
    high = math.inf if spec.maximum is None else spec.maximum
    if not low <= value <= high:  # before any conversion: Python compares huge integers exactly
        raise ParameterError(spec.name, f"must be between {low} and {high}, not {_shown(value)}")
    return int(value) if spec.type is int else float(value)


def _text(spec: Spec, value: object) -> str:
    if not isinstance(value, str):
        raise ParameterError(spec.name, f"must be a text, not {_shown(value)}")
    if spec.choices:
        if value.lower() not in spec.choices:
            raise ParameterError(spec.name, f"must be one of {', '.join(spec.choices)}, not {_shown(value)}")
        return value.lower()
    if not value:
        raise ParameterError(spec.name, "must not be empty")
    if len(value) > LONGEST_TEXT:
        raise ParameterError(spec.name, f"must be at most {LONGEST_TEXT} characters, not {len(value)}")
    if "\0" in value:  # native code would read the text only up to here
        raise ParameterError(spec.name, "must not contain NUL characters")
    if spec.form and not re.fullmatch(spec.form[0], value.strip()):
        raise ParameterError(spec.name, f"must be {spec.form[1]}, not {_shown(value)}")
    return value


_WHOLE = re.compile(r"[+-]?[0-9]{1,64}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,64}\.?[0-9]{0,64}|\.[0-9]{1,64})(?:[eE][+-]?[0-9]{1,4})?")
_BOOLEANS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def _numeral(spec: Spec, text: str) -> int | float:
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    wanted = "a whole number" if spec.type is int else "a number"
    raise ParameterError(spec.name, f"must be {wanted}, not {_shown(text)}")


def _boolean(name: str, text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ParameterError(name, f"must be true or false, not {_shown(text)}")
    return value


def _shown(value: object) -> str:
    """`value` as JSON for a message: short whatever a stranger sent, and never failing."""
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to print the longest ones
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, list | tuple):
        return "a list"
    if not isinstance(value, str | int | float | None):
        return f"a {'mapping' if isinstance(value, dict) else type(value).__name__}"
    if isinstance(value, str) and len(value) > 40:
        value = value[:40] + "..."
    shown = json.dumps(value, ensure_ascii=False)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate can't be sent back
