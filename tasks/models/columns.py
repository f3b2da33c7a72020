"""Columns and constraints that several models share."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from ..conf import COLUMN_LENGTH


def name(verbose_name: Any, **options: Any) -> Any:
    """Return a column for a name or identifier as a sender gives it: any text up to the columns' width."""
    return models.CharField(verbose_name, max_length=COLUMN_LENGTH, **options)


def column(field: Any) -> Any:
    """Return ``field`` as what its attribute holds, so that type checkers know it without a plugin."""
    return field


def percentage(name: str) -> models.CheckConstraint:
    """Return the constraint ``name``: progress lies between 0 and 100."""
    return models.CheckConstraint(condition=Q(progress__gte=0) & Q(progress__lte=100), name=name)
