"""What stands where Anthropic signs a thought. Nothing is signed here: the text marks a thought as ours, and carries it
when the client wants it out of sight but gives it back with the next turn.
"""

from __future__ import annotations

import base64
import binascii

PLAIN = "runner"
"""With a thought that is told."""
_CARRIED = "runner."


def carrying(thought: str) -> str:
    """With a thought that isn't told."""
    return _CARRIED + base64.urlsafe_b64encode(thought.encode()).decode("ascii")


def carried(signature: str | None) -> str:
    """The thought that a signature carries; nothing if it carries none, or another server made it."""
    if not signature or not signature.startswith(_CARRIED):
        return ""
    try:
        return base64.urlsafe_b64decode(signature.removeprefix(_CARRIED)).decode()
    except (binascii.Error, ValueError):
        return ""
