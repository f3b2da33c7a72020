"""Run programs in copies of one Python process, which has imported what most of them import.

A command of a Django project imports for a second and works for a tenth of one. Whatever does not read
Django's settings can be imported once for all of them; each copy imports the rest. The Python of any
environment can run this file. A line of its input asks for a program, or how one has ended; a line answers.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path

#: None of them reads a setting, and none is the app's. Those that are not installed are left out.
LIBRARIES = (
    "asyncio", "concurrent.futures", "coverage", "cryptography.x509", "django.contrib.postgres.fields",
    "django.core.management", "django.core.serializers.json", "django.core.servers.basehttp",
    "django.db.backends.postgresql.psycopg_any", "django.db.backends.sqlite3.base",
    "django.db.migrations.executor", "django.db.models", "django.forms", "django.http",
    "django.template.defaulttags", "django.template.loader_tags", "django.test", "django.urls",
    "django.utils.autoreload", "django.views.debug", "inflection", "jsonschema", "jwcrypto.jwk",
    "jwcrypto.jwt", "oauthlib.oauth2", "oauthlib.openid", "psycopg", "requests", "typing_extensions",
    "uritemplate", "yaml",
)  # fmt: skip


def main() -> None:
    """Answer until the input ends. In a copy, run the program instead, and end as it ends."""
    del sys.path[0]  # this file's directory, whose modules are no libraries
    import_libraries()
    gc.freeze()  # the copies need not look for garbage in what they share
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        if "look" in asked:
            ended, status = os.waitpid(asked["look"], 0 if asked["wait"] else os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        elif (answer := os.fork()) == 0:
            run(**asked)
            return
        print(json.dumps(answer), flush=True)


def import_libraries() -> None:
    """Leave those that warn to the program, which may have asked for warnings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in LIBRARIES:
            with suppress(ImportError, Warning):
                import_module(name)


def run(
    arguments: list[str], cwd: str, environment: dict[str, str], streams: list[str], timeout: int | None
) -> None:
    """Do as ``python *arguments`` would: options such as ``-W error``, then ``-c``, ``-m`` or a file.

    It reads nothing, writes to the files ``streams``, and is killed after ``timeout`` seconds.
    """
    signal.alarm(timeout or 0)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    if "COVERAGE_PROCESS_CONFIG" in environment:
        import coverage

        coverage.process_startup()
    for number, (name, mode) in enumerate(zip([os.devnull, *streams], ["rb", "ab", "ab"], strict=True)):
        with Path(name).open(mode) as file:
            os.dup2(file.fileno(), number)
    sys.path.insert(0, cwd)
    while arguments[0] == "-W":
        sys.warnoptions.append(arguments[1])
        warnings.simplefilter(arguments[1])  # type: ignore[arg-type]
        arguments = arguments[2:]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        return
    if arguments[0] == "-c":
        path, code, sys.argv = "<string>", arguments[1], ["-c", *arguments[2:]]
    else:
        path = str(Path(cwd, arguments[0]))
        code, sys.argv = Path(path).read_text(), arguments
    exec(compile(code, path, "exec"), {"__name__": "__main__", "__file__": path})


if __name__ == "__main__":
    main()
