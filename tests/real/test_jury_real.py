"""The standing jury by its command, with real networks."""

import csv
import io
import shutil

from PIL import Image, ImageOps

from impasto.cli import app


def test_a_jury_of_two_pairs(photos, painting, tmp_path, capfd) -> None:
    for name in ("content", "style"):
        (tmp_path / name).mkdir()
    Image.open(photos / "chelsea.png").save(tmp_path / "content/neuschwanstein.jpg")
    shutil.copy(painting, tmp_path / "style/van_gogh_starry_night.jpg")
    ImageOps.mirror(Image.open(painting)).save(tmp_path / "style/van_gogh_langlois_bridge.jpg")
    out, kept = tmp_path / "jury", tmp_path / "accepted"
    asked = ["bench", "jury", str(tmp_path), "--only", "neuschwanstein", "--size", "96", "--large", "0", "-m", "draft"]
    assert app.run([*asked, "--accepted", str(kept), "--accept", "-o", str(out)]) == 0
    assert "2 pictures kept" in capfd.readouterr().err
    rows = list(csv.DictReader(io.StringIO((out / "jury.csv").read_text())))
    assert [row["style"] for row in rows] == ["van_gogh_starry_night", "van_gogh_langlois_bridge"]
    assert all(float(row["photo_residue"]) < 0.5 and float(row["stroke_distance"]) > 0.05 for row in rows)
    assert len(list((out / "96/sheets").iterdir())) == 2
    assert app.run([*asked, "--accept", "-o", str(out)]) == 2
    assert app.run([*asked, "--accepted", str(tmp_path / "none"), "-o", str(out)]) == 2
