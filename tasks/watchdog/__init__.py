"""The watchdog asks the cluster about silent tasks, records the answers, and only then marks tasks as lost.

A host's probe imports from here. ``docs/lost-endings.md`` explains it.
"""

from .answers import Alive, Gone, Report
from .reporting import Reported, record_report

__all__ = ("Alive", "Gone", "Report", "Reported", "record_report")
