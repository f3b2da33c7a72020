"""The project's URLs."""

from django.contrib import admin
from django.urls import include, path

from tasks.health import healthz, readyz

urlpatterns = [
    path("api/v1/", include("tasks.urls")),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("readyz", readyz),
]
