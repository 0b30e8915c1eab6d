"""The name of the environment at the top of every page, in red where it is production."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from dist_task.console.environment import kind_of
from tests.admin.conftest import HOSTILE


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("production", "production"),
        ("Production", "production"),
        ("prod-eu", "production"),
        ("eu_prod_2", "production"),
        ("prod2", "production"),
        ("live", "production"),
        ("生产", "production"),
        ("华东生产", "production"),
        ("pre-production", "production"),
        ("preprod", "calm"),
        ("staging", "calm"),
        ("olive", "calm"),
        ("product-test", "calm"),
        ("development", "calm"),
        ("", "calm"),
        ("!!!", "calm"),
    ],
)
def test_the_name_says_which_kind_it_is(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("name", "profile", "shown"),
    [
        ("", "development", 'environment-calm" title="environment">development<'),
        ("", "production", 'environment-production" title="environment">production<'),
        ("staging", "production", 'environment-calm" title="environment">staging<'),
        ("prod-eu", "development", 'environment-production" title="environment">prod-eu<'),
    ],
)
def test_it_is_on_every_page(name: str, profile: str, shown: str, root: Client, settings: Any) -> None:
    settings.ENVIRONMENT, settings.PROFILE = name, profile

    for client, address in ((root, reverse("admin:index")), (Client(), reverse("admin:login")), (root, "/admin/none/")):
        page = client.get(address).content.decode()
        assert shown in page, address
        assert ("| dist_task (" in page) is bool(name)


def test_a_hostile_name_is_text(root: Client, settings: Any) -> None:
    settings.ENVIRONMENT = HOSTILE

    assert "<script>alert" not in root.get(reverse("admin:index")).content.decode()


def test_a_profile_speaks_the_language_of_the_page_and_a_name_its_own(root: Client, settings: Any) -> None:
    root.post(reverse("set_language"), {"language": "zh-hans", "next": "/admin/"})

    profile = root.get(reverse("admin:index")).content.decode()
    settings.ENVIRONMENT = "production"
    named = root.get(reverse("admin:index")).content.decode()

    assert ">开发<" in profile
    assert ">production<" in named
