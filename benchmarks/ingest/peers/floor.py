"""The floor: a Django view that does nothing, on the same server with the same options."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="the floor keeps no secret")


def empty(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"id": 1, "task_id": "task", "duplicate": False})


urlpatterns = [path("api/v1/tasks/webhook", empty)]
application = get_wsgi_application()
