"""Asks the running relay for an ad-hoc snapshot."""

from __future__ import annotations

import secrets
import time
from typing import Any

from bson import json_util
from bson.errors import BSONError
from confluent_kafka import Producer
from pymongo.errors import OperationFailure

from millrace_cdc.errors import Misconfigured, Unavailable
from millrace_cdc.mongo import connect, now_ms, translated
from millrace_cdc.progress import read_records
from millrace_cdc.projection import Share
from millrace_cdc.reporting import answering
from millrace_cdc.requests import encode_request, request_key
from millrace_cdc.running import COMMAND_SECONDS, Configuration
from millrace_contracts.values.json_text import checked


def ask(settings: Configuration, filter_json: str | None) -> str:
    """Write the request; returns its id.

    Raises:
        Misconfigured: the filter is not JSON, or MongoDB refuses it.
    """
    capture = settings.quick().capture(Share())
    if filter_json is not None:
        _try(settings, filter_json)
    request_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    producer = Producer({**settings.kafka.client(), "log_level": 0})
    producer.produce(capture.topics.progress, encode_request(filter_json, now_ms()), request_key(capture.namespace, request_id))
    if producer.flush(COMMAND_SECONDS):
        raise Unavailable(f"Kafka took nothing for {COMMAND_SECONDS:.0f} s; see that the broker runs")
    return request_id


def parsed(filter_json: str) -> dict[str, Any]:
    """The filter.

    Raises:
        Misconfigured: it is not extended JSON, or holds a value that Python has not, such as a date of the year 10000.
    """
    try:
        found = json_util.loads(checked(filter_json.encode(), "it"))
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
    except (ValueError, TypeError, ArithmeticError, RecursionError, BSONError) as error:
        raise Misconfigured(f'--filter {filter_json!r} is not extended JSON ({error}); write for example {{"merchantId": "m1"}}') from None
    return found


def _try(settings: Configuration, filter_json: str) -> None:
    found = parsed(filter_json)
    with answering(), connect(settings.mongo.relay_uri) as client, translated(settings.relay.collection):
        try:
            client[settings.names.database][settings.relay.collection].find_one(found, {"_id": 1})
        except OperationFailure as error:
            raise Misconfigured(f"--filter {filter_json!r}: MongoDB refuses it: {error}") from None


def waiting(settings: Configuration, request_id: str) -> bool:
    """Whether a request has not been carried out yet."""
    capture = settings.quick().capture(Share())
    records = read_records(settings.kafka, capture.topics.progress, COMMAND_SECONDS)
    return request_key(capture.namespace, request_id) in records
