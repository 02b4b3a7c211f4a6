"""The table of public language adapters."""

from metaxcr.adapters.public import provenance, public_adapters

XCOPA = {"et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"}


def test_xlm_roberta_base_has_all_languages_of_xcopa() -> None:
    rows = public_adapters("FacebookAI/xlm-roberta-base")
    assert {row["language"] for row in rows} >= XCOPA | {"en"}
    assert {row["hub"] for row in rows} >= {"AdapterHub/xlm-roberta-base-sw-wiki_pfeiffer"}
    multilingual = {row["language"] for row in public_adapters("bert-base-multilingual-cased")}
    assert multilingual & (XCOPA | {"en"}) == {"en", "et", "ht", "qu", "sw", "zh"}


def test_rows_are_distinct_and_filtered() -> None:
    rows = public_adapters()
    assert len({row["hub"] for row in rows}) == len(rows)
    assert {row["language"] for row in public_adapters(language="sw")} == {"sw"}
    assert public_adapters("bert-base-uncased") == []
    assert "adapter-hub/Hub" in provenance()
