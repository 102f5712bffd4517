"""What of a settings file stays off the screen: values under names such as `apiKey` or `token`, whose ever. Pure.

Goes by names alone, in the file's data and in its text, whose comments may hold some too; of the values it knows only
how references to secrets are written, which are none themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

HIDDEN = "********"
_NAME = re.compile(r"(?:.*_)?(?:(?:api)?key|token|secret|pass(?:word|wd|phrase)|credentials?|authorization|cookie)")
_NAMES_ANOTHER = re.compile(r"(?:.*_)?env(?:ironment)?_(?:key|var)")  # a variable's name, and not what it holds
_PAIR = re.compile(
    r"""["']?(?P<name>[\w.-]+)["']?[ \t]*[:=][ \t]*(?:"(?P<double>(?:[^"\\\n]|\\.)*)"|'(?P<single>[^'\n]*)'|"""
    r"""(?P<bare>(?:Bearer\s|Basic\s)?[^\s,#"'{}\[\]]++(?!\{)))"""
)
_IN_ADDRESS = re.compile(r"(?<=://)([^\s/:@\"']*):[^\s/@\"']+@")
_REFERENCE = re.compile(r"\$?\{+[^{}]*\}+|\$\w+")
_PLAIN = re.compile(r"\s*|-?[\d.]+|true|false|null|none|runner", re.IGNORECASE)  # the last is Runner's word for no key


def masked(text: str, *files: Any) -> str:
    """`text` without the secrets that it or the files' data hold."""
    found = {each for data in files for each in _secrets(data, is_secret=False)}
    for pair in _PAIR.finditer(text):  # also those in comments
        if _is_name(pair["name"]):
            found.update(_secrets(pair["double"] or pair["single"] or pair["bare"], is_secret=True))
    written = {each for secret in found for each in (secret, _escaped(secret), *map(str.strip, secret.splitlines()))}
    for each in sorted(filter(None, written), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", HIDDEN, text)
    return _IN_ADDRESS.sub(rf"\1:{HIDDEN}@", text)


def _secrets(data: Any, is_secret: bool) -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _secrets(value, is_secret or _is_name(str(name)))
    elif isinstance(data, list):
        for value in data:
            yield from _secrets(value, is_secret)
    elif isinstance(data, str) and is_secret and not (_PLAIN.fullmatch(data) or _REFERENCE.fullmatch(data)):
        yield data


def _is_name(name: str) -> bool:
    """True for `apiKey`, `ANTHROPIC_AUTH_TOKEN`, `x-api-key`; false for `max_tokens` and `env_key`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-.\s]+", "_", name).lower()
    return bool(_NAME.fullmatch(words)) and not _NAMES_ANOTHER.fullmatch(words)


def _escaped(text: str) -> str:
    """As it stands within quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
