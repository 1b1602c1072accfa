"""Asks the running relay for an ad-hoc snapshot, and goes past a change that can not be read."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace

import orjson
from bson import json_util
from confluent_kafka import Producer
from pymongo.errors import OperationFailure

from millrace_cdc.deadletters import dead_letter
from millrace_cdc.errors import Misconfigured, Unavailable
from millrace_cdc.mongo import connect, now_ms, translated
from millrace_cdc.portions import Portion
from millrace_cdc.progress import position_key, read_records
from millrace_cdc.projection import Share
from millrace_cdc.requests import encode_request, request_key
from millrace_cdc.running import Configuration
from millrace_cdc.tokens import BadToken, position
from millrace_cdc.topology import positions
from millrace_runtime.stopping import StopSignal

PATIENCE_SECONDS = 15.0


def ask(settings: Configuration, filter_json: str | None) -> str:
    """Write the request; returns its id.

    Raises:
        Misconfigured: the filter is not JSON, or MongoDB refuses it.
    """
    capture = settings.capture(Share())
    if filter_json is not None:
        _try(settings, filter_json)
    request_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap, "log_level": 0})
    producer.produce(capture.topics.progress, encode_request(filter_json, now_ms()), request_key(capture.namespace, request_id))
    if producer.flush(PATIENCE_SECONDS):
        raise Unavailable(f"Kafka took nothing for {PATIENCE_SECONDS:.0f} s; see that the broker runs")
    return request_id


def _try(settings: Configuration, filter_json: str) -> None:
    try:
        found = json_util.loads(filter_json)
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
    except (ValueError, TypeError) as error:
        raise Misconfigured(f'--filter {filter_json!r} is not extended JSON ({error}); write for example {{"merchantId": "m1"}}') from None
    with connect(settings.mongo.relay_uri) as client, translated(settings.relay.collection):
        try:
            client[settings.names.database][settings.relay.collection].find_one(found)
        except OperationFailure as error:
            raise Misconfigured(f"--filter {filter_json!r}: MongoDB refuses it: {error}") from None


def waiting(settings: Configuration, request_id: str) -> bool:
    """Whether a request has not been carried out yet."""
    capture = settings.capture(Share())
    records = read_records(settings.kafka.bootstrap, capture.topics.progress, PATIENCE_SECONDS)
    return request_key(capture.namespace, request_id) in records


def skip(settings: Configuration, token: str, reason: str) -> str:
    """Put every stream's position behind the change of a token that can not be read; a dead letter names it (I4).

    MongoDB would build the same change again to resume after it, so the streams start at the next cluster time: further changes
    of the same transaction are passed over as well, which the dead letter says.

    Raises:
        Misconfigured: not a token, or before a stream's position.
    """
    try:
        seconds, ordinal = position(token)
    except BadToken as error:
        raise Misconfigured(str(error)) from None
    capture = settings.capture(Share())
    found = positions(capture.namespace, read_records(settings.kafka.bootstrap, capture.topics.progress, PATIENCE_SECONDS))
    behind = [each for each in found if each.token is not None and each.token >= token]
    if not found or behind:
        raise Misconfigured(
            f"{capture.namespace} is past {token} already, or was never captured; `millrace relay status` shows where it is"
        )
    stop = StopSignal()
    sinks = [settings.sink(capture.topics, capture.max_message_bytes, each.stream, stop) for each in found]
    for sink in sinks:
        sink.fence()
    text = f"skipped on purpose: {reason}; changes of the same transaction are passed over as well"
    letter = dead_letter(settings.relay.collection, token, text, b"", None, now_ms())
    records = {
        position_key(capture.namespace, each.stream): replace(each, token=None, at=(seconds, ordinal + 1), start_after=False)
        for each in found
    }
    audit = {"kind": "skipped", "collection": capture.namespace, "token": token, "reason": reason, "recorded_ms": now_ms()}
    sinks[0].begin()
    sinks[0].produce(Portion(dead_letters=[letter], audits=[(capture.namespace.encode(), orjson.dumps(audit))]))
    sinks[0].commit({key: each.encode(now_ms()) for key, each in records.items()}, None)
    return f"{capture.namespace} goes on at cluster time {seconds}.{ordinal + 1}, behind {token}"
