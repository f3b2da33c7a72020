"""The line of an error message that says what went wrong, and what tells one kind of error from another."""

from __future__ import annotations

import re

#: A frame of a Python traceback; that of an exception group has a margin before it.
_FRAME = re.compile(r'^ *File ".*", line \d+')
_MARGIN = re.compile(r"^ *[|+] ?")
_TRACEBACK = "Traceback (most recent call last)"
#: What differs between two errors of a kind: addresses, ids, decimals and numbers of four digits or more.
#: Shorter numbers stay, such as those of signals and exit codes.
_NUMBER = re.compile(
    r"0x[0-9a-f]+|\b(?=[a-f]*[0-9])[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b|\b[0-9]+\.[0-9]+\b|[0-9]{4,}",
    re.IGNORECASE,
)
#: What stands for them.
ANY_NUMBER = "#"
#: Two errors are of one kind if this many characters of their headlines are alike.
KIND_LENGTH = 200


def headline(start: str | None, end: str | None = None) -> str:
    """Return the exception of a traceback, or the first line of any other text that is not blank.

    ``start`` is the whole text, or only its beginning if ``end`` is given.
    """
    start = start or ""
    end = start if end is None else end
    # A long traceback may have lost its first line, and has its frames.
    if _TRACEBACK in start or _TRACEBACK in end or any(_FRAME.match(line) for line in end.splitlines()):
        return _exception(end) or _first(start)
    return _first(start)


def _exception(text: str) -> str:
    """Return the first line after the last frame that is not part of it; the message may have more lines."""
    lines = [_MARGIN.sub("", line) for line in text.splitlines()]
    frames = [number for number, line in enumerate(lines) if _FRAME.match(line)]
    after = lines[frames[-1] + 1 :] if frames else lines
    told = [line for line in after if line.strip() and _TRACEBACK not in line]
    outer = [line for line in told if not line[0].isspace()]
    if frames:
        return outer[0].strip() if outer else ""
    return (outer or told or [""])[-1].strip()


def _first(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def alike(line: str) -> str:
    """Return what the headlines of one kind of error have in common with ``line``."""
    return _NUMBER.sub(ANY_NUMBER, line[:KIND_LENGTH])
