"""Health checks for a load balancer and an orchestrator; their answers have no secrets in them."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db import Error, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..database.live_connection import on_live_connection
from ..ledger.upsert import EVENT_COLUMNS, insert_event
from ..models import TaskStatusEvent

__all__ = ("healthz", "readyz")


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest, **kwargs: object) -> JsonResponse:
    """Answer 200, without the database: the process takes requests."""
    return JsonResponse({"status": "ok"})


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest, **kwargs: object) -> JsonResponse:
    """Answer 200 if an event can be stored, otherwise 503 with the reason."""
    try:
        if on_live_connection(_has_pending_migrations):
            return _unavailable("migrations")
    except Error:
        return _unavailable("database")
    try:
        on_live_connection(_store_nothing)
    except Error:
        return _unavailable("writing")
    return JsonResponse({"status": "ok"})


def _unavailable(reason: str) -> JsonResponse:
    return JsonResponse({"status": "unavailable", "reason": reason}, status=503)


def _store_nothing() -> None:
    """Run the statement that stores an event, without an event: it fails if storing one would fail."""
    statement = insert_event(condition="1 = 0")
    with connections[router.db_for_write(TaskStatusEvent)].cursor() as cursor:
        cursor.execute(statement, [None] * len(EVENT_COLUMNS))


def _has_pending_migrations() -> bool:
    """Return whether the ledger's database lacks a migration, of any app that may have tables there."""
    using = router.db_for_write(TaskStatusEvent)
    executor = MigrationExecutor(connections[using])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return any(router.allow_migrate(using, migration.app_label) for migration, _is_backwards in plan)
