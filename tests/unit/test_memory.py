"""The process's switch that keeps freed memory: set by the jobs that run, and not flipped by each."""

from impasto.memory import FreedMemory


def test_freed_memory_is_kept_but_not_while_a_limited_job_runs():
    switched = []
    freed = FreedMemory(switched.append)
    with freed.during_job(limited=False):
        assert switched == [True]
    with freed.during_job(limited=False):
        assert switched == [True]  # as it is: nothing is set again
        with freed.during_job(limited=True):  # in another thread, say
            assert switched == [True, False]
            with freed.during_job(limited=False):
                assert switched == [True, False]  # the limit holds for the process
        assert switched == [True, False, True]


def test_a_job_that_fails_lifts_its_limit():
    switched = []
    freed = FreedMemory(switched.append)
    try:
        with freed.during_job(limited=True):
            raise KeyError
    except KeyError:
        pass
    with freed.during_job(limited=False):
        assert switched == [True]
