"""Turn the ids of tasks and events into the addresses of their pages, and back, whatever the ids are."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import quote as percent_quoted

from django.contrib.admin.utils import quote
from django.urls import URLResolver, get_resolver, get_script_prefix, get_urlconf, reverse

# Placeholders for ids that cannot stand in a path: an empty one, and those that browsers resolve away.
# Django's quote() never returns these words, because it writes an underscore as _5F.
_PLACEHOLDERS = {"": "_empty", ".": "_dot", "..": "_dots"}
_IDS = {word: task_id for task_id, word in _PLACEHOLDERS.items()}


def quoted(task_id: str) -> str:
    """Return ``task_id`` as a part of an address."""
    return _PLACEHOLDERS.get(task_id) or str(quote(task_id))


def without_placeholder(object_id: str) -> str:
    """Return a part of an address as Django quotes it: its placeholder, if it is one, as the id."""
    return _IDS.get(object_id, object_id)


def row_id(text: str | None) -> int | None:
    """Return ``text`` as a number if a row may have it as its id; otherwise None."""
    is_id = text is not None and text.isascii() and text.isdecimal() and len(text) < 19
    return int(text) if text is not None and is_id else None


def task_url(task_id: str, site: str = "admin") -> str:
    """Return the address of a task's page, whatever its id is."""
    return row_urls("task", site)(task_id)


def event_url(event_id: int, site: str = "admin") -> str:
    """Return the address of an event's page."""
    return event_urls(site)(event_id)


def event_urls(site: str) -> Callable[[int], str]:
    """Return a function from an event's id to its page's address, for pages with a thousand of them."""
    return row_urls("taskstatusevent", site)


def row_urls(model: str, site: str) -> Callable[[Any], str]:
    """Return a function from a row's id to its page's address."""
    before, after = _around_id(model, site)
    if model != "task":
        return lambda pk: f"{before}{pk}{after}"
    return lambda task_id: f"{before}{_in_path(task_id)}{after}"


# Of the events in a list, many are of one task.
@lru_cache(maxsize=1024)
def _in_path(task_id: str) -> str:
    return percent_quoted(quoted(task_id), safe="")


def _around_id(model: str, site: str) -> tuple[str, str]:
    return _resolved(model, site, get_script_prefix(), get_resolver(get_urlconf()))


# A list asks for a hundred addresses that differ in the id alone.
@lru_cache(maxsize=64)
def _resolved(model: str, site: str, prefix: str, resolver: URLResolver) -> tuple[str, str]:
    url = reverse(f"admin:sartiq_tasks_{model}_change", args=["0"], current_app=site)
    before, _id, after = url.rpartition("/0/")
    return f"{before}/", f"/{after}"
