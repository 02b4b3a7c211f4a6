import pytest
from jinja2 import UndefinedError

from metaxcr.reports import canvas
from metaxcr.reports.html import picture, render


def test_picture_is_drawn_at_both_widths():
    widths = []

    def draw(width):
        widths.append(width)
        fig = canvas.figure(width, 50)
        canvas.place(fig, 10, 10, width - 20, 20).plot([0, 1])
        return fig

    found = picture("key", 'a "quoted" <alt>', "caption", draw)
    assert found is not None and widths == [canvas.WIDE, canvas.NARROW]
    assert 'aria-label="a &quot;quoted&quot; &lt;alt&gt;"' in found.wide
    assert 'viewBox="0 0 960 50"' in found.wide and 'viewBox="0 0 358 50"' in found.narrow


def test_nothing_to_draw_is_no_picture():
    assert picture("key", "alt", "caption", lambda width: None) is None


def test_a_forgotten_name_is_an_error():
    with pytest.raises(UndefinedError):
        render({"target": "xcopa"})
