"""The environment variables that lead a program to an emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tagferry.emulator.settings import Settings


def name_settings(base_url: str, settings: Settings) -> dict[str, str]:
    """The variables; of several Tencent IM applications, those of the first one."""
    variables = {
        "TAGFERRY_GROWINGIO_BASE_URL": base_url,
        "TAGFERRY_GROWINGIO_TOKEN": settings.token,
        "TAGFERRY_CDP_BASE_URL": base_url,
        "TAGFERRY_CDP_TOKEN": settings.token,
        "TAGFERRY_TENCENT_BASE_URL": base_url,
    }
    for sdkappid, (secret_key, administrators) in list(settings.tencent.applications.items())[:1]:
        variables["TAGFERRY_TENCENT_SDKAPPID"] = str(sdkappid)
        variables["TAGFERRY_TENCENT_IDENTIFIER"] = administrators[0]
        variables["TAGFERRY_TENCENT_SECRET_KEY"] = secret_key
    return variables
