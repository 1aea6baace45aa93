"""How much a server takes on before it refuses."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class ServeLimits(BaseModel):
    """Bounds of one server; the bounds of a text are the bundle's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: Count = Field(1_000_000, description="largest body of a request; more: 413")
    max_inputs: Count = Field(32, description="most texts in a request; more: 422")
    max_queue: Count = Field(64, description="most requests that wait; more: 429")
    max_connections: Count = Field(1_000, description="most open connections; more: 503")
    deadline_seconds: Seconds = Field(10.0, description="longest wait for an answer; longer: 503")
    drain_seconds: Seconds = Field(30.0, description="time to answer what is in flight after SIGTERM")
    batch_tokens: Count = Field(4096, description="tokens answered together, across requests")
    retry_after_seconds: Count = Field(1, description="Retry-After of 429 and 503")
