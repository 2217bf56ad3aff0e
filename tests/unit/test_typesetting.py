"""Text to outlines, and SVG drawings: directions, fonts, layout, and what is refused."""

import numpy as np
import pytest

from impasto.errors import InputError
from impasto.lettering.drawings import Drawing
from impasto.lettering.fonts import FontBook
from impasto.lettering.typesetting import MOST_CHARACTERS, Setting, check_text, typeset

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10">{}</svg>'


@pytest.fixture
def book(store):
    return FontBook(store=store)


def sides(outline):
    left, top, right, bottom = outline.bounds
    return right - left, bottom - top


def drawn(outline, height=120):
    left, top, right, bottom = outline.bounds
    scale = (height - 8) / (bottom - top)
    width = round(scale * (right - left)) + 8
    return outline.placed(scale, 4 - scale * left, 4 - scale * top).drawn(height, width)


def test_hebrew_and_arabic_run_from_right_to_left(book):
    alef, bet = sides(typeset("א", book, Setting()))[0], sides(typeset("ב", book, Setting()))[0]
    first, second = drawn(typeset("אב", book, Setting())), drawn(typeset("בא", book, Setting()))
    assert not np.array_equal(first, second)
    own = drawn(typeset("א", book, Setting()))
    right_end = first[:, -own.shape[1] :]
    assert alef != bet
    assert float(np.minimum(right_end, own[:, -right_end.shape[1] :]).sum()) > 0.8 * float(own.sum())


def test_arabic_letters_join(book):
    apart = sum(sides(typeset(each, book, Setting()))[0] for each in "سلام")
    assert sides(typeset("سلام", book, Setting()))[0] < 0.9 * apart


def test_numbers_in_a_line_from_right_to_left_keep_their_order(book):
    """The number stands left of the word, and reads from left to right."""
    line, one = typeset("שלום 17", book, Setting()), typeset("1", book, Setting())
    leftmost = min(line.contours, key=lambda contour: contour.points[:, 0].min()).points
    assert np.allclose(leftmost - leftmost.min(0), one.contours[0].points - one.contours[0].points.min(0), atol=0.01)


@pytest.mark.parametrize(
    ("text", "first"), [("שלום (abc) 17", "1"), ("(שלום) a", "a"), ("a (אב) b", "a"), ("(a) b", "(")]
)
def test_brackets_stand_on_their_own_sides(book, text, first):
    """What is seen at the left end; in a line from right to left brackets are mirrored."""
    line, one = typeset(text, book, Setting()), typeset(first, book, Setting())
    leftmost = min(line.contours, key=lambda contour: contour.points[:, 0].min()).points
    wanted = max((contour.points for contour in one.contours), key=len)
    assert np.allclose(leftmost - leftmost.min(0), wanted - wanted.min(0), atol=0.01)


def test_letters_that_the_font_lacks_come_from_another_and_are_told(book):
    typeset("A花Ω🙂", book, Setting())
    assert "A" not in book.replaced
    assert book.replaced["花"] == "NotoSansCJKtc-Black"
    assert {"Ω", "🙂"} < set(book.replaced)


def test_joined_emoji_are_one_picture(book):
    family = typeset("👨‍👩‍👧", book, Setting())
    assert sides(family)[0] < 1.7 * sides(typeset("👨", book, Setting()))[0]


def test_a_letter_that_no_font_has_is_named(book):
    with pytest.raises(InputError, match=r"no font has .*U\+E000") as caught:
        typeset("A\ue000", book, Setting())
    assert "--font" in caught.value.hint


def test_lines_spacing_and_alignment(book):
    one, two = typeset("PARIS", book, Setting()), typeset("PARIS\nI", book, Setting(align="left"))
    assert sides(two)[1] > 1.8 * sides(one)[1]
    assert sides(typeset("PARIS", book, Setting(spacing=0.5)))[0] == pytest.approx(sides(one)[0] + 4 * 500, abs=2)
    left, middle, right = (typeset("PARIS\nI", book, Setting(align=each)) for each in ("left", "center", "right"))
    lowest = [max(each.contours, key=lambda contour: contour.points[:, 1].max()) for each in (left, middle, right)]
    places = [float(contour.points[:, 0].mean()) for contour in lowest]
    assert places == sorted(places)
    assert places[2] - places[0] > 1000


def test_a_curve_bends_lines_and_keeps_them_legible(book):
    flat, arch = typeset("RAINBOW", book, Setting()), typeset("RAINBOW", book, Setting(curve=180))
    assert sides(arch)[1] > 1.8 * sides(flat)[1]
    ends = drawn(arch)
    assert ends[:30, : ends.shape[1] // 6].max() < 0.1, "the ends of a rainbow hang down"
    bowl = drawn(typeset("RAINBOW", book, Setting(curve=-180)))
    assert bowl[-30:, : bowl.shape[1] // 6].max() < 0.1


def along(tmp_path, inside):
    path = tmp_path / "line.svg"
    path.write_text(SVG.format(inside))
    return Setting(along=path)


def test_text_runs_along_a_line(book, tmp_path):
    """Along a straight line, in whichever form, as without one; up a slope, turned; round a circle, no larger."""
    text = "HILL TOP"
    straight = typeset(text, book, Setting())
    for inside in ('<path d="M0 5H20"/>', '<polyline points="0,5 4,5 20,5"/>', '<line x1="3" x2="9"/>'):
        same = typeset(text, book, along(tmp_path, inside))
        moved = np.subtract(same.bounds, straight.bounds)
        assert np.abs(moved - np.tile(moved[:2], 2)).max() < 8
    width, height = sides(straight)
    up = typeset(text, book, along(tmp_path, '<path d="M0 20L20 0"/>'))
    assert sides(up)[0] == pytest.approx((width + height) / 2**0.5, rel=0.1)
    first, last = (up.contours[at].points.mean(0) for at in (0, -1))
    assert first[0] < last[0]
    assert first[1] > last[1]
    ring = typeset(text, book, along(tmp_path, '<circle cx="5" cy="5" r="4"/>'))
    assert max(sides(ring)) < 0.7 * width
    assert min(sides(ring)) > 0.3 * width


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("", "no line for the text"),
        ('<path d="M5 5"/>', "no line for the text"),
        ('<path d="M5 5H"/>', "cannot be read|no line for the text"),
        ('<circle r="wide"/>', "cannot be read"),
        ('<g transform="rotate(30)"><path d="M0 0H9"/></g>', "has turned or scaled parts"),
        ('<path d="M0 0H1e400"/>', "no usable size"),
    ],
)
def test_lines_that_text_cannot_run_along(book, tmp_path, inside, said):
    with pytest.raises(InputError, match=said) as caught:
        typeset("HILL", book, along(tmp_path, inside))
    assert caught.value.hint


def test_han_characters_have_the_forms_of_the_language_around_them(book):
    """Kana on another line say that the words are Japanese, where the second stroke of U+76F4 is another."""
    pairs = [("\u76f4", "\u3042"), ("\u76f4", "\u4e2d")]
    japanese, chinese = (typeset(f"{first}\n{second}", book, Setting(align="left")) for first, second in pairs)
    alone = typeset("\u76f4", book, Setting())
    count = len(alone.contours)
    heights = [len(contour.points) for contour in alone.contours]
    assert [len(contour.points) for contour in chinese.contours[:count]] == heights
    assert [len(contour.points) for contour in japanese.contours[:count]] != heights


def test_controls_leave_space_and_no_mark(book):
    assert check_text("A\tB\x85C\x07") == "A B\nC"
    assert sides(typeset("A\tB", book, Setting())) == sides(typeset("A B", book, Setting()))


@pytest.mark.parametrize("opening", ["\u2066", "\u2067", "\u2068"])
def test_isolates_run_in_their_direction(book, opening):
    """A Hebrew word and its number are turned round together, unless they are told to run from left to right."""
    inside = f"{opening}\u05d0 17\u2069"
    marks = {"\u2066": "\u202a", "\u2067": "\u202b", "\u2068": "\u202b"}
    embedded = f"{marks[opening]}\u05d0 17\u202c"
    isolated, expected = (drawn(typeset(f"AB {each} C", book, Setting())) for each in (inside, embedded))
    assert np.array_equal(isolated, expected)


def test_a_character_newer_than_the_table_of_directions_is_told(book):
    with pytest.raises(InputError, match=r"no font has .*U\+0378"):
        typeset("A\u0378B", book, Setting())


@pytest.mark.parametrize("text", ["", "  ", "\n\n", "\x07"])
def test_no_words(text):
    with pytest.raises(InputError, match="the text is empty"):
        check_text(text)


def test_too_many_words():
    with pytest.raises(InputError, match="5,000 characters"):
        check_text("a" * 5000)
    assert len(check_text("a" * MOST_CHARACTERS)) == MOST_CHARACTERS


def test_text_without_a_visible_letter(book):
    with pytest.raises(InputError, match="no visible letter"):
        _ = typeset("\u200d", book, Setting()).bounds


@pytest.mark.parametrize("values", [{"align": "middle"}, {"spacing": float("nan")}, {"curve": 400.0}, {"leading": 0.0}])
def test_settings_out_of_range(values):
    with pytest.raises(InputError, match=next(iter(values))):
        Setting(**values)


def test_files_that_are_no_fonts(tmp_path, store):
    for name, data in (("empty.ttf", b""), ("noise.otf", bytes(range(256)) * 8)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="is not a font that can be read"):
            FontBook(str(tmp_path / name), store=store)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        FontBook(str(tmp_path / "none.ttf"), store=store)


@pytest.mark.process
@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_a_font_whose_name_can_be_no_file(store, name):
    with pytest.raises(InputError, match="there is no font"):
        FontBook(name, store=store)


@pytest.mark.process
def test_a_font_that_the_system_lacks(store):
    with pytest.raises(InputError, match="there is no font 'No Such Font'"):
        FontBook("No Such Font", store=store)


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("<script>1</script>", "has <script>"),
        ('<rect width="5" height="5" onload="x()"/>', "has a script"),
        ('<image href="file:///etc/passwd" width="5" height="5"/>', "has <image>"),
        ('<use href="other.svg#a"/>', "refers to another file"),
        ('<rect width="5" height="5" style="fill:url(http://a/b#c)"/>', "refers to another file"),
        ("<style>@import 'a.css';</style>", "refers to another file"),
        (r"<style>@\69mport 'a.css';</style>", "has escapes"),
        (r'<rect width="5" height="5" style="fill:u\72l(http://a/b#c)"/>', "has escapes"),
        (r'<rect width="5" height="5" fill="u\72l(http://a/b#c)"/>', "has escapes"),
        ("<style><![CDATA[rect{fill:url(http://a/b)}]]></style>", "refers to another file"),
        ("<style>rect{}<g/>path{fill:url(b.svg#c)}</style>", "refers to another file"),
        ("<style>rect{fill:URL(  'data:image/png;base64,AA' )}</style>", "refers to another file"),
        ("<style>rect{mask:image-set('a.png' 1x)}</style>", "refers to another file"),
        ('<rect width="5" height="5" filter="url(/etc/passwd)"/>', "refers to another file"),
        ("<foreignObject/>", "has <foreignObject>"),
        ("<text>word</text>", "has text"),
        ('<rect width="5" height="5"><animate attributeName="x"/></rect>', "is animated"),
        ("<g>", "is not an SVG"),
    ],
)
def test_drawings_that_are_refused(tmp_path, inside, said):
    path = tmp_path / "logo.svg"
    path.write_text(SVG.format(inside))
    with pytest.raises(InputError, match=said) as caught:
        Drawing.read(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    "sides", ['viewBox="0 0 1.2.3 4"', 'width="." height="4"', 'viewBox="0 0 1e999 4"', 'viewBox=""']
)
def test_drawings_of_no_usable_size(tmp_path, sides):
    path = tmp_path / "logo.svg"
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {sides}><rect width="5" height="5"/></svg>')
    with pytest.raises(InputError, match="has no usable size"):
        Drawing.read(path)


@pytest.mark.parametrize(
    "inside",
    [
        "<g>" * 300 + "</g>" * 300,
        "<g>" * 20000 + "</g>" * 20000,
        "".join(f'<g id="a{at}"><use href="#a{at + 1}"/></g>' for at in range(128)),
        "".join(f'<pattern id="a{at}"><path fill="url(#a{at + 1})"/></pattern>' for at in range(300)),
        '<g id="ring"><use href="#ring"/></g>',
        "<style>"
        + "".join(f".a{at}{{clip-path:url(#a{at + 1})}}" for at in range(128))
        + "</style>"
        + "".join(f'<clipPath id="a{at}"><path class="a{at}"/></clipPath>' for at in range(129)),
        '<style>/* } */ g > .ring:hover, rect{mask:url("#ring")}</style><mask id="ring"><path class="x ring"/></mask>',
    ],
)
def test_groups_and_references_that_lie_too_deep(tmp_path, inside):
    path = tmp_path / "logo.svg"
    path.write_text(SVG.format(inside))
    with pytest.raises(InputError, match="too deep"):
        Drawing.read(path)


@pytest.mark.parametrize(
    "inside",
    [
        "".join(f'<g id="a{at}">' + f'<use href="#a{at + 1}"/>' * 10 + "</g>" for at in range(8)),
        "<style>"
        + "".join(f".a{at}{{fill:url(#a{at + 1})}}" for at in range(8))
        + "</style>"
        + "".join(f'<pattern id="a{at}">' + f'<path class="a{at}"/>' * 10 + "</pattern>" for at in range(9)),
        '<pattern id="p">' + "<path/>" * 500 + '</pattern><g fill="url(#p)">' + "<path/>" * 500 + "</g>",
        '<marker id="m">' + "<path/>" * 100 + '</marker><path marker-mid="url(#m)" d="M0 0' + "h1v1" * 5000 + '"/>',
    ],
)
def test_references_that_would_be_drawn_a_million_times(tmp_path, inside):
    path = tmp_path / "logo.svg"
    path.write_text(SVG.format(inside))
    with pytest.raises(InputError, match="by references to references"):
        Drawing.read(path)


def test_style_sheets_as_drawing_programs_write_them_are_drawn(tmp_path):
    path = tmp_path / "logo.svg"
    sheet = '<style type="text/css">.st0{clip-path:url(#c);fill:url(#b);} .st1{fill:#f00}</style>'
    gradient, rect = (
        '<linearGradient id="b"><stop stop-color="red"/></linearGradient>',
        '<rect width="20" height="10"/>',
    )
    drawn = f'<clipPath id="c">{rect}</clipPath><g class="st0">' + rect * 300 + "</g>"
    path.write_text(SVG.format(sheet + gradient + drawn))
    assert Drawing.read(path).drawn(20, 40, (0, 0, 40, 20)).min() > 0.9


def test_groups_and_references_of_a_usual_depth_are_drawn(tmp_path):
    path = tmp_path / "logo.svg"
    shape = '<rect id="r" width="20" height="10" fill="url(#b)"/><linearGradient id="b" href="#c"/>'
    stops = '<linearGradient id="c"><stop stop-color="red"/></linearGradient>'
    path.write_text(SVG.format(stops + "<g>" * 40 + shape + "</g>" * 40 + '<use href="#r"/>' * 1000))
    assert Drawing.read(path).drawn(20, 40, (0, 0, 40, 20)).min() > 0.9


def test_entities_are_refused_and_a_plain_doctype_is_not(tmp_path):
    path = tmp_path / "logo.svg"
    body = SVG.format('<rect width="20" height="10"/>')
    path.write_text(f'<!DOCTYPE svg [<!ENTITY a "b">]>{body}')
    with pytest.raises(InputError, match="entities"):
        Drawing.read(path)
    path.write_text(f'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/x.dtd">{body}')
    assert Drawing.read(path).sides == (20, 10)


def test_a_drawing_is_fitted_without_stretching(tmp_path):
    path = tmp_path / "logo.svg"
    path.write_text(SVG.format('<rect x="5" width="10" height="10"/>'))
    covered = Drawing.read(path).drawn(100, 200, (0.0, 0.0, 200.0, 100.0))
    assert covered[:, 51:149].min() == 1
    assert covered[:, :49].max() == 0


def test_a_drawing_of_nothing(tmp_path):
    path = tmp_path / "logo.svg"
    path.write_text(SVG.format(""))
    with pytest.raises(InputError, match="draws nothing"):
        Drawing.read(path).drawn(50, 100, (0.0, 0.0, 100.0, 50.0))


def test_what_an_ocr_reads_is_counted_by_edits():
    from impasto.bench.letters import characters_read

    assert characters_read("PARIS", "PARIS") == 5
    assert characters_read("PARIS", "PARlS") == 4
    assert characters_read("PARIS", "") == 0
    assert characters_read("春天", "xxxxxxx") == 0
