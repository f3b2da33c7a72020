"""What the lists have in common: export, and no markup that a strict policy forbids."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.templatetags.admin_list import results
from django.test import Client
from django.urls import clear_script_prefix, set_script_prefix

from tasks.admin.addresses import event_url, task_url
from tests.factories import record

pytestmark = pytest.mark.django_db
MODELS = ["task", "taskstatusevent"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_export_has_the_rows_of_the_list(admin_client: Client, model: str, ending: str) -> None:
    record(task_id="a-1", task_type="one", error_message="boom")
    record(task_id="a-2", task_type="two")
    url = f"/admin/sartiq_tasks/{model}/"
    listed = admin_client.get(f"{url}?task_type=one&q=a").content.decode()
    (link,) = re.findall(rf'href="(export\.{ending}[^"]*)"', listed)
    text = b"".join(admin_client.get(url + link.replace("&amp;", "&")).streaming_content).decode()

    assert ("a-1" in text, "a-2" in text, "boom" in text) == (True, False, True)


@pytest.mark.parametrize("model", MODELS)
def test_no_other_format(admin_client: Client, model: str) -> None:
    assert admin_client.get(f"/admin/sartiq_tasks/{model}/export.exe").status_code == 404


def test_addresses_follow_where_the_project_is_mounted() -> None:
    try:
        for prefix in ("/", "/mounted/"):
            set_script_prefix(prefix)
            assert task_url("a b/c") == f"{prefix}admin/sartiq_tasks/task/a%20b_2Fc/change/"
            assert event_url(7) == f"{prefix}admin/sartiq_tasks/taskstatusevent/7/change/"
    finally:
        clear_script_prefix()


@pytest.mark.parametrize("model", MODELS)
def test_the_rows_are_those_of_djangos_own_list(admin_client: Client, model: str) -> None:
    record(task_id="<b>", status="failed", error_message="<i>", origin_zone="z", entity_id=" ")
    shown = admin_client.get(f"/admin/sartiq_tasks/{model}/").context["cl"]

    assert list(shown.rows()) == ["".join(row) for row in results(shown)]


@pytest.mark.parametrize("model", MODELS)
def test_a_row_can_be_picked_in_a_popup(admin_client: Client, model: str) -> None:
    record()

    assert "data-popup-opener=" in admin_client.get(f"/admin/sartiq_tasks/{model}/?_popup=1").content.decode()


def test_nothing_inline(admin_client: Client) -> None:
    event = record(timestamp="2026-05-01T12:00:00Z", metadata={"a": 1}, error_message="boom", status="failed")
    record(status="running")
    urls = [f"/admin/sartiq_tasks/{model}/" for model in MODELS]

    for url in [*urls, task_url("task-1"), event_url(event.event_id)]:
        html = admin_client.get(url).content.decode()
        assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html)
        assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", html))
