"""A GGUF's chat template: compiled and rendered in the sandbox, with every way in which it can fail as one error.

Templates come from strangers: what they may do is `runner.prompt.sandbox`'s business, how long and in how much memory
`runner.prompt.watch`'s. Knows nothing of conversations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError

from runner.errors import TemplateFailed
from runner.prompt import sandbox
from runner.prompt.watch import TookTooLong, TookTooMuch, watched

TEMPLATE_LIMIT = 1024 * 1024  # characters
OUTPUT_LIMIT = sandbox.MOST  # characters
TIME_LIMIT = 10.0  # seconds
MEMORY_LIMIT = 512 * 1024 * 1024  # bytes
_REASON_LIMIT = 1000  # characters of what a template says went wrong

# A template is a program, and these are the ways in which a wrong one fails. SyntaxError is Python's, about code that
# Jinja has made of a template nested too deeply.
_FAULTS = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip


class Template:
    """A compiled chat template. Raises TemplateFailed, with line and reason, when the text is no Jinja template.

    Compiling and each rendering may take `seconds`, and about `memory` bytes.
    """

    def __init__(self, text: str, *, seconds: float = TIME_LIMIT, memory: int = MEMORY_LIMIT) -> None:
        if len(text) > TEMPLATE_LIMIT:
            raise TemplateFailed(f"the chat template has {len(text)} characters; {TEMPLATE_LIMIT} are allowed")
        self.text = text
        self._seconds = seconds
        self._memory = memory
        with self._explained("is not valid Jinja"):
            # Compiling computes constant expressions, so it can take as long as rendering.
            self._template = sandbox.Environment().from_string(text)

    def render(self, variables: Mapping[str, Any]) -> str:
        """Run the template. Raises TemplateFailed with its own words, or with what stopped it."""
        with self._explained("cannot be rendered"):
            return "".join(_bounded(self._template.generate(variables)))

    @contextmanager
    def _explained(self, failed: str) -> Iterator[None]:
        try:
            with watched(self._seconds, self._memory):
                yield
            return
        except TookTooLong:
            reason = f"took more than {self._seconds:g} s"
        except TookTooMuch:
            reason = f"took more than {self._memory // 2**20} MiB of memory"
        except sandbox.Refused as error:
            reason = f"refuses this conversation: {error}"
        except SecurityError as error:
            reason = f"does what the sandbox forbids: {error}"
        except jinja2.TemplateSyntaxError as error:
            reason = f"{failed}: line {error.lineno}: {error.message}"
        except RecursionError:
            reason = f"{failed}: it is nested too deeply"
        except jinja2.TemplateError as error:
            reason = f"{failed}: {error}"
        except _FAULTS as error:
            reason = f"{failed}: {type(error).__name__}: {error}"
        raise TemplateFailed(f"the model's chat template {_presentable(reason)}")


def _bounded(parts: Iterator[str]) -> Iterator[str]:
    size = 0
    for part in parts:
        size += len(part)
        if size > OUTPUT_LIMIT:
            raise SecurityError(f"the template writes more than {OUTPUT_LIMIT} characters")
        yield part


def _presentable(reason: str) -> str:
    """Words of a stranger as a message can carry them: not too many, and no half of a surrogate pair."""
    short = reason if len(reason) <= _REASON_LIMIT else reason[:_REASON_LIMIT] + "…"
    return short.encode("utf-8", "replace").decode("utf-8")
