"""Leave an SQLite file that was replaced: a session would stay with it, and lose what it stores."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

#: What tells one file from another at the same path; None if there is none.
_Identity = tuple[int, int] | None


class _Opened(threading.local):
    """The path that each connection of a thread has opened, and the file that was there."""

    def __init__(self) -> None:
        self.files: WeakKeyDictionary[BaseDatabaseWrapper, tuple[str, _Identity]] = WeakKeyDictionary()


_opened = _Opened()


@receiver(connection_created, dispatch_uid=__name__)
def remember_file(connection: Any, **kwargs: Any) -> None:
    """Remember which file a new session has opened."""
    if path := _path_of(connection):
        _opened.files[connection] = path, _identity(path)


def leave_replaced_files(ledger: Any) -> bool:
    """Close this thread's sessions whose file is no longer the one at its path; return whether there was one.

    Raise ``OperationalError`` if the file of the connection ``ledger`` is missing: a new session would
    make an empty one.
    """
    files = _opened.files
    if not files and ledger.vendor != "sqlite":
        return False
    if ledger not in files and (path := _path_of(ledger)) and _identity(path) is None:
        raise OperationalError(f"There is no file {path}")
    is_replaced = False
    for connection, (path, opened) in list(files.items()):
        identity = _identity(path)
        if identity is None:
            if connection is ledger:
                raise OperationalError(f"There is no file {path}")
        elif connection.connection is not None and identity != opened:
            if connection.in_atomic_block:
                raise OperationalError(f"Another file has taken the place of {path}")
            connection.close()
            is_replaced = True
    return is_replaced


def _path_of(connection: Any) -> str | None:
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return None
    name = str(connection.settings_dict["NAME"])
    # Absolute, because SQLite stays with the path even if the process goes to another directory.
    return str(Path(unquote(urlsplit(name).path) if name.startswith("file:") else name).absolute())


def _identity(path: str) -> _Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 (it runs at every delivery, and Path.stat() takes longer)
    except OSError:
        return None
    return found.st_dev, found.st_ino
