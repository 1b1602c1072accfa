"""`millrace relay dead-letters`: read them back, and try a document again."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bson
import orjson
from bson import ObjectId, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from millrace_cdc.errors import Misconfigured, RelayError, Unavailable
from millrace_cdc.events import EventForm
from millrace_cdc.mongo import RawReader, cluster_now, connect
from millrace_cdc.projection import Share
from millrace_cdc.reporting import answering
from millrace_cdc.running import COMMAND_SECONDS, Configuration
from millrace_cdc.snapshot_source import ReadEncoder
from millrace_contracts import topics as names
from millrace_runtime.stopping import StopSignal

_LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


@dataclass(frozen=True)
class Letter:
    """A dead letter of the relay; ``offset`` names it."""

    offset: int
    key: str | None
    value: dict[str, Any]

    def row(self) -> dict[str, Any]:
        """Without its payload."""
        return {"offset": self.offset, "key": self.key, **{name: value for name, value in self.value.items() if name != "payload"}}

    def whole(self) -> dict[str, Any]:
        """With its payload, as extended JSON where it is BSON."""
        payload = base64.b64decode(self.value["payload"])
        try:
            shown = orjson.loads(json_util.dumps(bson.decode(payload, _LENIENT))) if payload else None
        except InvalidBSON:
            shown = self.value["payload"]
        return {**self.row(), "document": shown}


def read_letters(settings: Configuration, topic: str) -> Iterator[Letter]:
    """The relay's dead letters of the collection, oldest first, committed ones only.

    Raises:
        Unavailable: Kafka is away.
    """
    config = {**settings.kafka.client(), "group.id": "millrace-letters", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer({**config, "isolation.level": "read_committed", "auto.offset.reset": "earliest", "enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        deadline = time.monotonic() + COMMAND_SECONDS
        while time.monotonic() < deadline:
            for message in consumer.consume(500, 0.2):
                deadline = time.monotonic() + COMMAND_SECONDS
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    return
                if error is None:
                    value, key = orjson.loads(message.value() or b"{}"), message.key()
                    if value.get("stage") == "relay" and value.get("collection") == settings.relay.collection:
                        yield Letter(message.offset() or 0, key.decode() if key else None, value)
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap} did not answer for {COMMAND_SECONDS:.0f} s; see that the broker runs")
    finally:
        consumer.close()


def find_letter(settings: Configuration, offset: int) -> Letter:
    """One letter.

    Raises:
        Misconfigured: there is none of that number.
    """
    for letter in read_letters(settings, names.dead_letter_topic(settings.names)):
        if letter.offset == offset:
            return letter
    raise Misconfigured(f"no dead letter {offset} of {settings.namespace}; `millrace relay dead-letters list` shows the numbers")


def retry(settings: Configuration, letter: Letter) -> str:
    """Read the letter's document as it is now and send it as op r; what was done, in words.

    Raises:
        RelayError: the document still can not be sent; the message says why.
    """
    if letter.key is None:
        raise Misconfigured(f"dead letter {letter.offset} has no key; read the document with its token {letter.value.get('token')}")
    capture = settings.quick().capture(Share())
    with answering(), connect(settings.mongo.relay_uri) as client:
        at = cluster_now(client, capture.database, capture.collection)
        reader = RawReader(client, capture.database, capture.collection)
        ids: list[Any] = [letter.key, *([ObjectId(letter.key)] if ObjectId.is_valid(letter.key) else [])]
        ids += [int(letter.key)] if letter.key.lstrip("-").isdigit() else []
        raw = reader.open(
            {"find": capture.collection, "filter": {"_id": {"$in": ids}}, "projection": dict.fromkeys(capture.fields, 1), "limit": 1}
        )
        reader.close()
    form = EventForm(capture.database, capture.collection)
    encoder = ReadEncoder(capture.namespace, capture.collection, form, capture.max_message_bytes)
    portion, _ = encoder.portion(raw, at, None)
    if portion.dead_letters:
        raise RelayError(f"{letter.key} still can not be sent: {orjson.loads(portion.dead_letters[0][1])['reason']}")
    if not portion.events:
        return f"{letter.key} is no longer in {capture.namespace}; nothing to send"
    sink = settings.retry_sink(capture, StopSignal())
    sink.fence()
    sink.begin()
    sink.produce(portion)
    sink.commit({}, None)
    return f"{letter.key} was sent again as it is now (op r, cluster time {at[0]}.{at[1]})"
