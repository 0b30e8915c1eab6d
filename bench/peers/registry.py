"""The peers by name."""

from __future__ import annotations

from bench.peers.base import Peer
from bench.peers.restate import Restate

PEERS: dict[str, Peer] = {peer.name: peer for peer in (Restate("python"), Restate("typescript"))}
