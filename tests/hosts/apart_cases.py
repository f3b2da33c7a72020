"""The cases that ``test_no_default_database.py`` runs with Django's own runner."""

from __future__ import annotations

from io import StringIO
from typing import Any

from django.core.management import call_command
from django.test import Client, TestCase
from django.urls import reverse

from tasks.handlers.registry import declaring, on_change
from tasks.models import Reaction, RejectedDelivery, Task, TaskStatusEvent
from tests import factories
from tests.conftest import WEBHOOK


def page(model: str, action: str, *args: Any) -> str:
    return reverse(f"admin:sartiq_tasks_{model}_{action}", args=args)


class NoDefaultDatabase(TestCase):
    """Nothing asks the default database, not even how it would write a query."""

    databases = {"own"}

    def test_a_client_is_created_gets_a_token_and_posts(self) -> None:
        """Deliveries are stored: by a token that is read, and then by a cached one."""
        said = StringIO()
        call_command("create_compute_client", "cluster", "--token", stdout=said)
        token = said.getvalue().rpartition("access_token: ")[2].strip()
        sender = Client(headers={"Authorization": f"Bearer {token}"})

        answers = [
            sender.post(WEBHOOK, factories.body(progress=progress), content_type="application/json")
            for progress in (1, 2, 101)
        ]

        assert [answer.status_code for answer in answers] == [200, 200, 422]
        assert TaskStatusEvent.objects.count() == 2
        assert RejectedDelivery.objects.count() == 1
        assert Client().get("/readyz").status_code == 200

    def test_every_page_of_the_admin(self) -> None:
        """The lists with their counts, filters and searches, and the pages of rows."""
        with declaring():
            on_change(name="shop")(print)
            for number, status in enumerate(("running", "failed", "completed") * 20):
                factories.record(task_id=f"task-{number}", status=status, error_message=f"no. {number}")
            rejected = factories.rejected()
            event, reaction = TaskStatusEvent.objects.latest("pk"), Reaction.objects.latest("pk")
            tasks = page("task", "changelist")
            paths = [
                reverse("admin:index"), page("overview", "changelist"), tasks, f"{tasks}?meaning=failed",
                f"{tasks}?silent=1", f"{tasks}?q=task-1", f"{tasks}?q=*sk-1", f"{tasks}?p=2",
                f"{tasks}?o=3", f"{tasks}export.csv", page("task", "change", "task-1"),
                page("taskstatusevent", "changelist"), page("taskstatusevent", "change", event.pk),
                page("rejecteddelivery", "changelist"), page("rejecteddelivery", "change", rejected.pk),
                page("handler", "changelist"), page("reaction", "changelist"),
                page("reaction", "changelist") + "?state=pending&q=task",
                page("reaction", "change", reaction.pk),
            ]  # fmt: skip
            staff = Client()
            staff.force_login(factories.user(is_staff=True, is_superuser=True))
            for path in paths:
                with self.subTest(path):
                    answer: Any = staff.get(path)
                    assert answer.status_code == 200
                    assert answer.getvalue()

    def test_every_command_and_check(self) -> None:
        """What looks after the ledger."""
        factories.record(status="completed", received_at=factories.NOON)
        for line in (
            "check --fail-level WARNING --database own",
            "rebuild_tasks",
            "handlers",
            "silence_report",
            "prune_task_events --older-than 1h --remove-tasks",
        ):
            with self.subTest(line):
                call_command(*line.split(), stdout=StringIO(), stderr=StringIO())
        assert not Task.objects.exists()
