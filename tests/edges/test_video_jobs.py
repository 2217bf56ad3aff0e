"""Whole film jobs as programs of their own, by a seeded network: what happens when the disk is full."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from impasto.models import networks
from impasto.videos import VideoReader, VideoWriter, probe_video
from tiny import noise


@pytest.mark.process
def test_a_full_disk_ends_a_film_in_two_lines_and_what_was_whole_goes_on(tmp_path):
    seeded = networks.Network(networks.ARCHITECTURES["tiny"], torch.Generator().manual_seed(0))
    networks.Trained(networks.pack(seeded, seeded.neutral_code(), ["seeded"])).save(tmp_path / "net.safetensors")
    grain = np.random.default_rng(0)
    wide = noise(64, 160)[0].permute(1, 2, 0).numpy() + 0.2 * grain.random((64, 160, 3), np.float32)
    with VideoWriter(tmp_path / "clip.mp4", rate=25) as writer:
        for index in range(60):
            writer.write(np.ascontiguousarray(wide[:, index : index + 96]))
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "impasto", "video", str(tmp_path / "clip.mp4"), "-o", str(out), "--json"]
    command += ["--style", str(tmp_path / "net.safetensors")]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*words):
        return subprocess.run([*words, *command], env=settings, capture_output=True, text=True, check=False)

    full = run("sh", "-c", 'ulimit -f 8; exec "$@"', "sh")  # no file may have more than 8 blocks
    assert full.returncode == 5, full.stderr
    assert "cannot be written" in full.stderr
    assert "hint:  free some disk space" in full.stderr
    assert "Traceback" not in full.stderr
    assert not out.exists()
    command.append("--resume")
    done = run()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 60
    assert probe_video(out).count == len(list(VideoReader(out))) == 60
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "net.safetensors", "out.mp4"}


def test_a_change_after_the_clips_end_is_refused_before_anything_is_painted(refused, tmp_path, picture_file):
    with VideoWriter(tmp_path / "clip.mp4", rate=25) as writer:
        for index in range(10):
            writer.write(np.full((48, 64, 3), index / 10, np.float32))
    painting = picture_file("style.png")
    words = ("video", tmp_path / "clip.mp4", "--style", painting, "-o", tmp_path / "out.mp4")
    assert "at 99 s, but the clip ends at 0.4 s" in refused(*words, "--style-at", f"99={painting}")
    assert "at 7 s" in refused(*words, "--strength-at", "7=0.5")
