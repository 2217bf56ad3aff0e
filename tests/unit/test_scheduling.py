"""Who is painted next and how many at once, with a made-up clock."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.engine.scheduling import BatchCosts, FairQueue, Lane, Waiting, busy_seconds

SIZE = "adain 64x48"


def add(lane, item, client="a", *, now=0.0, size_class=SIZE, seconds=1.0, fits=100):
    lane.add(item, client=client, size_class=size_class, seconds=seconds, fits=fits, now=now)


def learned(lane, times, size_class=SIZE):
    """Tell a lane twice what batches took: seconds a picture by size."""
    for size, each in times.items():
        for _ in range(2):
            lane.record(size_class, size, size * each)


def queue_of(items):
    queue = FairQueue()
    for number, (client, seconds, size_class) in enumerate(items):
        queue.add(Waiting(number, client, size_class, seconds, 100, 0.0, number))
    return queue


ITEMS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.floats(0.01, 10), st.sampled_from((None, "x", "y"))), max_size=40
)


@given(ITEMS, st.integers(1, 8), st.data())
def test_every_item_is_taken_exactly_once(items, most, data):
    queue, taken = queue_of(items), []
    while (lead := queue.first()) is not None:
        if data.draw(st.booleans()):
            batch = queue.pop(lead, most)
            assert len({items[number][2] for number in batch}) == 1
            assert batch[0] == lead.item
            assert len(batch) <= (1 if lead.size_class is None else most)
        else:
            batch = [data.draw(st.sampled_from([waiting.item for waiting in queue]))]
            assert queue.remove(batch[0])
            assert not queue.remove(batch[0])
        taken += batch
    assert sorted(taken) == list(range(len(items)))
    assert len(queue) == 0


@given(st.integers(1, 3), st.integers(1, 8), st.integers(0, 1000))
def test_clients_that_wait_get_the_same_share(count, most, seed):
    """Whoever waited all the time was given as much work as any other, to a batch and one picture."""
    random, clients = Random(seed), "abc"[:count]
    sizes = {client: random.choice((0.5, 1.0, 2.0)) for client in clients}
    queue = queue_of(
        [(client, sizes[client], random.choice((None, "x", "y"))) for client in clients for _ in range(15)]
    )
    given_to = Counter(dict.fromkeys(clients, 0.0))
    while min(Counter(waiting.client for waiting in queue).get(client, 0) for client in clients):
        lead = queue.first()
        owners = {waiting.item: waiting.client for waiting in queue}
        for number in queue.pop(lead, most):
            given_to[owners[number]] += sizes[owners[number]]
        assert max(given_to.values()) - min(given_to.values()) <= (most + 1) * max(sizes.values())


def test_one_that_sends_much_does_not_keep_another_waiting():
    queue = queue_of([("much", 1.0, None)] * 30 + [("little", 1.0, None)])
    order = [queue.pop(queue.first(), 1)[0] for _ in range(3)]
    assert 30 in order[:2]


def test_a_client_that_comes_back_saves_nothing_up_and_owes_nothing():
    queue = queue_of([("a", 1.0, None)] * 10)
    for _ in range(5):
        queue.pop(queue.first(), 1)
    for number in range(100, 105):
        queue.add(Waiting(number, "b", None, 1.0, 1, 0.0, number))
    order = [queue.pop(queue.first(), 1)[0] >= 100 for _ in range(8)]
    assert 3 <= sum(order) <= 5


def test_a_large_picture_costs_its_client_as_much_as_several_small_ones():
    queue = queue_of([("large", 8.0, None)] * 4 + [("small", 1.0, None)] * 20)
    order = ["large" if queue.pop(queue.first(), 1)[0] < 4 else "small" for _ in range(18)]
    assert order.count("large") == 2


def test_a_picture_alone_does_not_wait():
    lane = Lane(max_batch=8, max_delay=1.0)
    learned(lane, {1: 1.0, 2: 0.6, 4: 0.4, 8: 0.3})
    add(lane, "first", now=10.0)
    assert lane.pause(10.0) == 0
    assert lane.take(10.0) == ["first"]


def test_it_waits_for_more_when_more_come_sooner_than_it_saves_and_no_longer_than_allowed():
    lane = Lane(max_batch=8, max_delay=0.5)
    learned(lane, {1: 1.0, 2: 0.6, 4: 0.4, 8: 0.3})
    for number in range(4):
        add(lane, number, now=number * 0.1)
    assert lane.take(0.3) == []
    assert 0 < lane.pause(0.3) <= 0.5
    assert lane.take(0.5) == [0, 1, 2, 3]


def test_a_full_batch_does_not_wait():
    lane = Lane(max_batch=4, max_delay=10.0)
    learned(lane, {1: 1.0, 2: 0.6, 4: 0.4})
    for number in range(9):
        add(lane, number, now=number * 0.01)
    assert lane.take(0.09) == [0, 1, 2, 3]


def test_where_batches_do_not_pay_pictures_are_painted_one_by_one():
    lane = Lane(max_batch=8, max_delay=1.0)
    learned(lane, {1: 1.0, 2: 1.0})
    for number in range(20):
        add(lane, number, now=number * 0.01)
    assert [len(lane.take(0.2)) for _ in range(20)] == [1] * 20


@pytest.mark.parametrize(
    ("each", "best"),
    [
        ({1: 1, 2: 1.1, 4: 1.2, 8: 1.3, 16: 1.4}, 1),
        ({1: 1, 2: 0.6, 4: 0.59, 8: 0.58, 16: 0.57}, 2),
        ({1: 1, 2: 0.6, 4: 0.4, 8: 0.3, 16: 0.25}, 16),
        ({1: 1, 2: 0.8, 4: 0.7, 8: 0.9, 16: 2.0}, 4),
    ],
)
def test_the_size_that_takes_least_is_found_by_trying(each, best):
    costs = BatchCosts()
    for _ in range(40):
        size = costs.best(16)
        costs.record(size, size * each[size])
    assert costs.best(16) == best
    assert costs.best(3) <= 3


@pytest.mark.parametrize(
    ("idle_since", "started", "ended", "seconds"), [(0.0, 0.0, 2.0, 2.0), (0.0, 1.0, 3.0, 3.0), (0.0, 50.0, 53.0, 6.0)]
)
def test_a_worker_that_idles_between_batches_counts_that_but_no_more_than_painting(idle_since, started, ended, seconds):
    assert busy_seconds(idle_since, started, ended) == seconds


def test_batches_that_paint_quicker_but_leave_the_worker_idle_are_given_up():
    costs, now = BatchCosts(), 0.0
    for _ in range(200):
        size = costs.best(4)
        idle = 0.0 if size == 1 else 0.9 * size  # while the pictures that came back together are sent anew
        started, ended = now + idle, now + idle + (1.0 if size == 1 else 0.7 * size)
        costs.record(size, busy_seconds(now, started, ended))
        now = ended
    assert costs.best(4) == 1


def test_a_size_that_has_become_worth_it_is_found_again():
    costs, slow = BatchCosts(), {1: 1.0, 2: 2.0}
    for number in range(400):
        each = slow if number < 100 else {1: 1.0, 2: 0.5}
        size = costs.best(2)
        costs.record(size, size * each[size])
    assert costs.best(2) == 2


def test_the_first_time_of_a_size_which_loads_weights_decides_nothing():
    costs = BatchCosts()
    for size, seconds in ((1, 9.0), (1, 1.0), (2, 8.0), (2, 1.0), (4, 9.0), (4, 4.0)):
        assert costs.best(4) == size
        costs.record(size, seconds)
    assert costs.best(4) == 2


def test_no_more_are_painted_together_than_memory_holds():
    lane = Lane(max_batch=8, max_delay=0.0)
    learned(lane, {1: 1.0, 2: 0.6, 4: 0.4, 8: 0.3})
    for number in range(8):
        add(lane, number, fits=3)
    assert len(lane.take(0.0)) == 2


def test_other_sizes_and_methods_are_painted_apart():
    lane = Lane(max_batch=8, max_delay=0.0)
    for size_class in ("x", "y"):
        learned(lane, {1: 1.0, 2: 0.6, 4: 0.4, 8: 0.3}, size_class)
    for number in range(8):
        add(lane, number, size_class="xy"[number % 2])
    add(lane, "alone", size_class=None)
    assert [lane.take(0.0) for _ in range(4)] == [[0, 2, 4, 6], [1, 3, 5, 7], ["alone"], []]


@given(st.lists(st.tuples(st.floats(0, 0.2), st.sampled_from("abc"), st.floats(0.01, 1)), max_size=30), st.data())
def test_no_picture_waits_longer_than_allowed_while_a_worker_is_free(arrivals, data):
    """A simulated worker: whenever it is free it asks, and sleeps no longer than it is told."""
    lane = Lane(max_batch=4, max_delay=0.05)
    learned(lane, {1: 1.0, 2: 0.6, 4: 0.4})
    now, free, waited, done = 0.0, 0.0, 0.0, []
    coming, at = [], 0.0
    for number, (gap, client, seconds) in enumerate(arrivals):
        at += gap
        coming.append((at, number, client, seconds))
    while coming or len(lane):
        while coming and coming[0][0] <= now:
            at, number, client, seconds = coming.pop(0)
            add(lane, number, client, now=at, seconds=seconds)
        batch = lane.take(now)
        if batch:
            done += batch
            free = now = now + data.draw(st.floats(0.01, 1.0))
            continue
        pause = lane.pause(now)
        following = min([now + pause] if pause is not None else [coming[0][0]], default=now)
        if coming:
            following = min(following, coming[0][0])
        if len(lane):
            oldest = max(free, min(waiting.arrived for waiting in lane._queue if waiting is lane._queue.first()))
            waited = max(waited, following - oldest)
        now = max(now + 1e-9, following)
    assert sorted(done) == list(range(len(arrivals)))
    assert waited <= 0.05 + 1e-6


@pytest.mark.parametrize(("each", "size"), [({1: 1.0, 2: 0.9, 4: 0.9}, 1), ({1: 1.0, 2: 0.7, 4: 0.5}, 2)])
def test_half_of_what_waits_is_left_to_be_read_unless_all_together_save_much(each, size):
    lane = Lane(max_batch=8, max_delay=0.0)
    for together, seconds in each.items():
        for _ in range(3):
            lane.record("a", together, seconds * together)
    for number in range(3):
        lane.add(number, client=str(number), size_class="a", seconds=1.0, fits=8, now=0.0)
    assert len(lane.take(0.0)) == size
