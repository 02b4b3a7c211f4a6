"""``metaxcr compare`` from the command line: a whole tiny grid, its report, its exit statuses."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("toy_command")

SMALL = [
    *("--set", "seeds=[0]", "--set", "shots=[8]", "--set", "languages=[es, sw]"),
    *("--set", "settings.run.threads=1", "--set", "settings.adapters.bottleneck=4"),
    *("--set", "settings.encoder={max_tokens: 48, dtype: float32}"),
    *("--set", "settings.target.parallel.languages=[es, sw]"),
    *("--set", "settings.ctml={steps: 2, support: 4, query: 4, reward: 4}"),
    *(
        "--set",
        "settings.clml={few_shot_steps: 1, support: 4, query: 4}",
        "--set",
        "settings.finetune.steps=1",
    ),
    *("--set", "methods={plain: {settings: {ctml: {learner: multi-task}}}, reinforced: {}}"),
]


def test_from_the_command_to_the_report_and_again(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    planned = call("compare", "starter", *SMALL, "--out", out, "--dry-run", "--json")
    assert planned.status == 0 and not out.exists()
    rows = json.loads(planned.out)
    assert len(rows) == 4 and {row["state"] for row in rows} == {"to run"}
    assert all(row["token_passes"] > 0 and row["command"].startswith("metaxcr run starter") for row in rows)
    done = call("compare", "starter", *SMALL, "--out", out, "--quiet")
    assert done.status == 0, done.err
    assert "Difference from plain" in done.out and "4/4 reinforced: es sw, k=8, seed 0: done" in done.err
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page and "Starter comparison" in page and "demonstration" in page
    again = call("compare", "starter", *SMALL, "--out", out, "--json")
    summary = json.loads(again.out)
    assert "4 cells: 4 finished, 0 to run" in again.err
    assert [row["method"] for row in summary["averages"]] == ["plain", "reinforced"]
    assert summary["failed"] == {} and len(summary["cells"]) == 4
    # packed into the folder that the project names, the cells serve other comparisons of the project
    project = tmp_path / "project" / "inner"
    project.mkdir(parents=True)
    (project.parent / "metaxcr.toml").write_text('cells = "kept"\n')
    monkeypatch.chdir(project)
    packed = call("compare", "starter", *SMALL, "--out", out, "--pack", "--quiet")
    assert packed.status == 0, packed.err
    assert [path.name for path in (project.parent / "kept").glob("[!.]*")] == ["starter.jsonl.gz"]
    other = call("compare", "starter", *SMALL, "--out", tmp_path / "other", "--json")
    assert "4 cells: 4 finished, 0 to run" in other.err
    assert json.loads(other.out)["averages"] == summary["averages"]


def test_a_failure_is_named_and_the_exit_status_is_1(call, tmp_path: Path) -> None:
    broken = "methods={plain: {}, broken: {settings: {target: {english: {reward: 0.0}}}}}"
    done = call("compare", "starter", *SMALL, "--set", broken, "--out", tmp_path / "out", "--quiet")
    assert done.status == 1
    assert done.line.startswith("failed: broken: sw, k=8, seed 0: the part 'reward'")
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["failed"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "no grid 'nothing'"),
        (["starter", "--engine", "cluster"], "unknown engine 'cluster'.*processes, serial"),
        (["starter", "--set", "methods.plain.settings.ctml.stepz=1"], "ctml.stepz"),
        (["starter", "--shots", "/no/file"], "cannot read the shots"),
        (["starter", "--against", "/no/file"], "no such file"),
    ],
)
def test_wrong_input_is_one_line(call, tmp_path: Path, words: list[str], message: str) -> None:
    import re

    done = call("compare", *words, "--out", tmp_path / "out")
    assert done.status == 2 and re.search(message, done.line) and done.err.count("\n") <= 2
