"""Grid files: strict keys, what varies, names."""

import re
from collections.abc import Callable

import pytest

from metaxcr.compare.grid import GRIDS, Grid, find_grid, load_grid, varied
from metaxcr.compare.plan import expand
from metaxcr.config.io import shipped
from metaxcr.errors import UserError

Build = Callable[..., Grid]


def test_what_varies_becomes_one_method_each(grid: Build) -> None:
    method = {"vary": {"source": ["starter_social", "starter_facts"]}, "without": ["{source}"]}
    found = grid(methods={"plain": {}, "without {source}": method})
    names = ["plain", "without starter_social", "without starter_facts"]
    assert list(found.expanded) == names
    assert found.expanded[names[2]].without == ["starter_facts"]
    assert varied(found, "source") == {names[1]: "starter_social", names[2]: "starter_facts"}
    quoted = {"vary": {"word": ['a"b', "c\\"]}, "settings": {"encoder": {"prefix": "<{word}>"}}}
    found = grid(methods={"plain": {}, "x": quoted})
    prefixes = [method.settings["encoder"]["prefix"] for method in list(found.expanded.values())[1:]]
    assert prefixes == ['<a"b>', "<c\\>"] and list(found.expanded)[1:] == ['x a"b', "x c\\"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metods": {}}, "unknown setting 'metods'.*did you mean 'methods'"),
        ({"methods": {"a": {"setings": {}}}}, "'methods.a.setings'.*did you mean 'methods.a.settings'"),
        ({"baseline": "other"}, "'other' is no method"),
        ({"methods": {"a": {"kind": "ensemble", "of": "b"}}, "baseline": None}, "'b' is no trained method"),
        (
            {"methods": {"a": {}, "b": {"kind": "ensemble", "of": ["a", "c"]}}, "baseline": None},
            "'c' is no trained",
        ),
        ({"methods": {"a": {"of": "b"}}, "baseline": None}, "only an ensemble has it"),
        ({"methods": {"a": {"regime": "zero-shot-aux", "shots": [8]}}, "baseline": None}, "uses no shots"),
        ({"shots": [0, 1]}, "one shot"),
        ({"seeds": [1, 1]}, "named twice"),
        ({"matrix": "support"}, "no method varies 'support'"),
    ],
)
def test_mistakes_are_one_line(grid: Build, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        grid(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {"a": {"settings": {"ctml": {"stepz": 1}}}}}, r"ctml\.stepz.*method 'a'.*ctml\.steps"),
        ({"methods": {"a": {"without": ["socialiqa"]}}}, "'socialiqa' is no source.*starter_social"),
        ({"languages": ["xx"]}, "starter_target has no 'xx'"),
        ({"settings": {"evaluate": {"split": "dev"}}}, "has no split 'dev'"),
    ],
)
def test_mistakes_in_settings_name_the_method(grid: Build, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        expand(grid(**{"baseline": None, **changes}))


def test_names_and_yaml_mistakes(tmp_path) -> None:
    assert find_grid("starter") == GRIDS / "starter.yaml"
    with pytest.raises(UserError, match="did you mean 'starter'"):
        find_grid("startr")
    path = tmp_path / "bad.yaml"
    path.write_text("title: [\n", encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(str(path)) + ":2"):
        load_grid(str(path))


@pytest.mark.parametrize("name", shipped(GRIDS))
def test_shipped_grids_begin_with_their_command_and_expand(name: str) -> None:
    first = find_grid(name).read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"# metaxcr compare {name}")
    grid = load_grid(name)
    cells = expand(grid)
    assert grid.about and cells and len({cell.label for cell in cells}) == len(cells)
    trained = {c.method for c in cells if c.kind == "trained"}
    assert len(grid.seeds) >= 3 and (trained or {c.kind for c in cells} == {"similarity"})
    if grid.baseline is not None:  # every method has something to be compared with
        at = {(cell.target, cell.k) for cell in cells if cell.method == grid.baseline}
        assert all((cell.target, cell.k) in at or (cell.target, 0) in at for cell in cells)
