"""The project's URLs, and beside its admin one with a stock ``ModelAdmin`` of the ledger."""

from django.contrib import admin
from django.urls import path

from sartiq_tasks.urls import urlpatterns as project_urls
from tasks.models import TaskStatusEvent


class StockAdmin(admin.ModelAdmin):
    list_display = ("received_at", "timestamp", "task_id", "event_type", "status", "progress", "origin_zone")
    list_filter = ("status", "error_category", "task_type", "event_type", "origin_zone", "received_at")
    search_fields = ("task__task_id", "entity_id")


stock = admin.AdminSite(name="stock")
stock.register(TaskStatusEvent, StockAdmin)
urlpatterns = [path("stock/", stock.urls), *project_urls]
