"""What the ledger asks of the apps above it, which it cannot import: each hands in its answer when it is loaded.

Without them the ledger stands alone: nothing is on its way to the books, and everybody is of the standard tier.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

STANDARD_TIER: Final = "STANDARD"

LogHeads = dict[str, int]
"""By the name of a log, how far it reached at a moment."""


def _nothing_on_its_way() -> LogHeads:
    return {}


def _all_settled(_heads: Mapping[str, int]) -> bool:
    return True


def _standard_tier(_owner_id: int) -> str:
    return STANDARD_TIER


def _one_tier() -> Sequence[str]:
    return [STANDARD_TIER]


def _keep_tier(_owner_id: int, _tier: str, **_: Any) -> None:
    raise NotImplementedError("no app above the ledger keeps tiers")


def _tell_nobody(_notices: Sequence[tuple[int, dict[str, Any]]], **_: Any) -> None:
    """Leave it to the page, which reads the notices when it is opened."""


@dataclass(slots=True)
class Outside:
    """The answers of the apps above.

    Args:
        log_heads: How far the logs reach now. Asked under the trader's gate.
        ready_when: Whether everything up to these heads is in the books.
        tier_of: A customer's risk tier.
        tier_names: The tiers there are.
        set_tier: Move a customer to a tier: `set_tier(owner_id, tier, now=...)`, under the gate.
        push: Tell customers' open screens, `push([(owner_id, payload)], now=...)`, under their gates.
    """

    log_heads: Callable[[], LogHeads] = _nothing_on_its_way
    ready_when: Callable[[Mapping[str, int]], bool] = _all_settled
    tier_of: Callable[[int], str] = _standard_tier
    tier_names: Callable[[], Sequence[str]] = _one_tier
    set_tier: Callable[..., None] = _keep_tier
    push: Callable[..., None] = _tell_nobody


OUTSIDE: Final = Outside()


def provide(**answers: Callable[..., Any]) -> None:
    """Hand in answers by name; an app's `ready()` does it once."""
    for name, answer in answers.items():
        setattr(OUTSIDE, name, answer)
