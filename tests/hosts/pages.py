"""Follow a page of the documentation in a host, as its reader would."""

from __future__ import annotations

import re

from tests.hosts.environments import ROOT, Host

_BLOCK = re.compile(r"^(?:In|Make|Replace|At the end of) `([\w/.]+)`:\n\n```python\n(.*?)```$", re.M | re.S)


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def write_files(host: Host, text: str) -> None:
    """Write each block of code to the file that the line before it names, in the order of the page."""
    found = list(_BLOCK.finditer(text))
    assert found
    for block in found:
        is_new = block[0].startswith(("Make", "Replace"))
        host.write(block[1], block[2] if is_new else f"\n{block[2]}", append=not is_new)


def commands(text: str) -> list[str]:
    """Return the commands of the page in their order, each with the lines that continue it."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.findall(r"^ {4}(\S.*(?:\n {8}.*)*)$", text, flags=re.MULTILINE)
