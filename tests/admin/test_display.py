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


def test_a_badge_is_in_its_readers_language(monkeypatch: Any) -> None:
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
    [(61.4, "1 min ago"), (7300, "2 h ago"), (90_000 * 2, "2 d ago")],
)
def test_how_long_ago(seconds: float, text: str) -> None:
    assert f">{text}<" in display.ago(datetime.now(UTC) - timedelta(seconds=seconds))


@pytest.mark.parametrize("away", [timedelta(minutes=1), -display.LONGEST])
def test_what_is_still_to_come_or_very_long_ago_is_told_by_its_time(away: timedelta) -> None:
    at = datetime.now(UTC) + away

    assert display.ago(at) == display.time_tag(at)


@pytest.mark.parametrize(
    ("value", "is_open", "told"),
    [({"a": 1}, True, "1 key"), ({str(n): n for n in range(50)}, False, "50 keys")],
)
def test_json_is_collapsible(value: Any, is_open: bool, told: str) -> None:
    shown = display.pretty_json(value)

    assert ('<details class="st-json" open>' in shown) is is_open
    assert f"<summary><span>{told}</span></summary>" in shown


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


def test_links_are_escaped() -> None:
    choices = [{"selected": False, "query_string": "?", "display": "All"},
               {"selected": True, "query_string": "?a=1&b=2", "display": EVIL}]  # fmt: skip

    html = display.filter_details("status", EVIL, EVIL, choices)
    assert "<script" not in html
    assert '<li class="selected"><a href="?a=1&amp;b=2" aria-current="true">&quot;&gt;' in html
    assert '<details class="st-filter st-chosen" name="st-filter"><summary>Status: <b>&quot;' in html
    assert '<div class="st-choices"><p class="help">&quot;' in html
    assert '<details class="st-filter" ' in display.filter_details("status", None, "", choices)

    count: dict[str, Any] = {"name": "failed", "label": EVIL, "symbol": "", "number": 3, "url": "?a=1&b=2"}
    html = display.count_links(
        [{**count, "is_current": True, "before": EVIL}, {**count, "id": "i", "is_current": False}]
    )
    assert "<script" not in html
    assert html.count(' aria-current="true"') == html.count(' id="i"') == 1
    assert html.count('href="?a=1&amp;b=2"') == 2
    assert html.count('<li><span class="st-before">&quot;') == 1
    assert display.link("/a/", EVIL) == '<a href="/a/">&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;</a>'
    assert display.link("/a/", display.cut("x" * 11)).count("<span") == 1


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 5, 1, 11, tzinfo=UTC), ">11:00:00.000<"),
        (datetime(2026, 4, 30, 11, tzinfo=UTC), ">2026-04-30 11:00<"),
    ],
)
def test_a_time_of_the_same_day_has_no_date(at: datetime, shown: str) -> None:
    tag = display.time_tag_of_day(at, datetime(2026, 5, 1, 12, tzinfo=UTC))

    assert shown in tag
    assert f'title="{display.exact(at)}"' in tag
