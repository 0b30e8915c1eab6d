"""The flow: raise the price of each article -> publish the list. Prices are in cents."""

from __future__ import annotations

from typing import Any

MAX_PARALLEL = 20
AGAIN = {"strategy": "auto", "max_attempts": 10, "interval": 0.5, "backoff": "exponential"}


def definition(shop: str) -> dict[str, Any]:
    """`shop`: its address."""
    return {"tasks": [raise_prices(shop), publish(shop)]}


def raise_prices(url: str) -> dict[str, Any]:
    """`retry` is that of one item: 503 and a worker that died are tried again, a refusal waits for a person."""
    return {
        "id": "raise",
        "type": "http",
        "foreach": "params.articles",
        "max_parallel": MAX_PARALLEL,
        "config": {"url": f"{url}/articles/${{item.sku}}/raise"},
        "input": {"cents": "${item.cents}"},
        "retry": AGAIN,
    }


def publish(url: str) -> dict[str, Any]:
    return {
        "id": "publish",
        "type": "http",
        "depends_on": ["raise"],
        "config": {"url": f"{url}/publish"},
        "input": {"list": "${tasks.raise.output}"},
        "retry": AGAIN,
    }
