"""How fast the whole pipeline is on this machine, with every server and tier and the load itself on it.

    python bench/end_to_end.py [--json PATH] [--inserts 300000] [--seconds 30] [--home FOLDER]

1. inserts into MongoDB -> readable reports: pymongo inserts documents of about 1 KB; the clock stops when completeThrough has
   passed the last insert; the reports must equal MongoDB's own sums;
2. the collection API's bulk endpoint;
3. the delay from the collection tier's 201 to the report being readable through GraphQL at 200 payments/s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient, WriteConcern

from capture_setup import document
from millrace_contracts.settings import NamesSettings
from millrace_stack.demo.pipeline import Pipeline
from millrace_stack.demo.screen import Screen
from millrace_stack.home import Home
from millrace_stack.load.run import Pace, Tally, run
from millrace_stack.load.traffic import Traffic
from millrace_stack.truth.answers import Api, instant
from millrace_stack.truth.cli import check, operator_token
from millrace_stack.truth.mongo import MongoTruth

MERCHANTS = 500
FILLER = "x" * 420
"""Brings a document to about 1 KB; the relay's projection keeps it in MongoDB."""


def documents(start: int, count: int, at_ms: int) -> list[dict[str, Any]]:
    """Payments as the collection tier writes them, one every 10 ms of payment time."""
    now = datetime.now(UTC)
    return [
        {
            **document(number),
            "_id": f"bench-{at_ms:x}-{number:08x}",
            "merchantId": f"load-{number * 7 % MERCHANTS}",
            "paidAt": datetime.fromtimestamp((at_ms - 3_600_000 + number * 10) / 1000, UTC),
            "createdAt": now,
            "updatedAt": now,
            "note": FILLER,
        }
        for number in range(start, start + count)
    ]


def measure_inserts(pipeline: Pipeline, count: int) -> dict[str, Any]:
    """Inserts -> readable reports."""
    settings = pipeline.settings()
    client: MongoClient[dict[str, Any]] = MongoClient(settings["MILLRACE_MONGO_COLLECTION_URI"])
    names = NamesSettings.load(settings)
    payments = client.get_database(names.database).get_collection("payments", write_concern=WriteConcern("majority"))
    api = Api(settings["MILLRACE_API_URL"], operator_token(settings))
    at = int(time.time() * 1000)
    batches = [documents(first, min(5_000, count - first), at) for first in range(0, count, 5_000)]
    began = time.monotonic()
    for batch in batches:
        payments.insert_many(batch, ordered=False)
    inserted = time.monotonic() - began
    truth = MongoTruth(settings["MILLRACE_MONGO_TRUTH_URI"], names.database)
    last = truth.last_write()
    while (through := api.complete_through()) is None or through <= last:
        if time.monotonic() - began > 900:
            raise SystemExit(f"not complete after 900 s: {through}, last write {last}")
        time.sleep(0.1)
    seconds = time.monotonic() - began
    result = check(settings, 5, 60)
    truth.close()
    api.close()
    client.close()
    return {
        "payments": count,
        "insertedPerSecond": round(count / inserted),
        "readablePerSecond": round(count / seconds),
        "seconds": round(seconds, 1),
        "equal": result.equal,
    }


def measure_bulk(pipeline: Pipeline, seconds: float) -> dict[str, Any]:
    """The bulk endpoint, as fast as it takes them."""
    traffic = Traffic(seed=2, merchants=MERCHANTS, start_ms=int(time.time() * 1000) - 7_200_000, every_ms=0.1)
    tally = run(pipeline.client, traffic, Pace(seconds, None, 3, 1000), threading.Event(), Tally(), lambda _: None)
    return tally.summary()


def measure_delay(pipeline: Pipeline, seconds: float) -> dict[str, Any]:
    """201 -> readable, by a probe payment of a merchant of its own every second while 200 payments/s go on."""
    settings = pipeline.settings()
    stopped = threading.Event()
    traffic = Traffic(seed=3, merchants=MERCHANTS, start_ms=int(time.time() * 1000), every_ms=5)
    tally = Tally()
    background = threading.Thread(target=run, args=(pipeline.client, traffic, Pace(seconds + 120, 200, 16), stopped, tally, lambda _: None))
    background.start()
    client, probe = pipeline.client(), "bench-probe"
    client.put(f"/v1/merchants/{probe}", {"name": probe, "currency": "USD", "timeZone": "UTC"})
    api = Api(settings["MILLRACE_API_URL"], operator_token(settings))
    acknowledged: dict[datetime, float] = {}
    delays: list[float] = []
    began = time.monotonic()
    base = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=20)
    while time.monotonic() - began < seconds + 90:
        age = time.monotonic() - began
        if age < seconds and len(acknowledged) + len(delays) <= age:
            # A window of its own for each probe, so that its appearance is unmistakable.
            at = base + timedelta(minutes=10 * (len(acknowledged) + len(delays)))
            identifier = f"probe-{int(at.timestamp())}-{os.getpid()}"
            body = {"op": "payment", "id": identifier, "merchantId": probe, "amount": 1, "currency": "USD", "method": "card"}
            assert client.single({**body, "paidAt": int(at.timestamp() * 1000)}).answers[0].status == 201
            acknowledged[at] = time.monotonic()
        if acknowledged:
            seen = api.windows(probe, "USD", min(acknowledged), max(acknowledged) + timedelta(minutes=10))
            now = time.monotonic()
            delays += [now - acknowledged.pop(at) for at in list(acknowledged) if at in seen]
        elif age >= seconds:
            break
        time.sleep(0.05)
    stopped.set()
    background.join()
    api.close()
    client.close()
    ordered = sorted(delays)
    return {
        "probes": len(delays),
        "neverSeen": len(acknowledged),
        "paymentsPerSecond": tally.summary()["ratePerSecond"],
        "medianSeconds": round(statistics.median(ordered), 2),
        "p99Seconds": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 2),
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "cores": psutil.cpu_count(),
        "memoryGiB": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": [round(each, 2) for each in os.getloadavg()],
        "at": instant(datetime.now(UTC).isoformat()).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Run all three and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--inserts", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of inserts; the median is reported")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--home", type=Path, help="keep the home there instead of a temporary one")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers and tiers are stopped either way
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        home = Home((options.home or Path(folder) / ".millrace").resolve())
        given = {name: value for name, value in os.environ.items() if name != "MILLRACE_HOME"}
        with Pipeline(home, given, Screen()) as pipeline:
            client = pipeline.client()
            for name, body in Traffic(merchants=MERCHANTS).merchant_bodies().items():
                client.put(f"/v1/merchants/{name}", body)
            client.close()
            rounds = [measure_inserts(pipeline, options.inserts) for _ in range(options.rounds)]
            result = {
                "machine": machine(),
                "inserts": {"medianReadablePerSecond": statistics.median(each["readablePerSecond"] for each in rounds), "rounds": rounds},
                "delayAt200": measure_delay(pipeline, options.seconds),
                "bulk": measure_bulk(pipeline, options.seconds),
            }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
