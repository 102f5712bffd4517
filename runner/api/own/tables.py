"""What becomes of each field of Runner's own endpoints, and what comes back, joined from their modules."""

from __future__ import annotations

from collections.abc import Mapping

from runner.api.fields import Answers, Fields
from runner.api.own import adopt, daemon, doctor, look, origins, pin, plan, requests, search, verify, why

FIELDS: Mapping[str, Fields] = {
    **look.FIELDS,
    **search.FIELDS,
    **adopt.FIELDS,
    **origins.FIELDS,
    **pin.FIELDS,
    **plan.FIELDS,
    **verify.FIELDS,
    **why.FIELDS,
}
ANSWERS: Mapping[str, Answers] = {
    **daemon.ANSWERS,
    **doctor.ANSWERS,
    **look.ANSWERS,
    **search.ANSWERS,
    **adopt.ANSWERS,
    **origins.ANSWERS,
    **pin.ANSWERS,
    **plan.ANSWERS,
    **requests.ANSWERS,
    **verify.ANSWERS,
    **why.ANSWERS,
}
