"""CLIP: its words, its towers against a slow reference, its files, its losses, and a sentence as a style."""

import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from impasto.contract import Job, Style, StyleImage
from impasto.engine.controls import Controls
from impasto.engine.request import Request
from impasto.engine.words import in_english
from impasto.errors import AssetError, InputError
from impasto.losses.clip import DirectionalLoss, PatchDirectionalLoss, perspective_patches
from impasto.methods.clip import ClipStyle
from impasto.methods.settings import ClipKnobs, ClipTrainKnobs, TrainKnobs
from impasto.models import catalog, clip_files
from impasto.models.bpe import BytePairs, merges_of, read_vocabulary
from impasto.models.clip import ABOUT, Clip
from impasto.train import ClipTraining, StyleTraining, TrainingStyle, train
from impasto.train._shapes import draw, pattern
from tiny import noise, tiny_clip, write_photographs

WORDS = BytePairs.of_merges(merges_of(("red", "stripes", "blue")))


@pytest.fixture
def clip():
    return Clip.of_weights(tiny_clip())


def pieces(text, length=77):
    return [WORDS.vocabulary[number] for number in WORDS(text, length)]


def test_words_that_are_known_are_one_piece_whatever_their_case():
    assert pieces("Red  stripes!") == ["<|startoftext|>", "red</w>", "stripes</w>", "!</w>", "<|endoftext|>"]
    assert "".join(pieces("été 5")[1:-1]).endswith("5</w>")


def test_a_long_text_is_cut_and_still_ends():
    numbers = WORDS("blue " * 100, 12)
    assert len(numbers) == 12
    assert numbers[-1] == WORDS.end


def test_the_vocabulary_is_read_from_either_publisher_s_files(tmp_path):
    merges = "\n".join(" ".join(pair) for pair in WORDS.merges)
    openai, hugging = tmp_path / "openai", tmp_path / "hugging"
    for folder in (openai, hugging):
        folder.mkdir()
    (openai / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(f'"bpe_simple_vocab\n{merges}\n'.encode()))
    (hugging / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    (hugging / "vocab.json").write_text(json.dumps({piece: n for n, piece in enumerate(WORDS.vocabulary)}))
    for folder in (openai, hugging):
        found = read_vocabulary(folder)
        assert found is not None
        assert found("red stripes in blue", 77) == WORDS("red stripes in blue", 77)
    assert read_vocabulary(tmp_path) is None
    (hugging / "vocab.json").write_text("[")
    with pytest.raises(InputError, match="cannot be read"):
        read_vocabulary(hugging)


def slow_attention(state, weights, name, heads, causal):
    """Head by head and place by place."""
    width = state.shape[1]
    joint = state @ weights[f"{name}.in_proj_weight"].T + weights[f"{name}.in_proj_bias"]
    query, key, value = joint.split(width, 1)
    size, result = width // heads, torch.zeros_like(state)
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        for place in range(len(state)):
            seen = place + 1 if causal else len(state)
            scores = torch.stack([query[place, own] @ key[other, own] / math.sqrt(size) for other in range(seen)])
            result[place, own] = sum(share * value[i, own] for i, share in enumerate(scores.softmax(0)))
    return result @ weights[f"{name}.out_proj.weight"].T + weights[f"{name}.out_proj.bias"]


def slow_transformer(state, weights, prefix, layers, heads, causal):
    def norm(x, name):
        away = x - x.mean(1, keepdim=True)
        unit = away / (away.square().mean(1, keepdim=True) + 1e-5).sqrt()
        return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    for layer in range(layers):
        name = f"{prefix}transformer.resblocks.{layer}"
        state = state + slow_attention(norm(state, f"{name}.ln_1"), weights, f"{name}.attn", heads, causal)
        wide = norm(state, f"{name}.ln_2") @ weights[f"{name}.mlp.c_fc.weight"].T + weights[f"{name}.mlp.c_fc.bias"]
        wide = wide / (1 + torch.exp(-1.702 * wide))
        state = state + wide @ weights[f"{name}.mlp.c_proj.weight"].T + weights[f"{name}.mlp.c_proj.bias"]
    return norm(state, f"{prefix}ln_post" if prefix else "ln_final") if prefix else (state, norm)


def test_the_towers_agree_with_a_slow_reference(clip):
    weights, spec = tiny_clip(), clip.spec
    picture = noise(16, 16)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    inside, squares = (picture[0] - mean) / deviation, []
    for row in range(0, 16, 4):
        for column in range(0, 16, 4):
            square = inside[:, row : row + 4, column : column + 4]
            squares.append((weights["visual.conv1.weight"] * square).sum((1, 2, 3)))
    tokens = torch.stack([weights["visual.class_embedding"], *squares]) + weights["visual.positional_embedding"]
    away = tokens - tokens.mean(1, keepdim=True)
    state = away / (away.square().mean(1, keepdim=True) + 1e-5).sqrt()
    state = state * weights["visual.ln_pre.weight"] + weights["visual.ln_pre.bias"]
    state = slow_transformer(state, weights, "visual.", spec.image.layers, spec.image.heads, causal=False)
    wanted = F.normalize(state[0] @ weights["visual.proj"], dim=0)
    torch.testing.assert_close(clip.embed_images(picture)[0], wanted, atol=1e-5, rtol=1e-4)

    numbers = clip.words("red stripes", spec.context)
    tokens = weights["token_embedding.weight"][numbers] + weights["positional_embedding"][: len(numbers)]
    state, norm = slow_transformer(tokens, weights, "", spec.text.layers, spec.text.heads, causal=True)
    wanted = F.normalize(norm(state, "ln_final")[-1] @ weights["text_projection"], dim=0)
    found = clip.embed_texts(["red stripes", "blue dots and some more"])
    torch.testing.assert_close(found[0], wanted, atol=1e-5, rtol=1e-4)  # what is beside it in a batch is not seen


def in_transformers_names(weights, width):
    """A state dict as transformers has it."""
    renamed = {}
    pairs = [("visual.transformer.resblocks.", "vision_model.encoder.layers.")]
    pairs += [
        ("transformer.resblocks.", "text_model.encoder.layers."),
        ("ln_1", "layer_norm1"),
        ("ln_2", "layer_norm2"),
    ]
    pairs += [("attn.out_proj", "self_attn.out_proj"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")]
    pairs += [
        ("visual.conv1", "vision_model.embeddings.patch_embedding"),
        ("visual.ln_pre", "vision_model.pre_layrnorm"),
    ]
    pairs += [("visual.ln_post", "vision_model.post_layernorm"), ("ln_final", "text_model.final_layer_norm")]
    pairs += [("visual.class_embedding", "vision_model.embeddings.class_embedding")]
    pairs += [("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight")]
    pairs += [("token_embedding", "text_model.embeddings.token_embedding")]
    for name, tensor in weights.items():
        if name in ("visual.proj", "text_projection"):
            renamed["visual_projection.weight" if "." in name else "text_projection.weight"] = tensor.T.contiguous()
            continue
        if name == "positional_embedding":
            renamed["text_model.embeddings.position_embedding.weight"] = tensor
            continue
        for old, new in pairs:
            if old in name and new not in name:
                name = name.replace(old, new, 1)  # noqa: PLW2901
        if "attn.in_proj" in name:
            kind = name.rsplit("_", 1)[1]
            start = name.split("attn.in_proj")[0]
            for part, own in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"{start}self_attn.{part}_proj.{kind}"] = own.contiguous()
            continue
        renamed[name] = tensor
    return renamed


@pytest.fixture
def folder(tmp_path, clip):
    """A folder as transformers lays it out."""
    weights = {name: tensor for name, tensor in tiny_clip().items() if name != ABOUT}
    place = tmp_path / "tiny"
    place.mkdir()
    save_file(in_transformers_names(weights, 16), place / "model.safetensors")
    config = {"vision_config": {"num_attention_heads": 2, "hidden_act": "quick_gelu"}}
    (place / "config.json").write_text(json.dumps({**config, "text_config": {"num_attention_heads": 2}}))
    (place / "merges.txt").write_text("\n".join(" ".join(pair) for pair in clip.words.merges))
    return place


def alike(found, clip):
    picture = noise(40, 30)
    torch.testing.assert_close(found.embed_images(picture), clip.embed_images(picture), atol=1e-5, rtol=1e-4)
    texts = ["red stripes", "a photo"]
    torch.testing.assert_close(found.embed_texts(texts), clip.embed_texts(texts), atol=1e-5, rtol=1e-4)


def test_a_folder_of_transformers_is_read(folder, clip):
    alike(Clip.of_weights(clip_files.read(folder)), clip)


def test_a_state_dict_of_openai_is_read_from_either_kind_of_file(tmp_path, folder, clip):
    spec_heads = {"model_cfg": {"vision_cfg": {"head_width": 8}, "text_cfg": {"heads": 2}, "quick_gelu": True}}
    weights = {name: tensor for name, tensor in tiny_clip().items() if name != ABOUT}
    for name, ending in (("one", "pt"), ("two", "safetensors")):
        place = tmp_path / name
        place.mkdir()
        (place / "open_clip_config.json").write_text(json.dumps(spec_heads))
        (place / "merges.txt").write_bytes((folder / "merges.txt").read_bytes())
        path = place / f"clip.{ending}"
        if ending == "pt":
            torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, path)
        else:
            save_file(weights, path)
        alike(Clip.of_weights(clip_files.read(path)), clip)


def test_our_own_file_holds_all_it_needs(tmp_path, clip):
    clip_files.write(tmp_path / "own.safetensors", clip.weights(), {})
    found = Clip.of_weights(clip_files.read(tmp_path / "own.safetensors"))
    assert found.spec == clip.spec
    assert (found.embed_images(noise(16, 16)) - clip.embed_images(noise(16, 16))).abs().max() < 5e-3  # half precision


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: {"conv.weight": torch.zeros(3)}, "no visual.conv1.weight"),
        (lambda weights: {k: v for k, v in weights.items() if "text_projection" not in k}, "text_projection missing"),
        (lambda weights: {**weights, "visual.proj": torch.zeros(7, 8)}, "of another shape"),
        (lambda weights: {**weights, "visual.layer1.0.conv1.weight": torch.zeros(1)}, "ResNet"),
    ],
)
def test_a_checkpoint_of_another_model_says_what_it_lacks(tmp_path, folder, change, told):
    weights = {name: tensor for name, tensor in tiny_clip().items() if name != ABOUT}
    (tmp_path / "merges.txt").write_bytes((folder / "merges.txt").read_bytes())
    save_file(change(weights), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=told):
        clip_files.read(tmp_path / "other.safetensors")


def test_a_vocabulary_that_is_missing_or_of_another_model_is_told(tmp_path, folder, clip):
    (folder / "merges.txt").write_text(
        "\n".join(" ".join(pair) for pair in merges_of(("red", "stripes", "violet", "a")))
    )
    longer = [*clip.words.merges, *merges_of(("longer", "words"))]
    (folder / "merges.txt").write_text("\n".join(" ".join(pair) for pair in longer))
    with pytest.raises(InputError, match="pieces"):
        clip_files.read(folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(InputError, match="no vocabulary"):
        clip_files.read(folder)


def test_what_is_no_file_of_weights_is_told(tmp_path):
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(InputError, match="cannot be read"):
            clip_files.read(tmp_path / name)
    for content in (b"", b"hi\n", b"\x80\x04.", bytes(range(256))):  # each raises something else in pickle
        (tmp_path / "t.txt").write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            clip_files.read(tmp_path / "t.txt")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no weights"):
        clip_files.read(tmp_path / "none")


def test_another_networks_file_is_told_as_such_before_its_vocabulary_is_missed(tmp_path):
    save_file({"conv1_1.weight": torch.zeros(2, 2)}, tmp_path / "vgg.safetensors")
    with pytest.raises(InputError, match=r"it has no visual\.conv1\.weight"):
        clip_files.read(tmp_path / "vgg.safetensors")


def test_a_missing_checkpoint_says_what_to_fetch_and_where_to_put_it(tmp_path):
    with pytest.raises(AssetError) as caught:
        clip_files.resolve("ViT-B-32", tmp_path, offline=True)
    assert str(tmp_path / "clip" / "ViT-B-32") in caught.value.hint
    assert "openai/clip-vit-base-patch32" in caught.value.hint
    for name in ("config.json", "model.safetensors", "vocab.json", "merges.txt"):
        assert name in caught.value.hint
    with pytest.raises(AssetError, match="no CLIP"):
        clip_files.resolve("nowhere.safetensors", tmp_path, offline=False)


def test_one_that_was_put_there_is_found_by_its_name(tmp_path, folder):
    kept = tmp_path / "cache"
    (kept / "clip").mkdir(parents=True)
    folder.rename(kept / "clip" / "clip-vit-tiny")
    found = clip_files.resolve("someone/clip-vit-tiny", kept, offline=True)
    assert found == kept / "clip" / "clip-vit-tiny"
    assert clip_files.resolve(str(found), tmp_path, offline=True) == found


def test_patches_are_seeded_inside_and_as_large_as_asked():
    picture = torch.linspace(0, 1, 64).expand(1, 3, 48, 64).contiguous()
    one, again, other = (perspective_patches(picture, 20, 12, count=5, seed=seed) for seed in (1, 1, 2))
    assert one.shape == (1, 5, 3, 12, 12)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    spread = one.amax((2, 3, 4)) - one.amin((2, 3, 4))
    assert spread.max() < 20 / 63 + 1e-6
    assert one.amin() > 0.0 or picture.amin() == 0
    assert perspective_patches(picture, 48, 12, count=1, seed=0).isfinite().all()


def test_a_patch_in_no_perspective_is_the_picture(monkeypatch):
    monkeypatch.setattr("impasto.losses.clip._TURNED", 0.0)
    picture = noise(16, 16)
    torch.testing.assert_close(perspective_patches(picture, 16, 16, count=1, seed=0)[:, 0], picture, atol=1e-5, rtol=0)


def flat_embed(pictures):
    """Stands for a network: three numbers that change with the picture's colours."""
    return F.normalize(pictures.mean((2, 3)) + 0.1, dim=1)


def test_patches_that_are_near_enough_count_nothing():
    picture = torch.zeros(1, 3, 32, 64)
    picture[:, 0, :, :32] = 1  # the left half is as wanted
    picture[:, 2, :, 32:] = 1
    target = {"source": F.normalize(torch.full((1, 3), 0.1), dim=1), "direction": torch.tensor([[1.0, 0.0, 0.0]])}
    loss = PatchDirectionalLoss(flat_embed, 16, 16, count=32, threshold=0.0)
    strict, kind = loss, PatchDirectionalLoss(flat_embed, 16, 16, count=32, threshold=0.7)
    stats = loss.statistics({"image": picture})
    each = 1 - F.cosine_similarity(stats["vectors"] - target["source"], target["direction"], dim=2)
    rejected = (each <= 0.7).sum()
    assert 0 < rejected < 32
    torch.testing.assert_close(kind.bind(target)(stats), each[each > 0.7].sum() / 32)
    assert kind.bind(target)(stats) < strict.bind(target)(stats)
    leaf = picture.clone().requires_grad_()
    kind.bind(target)(kind.statistics({"image": leaf})).backward()
    assert leaf.grad[..., :8].abs().max() == 0
    assert leaf.grad[..., 40:].abs().max() > 0


def test_gradients_of_both_losses_are_right(clip):
    exact = Clip.of_weights(tiny_clip()).double()
    picture = noise(18, 20).double().requires_grad_()
    target = {
        "source": exact.embed_images(noise(18, 20, seed=3).double()),
        "direction": torch.randn(1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    }
    whole = DirectionalLoss(exact.embed_images)
    patches = PatchDirectionalLoss(exact.embed_images, 10, 16, count=3, threshold=0.0, seed=1)
    for loss in (whole, patches):
        bound = loss.bind(target)
        assert torch.autograd.gradcheck(
            lambda image, loss=loss, bound=bound: bound(loss.statistics({"image": image})), (picture,), fast_mode=True
        )


def painted(tiny_weights, placement, sentence="red stripes", **changes):
    stylizer = ClipStyle({"vgg19-normalised": tiny_weights["vgg19-normalised"], "clip:FILE": tiny_clip()}, placement)
    knobs = ClipKnobs(**{"steps": 30, "patches": 6, "threshold": 0.0, "learning_rate": 0.03, **changes})
    style = Style((StyleImage(torch.full((1, 3, 16, 16), 0.5), words=sentence),))
    losses = []
    job = Job(stylizer.encode_style(style, knobs), knobs)
    result = stylizer.stylize(noise(48, 64), [job], lambda report: losses.append(dict(report.losses)))
    return result, losses[1:]


@pytest.mark.parametrize("canvas", ["pixels", "network"])
def test_losses_fall(tiny_weights, placement, canvas):
    _, losses = painted(tiny_weights, placement, canvas=canvas, content_weight=0.1)
    for name in ("style", "patches"):
        first, last = losses[0][name], sum(one[name] for one in losses[-3:]) / 3
        assert last < 0.8 * first, name


def test_other_words_and_seeds_paint_otherwise_and_the_same_ones_alike(tiny_weights, placement):
    one, _ = painted(tiny_weights, placement, steps=6)
    assert torch.equal(one, painted(tiny_weights, placement, steps=6)[0])
    assert not torch.equal(one, painted(tiny_weights, placement, "blue dots", steps=6)[0])
    assert not torch.equal(one, painted(tiny_weights, placement, steps=6, seed=1)[0])


# --- a sentence on its way through the engine, and in training -------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    """A file of a tiny CLIP."""
    clip_files.write(tmp_path / "own.safetensors", tiny_clip(), {})
    return str(tmp_path / "own.safetensors")


def words_request(own, **more):
    return Request(knobs={"clip": own, "steps": 3, "patches": 4}, **more)


def test_words_reach_the_method_as_they_are_and_the_record_tells_them(engine, own, picture_file):
    photo = picture_file("photo.png", 48, 64)
    result = engine.stylize(photo, "red stripes", words_request(own))
    assert result.record["method"] == "clip"
    assert result.record["styles"] == [{"id": "red stripes", "label": "red stripes", "weight": 1.0}]
    again = engine.stylize(photo, [("red stripes", 1.0)], words_request(own))
    assert np.array_equal(result.picture.pixels, again.picture.pixels)
    other = engine.stylize(photo, "blue dots", words_request(own))
    assert not np.array_equal(result.picture.pixels, other.picture.pixels)


def test_a_painting_may_stand_beside_a_sentence_and_chinese_is_put_into_english(engine, own, picture_file):
    photo, painting = picture_file("photo.png", 48, 64), picture_file("painting.png", 40, 40, seed=5)
    both = engine.stylize(photo, [("red stripes", 2.0), (painting, 1.0)], words_request(own))
    assert [style["label"] for style in both.record["styles"]] == ["red stripes", "painting"]
    chinese = engine.stylize(photo, "红色", words_request(own))
    english = engine.stylize(photo, in_english("红色"), words_request(own))
    assert np.array_equal(chinese.picture.pixels, english.picture.pixels)


def test_what_words_cannot_do_is_told(engine, own, picture_file, monkeypatch, tmp_path):
    photo = picture_file("photo.png", 48, 64)
    with pytest.raises(InputError, match="empty sentence"):
        engine.stylize(photo, " , ", words_request(own))
    with pytest.raises(InputError, match="words"):
        engine.stylize(photo, "storm " * 10_000, words_request(own))
    with pytest.raises(InputError, match="needs a painting's colours"):
        engine.stylize(photo, "red", words_request(own, controls=Controls(keep_color="histogram")))
    with pytest.raises(InputError, match="no quality draft"):
        engine.stylize(photo, "red", words_request(own, quality="draft"))
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    with pytest.raises(AssetError, match="ViT-B-32 is not here"):
        engine.stylize(photo, "red", Request(method="clip", knobs={"steps": 1}))


def test_a_network_learns_a_sentence(tmp_path, tiny_weights, placement):
    photographs = write_photographs(tmp_path / "photographs", 10)
    blank = np.full((16, 16, 3), 0.5, np.float32)
    job = StyleTraining(
        source=photographs,
        target=tmp_path / "net.safetensors",
        knobs=TrainKnobs(steps=12, crop=64, canvas=96, batch=2, ema=0.5, learning_rate=0.01),
        training_styles=[TrainingStyle("stripes", blank, "red stripes", words="red stripes")],
        clip=tiny_clip(),
    )
    result = train(job, weights=tiny_weights, placement=placement, validations=2)
    rows = (tmp_path / "net.training" / "validation.csv").read_text().splitlines()
    named = [dict(zip(rows[0].split(","), map(float, row.split(",")), strict=True)) for row in rows[1:]]
    assert named[-1]["style"] < named[0]["style"]
    assert catalog.find(f"{result.path}").name == "stripes"
    with pytest.raises(InputError, match="is a painting"):
        train(
            replace(job, training_styles=[TrainingStyle("one", blank)], target=tmp_path / "other.safetensors"),
            weights=tiny_weights,
            placement=placement,
        )


def test_a_small_clip_is_trained_and_its_file_is_read(tmp_path, placement):
    photographs = write_photographs(tmp_path / "photographs", 10)
    knobs = ClipTrainKnobs(steps=2, batch=1, width=16)
    job = ClipTraining(source=photographs, target=tmp_path / "shapes.safetensors", knobs=knobs)
    result = train(job, weights={}, placement=placement, validations=1)
    found = Clip.of_weights(clip_files.read(result.path))
    assert found.spec.resolution == 32
    assert len(found.words("red stripes", 16)) == 4  # each word that it knows is one piece
    with pytest.raises(InputError, match="multiple of 4"):
        job = replace(job, knobs=replace(knobs, width=18), target=tmp_path / "odd.safetensors")
        train(job, weights={}, placement=placement)


def test_drawings_are_seeded_named_and_striped_across_one_direction():
    photographs = noise(64, 64, batch=24)
    one, again = draw(photographs, [3]), draw(photographs, [3])
    assert torch.equal(one.pictures, again.pictures)
    assert one.captions == again.captions
    assert set(one.captions) != {"a photo"}
    for caption, shown, meant in zip(one.captions, one.shown, one.meant, strict=True):
        assert meant <= shown
        assert all(word in caption for word in meant)
    assert one.matches().diagonal().all()
    assert 0 < one.matches().float().mean() < 0.5
    stripes = pattern("stripes", 64, np.random.default_rng(0))
    spectrum = torch.fft.fft2(stripes - stripes.mean()).abs().square()
    assert spectrum.flatten().topk(4).values.sum() > 0.4 * spectrum.sum()
