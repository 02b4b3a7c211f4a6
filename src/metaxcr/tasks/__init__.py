"""What is learned: examples, readers of official formats, the registry of tasks, shots and the leak guard."""

from metaxcr.tasks.example import Example, Phrased
from metaxcr.tasks.phrasing import phrase
from metaxcr.tasks.registry import LoadedSplit, load, task_ids, task_spec
from metaxcr.tasks.spec import TaskSpec

__all__ = ["Example", "LoadedSplit", "Phrased", "TaskSpec", "load", "phrase", "task_ids", "task_spec"]
