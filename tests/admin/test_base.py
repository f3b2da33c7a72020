"""The lists' base: the export, and no markup that a strict policy forbids."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import EmptyFieldListFilter
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.templatetags.admin_list import admin_list_filter, results
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import clear_script_prefix, set_script_prefix

from tasks.admin import register
from tasks.admin.addresses import event_url, task_url
from tasks.admin.base import RecordAdmin
from tasks.admin.filters import ZoneFilter
from tasks.admin.task import TaskAdmin
from tasks.models import Task
from tasks.templatetags.sartiq_tasks import record_filter
from tests import factories
from tests.factories import NOON, record, rejected

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
    answer: Any = admin_client.get(url + link.replace("&amp;", "&"))
    text = b"".join(answer.streaming_content).decode()

    assert ("a-1" in text, "a-2" in text, "boom" in text) == (True, False, True)


@pytest.mark.parametrize("model", MODELS)
def test_no_other_format(admin_client: Client, model: str) -> None:
    assert admin_client.get(f"/admin/sartiq_tasks/{model}/export.exe").status_code == 404


@pytest.mark.parametrize("model", MODELS)
def test_a_page_that_the_list_does_not_have(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr(RecordAdmin, "list_per_page", 1)
    record(task_id="a-1")
    record(task_id="a-2")

    assert admin_client.get(f"/admin/sartiq_tasks/{model}/export.csv?p=2").status_code == 200
    assert admin_client.get(f"/admin/sartiq_tasks/{model}/export.csv?p=3").status_code == 400


@pytest.mark.parametrize("model", MODELS)
def test_an_export_is_for_those_who_may_see_the_list(client: Client, model: str) -> None:
    client.force_login(factories.user("view_rejecteddelivery", is_staff=True))

    assert client.get(f"/admin/sartiq_tasks/{model}/export.csv").status_code == 403


def test_a_host_registers_the_pages_with_a_site_of_its_own() -> None:
    site = admin.AdminSite(name="staff")

    register(site)

    of_the_app = {
        model: type(page)
        for model, page in admin.site._registry.items()
        if model.__module__.startswith("tasks.")
    }
    assert {model: type(page) for model, page in site._registry.items()} == of_the_app


class ClusterFilter(admin.SimpleListFilter):
    """A filter as a host writes it."""

    title = parameter_name = "cluster"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [("a", "a")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(task_id__startswith=self.value()) if self.value() else queryset


class HostsTaskAdmin(TaskAdmin):
    """The list of tasks with filters that a host adds in each of Django's ways."""

    list_filter = (*TaskAdmin.list_filter, ClusterFilter, "progress", ("error_message", EmptyFieldListFilter))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("cluster=a", {"a-1"}),
        ("progress=2.0", {"b-1"}),
        ("progress__gte=1", {"a-1", "b-1"}),
        ("error_message__isempty=0", {"a-1"}),
        ("task_type=one&cluster=a", {"a-1"}),
        ("progressive=1", None),
        ("event_count=1", None),
    ],
)
def test_a_list_takes_the_filters_that_a_host_adds_and_no_others(query: str, found: set[str] | None) -> None:
    record(task_id="a-1", task_type="one", progress=1, error_message="boom")
    record(task_id="b-1", task_type="two", progress=2)
    request = RequestFactory().get(f"/admin/sartiq_tasks/task/?{query}")
    request.user = factories.user("view_task", is_staff=True)
    with nullcontext() if found is not None else pytest.raises(DisallowedModelAdminLookup):
        listed = HostsTaskAdmin(Task, admin.site).get_changelist_instance(request)
        assert {task.pk for task in listed.result_list} == found


def test_a_filter_with_a_template_of_its_own_is_shown_by_it(rf: RequestFactory) -> None:
    record(origin_zone="eu")
    request = rf.get("/admin/sartiq_tasks/task/")
    request.user = factories.user("view_task", is_staff=True)
    listed = HostsTaskAdmin(Task, admin.site).get_changelist_instance(request)
    known = {type(spec): spec for spec in listed.filter_specs}

    shown = record_filter(listed, known[ZoneFilter])
    assert shown.startswith('<details class="st-filter" name="st-filter"><summary>Origin zone</summary>')
    assert '<a href="?origin_zone=eu">eu</a>' in shown
    assert shown == admin_list_filter(listed, known[ZoneFilter]).strip()
    known[ZoneFilter].template = "admin/filter.html"
    assert "By origin zone" in record_filter(listed, known[ZoneFilter])
    assert "By cluster" in record_filter(listed, known[ClusterFilter])


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

    assert shown.rows() == ["".join(row) for row in results(shown)]


def test_a_row_of_a_hosts_own_model_leads_to_its_page(admin_client: Client) -> None:
    shown = admin_client.get("/admin/sartiq_tasks/task/").context["cl"]
    shown.model, shown.opts = Group, Group._meta
    shown.pk_attname = "id"

    assert shown.url_for_result(Group(id=7)) == "/admin/auth/group/7/change/"


@pytest.mark.parametrize("number", [0, 999, 1000, 1234567])
def test_a_number_is_written_as_django_does(
    admin_client: Client, settings: Any, monkeypatch: Any, number: int
) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    monkeypatch.setattr(TaskAdmin, "list_display", ("id_shown", "event_count"))
    record()
    Task.objects.update(event_count=number)
    shown = admin_client.get("/admin/sartiq_tasks/task/").context["cl"]

    assert shown.rows() == ["".join(row) for row in results(shown)]


def test_a_checkbox_is_djangos_own(admin_client: Client) -> None:
    for task_id in ("t-1", "<b>'\"&", "\ue000\ue001"):
        record(NOON, task_id=task_id, status="running")
    shown = admin_client.get("/admin/sartiq_tasks/task/?silent=1").context["cl"]

    assert shown.rows() == ["".join(row) for row in results(shown)]
    assert 'value="&lt;b&gt;&#x27;&quot;&amp;"' in "".join(shown.rows())


def test_a_checkbox_of_the_hosts_own(admin_client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(RecordAdmin, "action_checkbox", lambda _self, row: f"<{row.pk}>", raising=False)
    monkeypatch.setattr(RecordAdmin.action_checkbox, "short_description", "own", raising=False)
    record(NOON, task_id="t-1", status="running")
    shown = admin_client.get("/admin/sartiq_tasks/task/?silent=1").context["cl"]

    assert '<td class="action-checkbox">&lt;t-1&gt;</td>' in shown.rows()[0]


@pytest.mark.parametrize(
    ("new", "remove"),
    [
        (None, None),
        ({"task_type": "a b&c"}, None),
        ({"q": None, "p": 2, "origin_zone": "ä"}, None),
        (None, ["task"]),
        ({"task_type": ["x", "y"]}, ["q", "origin"]),
    ],
)
def test_a_lists_address_is_djangos(admin_client: Client, new: Any, remove: Any) -> None:
    record()
    shown = admin_client.get("/admin/sartiq_tasks/task/?task_type=one&q=a%26b&origin_zone=z").context["cl"]

    assert shown.get_query_string(new, remove) == ChangeList.get_query_string(shown, new, remove)


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
        scripts = re.findall(r"<script[^>]*>", html)
        assert scripts, url
        assert all(" src=" in tag for tag in scripts), url
        assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html), url


LISTS = {"task": "Tasks", "taskstatusevent": "Task status events", "rejecteddelivery": "Rejected deliveries"}


@pytest.mark.parametrize("model", LISTS)
def test_a_list_is_named_after_what_is_in_it(admin_client: Client, model: str) -> None:
    url = f"/admin/sartiq_tasks/{model}/"

    assert f"<h1>{LISTS[model]}</h1>" in admin_client.get(url).content.decode()
    assert "<h1>Select " in admin_client.get(url, {"_popup": "1"}).content.decode()


@pytest.mark.parametrize("url", ["rejecteddelivery/", "task/?silent=1"])
def test_without_rows_there_is_nothing_to_do_to_them(admin_client: Client, url: str) -> None:
    assert 'name="action"' not in admin_client.get(f"/admin/sartiq_tasks/{url}").content.decode()
    record(NOON)
    rejected()
    assert 'name="action"' in admin_client.get(f"/admin/sartiq_tasks/{url}").content.decode()
