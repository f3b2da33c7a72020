"""Three unusual values of each of DRF's settings."""

from __future__ import annotations

from typing import Any

_HERE = "tests.hosts.odd_classes."
_DRF = "rest_framework."
#: Every setting of ``rest_framework.settings.DEFAULTS``, as a host would write it.
ODD: dict[str, tuple[Any, Any, Any]] = {
    "DEFAULT_RENDERER_CLASSES": ([f"{_HERE}Shouting"], [f"{_DRF}renderers.BrowsableAPIRenderer"], []),
    "DEFAULT_PARSER_CLASSES": ([f"{_HERE}Deaf"], [f"{_DRF}parsers.FileUploadParser"], []),
    "DEFAULT_AUTHENTICATION_CLASSES": (
        [f"{_HERE}Nobody"],
        [f"{_DRF}authentication.RemoteUserAuthentication"],
        [],
    ),
    "DEFAULT_PERMISSION_CLASSES": ([f"{_HERE}Nothing"], [f"{_DRF}permissions.DjangoModelPermissions"], []),
    "DEFAULT_THROTTLE_CLASSES": (
        [f"{_HERE}Never"],
        [f"{_DRF}throttling.AnonRateThrottle"],
        [f"{_DRF}throttling.ScopedRateThrottle"],
    ),
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": (f"{_HERE}Stubborn", None, f"{_HERE}Stubborn"),
    "DEFAULT_METADATA_CLASS": (f"{_HERE}Chatty", None, f"{_HERE}Chatty"),
    "DEFAULT_VERSIONING_CLASS": (
        f"{_DRF}versioning.NamespaceVersioning",
        f"{_DRF}versioning.AcceptHeaderVersioning",
        f"{_DRF}versioning.HostNameVersioning",
    ),
    "DEFAULT_PAGINATION_CLASS": (
        f"{_DRF}pagination.CursorPagination",
        None,
        f"{_DRF}pagination.PageNumberPagination",
    ),
    "DEFAULT_FILTER_BACKENDS": ([f"{_DRF}filters.SearchFilter"], [f"{_DRF}filters.OrderingFilter"], None),
    "DEFAULT_SCHEMA_CLASS": (
        "drf_spectacular.openapi.AutoSchema",
        None,
        f"{_DRF}schemas.openapi.AutoSchema",
    ),
    "DEFAULT_THROTTLE_RATES": ({"anon": "1/day", "user": "1/day"}, {}, {"anon": None}),
    "NUM_PROXIES": (0, 1, 7),
    "PAGE_SIZE": (1, 0, -1),
    "SEARCH_PARAM": ("task_id", "", None),
    "ORDERING_PARAM": ("status", "", None),
    "DEFAULT_VERSION": ("2", "", 2),
    "ALLOWED_VERSIONS": (["2"], [], ("1", "2")),
    "VERSION_PARAM": ("tenant", "", "format"),
    "UNAUTHENTICATED_USER": (None, f"{_HERE}Stranger", f"{_HERE}no_token"),
    "UNAUTHENTICATED_TOKEN": (f"{_HERE}no_token", f"{_HERE}Stranger", None),
    "VIEW_NAME_FUNCTION": (f"{_HERE}nameless", None, f"{_HERE}nameless"),
    "VIEW_DESCRIPTION_FUNCTION": (f"{_HERE}nameless", None, f"{_HERE}nameless"),
    "EXCEPTION_HANDLER": (f"{_HERE}swallow", f"{_HERE}relabel", None),
    "NON_FIELD_ERRORS_KEY": ("detail", "", None),
    "LIST_SERIALIZER_ERRORS_AS_DICT": (False, None, "no"),
    "TEST_REQUEST_RENDERER_CLASSES": ([f"{_HERE}Shouting"], [], [f"{_DRF}renderers.JSONRenderer"]),
    "TEST_REQUEST_DEFAULT_FORMAT": ("shout", None, "json"),
    "URL_FORMAT_OVERRIDE": ("odd", None, "status"),
    "FORMAT_SUFFIX_KWARG": ("tenant", None, ""),
    "URL_FIELD_NAME": ("task_id", "", "detail"),
    "DATE_FORMAT": ("%d.%m.%y", None, ""),
    "DATE_INPUT_FORMATS": (["%d.%m.%y"], [], [""]),
    "DATETIME_FORMAT": ("%H:%M on %d.%m.%y", None, ""),
    "DATETIME_INPUT_FORMATS": (["%H:%M on %d.%m.%y"], [], [""]),
    "TIME_FORMAT": ("%M past %H", None, ""),
    "TIME_INPUT_FORMATS": (["%M past %H"], [], [""]),
    "DURATION_FORMAT": ("iso-8601", None, "iso-8601"),
    "UNICODE_JSON": (False, None, "no"),
    "COMPACT_JSON": (False, None, "no"),
    "STRICT_JSON": (False, None, "no"),
    "COERCE_DECIMAL_TO_STRING": (False, None, "no"),
    "COERCE_BIGINT_TO_STRING": (True, None, "yes"),
    "UPLOADED_FILES_USE_URL": (False, None, "no"),
    "HTML_SELECT_CUTOFF": (0, None, -1),
    "HTML_SELECT_CUTOFF_TEXT": ("", None, "{odd}"),
    "SCHEMA_COERCE_PATH_PK": (False, None, "no"),
    "SCHEMA_COERCE_METHOD_NAMES": ({"post": "odd"}, {}, None),
}
