"""The project's URLs."""

from django.contrib import admin
from django.urls import include, path

from tasks.ops.health import healthz, readyz
from tasks.ops.metrics import MetricsView

# With the count of the deliveries that were rejected in the last day.
admin.site.index_template = "admin/sartiq_tasks/index.html"

urlpatterns = [
    path("api/v1/", include("tasks.urls")),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", MetricsView.as_view()),
]
