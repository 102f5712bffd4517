"""Everything that can go wrong with a request, as one tree.

Each class owns its stable `code` (the word that programs switch on). Nothing here knows HTTP: `runner.api.failures`
gives each code its status, and each dialect its wording. The registry has a tree of its own (`registry.errors`).

    RunnerError                      internal_error
    ├── InvalidRequest               invalid_request_error    a field is wrong; `field` names it
    │   ├── ContextOverflow          context_length_exceeded  the prompt has more tokens than the context
    │   ├── UnknownResponse          previous_response_not_found  nothing is kept under this id
    │   ├── Unsupported              unsupported_feature      the model, or Runner, lacks the capability
    │   └── TemplateFailed           template_error           the chat template cannot render this conversation
    ├── UnknownModel                 model_not_found
    ├── NotAllowed                   forbidden                host, origin
    │   └── BadKey                   invalid_api_key
    ├── TooLarge                     request_too_large
    ├── Unavailable                  unavailable              try again later; `retry_after` says when
    │   ├── ServerBusy               server_busy              the queue is full
    │   └── ShuttingDown             shutting_down
    ├── InsufficientMemory           insufficient_memory
    ├── LoadFailed                   load_failed              the engine refused the model
    ├── WorkerCrashed                worker_crashed           the worker process died under the request
    │   └── Quarantined              request_quarantined      workers die of this very request
    └── Cancelled                    cancelled                nobody waits for the answer any more
        └── RequestCancelled         request_cancelled        somebody had this very request ended
"""

from __future__ import annotations


class RunnerError(Exception):
    """The root. `message` is a sentence for people; `field` names the request field at fault, if one is."""

    code = "internal_error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidRequest(RunnerError):
    code = "invalid_request_error"


class ContextOverflow(InvalidRequest):
    code = "context_length_exceeded"

    def __init__(self, tokens: int, limit: int, *, field: str | None = None) -> None:
        super().__init__(f"the prompt is too long: {tokens} tokens, and the context holds {limit}", field=field)
        self.tokens = tokens
        self.limit = limit


class UnknownResponse(InvalidRequest):
    code = "previous_response_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no response {name[:100]!r}: it wasn't stored, or it has been forgotten since",
            field="previous_response_id",
        )


class Unsupported(InvalidRequest):
    code = "unsupported_feature"


class TemplateFailed(InvalidRequest):
    code = "template_error"


class UnknownModel(RunnerError):
    code = "model_not_found"

    def __init__(self, name: str, near: tuple[str, ...] = ()) -> None:
        # Clients match these words to offer a pull.
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f'model "{name}" not found, try pulling it first{hint}', field="model")
        self.name = name
        self.near = near


class NotAllowed(RunnerError):
    code = "forbidden"


class BadKey(NotAllowed):
    code = "invalid_api_key"


class TooLarge(RunnerError):
    code = "request_too_large"


class Unavailable(RunnerError):
    code = "unavailable"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # whole seconds, at least 1


class ServerBusy(Unavailable):
    code = "server_busy"


class ShuttingDown(Unavailable):
    code = "shutting_down"


class InsufficientMemory(RunnerError):
    code = "insufficient_memory"


class LoadFailed(RunnerError):
    code = "load_failed"


class WorkerCrashed(RunnerError):
    code = "worker_crashed"


class Quarantined(WorkerCrashed):
    code = "request_quarantined"


class Cancelled(RunnerError):
    code = "cancelled"


class RequestCancelled(Cancelled):
    code = "request_cancelled"


# The failures that a worker may report by code; everything else it says arrives as RunnerError.
BY_CODE: dict[str, type[RunnerError]] = {
    error.code: error
    for error in (
        InvalidRequest,
        Unsupported,
        TemplateFailed,
        InsufficientMemory,
        LoadFailed,
        WorkerCrashed,
        Cancelled,
    )
}
