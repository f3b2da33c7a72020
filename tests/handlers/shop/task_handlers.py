"""The host's handlers, as a stranger would write them."""

import os
import time
from datetime import timedelta

from django.contrib.auth.models import Group
from django.db import connection

from tasks.handlers import Change, on_event


@on_event(task_type="training", name="shop.effect")
def effect(change: Change) -> None:
    if change.task_id.startswith("task-"):
        Group.objects.create(name=f"{change.task_id}:{change.seq}")
        time.sleep(float(os.environ.get("SLOW", "0")))


@on_event(event_type="poison", name="shop.poison", attempts=2)
def poison(change: Change) -> None:
    os._exit(9)


@on_event(event_type="broken", name="shop.closes", attempts=1)
def close(change: Change) -> None:
    Group.objects.create(name="broken-effect")
    connection.connection.close()


@on_event(event_type="broken", name="shop.cut-off", attempts=1)
def cut_off(change: Change) -> None:
    Group.objects.create(name="broken-effect")
    if connection.vendor != "postgresql":
        raise OSError("SQLite has no server to cut it off")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@on_event(
    event_type="hang", name="shop.hang", timeout=timedelta(seconds=float(os.environ.get("HANG_TIMEOUT", "3")))
)
def hang(change: Change) -> None:
    Group.objects.create(name="hang-effect")
    time.sleep(3600)


@on_event(event_type="slow", name="shop.slow", timeout=timedelta(seconds=30))
def slow(change: Change) -> None:
    Group.objects.create(name=f"shop.slow:{change.attempt}")
    time.sleep(7)


@on_event(event_type="slow", name="shop.slow-plain", timeout=timedelta(seconds=30), atomic=False)
def slow_plain(change: Change) -> None:
    time.sleep(7)
    Group.objects.create(name=f"shop.slow-plain:{change.attempt}")
