"""Why an assistant can't be pointed at Runner. Each says what is wrong in a sentence, and nothing has been written."""

from __future__ import annotations


class Trouble(Exception):
    """The root. The text is a sentence for people."""


class Unknown(Trouble):
    """There is no assistant of this name."""


class Unreadable(Trouble):
    """A file isn't what its name says. The text names it, and the line where that is known."""


class Clash(Trouble):
    """A file holds something else where ours belongs, or is written in a way that can't be edited safely."""


class Changed(Trouble):
    """A file has been changed since Runner wrote it."""
