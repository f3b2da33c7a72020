"""The WSGI application that the server runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sartiq_tasks.settings")

logger = logging.getLogger("sartiq_tasks.wsgi")

_django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Return Django's response, as a list unless it is streamed: Granian sends a list in one piece.

    Of anything else it sends the head before it asks for the body. It does not close a list, so
    Django's response is closed here.
    """
    response: Any = _django(environ, start_response)
    if response.streaming:
        return response  # type: ignore[no-any-return]
    try:
        response.close()
    except Exception:
        logger.exception("A request was answered, but could not be closed")
    return [response.content]
