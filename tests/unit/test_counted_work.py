"""Work is counted, not timed: floating-point operations, encoder passes and bytes written of the tiny networks.

A number here changes only when the algorithm does. Fewer is an improvement: write the new number down. More needs a
reason, which belongs into the message of the commit.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from impasto.contract import Guide, Job, Placement
from impasto.methods.adain import AdaIN
from impasto.methods.optimize.method import Optimize
from impasto.methods.settings import AdaINKnobs, OptimizeKnobs
from impasto.models.encoders import Encoder
from impasto.models.winograd import Winograd
from tiny import BLOCKS, CHANNELS, noise, style_of

SIDE = 64


class WrittenBytes(TorchDispatchMode):
    """Adds up the bytes of all tensors that operations return, views left out."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        given = {
            one.untyped_storage().data_ptr()
            for one in torch.utils._pytree.tree_leaves(args)
            if isinstance(one, torch.Tensor)
        }
        for one in torch.utils._pytree.tree_leaves(out):
            if isinstance(one, torch.Tensor) and one.untyped_storage().data_ptr() not in given:
                self.total += one.numel() * one.element_size()
        return out


@pytest.fixture
def passes(monkeypatch):
    """Counts calls of the encoder."""
    seen = []
    original = Encoder.__call__

    def counted(self, images, layers, **options):
        seen.append(tuple(images.shape[2:]))
        return original(self, images, layers, **options)

    monkeypatch.setattr(Encoder, "__call__", counted)
    return seen


def convolution(side, inputs, outputs):
    """Two operations for each of 9 weights, for each pair of channels, at each position."""
    return 2 * 9 * inputs * outputs * side * side


def encoder_convolutions(last_block, last_index):
    """Side, inputs and outputs of each convolution of the tiny VGG-19."""
    inputs = 3
    for block, count in enumerate(BLOCKS, start=1):
        for index in range(1, count + 1):
            yield SIDE >> (block - 1), inputs, CHANNELS[block]
            inputs = CHANNELS[block]
            if (block, index) == (last_block, last_index):
                return


def counted(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_adain_encodes_style_and_content_once_and_decodes_once(tiny_weights, passes):
    method, knobs = AdaIN(tiny_weights, Placement()), AdaINKnobs()
    style, content = style_of(noise(SIDE, SIDE, seed=1)), noise(SIDE, SIDE)

    def work():
        method.stylize(content, [Job(method.encode_style(style, knobs), knobs)])

    total = counted(work)
    encoder = sum(convolution(*shape) for shape in encoder_convolutions(4, 1))
    decoder = (
        convolution(8, 12, 8)  # conv4_1 at an eighth
        + 3 * convolution(16, 8, 8)
        + convolution(16, 8, 6)  # block 3 at a quarter
        + convolution(32, 6, 6)
        + convolution(32, 6, 4)  # block 2 at half
        + convolution(64, 4, 4)
        + convolution(64, 4, 3)  # block 1 at full size
    )
    assert passes == [(SIDE, SIDE)] * 2
    assert total == 2 * encoder + decoder == 13_160_448


def test_a_picture_at_part_strength_costs_one_more_decoding(tiny_weights, passes):
    method, knobs = AdaIN(tiny_weights, Placement()), AdaINKnobs(strength=0.5)
    code, content = method.encode_style(style_of(noise(SIDE, SIDE, seed=1)), knobs), noise(SIDE, SIDE)
    half = counted(lambda: method.stylize(content, [Job(code, knobs)]))
    whole = counted(lambda: method.stylize(content, [Job(code, AdaINKnobs())]))
    assert len(passes) == 3
    encoder = sum(convolution(*shape) for shape in encoder_convolutions(4, 1))
    assert half - whole == whole - encoder


@pytest.fixture
def direct(monkeypatch):
    """Convolutions without fewer multiplications, which with the tiny network's few channels are more."""
    monkeypatch.setattr(Winograd, "suits", lambda one, placement: False)


def step_of(tiny_weights, steps):
    method = Optimize(tiny_weights, Placement())
    knobs = OptimizeKnobs(coarsest=512, steps=steps, init="content", optimizer="adam")
    code = method.encode_style(style_of(noise(SIDE, SIDE, seed=1)), knobs)
    job, content = Job(code, knobs, Guide()), noise(SIDE, SIDE)
    return lambda: method.stylize(content, [job])


def test_a_step_of_the_descent_is_one_pass_forth_and_one_back(tiny_weights, passes, direct):
    few, more = step_of(tiny_weights, 2), step_of(tiny_weights, 3)
    passes.clear()
    a = counted(few)
    forth = len(passes)
    b = counted(more)
    assert forth == 1 + 2  # the content's target once, then one pass a step
    assert len(passes) - forth == 1 + 3
    # A pass to relu5_1; backwards the same again, since the gradient goes to the pixels alone and never to the weights.
    convolutions = 2 * sum(convolution(*shape) for shape in encoder_convolutions(5, 1))
    # A Gram product at each of five layers, 2 C^2 HW forth. Back, with the gradient made symmetric: once that again.
    grams = sum(2 * 2 * CHANNELS[block] ** 2 * (SIDE >> (block - 1)) ** 2 for block in CHANNELS)
    assert b - a == convolutions + grams == 10_373_120


@pytest.mark.parametrize(("inputs", "outputs"), [(128, 128), (256, 128), (256, 256)])
def test_a_quick_convolution_takes_a_quarter_of_the_products_and_two_maps(inputs, outputs):
    side, tiles = 32, 8 * 8
    quick = Winograd(torch.ones(outputs, inputs, 3, 3), torch.ones(outputs))
    maps = torch.ones(1, inputs, side, side)
    products, forth, back = (2 * tiles * each for each in (36 * inputs * outputs, 36 * 36 * inputs, 16 * 36 * outputs))
    assert counted(lambda: quick.forward(maps, "reflect")) == products + forth + back
    assert products == convolution(side, inputs, outputs) / 4
    assert products + forth + back < 0.6 * convolution(side, inputs, outputs)


def test_a_step_writes_no_more_memory_than_it_did(tiny_weights, direct):
    written = []
    for steps in (2, 3):
        with WrittenBytes() as bytes_of:
            step_of(tiny_weights, steps)()
        written.append(bytes_of.total)
    assert 0 < written[1] - written[0] <= 1.05 * 4_694_744  # versions of torch differ a little in what they keep
