"""The project's URLs."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("api/v1/", include("tasks.urls")),
    path("admin/", admin.site.urls),
]
