"""Past calls as text, in the model's own format.

For templates that render what an assistant said and nothing of what it called.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from runner.conversation import ToolCall
from runner.formats import CallFormat


def written(calls: Sequence[ToolCall], form: CallFormat) -> str | None:
    """The calls as the model would have written them. None for formats whose templates all render calls."""
    pad = "\n" if form.is_padded else ""
    if form.shape == "python":
        return f"{form.opening}[{', '.join(map(_python, calls))}]{form.closing}"
    if form.shape != "json":
        return None
    objects = [_object(call, form) for call in calls]
    if form.is_list:
        return f"{form.opening}[{', '.join(objects)}]{form.closing}"
    if not form.closing:
        return form.separator.join(objects) if form.separator else "\n".join(objects)
    return "\n".join(f"{form.opening}{pad}{each}{pad}{form.closing}" for each in objects)


def _object(call: ToolCall, form: CallFormat) -> str:
    if not form.name_key:
        return json.dumps({call.name: call.arguments}, ensure_ascii=False)
    return json.dumps({form.name_key: call.name, form.arguments_key: call.arguments}, ensure_ascii=False)


def _python(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})"
