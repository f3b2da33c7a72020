"""A body to be copied, as it is or as the command that delivers it."""

from __future__ import annotations

import shlex

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _


def copy_buttons(text: str) -> SafeString:
    """Return the buttons that copy ``text`` and the command that delivers it, and both, hidden."""
    return format_html(
        '<span id="sent" hidden>{}</span><span id="curl" hidden>{}</span>'
        '<button type="button" class="button" data-copy="sent">{}</button> '
        '<button type="button" class="button" data-copy="curl">{}</button>',
        text,
        _curl(text),
        _("Copy"),
        _("Copy as a curl line"),
    )


def _curl(text: str) -> str:
    """Return the command that delivers ``text``; the address and the token are variables of the shell."""
    headers = """-H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json'"""
    return f'curl "$WEBHOOK" {headers} --data-binary {shlex.quote(text)}'
