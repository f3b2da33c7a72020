"""Tell an event that this database can never hold from a database that is away."""

from __future__ import annotations

from django.db import DataError, Error

from ..exceptions import ContractViolation

#: The class of SQLSTATE for what is over a limit of the server: a value too long for an index or for jsonb.
_PROGRAM_LIMIT_EXCEEDED = "54"


def reject_fault_of_data(error: Error | UnicodeEncodeError) -> None:
    """Raise ``ContractViolation`` if ``error`` says that the database cannot hold what it was given.

    After any other error the same data may be stored later.
    """
    if not is_fault_of_data(error):
        return
    reason = str(error).partition("\n")[0].encode("ascii", "backslashreplace").decode()
    item = {
        "type": "unstorable",
        "loc": ["body"],
        "msg": "The database of this server cannot store the event",
        "ctx": {"error": reason},
    }
    raise ContractViolation([item]) from error


def is_fault_of_data(error: BaseException) -> bool:
    """Return whether the same data would fail again, however healthy the database is."""
    if isinstance(error, (DataError, UnicodeEncodeError)):
        return True
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return str(state).startswith(_PROGRAM_LIMIT_EXCEEDED)
