"""Where the processor time of one request goes: the stages of posts made in this process, on PostgreSQL."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any
from unittest.mock import patch

from .contenders import WEBHOOK, environment_of_ours
from .postgresql import postgresql


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.profile", description=__doc__)
    parser.add_argument("--requests", type=int, default=5000, help="requests to look at (default 5000)")
    parser.add_argument("--user", action="store_true", help="post with a user's token, not a client's own")
    given = parser.parse_args()
    with postgresql() as database:
        os.environ.update(environment_of_ours(database.url("postgres")))
        os.environ["DJANGO_SETTINGS_MODULE"] = "sartiq_tasks.settings"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        spent = measure(given.requests, user=given.user)
    whole = spent.pop("all")
    rest = [total - sum(parts) for total, *parts in zip(whole, *spent.values(), strict=True)]
    spent["Django, DRF, the middleware, the answer"] = rest
    print("| stage | microseconds of processor, median |\n|---|---|")
    for stage, times in [*spent.items(), ("all", whole)]:
        print(f"| {stage} | {median(times) * 1e6:.0f} |")


def measure(requests: int, *, user: bool) -> dict[str, list[float]]:
    """Post ``requests`` events through the WSGI handler; return the time of each stage of each."""
    from django.core.wsgi import get_wsgi_application
    from django.test import RequestFactory

    from tasks import serializers, views
    from tasks.auth.authentication import BearerTokenAuthentication
    from tasks.auth.permissions import MayPostEvents
    from tasks.serializers import TaskStatusEventSerializer

    token = users_token() if user else clients_token()
    application, spent = get_wsgi_application(), {"all": []}
    factory = RequestFactory(SERVER_NAME="127.0.0.1")
    stages = {
        "token: cached, the checks": (BearerTokenAuthentication, "authenticate"),
        "scope and permission": (MayPostEvents, "has_permission"),
        "the body parsed": (serializers, "parse_json"),
        "the event validated": (TaskStatusEventSerializer, "run_validation"),
        "the digest": (serializers, "payload_digest"),
        "the event recorded: state, statement, commit": (views, "record_event"),
    }
    for stage, (owner, name) in stages.items():
        spent[stage] = []
        patch.object(owner, name, timed(getattr(owner, name), spent[stage])).start()
    for number in range(requests + 500):
        sent = factory.post(
            WEBHOOK, body(number), "application/json", HTTP_AUTHORIZATION=f"Bearer {token}"
        ).environ
        start = time.thread_time()
        answer = application(sent, lambda status, headers: None)
        answer.close()
        spent["all"].append(time.thread_time() - start)
        if answer.status_code != 200:
            raise SystemExit(f"answered {answer.status_code}: {answer.content!r}")
    patch.stopall()
    # The first requests prepare and fill caches.
    return {stage: times[500:] for stage, times in spent.items()}


def clients_token() -> str:
    """Return a token of a client's own, such as the cluster's."""
    from tasks.auth.clients import create_compute_client, issue_token

    return issue_token(create_compute_client("profile")[0])


def users_token() -> str:
    """Return a token of a user who may add events, as the original's login form gave them."""
    from django.contrib.auth.models import Permission, User
    from oauth2_provider.models import get_access_token_model

    from tasks.auth.clients import issue_token, password_client

    token = issue_token(password_client())
    user = User.objects.create_user("profile")
    user.user_permissions.add(Permission.objects.get(codename="add_taskstatusevent"))
    get_access_token_model().objects.update(user=user)
    return token


def timed(function: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    """Return ``function``, which then notes how long each call took."""

    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            times.append(time.thread_time() - start)

    return call


def body(number: int) -> dict[str, Any]:
    """Return an event as ``post.lua`` makes them."""
    return {
        "event_type": "training_status_update",
        "task_id": f"train-{number % 1000:05d}",
        "status": "running",
        "progress": number % 10000 / 100,
        "task_type": "model_training",
        "entity_id": f"project-{number % 500:04d}",
        "origin_instance": f"gpu-worker-{number % 200:03d}.cluster.internal",
        "origin_zone": "eu-central-1a",
        "origin_version": "2.14.3",
        "timestamp": f"2026-05-01T09:00:00.{number % 1000000:06d}Z",
        "started_at": "2026-05-01T08:00:00Z",
        "metadata": {
            "epoch": number % 90,
            "step": number,
            "loss": 0.123456,
            "learning_rate": 0.0003,
            "gpu": {"name": "NVIDIA A100-SXM4-80GB", "memory_used_mb": 40000, "utilisation": number % 100},
            "message": "step done",
            "tokens_per_second": 1234,
        },
        "additional_properties": {"sender": "profile", "sequence": number, "scheduler": "slurm"},
    }


if __name__ == "__main__":
    main()
