"""A Jinja chat template: compiled and rendered in the sandbox, with every way in which it can fail as one error.

Templates come from strangers: what they may do is `runner.prompt.sandbox`'s business, how long and in how much memory
that of `runner.prompt.bounds`. Knows nothing of conversations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError

from runner.prompt import bounds, sandbox

# A template is a program, and these are the ways in which a wrong one fails. SyntaxError is Python's, about code that
# Jinja has made of a template nested too deeply.
_FAULTS = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip


class Template:
    """A compiled chat template. Raises TemplateFailed, with line and reason, when the text is no Jinja template.

    Compiling and each rendering may take `seconds`, and about `memory` bytes. `what` names it in messages.
    """

    def __init__(
        self,
        text: str,
        *,
        seconds: float = bounds.TIME_LIMIT,
        memory: int = bounds.MEMORY_LIMIT,
        what: str = bounds.MODELS,
    ) -> None:
        self.text = bounds.checked_length(text, what)
        self._what = what
        self._seconds = seconds
        self._memory = memory
        with self._explained("is not valid Jinja"):
            # Compiling computes constant expressions, so it can take as long as rendering.
            self._template = sandbox.Environment().from_string(text)

    def render(self, variables: Mapping[str, Any]) -> str:
        """Run the template. Raises TemplateFailed with its own words, or with what stopped it, and the line."""
        with self._explained("cannot be rendered"):
            return bounds.joined(self._template.generate(variables))

    @contextmanager
    def _explained(self, failed: str) -> Iterator[None]:
        try:
            with bounds.bounded(self._what, self._seconds, self._memory):
                yield
            return
        except sandbox.Refused as error:
            reason = f"refuses this conversation: {_line(error)}{error}"
        except (SecurityError, bounds.TooLong) as error:
            reason = f"does what the sandbox forbids: {_line(error)}{error}"
        except jinja2.TemplateSyntaxError as error:
            reason = f"{failed}: line {error.lineno}: {error.message}"
        except RecursionError:
            reason = f"{failed}: it is nested too deeply"
        except jinja2.TemplateError as error:
            reason = f"{failed}: {_line(error)}{error}"
        except _FAULTS as error:
            reason = f"{failed}: {_line(error)}{type(error).__name__}: {error}"
        raise bounds.failure(self._what, reason)


def _line(error: BaseException) -> str:
    """Where in the template it happened, if that is known: Jinja gives tracebacks the template's lines."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"line {line}: " if line else ""
