"""CLIP: a tower for pictures and one for words, whose vectors lie near each other where they mean alike.

Parameters have the names of OpenAI's release, so that its tensors load as they are; `clip_files` brings others to them.

Paper: arXiv:2103.00020 (Radford et al. 2021), with the vision transformer of arXiv:2010.11929 as image tower.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.models.bpe import BytePairs
from impasto.ops.tiles import resample

ABOUT = "about"
"""Name of the tensor of bytes that holds a `ClipSpec` and the vocabulary, beside the weights."""

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_FIRST_SCALE = 2.659  # the logarithm of 1 / 0.07


@dataclass(frozen=True)
class TowerSpec:
    """A transformer's shape.

    Attributes:
        width: channels.
        layers, heads: of attention.
    """

    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class ClipSpec:
    """A CLIP's shape.

    Attributes:
        image, text: its towers.
        resolution, patch: sides in pixels of the picture that it sees, and of the squares that become tokens.
        context: most tokens of a text.
        vocabulary: how many pieces of words it knows.
        size: numbers in a vector.
        quick_gelu: whether it was trained with OpenAI's approximation of the activation.
    """

    image: TowerSpec
    text: TowerSpec
    resolution: int
    patch: int
    context: int
    vocabulary: int
    size: int
    quick_gelu: bool = True

    @classmethod
    def of_plain(cls, values: Mapping[str, object]) -> ClipSpec:
        """That whose `asdict` this is."""
        towers = {name: TowerSpec(**values[name]) for name in ("image", "text")}  # type: ignore[arg-type]
        return cls(**{**values, **towers})  # type: ignore[arg-type]

    @property
    def tokens(self) -> int:
        """Tokens of a picture."""
        return (self.resolution // self.patch) ** 2 + 1

    def operations(self) -> float:
        """Floating-point operations for the vector of one picture."""
        tower, tokens = self.image, self.tokens
        dense = 24 * tower.width**2 * tokens
        return float(tower.layers * (dense + 4 * tower.width * tokens**2) + 6 * self.patch**2 * tower.width * tokens)


class Clip(nn.Module):
    """Both towers, with random weights until some are loaded.

    Args:
        spec: its shape.
        words: its vocabulary.
    """

    def __init__(self, spec: ClipSpec, words: BytePairs) -> None:
        super().__init__()
        self.spec, self.words = spec, words
        self.visual = _ImageTower(spec)
        self.transformer = _Transformer(spec.text, quick=spec.quick_gelu)
        self.token_embedding = nn.Embedding(spec.vocabulary, spec.text.width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(spec.context, spec.text.width))
        self.ln_final = nn.LayerNorm(spec.text.width)
        self.text_projection = nn.Parameter(spec.text.width**-0.5 * torch.randn(spec.text.width, spec.size))
        self.logit_scale = nn.Parameter(torch.tensor(_FIRST_SCALE))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    @classmethod
    def of_weights(cls, weights: Mapping[str, Tensor]) -> Clip:
        """That of tensors by name, with `ABOUT`; its own do not ask for gradients."""
        about = json.loads(bytes(weights[ABOUT].tolist()).decode())
        words = BytePairs(about["pieces"], [tuple(pair) for pair in about["merges"]])
        with torch.device("meta"):
            clip = cls(ClipSpec.of_plain(about["spec"]), words)
        own = {name: tensor for name, tensor in weights.items() if name != ABOUT}
        clip.load_state_dict(own, assign=True)
        return clip.requires_grad_(False).eval()

    def embed_images(self, pictures: Tensor) -> Tensor:
        """Vectors `(B, size)` of length 1 of `pictures (B, 3, H, W)` in [0, 1], squeezed to the square that it sees."""
        side, weight = self.spec.resolution, self.visual.conv1.weight
        seen = pictures if pictures.shape[2:] == (side, side) else resample(pictures, side, side)
        mean, deviation = (seen.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
        vectors = self.visual(((seen - mean) / deviation).to(weight.dtype))
        return F.normalize(vectors.to(pictures.dtype), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors `(B, size)` of length 1."""
        device = self.positional_embedding.device
        rows = [self.words(text, self.spec.context) for text in texts]
        numbers = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long, device=device)
        for place, row in enumerate(rows):
            numbers[place, : len(row)] = torch.tensor(row, device=device)
        ends = torch.tensor([len(row) - 1 for row in rows], device=device)
        tokens = self.token_embedding(numbers) + self.positional_embedding[: numbers.shape[1]]
        state = self.ln_final(self.transformer(tokens, causal=True))  # (B, T, width)
        vectors = state[torch.arange(len(rows), device=device), ends] @ self.text_projection
        return F.normalize(vectors.float() if vectors.dtype != torch.float64 else vectors, dim=1)

    def weights(self) -> dict[str, Tensor]:
        """Its tensors by name, with `ABOUT`: what `of_weights` takes."""
        return {**self.state_dict(), ABOUT: about_tensor(self.spec, self.words)}


def about_tensor(spec: ClipSpec, words: BytePairs) -> Tensor:
    """Shape and vocabulary as bytes."""
    values = {"spec": asdict(spec), "pieces": words.vocabulary, "merges": words.merges}
    return torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)


class _ImageTower(nn.Module):
    """A vision transformer: squares of the picture as tokens, and one more, whose state becomes the vector."""

    def __init__(self, spec: ClipSpec) -> None:
        super().__init__()
        width = spec.image.width
        self.conv1 = nn.Conv2d(3, width, spec.patch, spec.patch, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(spec.tokens, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = _Transformer(spec.image, quick=spec.quick_gelu)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, spec.size))

    def forward(self, pictures: Tensor) -> Tensor:
        """`(B, size)` of normalised `pictures (B, 3, resolution, resolution)`."""
        squares = self.conv1(pictures).flatten(2).mT  # (B, T - 1, width)
        first = self.class_embedding.expand(len(squares), 1, -1)
        tokens = torch.cat([first, squares], 1) + self.positional_embedding
        state = self.transformer(self.ln_pre(tokens), causal=False)
        result: Tensor = self.ln_post(state[:, 0]) @ self.proj
        return result


class _Transformer(nn.Module):
    def __init__(self, spec: TowerSpec, *, quick: bool) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList([_Block(spec, quick=quick) for _ in range(spec.layers)])

    def forward(self, state: Tensor, *, causal: bool) -> Tensor:
        for block in self.resblocks:
            state = block(state, causal=causal)
        return state


class _Block(nn.Module):
    """Attention and two dense layers, each added to what goes in; norms come first."""

    def __init__(self, spec: TowerSpec, *, quick: bool) -> None:
        super().__init__()
        width = spec.width
        self.attn = _Attention(spec)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": _QuickGelu() if quick else nn.GELU()}
        self.mlp = nn.Sequential(OrderedDict({**layers, "c_proj": nn.Linear(4 * width, width)}))

    def forward(self, state: Tensor, *, causal: bool) -> Tensor:
        state = state + self.attn(self.ln_1(state), causal=causal)
        result: Tensor = state + self.mlp(self.ln_2(state))
        return result


class _Attention(nn.Module):
    def __init__(self, spec: TowerSpec) -> None:
        super().__init__()
        self._heads = spec.heads
        self.in_proj_weight = nn.Parameter(spec.width**-0.5 * torch.randn(3 * spec.width, spec.width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * spec.width))
        self.out_proj = nn.Linear(spec.width, spec.width)

    def forward(self, state: Tensor, *, causal: bool) -> Tensor:
        batch, tokens, width = state.shape
        joint = F.linear(state, self.in_proj_weight, self.in_proj_bias)
        query, key, value = joint.view(batch, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, T, .)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return result


class _QuickGelu(nn.Module):
    """OpenAI's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)
