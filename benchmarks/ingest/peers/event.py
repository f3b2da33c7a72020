"""The body of the webhook as the FastAPI peers declare it."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class TaskStatusEvent(BaseModel):
    model_config = ConfigDict(extra="allow")

    event_type: str
    task_id: str
    status: str | None
    entity_id: str | None = None
    origin_instance: str | None = None
    origin_zone: str | None = None
    origin_version: str | None = None
    timestamp: datetime | None = None
    metadata: dict[str, Any] | None = None
    progress: Annotated[float, Field(ge=0, le=100)]
    error_message: str | None = None
    error_category: str | None = None
    completed_at: datetime | None = None
    started_at: datetime | None = None
    task_type: str
    additional_properties: dict[str, Any] = {}
