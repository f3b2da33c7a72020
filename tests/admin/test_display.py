"""How values look: what a sender wrote is text and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import translation
from django.utils.functional import lazy

from tasks.admin import display
from tasks.lifecycle import Meaning

EVIL = '"><script>alert(1)</script>'


@pytest.mark.parametrize(
    "render", [display.badge, display.text_block, lambda text: display.pretty_json({text: text})]
)
def test_sender_text_is_never_markup(render: Any) -> None:
    assert "<script" not in render(EVIL)
    assert "&lt;script&gt;" in render(EVIL)


@pytest.mark.parametrize(
    ("status", "class_", "text"),
    [
        ("oom", "st-failed", "✖</span> oom"),
        ("st-running", "st-other", "?</span> st-running"),
        (None, "st-other", "?</span> no status"),
        (" ", "st-other", "?</span> (blank)"),
        ("Completed", "st-succeeded", "✔</span> Completed"),
    ],
)
def test_a_badge_has_the_class_of_the_meaning_and_the_senders_word(
    status: Any, class_: str, text: str
) -> None:
    badge = display.badge(status)

    assert f'class="st-badge {class_}"' in badge
    assert text in badge


def test_a_badge_is_in_the_language_of_who_reads_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(Meaning.RUNNING, "_label_", lazy(translation.get_language, str)())

    for language in ("de", "fr", "de"):
        with translation.override(language):
            assert f'title="{language}: ' in display.badge("in two languages", Meaning.RUNNING)


def test_every_meaning_has_a_symbol_of_its_own() -> None:
    assert set(display.SYMBOLS) == set(Meaning)
    assert len(set(display.SYMBOLS.values())) == len(Meaning)


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (0, "0 %"),
        (99.99, "99.9 %"),
        (100, "100 %"),
        (12.5, "12.5 %"),
        (64.1, "64.1 %"),
        (1e-7, "0 %"),
    ],
)
def test_percent_says_100_only_of_100(progress: float, text: str) -> None:
    assert display.percent(progress) == text
    assert text in display.progress_bar(progress, Meaning.RUNNING)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (None, "—"),
        (timedelta(), "0 s"),
        (timedelta(seconds=1.5), "1.5 s"),
        (timedelta(minutes=15), "15 min"),
        (timedelta(hours=3, seconds=2), "3 h"),
        (timedelta(days=3), "3 d"),
        (timedelta(days=36_524), "36524 d"),
        (timedelta(days=36_525), "—"),
        (timedelta.max, "—"),
        (timedelta.min, "—"),
        (timedelta(seconds=59.99), "59.9 s"),
        (timedelta(seconds=184), "3 min 04 s"),
        (timedelta(hours=1, minutes=2, seconds=59), "1 h 02 min"),
        (timedelta(days=2, hours=5), "2 d 05 h"),
        (timedelta(seconds=-90), "-1 min 30 s"),
    ],
)
def test_duration(length: Any, text: str) -> None:
    assert display.duration(length) == text


def test_times() -> None:
    at = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)

    assert display.exact(None) == display.time_tag(None) == display.ago(None) == "—"
    assert display.exact(at) == "2026-05-01 12:00:00.250 UTC"
    assert 'title="2026-05-01 12:00:00.250 UTC"' in display.ago(at)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s ago"), (61.4, "1 min ago"), (7300, "2 h ago"), (90_000 * 2, "2 d ago"), (-60, "UTC")],
)
def test_how_long_ago(seconds: float, text: str) -> None:
    told = display.ago(datetime.now(UTC) - timedelta(seconds=seconds))

    assert f">{text}<" in told or (seconds < 0 and "ago" not in told.replace("st-ago", ""))


@pytest.mark.parametrize(("value", "is_open"), [({"a": 1}, True), ({str(n): n for n in range(50)}, False)])
def test_json_is_collapsible(value: Any, is_open: bool) -> None:
    assert ('<details class="st-json" open>' in display.pretty_json(value)) is is_open


@pytest.mark.parametrize("value", [None, {}])
def test_no_json(value: Any) -> None:
    assert display.pretty_json(value) == "—"


def test_no_text() -> None:
    assert display.text_block(None) == "—"


def test_a_query_string_holds_any_text() -> None:
    assert display.query("a&b=c d/ü") == "a%26b%3Dc+d%2F%C3%BC"


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (5, 10, ("5 %", "10 %")),
        (99.31, 99.34, ("99.31 %", "99.34 %")),
        (99.99, 100, ("99.9 %", "100 %")),
    ],
)
def test_two_values_of_progress_are_told_apart(was: float, now: float, told: Any) -> None:
    assert display.percent_change(was, now) == told
