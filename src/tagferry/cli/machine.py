"""Looks at this machine: the disk, the open-file limit, the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil

from tagferry.cli.diagnosis import Finding, judge_disk, judge_files

__all__ = ["examine_machine"]


def examine_machine() -> list[Finding]:
    """Look at the current directory, the limits of this process, and what is installed."""
    return [
        _examine_disk(),
        judge_files(_file_limit()),
        Finding(check="Python", verdict="ok", text=f"{platform.python_version()} on {platform.platform()}"),
        *(
            Finding(check=name, verdict="ok", text=importlib.metadata.version(name))
            for name in ("tagferry", "aiohttp")
        ),
        _examine_extra("uvloop", "speed", "large transfers are faster with it"),
        _examine_extra("pyarrow", "parquet", "Parquet files need it"),
    ]


def _examine_disk() -> Finding:
    try:
        free = shutil.disk_usage(os.curdir).free
    except OSError as error:
        text = f"the current directory cannot be read: {error.strerror}"
        return Finding(check="disk", verdict="fail", text=text, hint="change to one that is there", code=9)
    return judge_disk(free, writable=os.access(os.curdir, os.W_OK | os.X_OK))


def _file_limit() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _examine_extra(package: str, extra: str, use: str) -> Finding:
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        hint = f"run pip install 'tagferry[{extra}]'"
        return Finding(check=package, verdict="skip", text=f"not installed; {use}", hint=hint)
    return Finding(check=package, verdict="ok", text=version)
