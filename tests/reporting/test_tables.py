import pytest

from metaxcr.reporting import tables
from metaxcr.reporting.accuracies import Place, averages, differences, language_points
from metaxcr.reporting.read import read_run


@pytest.fixture(scope="module")
def run(full_run):
    return read_run(full_run)


def test_averages_show_the_numbers_of_the_results(run):
    table = tables.averages_table(averages(run.results))
    assert table.head[0] == "data" and "task" not in table.head  # one task: no column that never changes
    shown = {(row[0], row[1]): row for row in table.rows}
    for item in run.results["averages"]:
        row = shown[item["data"], item["regime"]]
        low, high = item["ci95"]
        assert row[table.head.index("mean, %")] == f"{100 * item['mean']:.1f}"
        assert row[table.head.index("95 % interval")] == f"{100 * low:.1f} to {100 * high:.1f}"
        assert row[table.head.index("mdd, points")] == f"{100 * item['mdd']:.2f}"
        assert row[table.head.index("total labels")] == str(item["total_labels"])
        assert row[table.head.index("seeds")] == (str(len(item["seeds"])) if item["seeds"] else "–")
        assert row[table.head.index("interval over")] == item["ci_kind"]


def test_differences_show_the_numbers_of_the_results(run):
    table = tables.differences_table(differences(run.results))
    shown = {row[:3]: row for row in table.rows}
    assert len(shown) == len(run.results["differences"])
    for item in run.results["differences"]:
        row = shown[item["data"], item["a"], item["b"]]
        low, high = item["ci95"]
        assert row[3].replace("\N{MINUS SIGN}", "-") == f"{100 * item['mean']:+.2f}"
        assert row[4].replace("\N{MINUS SIGN}", "-") == f"{100 * low:+.2f} to {100 * high:+.2f}"
        assert row[-1] == ("better" if low > 0 else "worse" if high < 0 else "no difference shown")


def test_raw_beside_repaired(run):
    table = tables.raw_table(averages(run.results))
    assert table is not None and len(table.rows) == 5
    means = {(item["regime"], item["data"]): item["mean"] for item in run.results["averages"]}
    assert table.rows[0][:3] == (
        "similarity (untrained)",
        f"{100 * means['none', 'raw']:.1f}",
        f"{100 * means['none', 'repaired']:.1f}",
    )
    assert tables.raw_table([item for item in averages(run.results) if item.place.data == "raw"]) is None


def test_every_row_of_the_results_is_there(run):
    table = tables.rows_table(run.results)
    assert len(table.rows) == len(run.results["rows"])
    for row, item in zip(table.rows, run.results["rows"], strict=True):
        assert row[9] == f"{100 * item['acc']:.1f}" and row[10] == str(item["n"])
        assert row[8] == ("–" if item["seed"] is None else str(item["seed"]))


def test_languages_by_settings(run):
    points = language_points(run.results, Place("xcopa", "test", "repaired"))
    table = tables.languages_table(points)
    assert len(table.rows) == 11 and len(table.head) == 6
    for point in points:
        column = table.head.index(point.setting.title)
        cells = [row[column] for row in table.rows if row[0] == {"sw": "Swahili"}.get(point.lang)]
        assert all(cell.startswith(f"{100 * point.value.mean:.1f} [") for cell in cells)


def test_costs_add_up_seeds(run):
    table = tables.costs_table(run.costs)
    assert table is not None
    assert ("CTML", "15 min 31 s", "5.7 M", "1720") in table.rows
    assert table.rows[-1] == ("whole run", "26 min 00 s", "10.5 M", "")
    assert tables.costs_table({}) is None


def test_trunk_sentence(run):
    sentence = tables.trunk_sentence(run.costs)
    assert "141 k texts, 3.5 M tokens, 350 k of them needed, 270 MB" in sentence
    assert "6.2 s to read the rest" in sentence
    assert tables.trunk_sentence({}) == ""


def test_shares_are_per_cent(run):
    table = tables.shares_table(run.results["shares"])
    assert table is not None and ("ctml / of_all", "1.61 %") in table.rows
    assert tables.shares_table(None) is None


def test_shots_list_the_ids(run):
    table = tables.shots_table(run.shots)
    assert table is not None and table.rows[1] == ("xcopa", "16", "1", ", ".join(str(i) for i in range(16)))
    assert tables.shots_table([]) is None
