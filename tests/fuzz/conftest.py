"""Every fuzzer works in a folder of its own, with nobody's data or cache, and tells how much it tried."""

import pytest
from tests.fuzzing import summary


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("alone")
    for name in ("METAXCR_DATA", "COLUMNS", "METAXCR_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "user"))
    monkeypatch.setenv("METAXCR_CACHE", str(folder / "cache"))
    monkeypatch.setenv("METAXCR_TASKS", str(folder / "tasks"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    summary(terminalreporter)
