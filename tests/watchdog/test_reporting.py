"""Reports by the public function that records them."""

from __future__ import annotations

import pytest

from tasks.exceptions import ContractViolation
from tasks.lifecycle import Meaning
from tasks.models import RejectedDelivery, TaskStatusEvent
from tasks.watchdog import Report, Reported, record_report
from tests.factories import body

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "content",
    [
        {**body(status="completed"), "note": "\udc80\0"},
        '{"task_id":"task-1","event_type":"e","status":"completed","progress":5,"task_type":"t","x":"\udc80"}',
        b'{"task_id":"task-1","event_type":"e","status":"completed","progress":5,"task_type":"t"}',
    ],
)
def test_in_each_form_and_once(content: str | bytes | dict[str, object]) -> None:
    report = Report("task-1", content)

    assert record_report(report) == Reported(is_new=True, meaning=Meaning.SUCCEEDED)
    assert record_report(report) == Reported(is_new=False, meaning=Meaning.SUCCEEDED)
    event = TaskStatusEvent.objects.get()
    assert (event.source, event.deliveries) == ("probe", 1)


def test_one_that_breaks_the_contract_is_kept() -> None:
    with pytest.raises(ContractViolation):
        record_report(Report("task-1", {"task_id": "task-1"}))

    assert RejectedDelivery.objects.get().headers == {"Content-Type": "application/json"}
