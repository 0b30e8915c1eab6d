"""script/example order_saga, with some of its orders."""

from __future__ import annotations

import pytest

from .conftest import example

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_orders_end_as_they_should_and_no_cent_is_missing() -> None:
    done = example("order_saga", "refused", "lost", "rejected")

    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    undone = [line.split()[1] for line in said if "/release" in line or "/refund" in line]
    assert undone == ["/release", "/refund"]
    assert sum("was done before" in line for line in said) == 2
    assert "money: shop 12.07, ann 9,987.93, bob 10,000.00" in said
    assert "every cent, every article and every parcel is where it belongs" in said
