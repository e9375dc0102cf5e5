"""What the emulated GrowingIO CDP is told before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Form = Literal["reference", "examples"]
Uris = Literal["encoded", "plus", "half", "raw"]
ResultPath = Literal["both", "plain", "project"]

# Two projects, each with one space of 4.x.
_PROJECTS = {"WlGk4Daj": ("pQ7rS2tU",), "nR8mK2vX": ("bC3dE9fG",)}


@dataclass(frozen=True, kw_only=True)
class CDPSettings:
    """Everything about the emulated CDP that can be chosen.

    Attributes:
        scheme: The word before the token; empty for a bare one.
        polls_per_second: Results asked for in any sliding real second, for each token; the documents have no
            limit.
        projects: The spaces of each project.
        tags: How many tags there are; a project sees two thirds of them.
        segments: How many segments each project has.
        form: What files look like: as in the reference of the page, or as in its examples, which differ.
        uris: How uris are written: percent-encoded as a whole, the same with a plus for a blank, encoded but
            for the slashes, or raw.
        null_seconds: How long the result of a new job is `null`, in seconds of the service.
        keep_seconds: How long the files of a job are kept, in seconds of the service; not documented.
        result_path: Which of the two documented forms of the result's path there are.
        download_token: Whether `/download` demands the token. The documents do not say. If it does not, the
            token is not for the other port.
        api_key: The client secret of the old token exchange.
        token_seconds: How long a token of that exchange lives, in seconds of the service.

    """

    scheme: str = "Bearer"
    polls_per_second: int = 1000
    projects: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(_PROJECTS))
    tags: int = 143
    segments: int = 57
    form: Form = "reference"
    uris: Uris = "encoded"
    null_seconds: float = 0.0
    keep_seconds: float = 24 * 3600.0
    result_path: ResultPath = "both"
    download_token: bool = False
    api_key: str = field(default="emulator-api-key", repr=False)
    token_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for name, words in (("form", Form), ("uris", Uris), ("result_path", ResultPath)):
            if getattr(self, name) not in get_args(words):
                raise ValueError(f"cdp {name} is one of {', '.join(get_args(words))}")
        for name in ("polls_per_second", "tags", "segments"):
            if getattr(self, name) < 1:
                raise ValueError(f"cdp {name} must be at least 1")
        for name in ("null_seconds", "keep_seconds", "token_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"cdp {name} must not be negative")
