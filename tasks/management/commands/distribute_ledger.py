"""``manage.py distribute_ledger``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from ...conf import app_settings
from ...database import distribution


class Command(BaseCommand):
    """Spread the ledger over the nodes of a Citus cluster."""

    help = (
        "Spread tasks, events and reactions by task_id over the nodes of a Citus cluster, and copy to every "
        "node the other tables that a delivery reads. Deliveries wait while a table with rows is copied. "
        "The command can be run again: tables that are in their place stay there."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare into how many parts, and whether to do it."""
        parser.add_argument(
            "--shards",
            type=int,
            default=distribution.SHARDS,
            help=f"parts of each table, of which a node holds many ({distribution.SHARDS})",
        )
        parser.add_argument("--dry-run", action="store_true", help="print what would be done and do nothing")

    def handle(self, *, shards: int, dry_run: bool, **options: Any) -> None:
        """Print each step, and do it."""
        connection = distribution.ledger_connection()
        if fault := distribution.fault(connection):
            raise CommandError(fault)
        if missing := set(distribution.places()).difference(connection.introspection.table_names()):
            raise CommandError(
                f"Run manage.py migrate first: these tables are missing: {', '.join(sorted(missing))}."
            )
        if keys := distribution.foreign_keys(connection):
            told = ", ".join(f"{name} of {table}" for table, name in keys)
            raise CommandError(
                f"A foreign key cannot refer to a distributed table: drop {told}, or declare the field with "
                "db_constraint=False and migrate."
            )
        indexes = distribution.unique_indexes(connection)
        steps = 0
        for step in distribution.steps(distribution.placed(connection), indexes, shards=shards):
            self.stdout.write("\n".join(step.words))
            self.stdout.write("".join(f"    {statement};\n" for statement in step.statements))
            if not dry_run:
                with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                    for statement in step.statements:
                        cursor.execute(statement)
            steps += 1
        verb = "would be done" if dry_run else "were done"
        self.stdout.write(f"{steps} steps {verb}." if steps else "Every table is in its place.")
        if not app_settings().distributed:
            self.stdout.write(
                "Set SARTIQ_TASKS['DISTRIBUTED'] = True: without it a delivery asks every node, and the "
                "lists of the admin fail."
            )
