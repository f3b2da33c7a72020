"""The settings of a host with an unusual value of each of DRF's settings; ``ODD`` says which of three."""

import os

from tests.hosts.odd_values import ODD
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["default"]["TEST"] = {
    "NAME": "test_odd" if "postgresql" in DATABASES["default"]["ENGINE"] else None
}

REST_FRAMEWORK = {name: values[int(os.environ["ODD"])] for name, values in ODD.items()}
