"""The app's URLs, for a backend to ``include()`` under ``api/v1/``."""

from django.urls import path

from .auth.views import AccessTokenView
from .openapi.views import DocsView, DocumentView
from .views import TaskWebhookView

app_name = "sartiq_tasks"

urlpatterns = [
    path("tasks/webhook", TaskWebhookView.as_view(), name="webhook"),
    # The same with a final slash, never by a redirect: a redirected POST loses its body.
    path("tasks/webhook/", TaskWebhookView.as_view(schema=None)),
    path("login/access-token", AccessTokenView.as_view(), name="access-token"),
    path("login/access-token/", AccessTokenView.as_view()),
    path("openapi.json", DocumentView.as_view(), name="openapi"),
    path("docs", DocsView.as_view(), name="docs"),
]
