"""A pytest fixture; active in every suite that has this package installed, so it loads nothing until used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tagferry.emulator import Emulator


@pytest.fixture
def tagferry_emulator() -> Iterator[Emulator]:
    """A fast emulator on a thread of its own: exports take 50 ms, and 1000 calls a second are allowed."""
    from tagferry.emulator import Settings, TencentSettings, serve_in_thread  # noqa: PLC0415

    tencent = TencentSettings(quota_per_second=1000)
    settings = Settings(time_scale=0.01, job_seconds=5.0, quota_per_second=1000, tencent=tencent)
    with serve_in_thread(settings) as emulator:
        yield emulator
