"""Reads the config.json of version 1, so that its run folders can be skipped and resumed.

Version 1 wrote an estimator's settings on the same level as the family's, and a family's setting
replaced an estimator's setting of the same name.
"""

from __future__ import annotations

from typing import Any

# The width of an estimator's network is the only setting that was replaced, by the width of the
# VAE's layers. It is assumed to be the default of version 1.
LOST = {"nvil": {"hidden": 100}, "muprop": {"hidden": 100}, "relax": {"hidden": 200}}


def upgraded(old: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """A configuration of version 1 in the present form; any other is returned unchanged.

    Args:
        old: the configuration in config.json or in a checkpoint.
        now: the configuration of this run, which names the estimator's settings.
    """
    if "estimators" in old or "estimators" not in now:
        return old
    old, estimators = dict(old), {}
    for name, settings in now["estimators"].items():
        shared = settings.keys() & now.keys()
        lost = {key: value for key, value in LOST.get(name, {}).items() if key in shared}
        found = {key: old.pop(key) for key in settings.keys() - lost.keys() if key in old}
        estimators[name] = found | lost
    return {**old, "estimators": estimators}
