"""Fuzz parser and serializer, guided by coverage (Atheris): ``python -m fuzz.body [INPUT ...]``.

Runs for ``FUZZ_SECONDS`` on bodies made from the contract's cases. With inputs it runs those alone,
such as one that was found before.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
#: What a run leaves: the bodies that reached new code, and those that broke a promise.
KEPT = ROOT / "local" / "fuzz"
CASES = ROOT / "tests" / "contract" / "cases.jsonl"
#: A body that takes longer than this, in seconds, is a finding.
TIMEOUT = 5
MAX_LENGTH = 16384
TOKENS = (
    b'"', b":", b",", b"{", b"}", b"[", b"]", b"{}", b"[]", b'""', b"true", b"false", b"null",
    b"NaN", b"-Infinity", b"-0", b"-0.0", b"0.1", b"1e5", b"1E-400", b"1e400", b"100.00000000000001",
    b"9007199254740993", b'\\"', b"\\\\", b"\\/", b"\\n", b"\\u0000", b"\\ud800", b"\\udfff",
    b"\\ud83d\\ude00", b"\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80",
    b"2024-05-01T12:00:00Z", b"2016-12-31T23:59:60Z", b"0001-01-01T00:00:00+23:59",
    b"9999-12-31T23:59:59.999999-23:59", b"T24:00:00", b".123456789", b"unknown_fields",
)  # fmt: skip
#: The event that is mutated in place of a body that is not one.
EVENT = {"event_type": "a", "task_id": "b", "status": "running", "progress": 50.5, "task_type": "c"}


def seeds() -> list[bytes]:
    """Return the bodies of the contract's cases."""
    cases = [json.loads(line) for line in CASES.read_text().splitlines()]
    return [case["body"].encode("utf-8", "surrogatepass") for case in cases if case["body"] is not None]


def dictionary(names: list[str]) -> str:
    """Return libFuzzer's dictionary: the tokens of JSON and the fields' ``names``."""
    tokens = [*TOKENS, *(f'"{name}":'.encode() for name in names)]
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in tokens)


def mutated_event(body: bytes, names: list[str], mutate: Callable[[bytes], bytes], seed: int) -> bytes:
    """Return the event ``body``, or another if it is not an event, with one member mutated.

    Bytes that are changed anywhere are seldom an event; these often are.
    """
    try:
        members = EVENT | json.loads(body)
    except (RecursionError, TypeError, ValueError):
        members = EVENT
    name = random.Random(seed).choice(names)
    value = members.get(name, "")
    if isinstance(value, str):  # stays one, and may reach what judges text
        mutated = json.dumps(mutate(value.encode("utf-8", "replace")).decode("utf-8", "replace")).encode()
    else:
        mutated = mutate(json.dumps(value).encode())
    texts = {key: json.dumps(item).encode() for key, item in members.items()} | {name: mutated}
    return b"{" + b",".join(json.dumps(key).encode() + b":" + text for key, text in texts.items()) + b"}"


def main() -> None:
    """Run until the time is over, which exits with 0, or until something is found."""
    try:
        import atheris
    except ImportError:
        sys.exit(f"{sys.executable} has no Atheris, so nothing was fuzzed: `make fuzz` installs it.")

    inputs, seconds = sys.argv[1:], int(os.environ.get("FUZZ_SECONDS", "60"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ["TEST_DB"] = "sqlite"  # which no body gets as far as
    with atheris.instrument_imports(include=["tasks"]):
        import django

        django.setup()
        from fuzz.target import is_accepted
    from tasks.serializers import task_status_event

    KEPT.mkdir(parents=True, exist_ok=True)
    progress = tqdm(unit=" bodies", mininterval=1)
    accepted = 0
    end = time.monotonic() + seconds

    def run_one(body: bytes) -> None:
        nonlocal accepted
        try:
            accepted += is_accepted(body)
        except Exception:
            path = KEPT / f"crash-{hashlib.sha1(body).hexdigest()}"
            print(f"\nA finding, after {progress.n} bodies. The body is kept. To run it again:")
            print(f"    .venv-fuzz/bin/python -m fuzz.body {path.relative_to(ROOT)}", flush=True)
            raise
        progress.update()
        if not inputs and time.monotonic() > end:
            # libFuzzer would end the process itself, without a word of ours.
            progress.close()
            print(f"{progress.n} bodies in {seconds} s, {accepted} of them accepted: no finding", flush=True)
            os._exit(0)

    def mutate(body: bytes, max_size: int, seed: int) -> bytes:
        def any_bytes(part: bytes) -> bytes:
            return bytes(atheris.Mutate(part, max_size))

        changed = mutated_event(body, names, any_bytes, seed) if seed % 2 else any_bytes(body)
        return changed[:max_size]

    names = list(task_status_event.fields)
    arguments = [f"-timeout={TIMEOUT}", f"-artifact_prefix={KEPT}/", *(inputs or _prepared(names))]
    atheris.Setup([sys.argv[0], *arguments], run_one, custom_mutator=mutate)
    atheris.Fuzz()


def _prepared(names: list[str]) -> list[str]:
    """Return the arguments of a run, with the files that they name written."""
    corpus, seed, tokens = KEPT / "corpus", KEPT / "seeds", KEPT / "tokens"
    shutil.rmtree(seed, ignore_errors=True)
    for directory in (corpus, seed):
        directory.mkdir(exist_ok=True)
    for number, body in enumerate(seeds()):
        (seed / str(number)).write_bytes(body)
    tokens.write_text(dictionary(names))
    return [f"-max_len={MAX_LENGTH}", f"-dict={tokens}", "-verbosity=0", str(corpus), str(seed)]


if __name__ == "__main__":
    main()
