import pytest
import torch

from impasto.tiling import crop_to, mirrored, pad_to_multiple


def test_mirroring_does_not_repeat_the_ends():
    assert mirrored(4, 9).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert mirrored(1, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (1, 5), (3, 100)])
def test_padding_and_back(height, width):
    image = torch.rand(2, 3, height, width)
    padded = pad_to_multiple(image, 16, least=32)
    assert padded.shape[2] % 16 == 0
    assert padded.shape[3] % 16 == 0
    assert min(padded.shape[2:]) >= 32
    torch.testing.assert_close(crop_to(padded, height, width), image)


def test_what_fits_is_not_copied():
    image = torch.rand(1, 3, 32, 48)
    assert pad_to_multiple(image, 16) is image
