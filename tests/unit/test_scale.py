"""The simulation of many devices, against closed forms of queueing theory."""

import json

import numpy as np
import pytest

from impasto.bench.scale import DAY, Day, Device, Load, _Queue, devices_for, row, simulate
from impasto.errors import InputError


def test_arrivals_sum_to_the_day_and_peak_at_noon():
    load = Load(per_day=1e6, peak=1.8)
    seconds = np.arange(0, DAY, 60)
    rates = np.array([load.rate(second) for second in seconds])
    assert rates.sum() * 60 == pytest.approx(1e6, rel=1e-6)
    assert rates.max() == pytest.approx(1.8e6 / DAY)
    assert seconds[rates.argmax()] == DAY / 2


def test_one_device_without_batches_waits_as_pollaczek_and_khinchine_say():
    """M/D/1: the mean wait in the queue is rho / (2 mu (1 - rho)); so here, of arrivals at a steady rate."""
    device, rho = Device(rate=10.0, batch=1, fixed=1.0), 0.7
    day = simulate(Load(per_day=rho * 10 * DAY, peak=1.0), device, 1, span=20_000)
    assert day.utilisation == pytest.approx(rho, rel=0.03)
    assert day.batch == 1
    queue = _Queue(device, 1)
    generator, now = np.random.default_rng(1), 0.0
    for _ in range(100_000):
        now += generator.exponential(1 / (rho * 10))
        queue.arrive(now)
    queue.finish()
    expected = rho / (2 * 10 * (1 - rho)) + 1 / 10
    assert np.mean(queue._waits) == pytest.approx(expected, rel=0.05)


def test_more_devices_wait_less_and_overload_waits_for_ever():
    load, device = Load(per_day=1e5, peak=1.0), Device(rate=1.0, batch=1, fixed=1.0)
    assert simulate(load, device, 2, span=3000).waits[2] > simulate(load, device, 4, span=3000).waits[2]
    overloaded = simulate(load, device, 1, span=3000)
    assert overloaded.waits[2] > 100
    assert overloaded.utilisation == pytest.approx(1.0, rel=0.01)


def test_batches_grow_with_the_load():
    device = Device(rate=10.0, batch=8)
    few, many = (simulate(Load(rate * DAY, 1.0), device, 1, span=2000).batch for rate in (1, 9))
    assert few < 1.5 < many <= 8


def test_nothing_gets_lost_and_a_picture_takes_at_least_its_time():
    day = simulate(Load(1e9), Device(rate=20.0), devices_for(Load(1e9), Device(rate=20.0), spare=1.25), span=60)
    assert isinstance(day, Day)
    assert day.waits[0] >= Device(rate=20.0).seconds(1)


def test_devices_hold_the_peak_with_room():
    assert devices_for(Load(86_400.0, peak=2.0), Device(rate=1.0), spare=1.5) == 3
    assert devices_for(Load(1.0), Device(rate=100.0), spare=1.0) == 1


def test_a_row_is_plain_arithmetic_beside_the_simulation():
    told = row(Load(86_400.0 * 100, 2.0, 1e6, 2.5e5), Device(rate=10.0, cost=3.0), spare=1.25)
    assert told["peak_per_second"] == pytest.approx(200)
    assert told["devices"] == 25
    assert told["traffic_gbit_s"] == pytest.approx(200 * 1.25e6 * 8 / 1e9)
    assert told["stored_tb_per_day"] == pytest.approx(2.16)
    assert told["cost_per_day_fixed"] == 25 * 3 * 24
    assert told["cost_per_1000"] == pytest.approx(1000 / 10 / 3600 * 1.25 * 3)
    assert told["first_limit"] == "writes of one prefix of a store"
    assert told["share_of_it"] == pytest.approx(400 / 3500)


@pytest.mark.parametrize(
    ("load", "device", "spare"),
    [
        (Load(0), Device(1), 1.2),
        (Load(float("nan")), Device(1), 1.2),
        (Load(1, peak=3), Device(1), 1.2),
        (Load(1), Device(0), 1.2),
        (Load(1), Device(1, batch=0), 1.2),
        (Load(1), Device(1), 0.5),
    ],
)
def test_what_cannot_be_is_refused(load, device, spare):
    with pytest.raises(InputError) as raised:
        row(load, device, spare=spare)
    assert raised.value.hint


def test_the_command_prints_a_row_for_each_load(capsys):
    from impasto.cli import app

    assert app.run(["bench", "scale", "--rate", "20", "--per-day", "1e3,1e9", "--cost", "3", "--json"]) == 0
    small, large = json.loads(capsys.readouterr().out)
    assert (small["devices"], large["devices"]) == (1, 1447)
    assert app.run(["bench", "scale", "--rate", "20", "--per-day", "many"]) == 2
