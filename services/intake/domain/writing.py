"""What a citizen wrote, cleaned of what nobody means and some readers stumble over."""

import re

# Control characters but tab and line feed, and the marks that make text read in another order
# than it stands (a way to show the desk something else than was written).
_REMOVED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_LINE_ENDS = re.compile(r"\r\n?|\u2028|\u2029")
_INVISIBLE = " \t\n\u00a0\u2000-\u200f\u2060\u3000\ufe0f"
_EDGES = re.compile(rf"\A[{_INVISIBLE}]+|[{_INVISIBLE}]+\Z")


def cleaned(text: str) -> str:
    """Return the text with plain line ends, without control characters, and trimmed.

    Joiners inside a text stay: emoji are made of them.
    """
    return _EDGES.sub("", _REMOVED.sub("", _LINE_ENDS.sub("\n", text)))
