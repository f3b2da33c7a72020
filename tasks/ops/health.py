"""What a load balancer and an orchestrator ask; the answers tell nobody anything secret."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db import Error, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..database.live_connection import on_live_connection
from ..models import TaskStatusEvent


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200: the process takes requests. It asks nothing of the database."""
    return JsonResponse({"status": "ok"})


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 if the database can be reached and has all migrations, else 503."""
    try:
        pending = on_live_connection(_has_pending_migrations)
    except Error:
        return JsonResponse({"status": "unavailable", "reason": "database"}, status=503)
    if pending:
        return JsonResponse({"status": "unavailable", "reason": "migrations"}, status=503)
    return JsonResponse({"status": "ok"})


def _has_pending_migrations() -> bool:
    executor = MigrationExecutor(connections[router.db_for_write(TaskStatusEvent)])
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
