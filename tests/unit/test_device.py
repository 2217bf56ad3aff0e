from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from impasto import device
from impasto.contract import Placement
from impasto.errors import InputError, ResourceError


def test_auto_takes_a_tested_precision_only():
    assert device.place("cpu", tested=("float32",)).precision == "float32"


def test_bfloat16_is_chosen_only_where_the_processor_has_it():
    chosen = device.place("cpu", tested=("float32", "bfloat16"))
    native = device.cpu_features() & {"amx_tile", "avx512_bf16"}
    assert chosen.precision == ("bfloat16" if native else "float32")
    assert chosen.reason


def test_untested_precision_is_refused():
    with pytest.raises(InputError, match="float16"):
        device.place("cpu", "float16", tested=("float32",))


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "cpu:x", ""])
def test_absent_device_lists_the_present(name):
    with pytest.raises(InputError) as caught:
        device.place(name)
    assert "cpu" in caught.value.hint


def test_a_job_that_cannot_fit_names_the_size_that_does():
    with pytest.raises(ResourceError) as caught:
        device.check_memory(8 << 30, 4000, 3000, limit=2 << 30, device="cpu")
    size = int(caught.value.hint.rsplit(" ", 1)[1])
    assert 1800 < size < 2000
    device.check_memory(int((8 << 30) * (size / 4000) ** 2), 4000, 3000, limit=2 << 30, device="cpu")


def test_the_rate_is_measured_by_one_thread_for_all(monkeypatch):
    convolve, inside, most = torch.nn.functional.conv2d, [], []

    def noted(*given):
        inside.append(1)
        most.append(len(inside))
        found = convolve(*given)
        inside.pop()
        return found

    monkeypatch.setattr(torch.nn.functional, "conv2d", noted)
    with ThreadPoolExecutor(8) as pool:
        rates = set(pool.map(lambda _: device.convolution_rate(Placement(), seconds=0.012), range(8)))
    assert (len(rates), max(most)) == (1, 1)


def test_convolution_rate_is_a_rate():
    rate = device.convolution_rate(Placement())
    assert 1e8 < rate < 1e15
    assert torch.get_num_threads() >= 1


def test_sizes_of_memory_are_told_in_fitting_units():
    told = {4_000: "4 kB", 3_200_000: "3 MB", 400e6: "400 MB", 999.9e6: "1.00 GB", 2.26e9: "2.26 GB"}
    assert {count: device.readable_bytes(count) for count in told} == told


def test_a_limit_of_the_users_is_not_answered_with_free_some_memory():
    with pytest.raises(ResourceError) as caught:
        device.check_memory(10**12, 8000, 8000, limit=1_000_000, device="cpu")
    assert "1 MB may be used" in caught.value.message
    assert "--max-memory" in caught.value.hint
