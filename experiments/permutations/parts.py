"""What a checkpoint of this family holds."""

from __future__ import annotations

from typing import Any


class Parts:
    """A run that consists of `parts`: name -> an object with state_dict and load_state_dict."""

    parts: dict[str, Any]

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
