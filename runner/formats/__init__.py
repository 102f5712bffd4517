"""What both ends must know of how model families write: thoughts and tool calls. Plain data, found in a template's text
by a scan; the template is never run here."""

from runner.formats.calls import GENERIC, CallFormat, Shape, calls_of, markers_in, markers_of
from runner.formats.thinking import THINKING, Thinking, thinking_of

__all__ = [
    "GENERIC",
    "THINKING",
    "CallFormat",
    "Shape",
    "Thinking",
    "calls_of",
    "markers_in",
    "markers_of",
    "thinking_of",
]
