"""The versions of an item in other languages and tasks: a test item's English original is that test item."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from metaxcr.tasks.example import Example
from metaxcr.tasks.leaks import identity
from metaxcr.tasks.registry import LoadedSplit, load, task_ids, task_spec
from metaxcr.tasks.roots import missing_files


def other_versions(
    items: Sequence[Example],
    languages: Collection[str],
    root: Path | None = None,
    read: Callable[..., LoadedSplit] = load,
) -> list[Example]:
    """Find what items say in other languages, so that the leak guard can compare wordings there.

    A source that holds the English original of a Swahili test item, under whatever name and id, shares no
    word with the Swahili text; it is found because COPA's own files say which item is the original.

    Args:
        items: Held-out items.
        languages: Those that training data are in.
        root: Data root, see :func:`metaxcr.tasks.roots.candidate_roots`.
        read: Reads a split: :func:`metaxcr.tasks.load`, or what remembers what it read.

    Returns:
        The examples of all declared tasks, in these languages and as far as their files are there, that are
        versions of the items (:func:`metaxcr.tasks.leaks.identity`); without the items themselves.
    """
    wanted = {key for item in items if (key := identity(item)) is not None}
    given = {(item.task, item.language) for item in items}
    origins = {origin for origin, _ in wanted}
    found = []
    for spec in map(task_spec, task_ids()):
        if (spec.origin or spec.id) not in origins:
            continue
        absent = set(missing_files(spec, root))
        for split in spec.splits:
            for language in set(spec.split_languages(split)).intersection(languages):
                if (spec.id, language) in given or absent.intersection(spec.files_of(split, language)):
                    continue
                examples = read(spec.id, split, language=language, root=root).examples
                found += [example for example in examples if identity(example) in wanted]
    return found
