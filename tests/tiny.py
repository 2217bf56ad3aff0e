"""Tiny seeded networks and pictures for unit tests."""

import torch
from safetensors.torch import save_file

from impasto.assets import Store
from impasto.contract import Style, StyleImage
from impasto.errors import AssetError

CHANNELS = {1: 4, 2: 6, 3: 8, 4: 12, 5: 12}
BLOCKS = (2, 2, 4, 4, 4)


def _convolution(generator, outputs, inputs):
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
    return weight, 0.1 * torch.randn(outputs, generator=generator)


def tiny_encoder_weights():
    """VGG-19's layers with few channels."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        "preprocess.weight": torch.eye(3).flip(0)[:, :, None, None] * 2,
        "preprocess.bias": torch.full((3,), -1.0),
    }
    inputs = 3
    for block, count in enumerate(BLOCKS, start=1):
        for index in range(1, count + 1):
            name = f"conv{block}_{index}"
            weights[f"{name}.weight"], weights[f"{name}.bias"] = _convolution(generator, CHANNELS[block], inputs)
            inputs = CHANNELS[block]
    return weights


def tiny_decoder_weights():
    """The AdaIN decoder's layers with few channels."""
    generator = torch.Generator().manual_seed(1)
    plan = [("conv4_1", 12, 8), ("conv3_4", 8, 8), ("conv3_3", 8, 8), ("conv3_2", 8, 8), ("conv3_1", 8, 6)]
    plan += [("conv2_2", 6, 6), ("conv2_1", 6, 4), ("conv1_2", 4, 4), ("conv1_1", 4, 3)]
    weights = {}
    for name, inputs, outputs in plan:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = _convolution(generator, outputs, inputs)
    return weights


def tiny_wct():
    """WCT's five encoders and decoders with few channels."""
    from impasto.models import decoders

    generator, encoder, weights = torch.Generator().manual_seed(3), tiny_encoder_weights(), {}
    for level in range(1, 6):
        layer = f"relu{level}_1"
        mirror = decoders.Mirror(encoder, layer, generator)
        weights |= {f"encoder.{layer}.{name}": tensor.clone() for name, tensor in encoder.items()}
        weights |= {f"decoder.{layer}.{name}": one.detach().clone() for name, one in mirror.state_dict().items()}
    return weights


def tiny_microast():
    """MicroAST's networks with random weights, at their own size, which is small."""
    generator, weights = torch.Generator().manual_seed(4), {}

    def put(name, outputs, inputs, kernel):
        scale = (2 / (inputs * kernel**2)) ** 0.5
        weights[f"{name}.conv_layer.weight"] = scale * torch.randn(outputs, inputs, kernel, kernel, generator=generator)
        weights[f"{name}.conv_layer.bias"] = 0.1 * torch.randn(outputs, generator=generator)

    for network in ("content", "style"):
        for number, outputs, inputs, kernel in (
            (0, 16, 3, 9),
            (2, 32, 1, 3),
            (4, 32, 32, 1),
            (6, 64, 1, 3),
            (8, 64, 64, 1),
        ):
            put(f"{network}.enc1.{number}", outputs, inputs, kernel)
        for layer in ("enc1.10", "enc2.0"):
            for part in ("conv1", "conv2"):
                put(f"{network}.{layer}.{part}", 64, 64, 3)
    for part in ("weight1", "bias1", "weight2", "bias2"):
        put(f"modulator.{part}.0", 64, 1, 3)
    for layer in ("dec1", "dec2"):
        for part in ("conv1", "conv2"):
            put(f"decoder.{layer}.{part}", 64, 64, 3)
    plan = ((1, 32, 2, 3), (3, 32, 32, 1), (6, 16, 2, 3), (8, 16, 16, 1), (10, 3, 16, 9))
    for number, outputs, inputs, kernel in plan:
        put(f"decoder.dec3.{number}", outputs, inputs, kernel)
    return weights


def noise(height, width, *, seed=0, batch=1):
    """A smooth random picture `(B, 3, H, W)` in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(batch, 3, max(2, height // 8), max(2, width // 8), generator=generator)
    return torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear")


def tiny_network():
    """A trained network's tensors with few channels and 97 styles, named s0 to s96."""
    from impasto.models import networks

    generator = torch.Generator().manual_seed(2)
    row = networks.NetworkSpec("", "", (4, 6, 8), 1, True, 5, 2, 3, 4, True)
    network = networks.Network(row, generator)
    codes = network.neutral_code() + 0.3 * torch.randn(97, network.code_length, generator=generator)
    return networks.pack(network, codes, [f"s{number}" for number in range(97)])


def tiny_arbitrary(statistics=60):
    """The tensors of a network for any painting, with few channels; by default for a tiny encoder."""
    from impasto.models import networks, predictors

    generator = torch.Generator().manual_seed(2)
    row = networks.NetworkSpec("", "", (4, 6, 8), 1, True, 5, 2, 3, 4, True)
    network = networks.Network(row, generator, palette=True)
    known = torch.rand(4, statistics, generator=generator)
    predictor = predictors.Predictor(network.neutral_code(), known, generator)
    predictor.code.weight.data[:-12] *= 20  # so that paintings differ plainly; colours do by less
    return predictors.pack(network, predictor)


def style_of(pixels, canvas=(64, 64), weight=1.0):
    """A style of one image; for a trained network, whose styles have names, the image's sum settles the name."""
    total = float(pixels.sum())
    return Style((StyleImage(pixels, weight, str(total), f"s{int(total * 1000) % 97}"),), canvas)


class SquarePointer:
    """Stands for `segment.Pointer`: finds a square of ten pixels around the first place."""

    def __init__(self, _tensors, image):
        self._shape = image.shape[2:]

    def find(self, places, *, like=None):
        mask, (x, y, _) = torch.zeros(1, 1, *self._shape), places[0]
        row, column = int(y * self._shape[0]), int(x * self._shape[1])
        mask[..., max(0, row - 5) : row + 5, max(0, column - 5) : column + 5] = 1
        return mask


class TinyStore(Store):
    """Hands out tiny weights and no paintings."""

    def __init__(self, folder, weights):
        super().__init__(folder, offline=True)
        self.files = {}
        for asset, tensors in weights.items():
            self.files[asset] = folder / f"{asset}.safetensors"
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, self.files[asset])

    def fetch(self, asset_ids, on_progress=None, *, force=False, folder=None):
        if not set(asset_ids) <= set(self.files):
            raise AssetError("a store of tests has no such asset", "none is needed")

    def is_present(self, asset_id):
        return asset_id in self.files

    def path(self, asset_id, on_progress=None):
        if asset_id not in self.files:
            raise AssetError(f"there is no {asset_id} here", "give a file")
        return self.files[asset_id]


def training_styles(count):
    """Styles to be learnt, made of noise."""
    from impasto.train import TrainingStyle

    pictures = [noise(80, 96, seed=20 + index)[0].permute(1, 2, 0).numpy() for index in range(count)]
    return [TrainingStyle(f"style{index}", picture, f"museum:{index}", "CC0") for index, picture in enumerate(pictures)]


def write_photographs(folder, count, *, side=80):
    """Small pictures to train on."""
    from impasto import images

    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = noise(side, side + 16, seed=40 + index)[0].permute(1, 2, 0).contiguous().numpy()
        images.write(images.read(pixels), folder / f"{index:02d}.png")
    return folder


def inverted(folder):
    """The pictures of a folder as negatives, to train on."""
    from impasto.train.data import Photographs, load_photographs

    return Photographs(tuple(255 - one for one in load_photographs(folder, least_side=64).pixels))


def tiny_generator(width=4):
    """A CycleGAN generator of one block, its tensors named as published."""
    generator = torch.Generator().manual_seed(9)
    shapes = {
        "model.1": (width, 3, 7, 7),
        "model.4": (2 * width, width, 3, 3),
        "model.7": (4 * width, 2 * width, 3, 3),
        "model.10.conv_block.1": (4 * width, 4 * width, 3, 3),
        "model.10.conv_block.5": (4 * width, 4 * width, 3, 3),
        "model.11": (4 * width, 2 * width, 3, 3),
        "model.14": (2 * width, width, 3, 3),
        "model.18": (3, width, 7, 7),
    }
    return {
        f"{name}.weight": torch.randn(shape, generator=generator) / (shape[1] * shape[2] * shape[3]) ** 0.5
        for name, shape in shapes.items()
    }


def tiny_clip(seed=0):
    """A CLIP of few channels with random weights."""
    from impasto.models.bpe import BytePairs, merges_of
    from impasto.models.clip import Clip, ClipSpec, TowerSpec

    words = BytePairs.of_merges(merges_of(("red", "stripes", "blue", "dots", "photo")))
    spec = ClipSpec(TowerSpec(16, 2, 2), TowerSpec(8, 2, 2), 16, 4, 12, len(words.vocabulary), 8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {name: tensor.detach() for name, tensor in Clip(spec, words).weights().items()}
