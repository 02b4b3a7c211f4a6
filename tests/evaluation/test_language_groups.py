"""What is known of languages: of all that the target tasks test."""

import pytest

from metaxcr.evaluation.language_groups import family, groups, script, seen
from metaxcr.tasks import task_spec


@pytest.mark.parametrize("task", ["xcopa", "xstorycloze", "xwinograd", "starter_target"])
def test_every_tested_language_has_a_family_and_a_script(task: str) -> None:
    for language in task_spec(task).languages:
        assert "unknown" not in (family(language), script(language)), language


def test_what_encoders_have_seen() -> None:
    assert seen("qu", "embedded") == seen("ht", "xlm-roberta-base") == "not seen"
    assert seen("ht", "bert-base-multilingual-cased") == seen("sw", "embedded") == "seen"
    assert seen("qu", "bert-base-multilingual-cased") == "not seen"
    assert seen("sw", "some/other") == seen("sw", "random-tiny:bert-base-multilingual-cased") == "unknown"
    assert groups("th", "embedded") == {"family": "Tai-Kadai", "script": "Thai", "seen": "seen"}
