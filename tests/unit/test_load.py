"""The load generator: clients that each wait for their picture, and two ways set against each other."""

import asyncio
import math
from itertools import pairwise

import pytest

from impasto.bench.load import Heard, Load, compare, drive, quantile
from impasto.errors import ResourceError


@pytest.mark.parametrize(
    ("values", "share", "wanted"), [([3, 1, 2], 0.5, 2), ([1, 2], 0.5, 1), (range(1, 101), 0.99, 99), ([7], 0.99, 7)]
)
def test_quantiles_are_values_that_were_measured(values, share, wanted):
    assert quantile(list(values), share) == wanted
    assert math.isnan(quantile([], share))


def test_each_client_has_one_picture_under_way():
    under_way, most, seen = {}, 0, set()

    async def send(client):
        nonlocal most
        assert not under_way.get(client)
        under_way[client] = True
        most = max(most, sum(under_way.values()))
        seen.add(client)
        await asyncio.sleep(0.002)
        under_way[client] = False

    heard = Heard()
    asyncio.run(drive(send, 5, 0.1, heard))
    assert most == 5
    assert seen == set(range(5))
    assert len(heard.times) >= 5
    assert all(seconds >= 0.002 for seconds in heard.times)
    row = heard.row()
    assert row["pictures_a_second"] == pytest.approx(len(heard.times) / heard.seconds)
    assert row["p50_ms"] <= row["p99_ms"]


def test_refused_requests_are_counted_and_not_timed():
    async def send(client):
        raise ResourceError("full", "")

    heard = Heard()
    asyncio.run(drive(send, 2, 0.08, heard))
    assert heard.errors >= 2
    assert not heard.times
    assert math.isnan(heard.row()["p50_ms"])


def test_two_ways_are_driven_in_turn():
    order = []

    def way(name, seconds):
        async def send(client):
            order.append(name)
            await asyncio.sleep(seconds)

        return send

    told, spent = [], iter(range(100))
    ways = {"off": way("off", 0.004), "on": way("on", 0.001)}
    rows = asyncio.run(
        compare(ways, Load((1, 2), 0.05, 2), meters={"on": lambda: next(spent)}, on_progress=told.append)
    )
    rounds = [order[0]] + [after for before, after in pairwise(order) if before != after]
    assert rounds == ["off", "on", "off", "on", "off", "on", "off"]  # off on off on | on off on off
    assert [(row["batching"], row["clients"]) for row in rows] == [("off", 1), ("on", 1), ("off", 2), ("on", 2)]
    assert rows[0]["throughput_ratio"] == 1
    for name, ratio in (("pictures_a_second", "throughput_ratio"), ("p50_ms", "p50_ratio")):
        assert rows[1][ratio] == pytest.approx(rows[1][name] / rows[0][name])
    assert [row["processor_ms"] * row["pictures"] for row in rows] == pytest.approx([0, 2000, 0, 2000])
    assert rows[3]["p99_to_p50_alone"] == pytest.approx(rows[3]["p99_ms"] / rows[0]["p50_ms"])
    assert (told[-1].step, told[-1].total) == (8, 8)
