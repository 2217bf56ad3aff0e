"""The tests of the Python client once more, with the pictures painted on a real Ray cluster of four nodes."""

import pytest

from edges.test_client import *  # noqa: F403 - all its tests and fixtures

pytestmark = [pytest.mark.process, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

del test_a_job_that_fails_tells_its_error  # noqa: F821 - it breaks this process's engine, which paints nothing
