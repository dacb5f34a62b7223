"""Hydra's and OmegaConf's errors about a command line, as one line with cause and fix."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from dataclasses import fields
from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
REGISTERED: dict[str, set[str]] = {}  # options of the groups that are registered from code


def one_line(error: Exception, schema: type | None = None) -> str:
    """The error in one line: the cause and the fix."""
    text = str(error) + "\n" + str(error.__cause__ or "")
    if found := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'", text):
        return _several(found[1], schema)
    if override := getattr(error, "override", None):
        return _unreadable(override, schema)
    if found := re.search(r"Could not override '([^']+)'", text):
        return f"unknown setting {found[1]!r}{_nearest(found[1], schema)}; --help lists them all"
    if found := re.search(r"Could not (?:find|load) '([^']+)/([^/']+)'", text):
        group, _, rest = text.partition("Available options")[2].partition(":")
        options = re.findall(r"^\s+([\w./-]+)$", rest.partition("Config search")[0], re.M)
        options = options or _options(found[1])
        return f"unknown {found[1]} {found[2]!r}; known: {', '.join(options) or 'none'}"
    if found := re.search(r"(.+)\n\s+full_key: (.+)", text):
        return f"{found[2]}: {_plain(found[1])}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2]) or type(error).__name__


def _several(override: str, schema: type | None) -> str:
    """Several values without --multirun: t=.45,.49"""
    key, _, value = override.partition("=")
    fixes = [f"add --multirun to run each value of {key}"]
    if _may_be_list(key, schema):
        fixes.append(f"write a list as '{key}=[...]'")
    if "/" in value and key != "preset":
        fixes.append(f"quote a path as {_quoted(key, value)}")
    return f"{override} has several values: {', or '.join(fixes)}"


def _unreadable(override: str, schema: type | None) -> str:
    """An argument with characters that have a meaning in Hydra's grammar."""
    key, equals, value = override.partition("=")
    if not equals or not re.fullmatch(r"[\w.+~/@-]+", key):
        return f"cannot read the argument {override!r}; write key=value without spaces around ="
    if value.startswith(("[", "{")) and _may_be_list(key, schema):
        return f"cannot read the argument {override!r}; write lists in quotes: '{key}=[a,b]'"
    return f"cannot read the argument {override!r}; quote the value: {_quoted(key, value)}"


def _may_be_list(key: str, schema: type | None) -> bool:
    """Whether the setting takes a list; of an unknown setting it is assumed."""
    kinds = {item.name: str(item.type) for item in fields(schema)} if schema else {}
    return kinds.get(key, "list").startswith("list")


def _quoted(key: str, value: str) -> str:
    """The argument quoted for Hydra, and once more for the shell."""
    text = os.path.expanduser(value).strip("\"'").replace('"', '\\"')
    return shlex.quote(f'{key}="{text}"')


def _options(group: str) -> list[str]:
    """The options of a group: registered ones, and files, with their folder below the group's."""
    root = CONFIGS / group
    files = {str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.yaml")}
    return sorted(files | REGISTERED.get(group, set()))


def _nearest(key: str, schema: type | None) -> str:
    names = [item.name for item in fields(schema)] if schema else []
    near = difflib.get_close_matches(key, names, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _plain(message: str) -> str:
    if "not Optional" in message:
        return "null has no meaning here"
    words = {"Integer": "a whole number", "Float": "a number", "a valid bool": "true or false"}
    found = re.match(r"Value (.*) of type '.*' could not be converted to (\w+)", message)
    found = found or re.match(r"Value (.*) is not (a valid bool)", message)
    return f"{found[1]} is not {words.get(found[2], found[2])}" if found else message
