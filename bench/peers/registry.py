"""The peers by name."""

from __future__ import annotations

from bench.peers.base import Peer
from bench.peers.celery import Celery
from bench.peers.dbos import Dbos
from bench.peers.procrastinate import Procrastinate
from bench.peers.restate import Restate

ALL: tuple[Peer, ...] = (Restate("python"), Restate("typescript"), Dbos(), Celery(), Procrastinate())
PEERS = {peer.name: peer for peer in ALL}
