import pytest

pytest_plugins = ("tests.standing",)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """asyncio and nothing else; its debug mode finds calls from the wrong thread."""
    return "asyncio", {"debug": True}
