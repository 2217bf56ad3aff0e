"""The tests of gRPC once more, with the pictures painted by replicas on a real Ray cluster of four nodes.

Streams of frames are painted by the service itself, here as there: each frame needs the one before it.
"""

import pytest

from unit.test_grpc import *  # noqa: F403 - all its tests and fixtures

pytestmark = [pytest.mark.process, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

del test_a_job_that_fails_ends_the_call_with_its_error  # noqa: F821 - it breaks this process's engine, which paints nothing
