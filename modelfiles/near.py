"""Near names, for error messages that say what was probably meant.

Pure text: knows nothing of what the names stand for.
"""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 100  # matching costs grow with the square of the length, and names come from strangers
_CLOSE = 0.7  # of difflib's ratio: about one letter in three may be wrong
_FAR = 0.6  # the same for what begins alike
_SHORTEST_PART = 3  # a shorter part of a name is found in everything


def near(name: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """The `known` names that `name` may have meant, best first, at most `most`; case doesn't matter."""
    wanted = name.casefold()[:_LONGEST]
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = set(get_close_matches(wanted, by_folded, n=len(by_folded) or 1, cutoff=_CLOSE))
    # What begins alike may be a longer name of the same family.
    longer = {each for each in by_folded if len(each) >= _SHORTEST_PART and wanted.startswith(each)}
    found = get_close_matches(wanted, close | longer, n=most, cutoff=_FAR)
    if len(wanted) >= _SHORTEST_PART:
        found += [candidate for candidate in by_folded if wanted in candidate and candidate not in found]
    return tuple(by_folded[candidate] for candidate in found[:most])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The tail of an error message: "; did you mean a or b?", or nothing when nothing is near."""
    names = near(name, known)
    return f"; did you mean {' or '.join(names)}?" if names else ""
