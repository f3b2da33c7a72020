"""The headline of an error: the one line that says what went wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.ops.headline import alike, headline

FRAME = '  File "/app/train.py", line 3, in <module>\n    main()\n'
TRACE = f"Traceback (most recent call last):\n{FRAME}"
GROUP = (
    "  + Exception Group Traceback (most recent call last):\n"
    '  |   File "a.py", line 1, in f\n  |     g()\n  | ExceptionGroup: two (2 sub-exceptions)'
)
OOM = "torch.cuda.OutOfMemoryError: CUDA out of memory"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, ""),
        ("", ""),
        (" \n\t\n", ""),
        ("\n\n boom \nmore", "boom"),
        ("CUDA error: device-side assert\n  at kernel.cu:3", "CUDA error: device-side assert"),
        ("java.lang.NullPointerException: x\n\tat a.B.c(B.java:1)", "java.lang.NullPointerException: x"),
        (f"{TRACE}{OOM}", OOM),
        (f"{TRACE}{OOM}\n\n", OOM),
        (f"{TRACE}{OOM}\r\n".replace("\n", "\r\n"), OOM),
        (f"Training failed after 3 epochs\n{TRACE}{OOM}", OOM),
        (f"{TRACE}KeyError: 'a'\n\nDuring handling of it:\n\n{TRACE}ValueError: b", "ValueError: b"),
        (f"{TRACE}RuntimeError: Error(s):\n\tMissing key x\nsize mismatch", "RuntimeError: Error(s):"),
        (f"{TRACE}KeyboardInterrupt", "KeyboardInterrupt"),
        (TRACE + "    ^^^^\nSyntaxError: invalid syntax", "SyntaxError: invalid syntax"),
        (GROUP, "ExceptionGroup: two (2 sub-exceptions)"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ("Traceback (most recent call last):\n  CUDA out of memory", "CUDA out of memory"),
        (TRACE, "Traceback (most recent call last):"),
    ],
)  # fmt: skip
def test_headline(text: Any, line: str) -> None:
    assert headline(text) == line


def test_the_two_ends_of_a_long_text_suffice() -> None:
    text = f"{TRACE}{FRAME * 500}{OOM}"

    assert headline(text[:200], text[-2000:]) == headline(text) == OOM
    assert headline("boom\nmore" + "x" * 5000, "xx") == "boom"
    assert headline(f"{TRACE}{FRAME}"[:60], f"{'x' * 300}\nValueError: of a message without an end") != ""


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Tried to allocate 2.50 GiB at 0xDEADBEEF", "Tried to allocate # GiB at #"),
        ("exit code 137, signal 9", "exit code 137, signal 9"),
        ("no 8f3ac2b1-77d9-4c7e-9b8e-0f1d2c3b4a59 in deadbeef", "no # in deadbeef"),
        ("IMG_20417.heic of 12345 in facade01", "IMG_#.heic of # in #"),
        ("x" * 300, "x" * 200),
        ("", ""),
    ],
)
def test_what_errors_of_a_kind_have_in_common(line: str, kind: str) -> None:
    assert alike(line) == kind
