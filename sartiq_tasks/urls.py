"""The project's URLs."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from tasks.ops.health import healthz, readyz
from tasks.ops.metrics import MetricsView

# This template puts what needs somebody at the top of the start page.
admin.site.index_template = "admin/sartiq_tasks/index.html"
admin.site.site_header = admin.site.site_title = "Sartiq compute tasks"
# There is no other site that the admin could link to.
admin.site.site_url = None


@csrf_exempt
@require_safe
def home(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the admin."""
    return redirect("admin:index")


@csrf_exempt
def not_found(request: HttpRequest) -> JsonResponse:
    """Answer a mistyped path of the API as the API answers."""
    return JsonResponse({"detail": "Not Found"}, status=404)


@csrf_exempt
@require_safe
def favicon(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the picture, which browsers ask for at the root of any site."""
    return redirect(static("sartiq_tasks/favicon.svg"))


urlpatterns = [
    path("", home),
    path("favicon.ico", favicon),
    path("api/v1/", include("tasks.urls")),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", MetricsView.as_view()),
    re_path("^api(?:/|$)", not_found),
]
