"""Makes the pictures of docs/words.md: sentences, music and discovered styles, each painted once.

    python examples/words_pictures.py FOLDER good|draft [CHAPTER...] [--songs FILE...]

The photograph is scikit-image's chelsea (CC0), the paintings are the Metropolitan Museum's (CC0), found by Impasto; the
pastiches are our own. Each picture is also kept at its full size, in FOLDER/whole. Music needs three recordings and
pip install "impasto[video]", discovered styles pip install "impasto[discover]".
"""

import sys
from pathlib import Path

import controls_pictures
from controls_pictures import Album

from impasto import images
from impasto.assets.library import Library
from impasto.discover import collection
from impasto.files import slug

CAT = "chelsea.png"
PAINTED, CELL, HIGH, LARGEST = 512, 256, 171, 245_000

SENTENCES = (
    "a stormy night at sea, thick dark paint",
    "tiny dots of pure colour",
    "shining gold leaf like an icon",
    "misty mountains in black ink",
    "candlelight in a dark room",
    "pink and turquoise rococo frivolity",
    "tropical paradise with exotic fruit",
    "art nouveau, pastel flowers, decorative pattern",
    "梵高旋转的天空,麦田",
    "印度细密画",
)
IN_ENGLISH = {
    "梵高旋转的天空,麦田": "(Chinese) Van Gogh's swirling sky, wheat",
    "印度细密画": "(Chinese) Indian miniature",
}  # captions: their font has Latin letters alone
DISCOVERED = (0, 2, 4, 6)  # of eight


class Whole(Album):
    """An album that also keeps each picture at its full size."""

    def __init__(self, folder, quality):
        super().__init__(folder)
        self.quality = quality

    def paint(self, label, photo, styles, **how):
        super().paint(label, photo, styles, quality=self.quality, **how)
        folder = self.folder / "whole"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{len(list(folder.iterdir())):02}-{slug(label)}.png"
        images.write(images.read(self.cells[-1][0]), path)
        print(path, flush=True)


def words(album, _songs):
    for sentence in SENTENCES:
        album.paint(IN_ENGLISH.get(sentence, sentence), CAT, sentence)
    album.save("words", columns=5, cell=CELL, lines=2, height=HIGH)


def music(album, songs):
    for song in songs:
        album.paint(Path(song).stem, CAT, song)
    album.save("music", cell=CELL, height=HIGH)


def discovered(album, _songs):
    library = Library(album.engine.store)
    works = collection.read_collection(library, "museum")
    found = collection.discover(library, works, count=8)
    styles = album.folder / "styles"
    written = [path for path in collection.write(found, library, styles) if path.suffix == ".style"]
    for number in DISCOVERED:
        album.paint(written[number].stem, CAT, str(written[number]))
    album.save("styles", cell=CELL, height=HIGH)


CHAPTERS = (words, music, discovered)


def main():
    given, songs = sys.argv[1:], []
    if "--songs" in given:
        place = given.index("--songs")
        given, songs = given[:place], given[place + 1 :]
    controls_pictures.PAINTED, controls_pictures.LARGEST = PAINTED, LARGEST
    album = Whole(Path(given[0]), given[1])
    for chapter in CHAPTERS:
        if chapter.__name__ in (given[2:] or chapter.__name__):
            chapter(album, songs)


if __name__ == "__main__":
    main()
