"""What version 1 wrote into config.json, so that its run folders can be skipped and resumed.

It wrote an estimator's own settings beside the family's, and a family's setting replaced an
estimator's of the same name.
"""

from __future__ import annotations

from typing import Any

# The only setting that was replaced is the width of an estimator's network, by that of the VAE's
# layers. The defaults of version 1 are assumed.
LOST = {"nvil": {"hidden": 100}, "muprop": {"hidden": 100}, "relax": {"hidden": 200}}


def upgraded(old: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """A configuration that version 1 wrote in today's form; any other is returned as it is.

    Args:
        old: what config.json or a checkpoint holds.
        now: the configuration of this run; it names the estimator's own settings.
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
