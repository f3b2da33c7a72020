"""Record the cluster's report as an event, judged as the webhook judges one."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.db import router

from ..conf import app_settings
from ..exceptions import BodyTooLarge
from ..ledger.recording import record_event
from ..lifecycle import Meaning, meaning_of
from ..models import TaskStatusEvent
from ..rejections import REJECTIONS, keep_rejected
from ..serializers import read_event
from .answers import ProbeFailed, Report

#: The source of the events that the watchdog records.
SOURCE = "probe"
_CONTENT_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Reported:
    """The outcome of recording a report, and the meaning of its status."""

    is_new: bool
    meaning: Meaning


def record_report(report: Report) -> Reported:
    """Validate a report as the webhook validates a delivery, and record it as an event with its own source.

    The key is the body's digest: the same body is stored once, also if the sender has posted it. One
    that breaks the contract is kept as a rejected delivery, and raises what rejects it. One that is
    about another task raises ``ProbeFailed``.
    """
    raw = _raw(report)
    try:
        if len(raw) > app_settings().max_body_bytes:
            raise BodyTooLarge(app_settings().max_body_bytes, start=raw)
        event, digest = read_event(raw, _CONTENT_TYPE)
        if event["task_id"] != report.task_id:
            raise ProbeFailed("The cluster's report is about another task.")
        meaning = meaning_of(event["status"], app_settings())
        events = TaskStatusEvent.objects.using(router.db_for_write(TaskStatusEvent))
        if events.filter(task_id=report.task_id, payload_digest=digest).exists():
            return Reported(is_new=False, meaning=meaning)
        recorded = record_event(event=event, digest=digest, source=SOURCE)
    except REJECTIONS as rejection:
        headers = {"Content-Type": _CONTENT_TYPE}
        keep_rejected(rejection, body=raw, headers=headers, source=SOURCE, idempotency_key=None)
        raise
    return Reported(is_new=not recorded.duplicate, meaning=meaning)


def _raw(report: Report) -> bytes:
    if isinstance(report.body, bytes):
        return report.body
    if isinstance(report.body, str):
        return report.body.encode("utf-8", "surrogatepass")
    return json.dumps(report.body).encode()
