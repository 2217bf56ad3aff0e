"""How rows of a benchmark are printed."""

from impasto.cli import bench


def test_what_all_rows_share_is_printed_once_and_no_value_is_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    rows = [{"machine": "one", "style": f"style-number-{at}", "network style distance": at / 7} for at in range(9)]
    bench._show(rows, None, as_json=False)
    said = capsys.readouterr().out
    assert said.count("machine") == 1
    assert "…" not in said
    assert all(f"style-number-{at}" in said and f"{at / 7:.4g}" in said for at in range(9))
    assert max(len(line.rstrip()) for line in said.splitlines()) <= 60


def test_a_single_row_is_a_list(capsys):
    bench._show([{"size": 512, "seconds": 0.25, "note": None}], None, as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == [["size", "512"], ["seconds", "0.25"], ["note"]]
    assert all(lines)  # no empty table below
