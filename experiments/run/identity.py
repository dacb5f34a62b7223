"""Whether two configurations decide the same results, as plain nested dictionaries."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any


def identity(config: dict[str, Any], free: Collection[str]) -> str:
    """The configuration without the settings that are free to change, as text."""
    kept = {key: value for key, value in config.items() if key not in free}
    return json.dumps(kept, sort_keys=True)


def differences(there: dict[str, Any], here: dict[str, Any], free: Collection[str]) -> list[str]:
    """The settings that differ and may not, such as `estimators.relax.eta=1.0 there, 2.0 here`."""
    old, new = _flat(there), _flat(here)
    return [
        f"{key}={old.get(key, 'not set')} there, {new.get(key, 'not set')} here"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in free
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return flat
