"""Opens models of any kind, archives of them too, and says what cannot be painted before anything heavy is loaded."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from impasto.errors import InputError, ResourceError
from impasto.files import refuse_address
from impasto.scenes import gltf, obj, ply
from impasto.scenes.meshes import Mesh, checked, prepared
from impasto.scenes.points import PointScene
from impasto.scenes.scene import MeshScene, Scene
from impasto.scenes.voxels import VoxelScene

MESHES = (".glb", ".gltf", ".obj", ".ply")
POINTS = (".ply", ".las", ".laz")
VOXELS = (".npy", ".vox")
MODELS = tuple(dict.fromkeys((*MESHES, *POINTS, *VOXELS)))
_MOST_BYTES = 1 << 30
_MOST_RATIO = 100  # of an archive's contents to its size, above which it is a bomb
_HARMLESS = 20 << 20  # bytes that any archive may hold
_MOST_MEMBERS = 2000


@dataclass(frozen=True)
class ModelSettings:
    """How a model is read.

    Attributes:
        paint: see `meshes.prepared`.
        texture_size: side of textures that are added, in pixels.
        texture: a picture for an OBJ that names none.
        inside: whether it is a room.
    """

    paint: str = "auto"
    texture_size: int = 1024
    texture: Path | None = None
    inside: bool = False

    def __post_init__(self) -> None:
        if not 16 <= self.texture_size <= 16384:
            raise InputError(f"--texture-size is {self.texture_size}", "it takes from 16 to 16384 pixels")

    def refuse_for(self, name: str) -> None:
        """Refuse what is for meshes alone, for a file that holds none. Raises InputError."""
        given = {"--inside": self.inside, "--paint": self.paint == "texture", "--texture": self.texture is not None}
        options = [option for option, is_given in given.items() if is_given]
        if options:
            raise InputError(f"{options[0]} is for meshes, and {name} is none", "leave it out")


def open_scene(path: Path, settings: ModelSettings | None = None, *, on_note: Callable[[str], object] = print) -> Scene:
    """Read a model.

    Args:
        path: a .glb, .gltf, .obj, .ply, .las, .laz, .npy or .vox file, or a .zip with one of them.
        settings: how.
        on_note: called with what is missing.

    Raises:
        InputError: it cannot be painted.
        ResourceError: it is too large.
        MissingExtra: its format needs a package that is not installed.
    """
    settings = settings or ModelSettings()
    refuse_address(str(path))
    if path.suffix.lower() == ".zip":
        with tempfile.TemporaryDirectory() as folder:
            return _opened(_unpacked(path, Path(folder)), settings, on_note)
    return _opened(path, settings, on_note)


def _opened(path: Path, settings: ModelSettings, on_note: Callable[[str], object]) -> Scene:
    suffix = path.suffix.lower()
    if suffix not in MODELS:
        raise InputError(f"{path.name} is no model that can be painted", f"give one of {', '.join(MODELS)}, or a .zip")
    if settings.texture is not None and suffix != ".obj":
        raise InputError("--texture is for .obj files that name none", "leave it out")
    data = _contents(path)
    if suffix in (*VOXELS, ".las", ".laz"):
        settings.refuse_for(path.name)
    if suffix in VOXELS:
        return VoxelScene.read(path, data)
    if suffix in (".las", ".laz"):
        return PointScene.read_las(path, data)
    if suffix == ".ply":
        file, points, faces, colors = ply.read(path, data)
        if not len(faces):
            settings.refuse_for(path.name)
            return PointScene.of_ply(path, file, points, colors)
    mesh = checked(_mesh(path, data, settings), path.name)
    mesh = prepared(mesh, paint=settings.paint, size=settings.texture_size)
    for note in mesh.notes:
        on_note(note)
    return MeshScene(mesh, settings.inside)


def _mesh(path: Path, data: bytes, settings: ModelSettings) -> Mesh:
    suffix = path.suffix.lower()
    if suffix == ".obj":
        return obj.read(path, data, texture=settings.texture)
    return ply.as_mesh(path, data) if suffix == ".ply" else gltf.read(path, data)


def _contents(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"there is no file {path}", "name a model, or spot for the sample")
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ResourceError(f"{path.name} has {size:,} bytes; at most {_MOST_BYTES:,} are read", "simplify it first")
    data = path.read_bytes()
    if not data:
        raise InputError(f"{path.name} is empty", "export it anew")
    return data


def _unpacked(path: Path, folder: Path) -> Path:
    """The one model of an archive, unpacked with what lies beside it."""
    if not path.is_file():
        raise InputError(f"there is no file {path}", "name a model, or spot for the sample")
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            for member in members:
                target = folder.joinpath(*PurePosixPath(member.filename).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as stream:
                    target.write_bytes(stream.read(member.file_size))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise InputError(
            f"{path.name} is no archive that can be read ({error})", "unpack it, and name the model"
        ) from error
    models = [member.filename for member in members if PurePosixPath(member.filename).suffix.lower() in MODELS]
    if len(models) != 1:
        names = ", ".join(models[:4]) if models else "no model"
        raise InputError(f"{path.name} holds {names}", "unpack it, and name one")
    return folder.joinpath(*PurePosixPath(models[0]).parts)


def _members(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    members = [member for member in archive.infolist() if not member.is_dir() and not _is_hidden(member.filename)]
    total, packed = sum(member.file_size for member in members), max(1, path.stat().st_size)
    if len(members) > _MOST_MEMBERS or total > _MOST_BYTES or (total > _HARMLESS and total / packed > _MOST_RATIO):
        raise ResourceError(
            f"{path.name} would unpack from {packed:,} to {total:,} bytes in {len(members):,} files",
            "it may be a trap; unpack it yourself, and name the model",
        )
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in member.filename:
            raise InputError(f"{path.name} holds {member.filename[:80]}, outside its own folder", "unpack it yourself")
    return members


def _is_hidden(name: str) -> bool:
    """Whether a file is a program's own, such as those that macOS adds."""
    parts = PurePosixPath(name).parts
    return parts[0] == "__MACOSX" or any(part.startswith(".") and part != ".." for part in parts)
