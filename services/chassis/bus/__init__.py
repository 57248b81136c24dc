"""The bus: Kafka by way of FastStream and aiokafka, each of whose known traps is closed here.

`tests/integration/test_bus_traps.py` has one regression test for each of them.
"""

from services.chassis.bus.broker import (
    TopicMissing,
    bus_trouble,
    make_broker,
    start_when_available,
    stop_within,
)
from services.chassis.bus.consumer import Consumer, Handler, subscribe_batch
from services.chassis.bus.publisher import BusUnavailable, Publisher, RecordTooLarge
from services.chassis.bus.records import Outgoing, Record, repaired_headers
from services.chassis.bus.traces import has_worked_before
from services.chassis.bus.whole_topic import WholeTopic

__all__ = [
    "BusUnavailable",
    "Consumer",
    "Handler",
    "Outgoing",
    "Publisher",
    "Record",
    "RecordTooLarge",
    "TopicMissing",
    "WholeTopic",
    "bus_trouble",
    "has_worked_before",
    "make_broker",
    "repaired_headers",
    "start_when_available",
    "stop_within",
    "subscribe_batch",
]
