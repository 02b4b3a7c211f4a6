import re
import subprocess
import sys

import matplotlib
import pytest

from metaxcr.reporting import canvas


def draw(key="x"):
    with canvas.drawing():
        fig = canvas.figure(300, 200)
        axes = canvas.place(fig, 40, 20, 240, 140)
        axes.plot([0, 1], [0, 1], color=canvas.LIGHT["m1"], marker="o", label="a_$b$ <i>")
        axes.legend()
        return canvas.svg(fig, key, "what it shows")


def test_callers_settings_are_untouched():
    with matplotlib.rc_context({"font.size": 33.0}):
        before = dict(matplotlib.rcParams)
        draw()
        assert dict(matplotlib.rcParams) == before


def test_pyplot_is_not_needed():
    code = "import sys, metaxcr.reporting; assert 'matplotlib.pyplot' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_same_bytes_whatever_the_callers_settings():
    first = draw()
    with matplotlib.rc_context({"font.size": 30.0, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        assert draw() == first


def test_colours_follow_the_page_and_text_stays_text():
    text = draw()
    assert "var(--m1)" in text and "var(--ink)" in text
    assert not re.search(r"#[0-9a-f]{6}", text)
    assert "a_$b$ &lt;i&gt;" in text  # neither a formula nor markup
    assert 'role="img" aria-label="what it shows"' in text
    assert 'viewBox="0 0 300 200"' in text and " width=" not in text[: text.index(">")]


def test_ids_are_prefixed_and_every_reference_resolves():
    text = draw("one")
    ids = set(re.findall(r' id="([^"]+)"', text))
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    assert ids and used
    assert all(name.startswith("one-") for name in ids)
    assert {a or b for a, b in used} <= ids
    assert not ids & set(re.findall(r' id="([^"]+)"', draw("two")))


def test_pixels_are_measured_from_the_upper_left_corner():
    with canvas.drawing():
        box = canvas.place(canvas.figure(200, 100), 20, 10, 100, 50).get_position()
    assert (box.x0, box.y1, box.width, box.height) == pytest.approx((0.1, 0.9, 0.5, 0.5))
