"""Slow references that share no code with what they are held against, for several tests."""

from torch import nn


class Layer(nn.Module):
    """A convolution of the slow reference, reflection padding and all."""

    def __init__(self, weights, name, *, stride=1, groups=1):
        super().__init__()
        kernel = weights[f"{name}.conv_layer.weight"]
        self.pad = nn.ReflectionPad2d(kernel.shape[2] // 2)
        self.inner = nn.Conv2d(kernel.shape[1] * groups, kernel.shape[0], kernel.shape[2], stride, groups=groups)
        self.inner.weight.data, self.inner.bias.data = kernel, weights[f"{name}.conv_layer.bias"]

    def forward(self, x):
        return self.inner(self.pad(x))


def plain_microast(weights, content, style):
    """The paper's figure 2, module by module."""

    def encode(name, x):
        for number, stride, groups in ((0, 1, 1), (2, 2, 16), (4, 1, 1), (6, 2, 32), (8, 1, 1)):
            x = Layer(weights, f"{name}.enc1.{number}", stride=stride, groups=groups)(x).relu()
        found = []
        for layer in ("enc1.10", "enc2.0"):
            one, two = (Layer(weights, f"{name}.{layer}.conv{index}") for index in (1, 2))
            x = x + two(one(x).relu())
            found.append(x)
        return found

    def moved(x, like):
        whitened = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt()
        return whitened * (like.var((2, 3), keepdim=True) + 1e-5).sqrt() + like.mean((2, 3), keepdim=True)

    painting, x = encode("style", style), encode("content", content)[1]
    for layer, depth in (("dec1", 2), ("dec2", 1)):
        like = painting[depth - 1]
        scale, bias = (
            Layer(weights, f"modulator.{part}{depth}.0", groups=64)(like).mean((2, 3), keepdim=True)
            for part in ("weight", "bias")
        )
        x = moved(x, like)
        one, two = (Layer(weights, f"decoder.{layer}.conv{index}") for index in (1, 2))
        inner = (scale * one(x) + bias * x).relu()
        x = x + scale * two(inner) + bias * inner
    for apart, across, groups in ((1, 3, 32), (6, 8, 16)):
        x = nn.Upsample(scale_factor=2, mode="bilinear")(x)
        x = Layer(weights, f"decoder.dec3.{apart}", groups=groups)(x).relu()
        x = Layer(weights, f"decoder.dec3.{across}")(x).relu()
    return Layer(weights, "decoder.dec3.10")(x)
