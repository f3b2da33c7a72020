"""Stories for a host's tests, and the orders in which they may come."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tasks.conf import app_settings
from tasks.lifecycle import Meaning, meaning_of
from tasks.testing import orders, story


@pytest.mark.parametrize("ends", [Meaning.SUCCEEDED, Meaning.FAILED, Meaning.CANCELLED])
@pytest.mark.parametrize("kind", ["training", "generation", "upscaling"])
def test_it_ends_as_asked(kind: str, ends: Meaning) -> None:
    for seed in range(5):
        told = story(kind, ends=ends, seed=seed)
        assert meaning_of(told[-1]["status"], app_settings()) is ends
        assert ("error_message" in told[-1]) == (ends is Meaning.FAILED)
        assert {one["task_type"] for one in told} == {kind}


def test_the_same_arguments_tell_the_same_and_changes_are_in_each() -> None:
    changed = story(ends="failed", seed=3, task_id="t1", task_type="lora")

    assert (
        story(ends="failed", seed=3) == story("training", ends=Meaning.FAILED, seed=3) != story(ends="failed")
    )
    assert {(one["task_id"], one["task_type"]) for one in changed} == {("t1", "lora")}


@pytest.mark.parametrize(
    ("arguments", "changes"), [(["training"], {"ends": "running late"}), (["painting"], {})]
)
def test_a_word_that_it_does_not_know(arguments: list[str], changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"running late|There are training, generation, upscaling\."):
        story(*arguments, **changes)


def test_orders_lose_nothing_and_come_shuffled_repeated_and_delayed() -> None:
    told = story("training", ends="failed")
    found = orders(told, n=20)

    assert found == orders(told, n=20) != orders(told, n=20, seed=1)
    assert (len(found), found[0]) == (20, told)
    kinds = set()
    for order in found:
        assert {one["timestamp"] for one in order} == {one["timestamp"] for one in told}
        times = [datetime.fromisoformat(one["timestamp"]) for one in order]
        kinds |= {"repeated"} if len(order) > len(told) else set()
        kinds |= {"shuffled"} if times != sorted(times) else set()
        kinds |= {"an ending before the rest"} if order[-1]["status"] != "failed" else set()
    assert kinds == {"repeated", "shuffled", "an ending before the rest"}
