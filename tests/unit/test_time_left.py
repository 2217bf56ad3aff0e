"""The time that is left: from the speed of the latest steps, the first one left out."""

import pytest

from impasto.cli.console import TimeLeft, in_words


def test_after_three_steps_it_is_right_whatever_the_first_took():
    left = TimeLeft()
    left.update(0.0, 0.0)
    left.update(0.001, 80.0)  # weights, the first pass
    assert left.seconds(80.0) is None
    left.update(0.002, 80.5)
    left.update(0.003, 81.0)
    assert left.seconds(81.0) == pytest.approx(0.997 * 500, rel=0.05)
    assert left.seconds(81.4) == pytest.approx(0.997 * 500 - 0.4, rel=0.05)


def test_a_job_that_goes_on_counts_what_is_done_now():
    left = TimeLeft()
    for step, now in ((0, 0.0), (1, 5.0), (2, 6.0), (3, 7.0)):
        left.update(0.9 + 0.01 * step, now)
    assert left.seconds(7.0) == pytest.approx(7, rel=0.05)


def test_it_follows_a_speed_that_changes():
    left, now, share = TimeLeft(), 0.0, 0.0
    for step in range(100):
        now += 0.1 if step < 50 else 1.0
        share += 0.001
        left.update(share, now)
    assert left.seconds(now) == pytest.approx(900, rel=0.1)


def test_it_is_never_below_zero():
    left = TimeLeft()
    for step in range(4):
        left.update(step / 3, step)
    assert left.seconds(1000.0) == 0


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "0 s"), (59.4, "59 s"), (125, "2:05"), (3725, "1:02:05")])
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words
