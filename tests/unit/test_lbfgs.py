"""L-BFGS against PyTorch's own, and taken apart and put together again."""

import pytest
import torch

from impasto.optim.lbfgs import LBFGS


class Enough(Exception):
    pass


class Valley:
    """A curved, badly scaled valley (Rosenbrock's) in two tensors; counts its evaluations."""

    def __init__(self, allowed):
        self.one = torch.full((2, 3), -1.2, requires_grad=True)
        self.other = torch.full((6,), 1.0, requires_grad=True)
        self.allowed, self.losses = allowed, []

    def __call__(self):
        if len(self.losses) >= self.allowed:
            raise Enough
        self.one.grad = self.other.grad = None
        one, other = self.one.flatten(), self.other
        loss = (100 * (other - one**2) ** 2 + (1 - one) ** 2).sum()
        loss.backward()
        self.losses.append(loss.item())
        return loss.detach()


def ours(valley, history=5):
    return LBFGS([valley.one, valley.other], history=history)


@pytest.mark.parametrize("history", [1, 3, 10])
def test_it_takes_the_steps_of_pytorch(history):
    mine, theirs = Valley(30), Valley(30)
    with pytest.raises(Enough):
        ours(mine, history).run(mine, lambda: None)
    peer = torch.optim.LBFGS(
        [theirs.one, theirs.other],
        max_iter=100,
        max_eval=1000,
        history_size=history,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )
    with pytest.raises(Enough):
        peer.step(theirs)
    assert mine.losses[:12] == pytest.approx(theirs.losses[:12], rel=1e-3)
    assert mine.losses[-1] < 0.1 * mine.losses[0]


@pytest.mark.parametrize("stop", [1, 2, 7, 13, 20])
def test_a_run_that_is_broken_off_anywhere_goes_on_as_if_it_had_not_been(stop):
    whole = Valley(40)
    with pytest.raises(Enough):
        ours(whole).run(whole, lambda: None)
    first, kept = Valley(stop), {}
    lbfgs = ours(first)

    def keep():
        kept["count"] = len(first.losses)
        kept["state"] = {name: tensor.clone() for name, tensor in lbfgs.state().items()}

    with pytest.raises(Enough):
        lbfgs.run(first, keep)
    second = Valley(40 - kept["count"])
    again = ours(second)
    again.load(kept["state"])
    with pytest.raises(Enough):
        again.run(second, lambda: None)
    assert first.losses[: kept["count"]] + second.losses == whole.losses


def test_it_ends_at_the_bottom():
    valley = Valley(10_000)
    ours(valley).run(valley, lambda: None)
    assert valley.losses[-1] < 1e-8
    assert len(valley.losses) < 200
