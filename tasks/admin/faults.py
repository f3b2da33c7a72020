"""Say what was wrong with a rejected delivery in plain words; the exact ones stand beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from ..rejections import field_of

#: Every type of error there is, in words: asking the table for those that it has would read it whole.
WORDS = {
    "body_too_large": gettext_lazy("too large"),
    "datetime_from_date_parsing": gettext_lazy("not a date and time"),
    "datetime_type": gettext_lazy("not text in quotation marks"),
    "dict_type": gettext_lazy("not a JSON object"),
    "float_type": gettext_lazy("not a number"),
    "greater_than_equal": gettext_lazy("below 0"),
    "int_type": gettext_lazy("not a whole number"),
    "json_invalid": gettext_lazy("not valid JSON"),
    "less_than_equal": gettext_lazy("above 100"),
    "missing": gettext_lazy("missing"),
    "model_attributes_type": gettext_lazy("not a JSON object"),
    "string_too_long": gettext_lazy("too long"),
    "string_type": gettext_lazy("not text in quotation marks"),
    "unsupported_media_type": gettext_lazy("not declared as JSON"),
}
#: Progress may be a whole number or a float: if it is neither, another error says what is wrong with it.
REDUNDANT = "int_type"


def in_words(field: str, error_type: str) -> str:
    """Return what is wrong with a field; an unknown type of error as it is."""
    if (field, error_type) == ("body", "missing"):
        return _("empty")
    return str(WORDS.get(error_type, error_type))


@lru_cache(maxsize=1024)
def _told(faults: str, language: str | None) -> str:
    return ", ".join(dict.fromkeys(label(one) for one in faults.split() if is_told(one)))


def of_row(faults: str) -> str:
    """Return the column ``faults`` in words."""
    return _told(faults, get_language())


def label(fault: str) -> str:
    """Return a ``field:type`` in words."""
    field, _colon, error_type = fault.rpartition(":")
    return f"{field}: {in_words(field, error_type)}"


def is_told(fault: str) -> bool:
    """Return whether a ``field:type`` says something that no other one of its delivery says."""
    return not fault.endswith(f":{REDUNDANT}")


def lines(errors: Iterable[Mapping[str, Any]]) -> SafeString:
    """Return a line for each error: in words, and what the sender was told, with the place in the JSON."""
    told = (
        (field, in_words(field, error["type"]), _where(error), error["msg"], error["type"])
        for error in errors
        for field in [field_of(error)]
    )
    line = '<li><b>{}</b>: {}{} <span class="st-exact">{} ({})</span></li>'
    return format_html("<ul>{}</ul>", format_html_join("", line, _once(told)))


def _once(told: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Leave out what is said twice, of which only the exact words differ."""
    known = dict.fromkeys(told)
    is_said = {field for field, *_words, error_type in known if error_type != REDUNDANT}
    yield from (one for one in known if one[-1] != REDUNDANT or one[0] not in is_said)


def _where(error: Mapping[str, Any]) -> str:
    """Return the parser's words and where the JSON breaks off, if that is the error."""
    if error["type"] != "json_invalid":
        return ""
    told = {"words": error.get("ctx", {}).get("error", ""), "position": error["loc"][1] + 1}
    return _(": %(words)s, at character %(position)s") % told
