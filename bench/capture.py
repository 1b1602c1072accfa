"""How fast the capture tier is on this machine, beside the limit of the change stream itself and beside Debezium.

    python bench/capture.py [--json PATH] [--changes 300000] [--rounds 3] [--only inserts,mixed,latency] [--without debezium]

Drains of the same documents (about 816 B) from a resume token taken before them, one contestant at a time, servers on the same machine:

- raw: the raw batches of the change stream with the relay's own pipeline, nothing decoded (the limit);
- relay with 1 and with 2 streams: real processes, exactly once, all that runs in production (dead letters, markers, audit, metrics);
- Debezium on a real Kafka Connect, exactly once, with the best settings that were found for it, fields projected away on the server.

events/s: between the first and the last event that a read_committed consumer could see, from the topic's last stable offsets.
CPU: seconds of the capturing processes per 100,000 events in that time. Memory: their highest resident size.
The topic is read afterwards: every event must be there once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from bson import encode
from confluent_kafka import Consumer, Producer, TopicPartition
from pymongo import WriteConcern

from capture_setup import PARTITIONS, Bench, Watch, document
from millrace_cdc.mongo import RawReader
from millrace_cdc.progress import Position, position_key
from millrace_cdc.projection import CAPTURED, fingerprint, stages
from millrace_cdc.stream import change_stream
from millrace_contracts import topics
from millrace_contracts.settings import ConnectSettings, NamesSettings
from millrace_stack.home import Home
from millrace_stack.settings import StackSettings
from millrace_stack.supervisor import Stack

SIZES = {"MILLRACE_STACK_MONGO_CACHE_MB": "1024", "MILLRACE_STACK_MONGO_OPLOG_MB": "4096", "MILLRACE_STACK_CONNECT_HEAP_MB": "768"}
WARM_UPS = 3
ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{8}-bench")


def raw(bench: Bench, database: str, token: str, count: int) -> dict[str, Any]:
    """The limit: batches of the change stream with the relay's pipeline, nothing decoded."""
    reader = RawReader(bench.client, database, "payments")
    position = Position(0, 1, "", 0, token)
    pipeline = change_stream(position, stages(CAPTURED["payments"]))
    reader.open({"aggregate": "payments", "pipeline": pipeline, "cursor": {"batchSize": 0}})
    before, began, total = resource.getrusage(resource.RUSAGE_SELF), time.monotonic(), 0
    while total < count:
        # An event's operationType stands once in its raw form.
        total += reader.more(4000, 100).count(b"\x02operationType\x00")
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    reader.close()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"eventsPerSecond": round(total / seconds), "cpuSecondsPer100K": round(cpu / total * 100_000, 2)}


@contextmanager
def relay(bench: Bench, database: str, token: str, streams: int, run: str) -> Iterator[tuple[str, list[psutil.Process]]]:
    """A relay that starts at a token, with topics of its own."""
    prefix = f"bench-{run}"
    names = NamesSettings(database=database, topic_prefix=prefix)
    topic = topics.change_topic(names, "payments")
    bench.make_topics(topic)
    bench.make_topics(topics.progress_topic(names), topics.dead_letter_topic(names), topics.audit_topic(names), partitions=1)
    print_of = fingerprint(database, "payments", CAPTURED["payments"])
    producer = Producer({"bootstrap.servers": bench.bootstrap})
    for stream in range(streams):
        position = Position(stream, streams, print_of, PARTITIONS, token)
        producer.produce(topics.progress_topic(names), position.encode(0), position_key(f"{database}.payments", stream))
    producer.flush()
    environ = {**os.environ, **bench.settings, "MILLRACE_MONGO_RELAY_URI": bench.settings["MILLRACE_MONGO_ADMIN_URI"]}
    environ |= {"MILLRACE_NAMES_DATABASE": database, "MILLRACE_NAMES_TOPIC_PREFIX": prefix}
    command = [sys.executable, "-m", "millrace", "relay", "run", *(["--streams", str(streams)] if streams > 1 else []), "--ops-port", "0"]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    try:
        yield topic, [psutil.Process(process.pid)]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def debezium(bench: Bench, database: str, token: str, *, images: bool, quick: bool, run: str) -> Iterator[tuple[str, list[psutil.Process]]]:
    """A connector that starts at a token; ``quick`` trades throughput for delay."""
    prefix = f"bench-{run}"
    topic = f"{prefix}.{database}.payments"
    bench.make_topics(topic)
    kept = {"_id": 1, "operationType": 1, "clusterTime": 1, "ns": 1, "documentKey": 1, "txnNumber": 1, "lsid": 1, "wallTime": 1}
    shown = ("fullDocument", "fullDocumentBeforeChange") if images else ("fullDocument",)
    project = {**kept, **{f"{image}.{name}": 1 for image in shown for name in CAPTURED["payments"]}}
    config = {
        "connector.class": "io.debezium.connector.mongodb.MongoDbConnector",
        "mongodb.connection.string": bench.settings["MILLRACE_MONGO_ADMIN_URI"],
        "topic.prefix": prefix,
        "capture.scope": "database",
        "capture.target": database,
        "collection.include.list": f"{database}.payments",
        "capture.mode": "change_streams_update_full_with_pre_image" if images else "change_streams",
        "cursor.pipeline": json.dumps([{"$project": project}]),
        "snapshot.mode": "no_data",
        "poll.interval.ms": "10" if quick else "50",
        "max.batch.size": "16384",
        "max.queue.size": "65536",
        "exactly.once.support": "required",
        "transaction.boundary": "poll" if quick else "interval",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
        "producer.override.linger.ms": "0" if quick else "50",
        "producer.override.batch.size": "1048576",
        "producer.override.compression.type": "lz4",
        "producer.override.buffer.memory": "134217728",
        "producer.override.max.request.size": "4194304",
    }
    config |= {} if quick else {"transaction.boundary.interval.ms": "500"}
    config |= {"capture.mode.full.update.type": "post_image"} if images else {}
    url = bench.settings["MILLRACE_CONNECT_URL"]
    login = ConnectSettings.load(bench.settings).login()
    with httpx.Client(base_url=url, timeout=90, auth=login) as connect:
        _retried(lambda: connect.post("/connectors", json={"name": run, "config": config, "initial_state": "STOPPED"}))
        offsets = [{"partition": {"server_id": prefix}, "offset": {"resume_token": token}}]
        _retried(lambda: connect.patch(f"/connectors/{run}/offsets", json={"offsets": offsets}))
        _retried(lambda: connect.put(f"/connectors/{run}/resume"))
        try:
            yield topic, [bench.server("connect")]
        finally:
            _retried(lambda: connect.delete(f"/connectors/{run}"))


def _retried(call: Callable[[], httpx.Response]) -> None:
    for _ in range(60):
        answer = call()
        if answer.status_code < 400:
            return
        time.sleep(1)
    raise SystemExit(f"Connect: {answer.status_code} {answer.text}")


def drains(bench: Bench, kind: str, count: int, rounds: int, without: set[str]) -> dict[str, Any]:
    """All contestants on one kind of changes, in turn. The best of each counts."""
    updates = count * 3 // 10 if kind == "mixed" else 0
    database = f"bench_{kind}"
    token = bench.write(database, count - updates, updates)
    size = statistics.mean(len(encode(document(number))) for number in range(100))
    results: dict[str, list[dict[str, Any]]] = {}
    for turn in range(WARM_UPS):
        # A broker that has just started compiles itself on one of the cores: the first drains take it 6 s of CPU, later ones 1.2 s.
        with relay(bench, database, token, 1, f"{kind}-warm-up-{turn}") as (topic, processes):
            print(json.dumps({f"{kind}, warm-up {turn + 1}": _watched(bench, topic, processes, count)}), flush=True)
    for turn in range(rounds):
        results.setdefault("raw", []).append(raw(bench, database, token, count))
        for streams in (1, 2):
            if f"relay{streams}" not in without:
                with relay(bench, database, token, streams, f"{kind}-relay-{streams}-{turn}") as (topic, processes):
                    results.setdefault(f"relay, {streams} stream{'s' * (streams > 1)}", []).append(_watched(bench, topic, processes, count))
        if "debezium" not in without:
            with debezium(bench, database, token, images=updates > 0, quick=False, run=f"{kind}-debezium-{turn}") as (topic, processes):
                results.setdefault("Debezium", []).append(_watched(bench, topic, processes, count))
        print(json.dumps({f"{kind}, round {turn + 1}": {name: found[-1] for name, found in results.items()}}, indent=1), flush=True)
    bench.client.drop_database(database)
    best = {name: max(found, key=lambda each: each["eventsPerSecond"]) for name, found in results.items()}
    limit = best["raw"]["eventsPerSecond"]
    return {
        "documentBytes": round(size),
        **{name: {**found, "ofRaw": round(found["eventsPerSecond"] / limit, 2)} for name, found in best.items()},
    }


def _watched(bench: Bench, topic: str, processes: list[psutil.Process], count: int) -> dict[str, Any]:
    watch = Watch(bench, topic, processes)
    watch.until(count)
    return watch.result(count)


def latency(bench: Bench, seconds: float, rounds: int, without: set[str]) -> dict[str, Any]:
    """Delay from MongoDB's majority acknowledgement to a read_committed consumer at 2,000 events/s, the contestants in turn.

    The first round warms the broker up (its JIT compiler takes a core meanwhile) and is given, but is not the result.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for turn in range(rounds + 1):
        for name in sorted({"relay", "debezium"} - without, reverse=True):
            database = f"bench_latency_{name}_{turn}"
            token = bench.write(database, 0, 0)
            opened = (
                relay(bench, database, token, 1, f"latency-relay-{turn}")
                if name == "relay"
                else debezium(bench, database, token, images=False, quick=True, run=f"latency-debezium-{turn}")
            )
            with opened as (topic, _):
                results.setdefault(name, []).append(_delays(bench, database, topic, seconds))
            bench.client.drop_database(database)
    return {
        name: {"warmUp": found[0], "rounds": found[1:], **{key: statistics.median(each[key] for each in found[1:]) for key in found[0]}}
        for name, found in results.items()
    }


def _delays(bench: Bench, database: str, topic: str, seconds: float) -> dict[str, Any]:
    config = {"bootstrap.servers": bench.bootstrap, "group.id": "bench", "isolation.level": "read_committed", "fetch.wait.max.ms": 5}
    consumer = Consumer({**config, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    acknowledged: dict[bytes, float] = {}
    payments = bench.client[database].get_collection("payments", write_concern=WriteConcern("majority"))
    warm, total = 3.0, int(2000 * seconds)

    def write() -> None:
        began = time.monotonic()
        for start in range(0, total, 20):
            batch = [document(number) for number in range(start, start + 20)]
            payments.insert_many(batch, ordered=False)
            now = time.monotonic()
            acknowledged.update({row["_id"].encode(): now for row in batch})
            time.sleep(max(0.0, began + (start + 20) / 2000 - time.monotonic()))

    payments.insert_one({**document(0), "_id": "warm-up"})
    while not any(message.key() for message in consumer.consume(100, 0.5)):
        pass
    writer = threading.Thread(target=write)
    writer.start()
    seen: dict[bytes, float] = {}
    while len(seen) < total:
        for message in consumer.consume(200, 0.002):
            # Debezium writes its key as Struct{id="…"}.
            found = ID.search(message.key() or b"")
            if found and not message.error():
                seen.setdefault(found.group(), time.monotonic())
    writer.join()
    consumer.close()
    start = min(acknowledged.values()) + warm
    delays = sorted(max(0.0, seen[key] - at) * 1000 for key, at in acknowledged.items() if at > start)
    rate = total / (max(acknowledged.values()) - min(acknowledged.values()))
    return {
        "eventsPerSecond": round(rate),
        "p50Ms": round(statistics.median(delays), 1),
        "p99Ms": round(delays[int(len(delays) * 0.99)], 1),
        "maxMs": round(delays[-1], 1),
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--changes", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant is measured")
    parser.add_argument("--latency-seconds", type=float, default=20)
    parser.add_argument("--only", default="inserts,mixed,latency", help="which parts")
    parser.add_argument("--without", default="", help="contestants to leave out: relay1, relay2, debezium, relay (latency)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers are stopped then, too
    only, without = set(options.only.split(",")), set(options.without.split(","))
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        stack = Stack(Home(Path(folder)), StackSettings.load({**SIZES, **os.environ}), lambda line: print(line, file=sys.stderr))
        try:
            settings = stack.up(["mongo", "kafka"] if "debezium" in without else ["mongo", "kafka", "connect"])
            bench = Bench(settings, lambda name: psutil.Process(_pid(stack, name)))
            figures: dict[str, Any] = {"machine": f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}"}
            for kind in ("inserts", "mixed"):
                if kind in only:
                    figures[kind] = drains(bench, kind, options.changes, options.rounds, without)
                    print(json.dumps({kind: figures[kind]}, indent=1))
            if "latency" in only:
                figures["latency"] = latency(bench, options.latency_seconds, options.rounds, without)
                print(json.dumps({"latency": figures["latency"]}, indent=1))
        finally:
            stack.down()
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _pid(stack: Stack, name: str) -> int:
    owned = stack.processes.find(name)
    if owned is None:
        raise SystemExit(f"{name} does not run")
    return owned.pid


if __name__ == "__main__":
    main()
