import hypothesis
import pytest

# How long a machine takes to make an example says nothing about us.
hypothesis.settings.register_profile(
    "tagferry", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("tagferry")

pytest_plugins = ("tests.standing",)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """asyncio and nothing else; its debug mode finds calls from the wrong thread."""
    return "asyncio", {"debug": True}
