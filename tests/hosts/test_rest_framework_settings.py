"""A host with unusual DRF settings from the start: DRF binds most of them when it is imported."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.forking import run_forked
from tests.hosts.environments import ROOT, once
from tests.hosts.odd_cases import answers


@once
@pytest.mark.django_db
@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_answer_is_another(number: int) -> None:
    odd = {"DJANGO_SETTINGS_MODULE": "tests.hosts.odd_settings", "ODD": str(number)}
    command = (sys.executable, "-m", "django", "test", "tests.hosts.odd_cases", "--no-input")

    done = run_forked(*command, cwd=ROOT, env=os.environ | odd | {"EXPECTED": json.dumps(answers())})

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 1 test" in done.stderr
