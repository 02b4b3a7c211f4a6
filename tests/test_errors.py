from metaxcr.errors import LONGEST, MetaXCRWarning, UserError


def test_the_line_says_what_where_and_how_to_mend_it() -> None:
    error = UserError("no label", "mine.csv:3", "add one")
    assert str(error) == "no label (mine.csv:3): add one"
    assert (error.what, error.where, error.fix) == ("no label", "mine.csv:3", "add one")
    assert str(UserError("no label")) == "no label"


def test_foreign_text_is_made_printable_and_long_quotations_are_cut() -> None:
    assert "\x1b" not in str(UserError("name \x1b[2J", "a\u202eb"))
    error = UserError("x" * 5000 + "end")
    assert len(error.what) < LONGEST + 10 and error.what.endswith("end")


def test_warnings_can_be_filtered_by_their_class() -> None:
    assert issubclass(MetaXCRWarning, UserWarning)
