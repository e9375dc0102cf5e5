"""A pytest fixture; active in every suite that has this package installed, so it loads nothing until used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tagferry.emulator import Emulator


@pytest.fixture
def tagferry_emulator() -> Iterator[Emulator]:
    """A fast emulator on a thread of its own.

    Exports are done as soon as they are asked for, 1000 calls a second are allowed, and time runs a hundred
    times as fast. For other settings write a fixture of your own with `serve_in_thread`.
    """
    from tagferry.emulator import Settings, TencentSettings, serve_in_thread  # noqa: PLC0415

    tencent = TencentSettings(quota_per_second=1000)
    settings = Settings(time_scale=0.01, job_seconds=0.0, quota_per_second=1000, tencent=tencent)
    with serve_in_thread(settings) as emulator:
        yield emulator
