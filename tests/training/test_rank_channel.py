"""Messages between the threads of the ranks; strangers, floods and ends."""

import json
import socket
import time

import pytest

from gcvideo.training.rank_channel import Address, Hub, Spoke


@pytest.fixture
def hub():
    made = Hub("127.0.0.1")
    yield made
    made.close()


def messages(end, count, patience_s=5.0):
    found, limit = [], time.monotonic() + patience_s
    while len(found) < count and time.monotonic() < limit:
        found += end.exchange(0.05)
    return found


def test_both_directions_and_the_end(hub):
    spokes = {rank: Spoke(hub.address, rank, timeout_s=5) for rank in (1, 2)}
    for rank, spoke in spokes.items():
        spoke.send({"report": rank})
    assert sorted(messages(hub, 2)) == [(1, {"report": 1}), (2, {"report": 2})]
    hub.send({"verdict": "x" * 200_000})
    for spoke in spokes.values():
        assert messages(spoke, 1)[0][1]["verdict"].startswith("xxx")
    spokes[1].close()
    assert messages(hub, 1) == [(1, None)]
    hub.send({"bye": True})  # the closed one is skipped
    assert messages(spokes[2], 1) == [(0, {"bye": True})]
    hub.close()
    assert messages(spokes[2], 1) == [(0, None)]
    assert spokes[2].exchange(0.0) == []
    spokes[2].send({"report": 2})  # to nobody
    spokes[2].close()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\xff" * 1000 + b"\n",
        b"[1, 2]\n",
        b'{"rank": 1}\n{"failure": "x"}\n',
        b"[" * 100_000 + b"\n",
        '{"token": "\u00e9", "rank": 1}\n'.encode(),
        b'{"token": "guess", "rank": 1}\n{"failure": "x"}\n',
        b"7" * (3 << 20),
        b"",
    ],
)
def test_a_stranger_is_turned_away(hub, data):
    """Whoever does not know the token gets no further, and the ranks are not disturbed."""
    spoke = Spoke(hub.address, 1, timeout_s=5)
    with socket.create_connection(hub.address[:2]) as stranger:
        stranger.setblocking(False)
        sent = 0
        while sent < len(data):
            try:
                sent += stranger.send(data[sent:])
            except BlockingIOError:
                hub.exchange(0.05)
            except ConnectionError:
                break
        stranger.close() if not data else None
        spoke.send({"report": 1})
        assert messages(hub, 2, patience_s=1.0) == [(1, {"report": 1})]


def test_who_does_not_read_does_not_block(hub):
    spoke = Spoke(hub.address, 1, timeout_s=5)
    messages(hub, 1, patience_s=0.2)
    start = time.monotonic()
    for _ in range(200):
        hub.send({"verdict": "x" * 100_000})
    assert time.monotonic() - start < 5
    spoke.close()


def test_a_hub_whose_name_is_that_of_a_router():
    hub = Hub("192.0.2.1")  # an address of no machine
    address = Address("127.0.0.1", hub.address.port, hub.address.token)
    spoke = Spoke(address, 3, timeout_s=5)
    spoke.send(json.loads('{"report": 3}'))
    assert messages(hub, 1) == [(3, {"report": 3})]
    spoke.close()
    hub.close()
