"""The loop of one worker: claim, execute, decide, record; until nothing is due, and then until something is."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from dist_task import failpoints
from dist_task.conf import conf
from dist_task.errors import LeaseLost
from dist_task.executors import threads
from dist_task.executors.apart import Apart
from dist_task.executors.base import Ongoing, Result, TaskCall, caps_of_executors, executors
from dist_task.executors.connections import CONNECTIONS
from dist_task.states import RunKey, TransactionStatus
from flows.registry_rows import parse_stored

from . import children
from .alerts.watch import Watch
from .aside import Aside
from .batches.loop import BatchLoop
from .clerk import Clerk
from .committer import Committer, Reply, Unstorable
from .desk import Attempt
from .four_eyes.verbs import expire_overdue
from .hand import Hand
from .lease import LeaseKeeper
from .loaded import LoadedFlow, Shelf, load
from .registered import Registered
from .slots import Slots
from .store import batch, claims, counts, leases
from .store.batch import Write, Written
from .store.claims import Claimed, StoredRun

logger = logging.getLogger(__name__)

BUSY_HANDS, IDLE_HANDS = 16, 8
"""With so many in hand a worker looks for more by itself and needs no notification, until it has fewer than these."""
SHORTEST_REST_SECONDS = 0.0005
BUSY_LOOK_SECONDS = 0.015
"""So often it looks then: each look costs the database about as much as a third of a transaction."""
LOW_HANDS = 48
"""A busy worker that has no more than this in hand looks at once when one more has ended."""
TICK_SECONDS = 0.25
TIDY_SECONDS = 5.0
PARK_SECONDS = 60.0
ORPHAN_SECONDS = 35.0
"""So long a claim whose connection broke may still run in the database: its statement_timeout, and some."""
JOIN_SECONDS = 5.0
MOST_TOLD = 100


def host_name() -> str:
    """Names this machine, this boot and this process namespace: only there does a process id mean anything."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{socket.gethostname()}/{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


class Drain:
    """One worker under one lease. `run` returns when told to stop or when its time is over; LeaseLost ends it early."""

    def __init__(self, *, cluster: str, should_stop: Callable[[], bool], on_tick: Callable[[int], None]) -> None:
        self.slots = Slots(
            total=conf.SLOTS,
            per_target=conf.SLOTS_PER_TARGET,
            per_transaction=conf.SLOTS_PER_TRANSACTION,
            caps=(CONNECTIONS.caps, *caps_of_executors()),
        )
        self.apart = Apart()
        self._clerk = Clerk()
        self._aside = Aside()
        self._items = Aside()
        self._should_stop = should_stop
        self._on_tick = on_tick
        self._lease = LeaseKeeper(cluster=cluster, host=host_name(), pid=os.getpid())
        self._hands: dict[int, Hand] = {}
        self._let_go: set[int] = set()  # since the last claim was asked for
        self._shelf = Shelf()
        self._registered = Registered()
        self._given_up: set[Attempt] = set()
        self._wake = asyncio.Event()
        self._ticked_at = time.monotonic()
        self._next_look = 0.0
        self._accepting = True
        self._lost = False
        self._adopt_until = 0.0
        self._shall_adopt = False
        self._idle = True
        self._main: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    @property
    def accepting(self) -> bool:
        return self._accepting

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self.worker_id = await asyncio.to_thread(self._lease.register)
        self._committer = Committer(worker_id=self.worker_id, on_wake=self._wake_up, on_reconnect=self._on_reconnect)
        self._lease.watch(
            on_lost=partial(loop.call_soon_threadsafe, self._on_lease_lost),
            ticked_at=lambda: self._ticked_at,
        )
        self._keep(self._tick())
        self._keep(self._tidy())
        self._keep(Watch(partial(self._clerk.request, is_atomic=True)).run())
        self._keep(BatchLoop(self._clerk.request, aside=self._items, is_busy=lambda: not self._idle).run())
        try:
            await self._refresh()
            await self._work_until(time.monotonic() + conf.DRAIN_SECONDS)
            await self._hand_back()
        except asyncio.CancelledError:
            if self._lost:
                raise LeaseLost("the lease ran out") from None
            raise
        finally:
            await self._close()

    # What hands need (see desk.Desk).

    def submit(self, write: Write, *, hand: Hand) -> None:
        reply = partial(_tell, hand, write)
        if write.finish != TransactionStatus.CANCELLED:
            self._committer.write(write, reply=reply)
            return
        cancel = partial(
            batch.cancel, worker_id=self.worker_id, transaction_id=write.transaction_id, revision=write.revision
        )
        self._clerk.request(cancel, is_atomic=True).add_done_callback(partial(_tell_of, reply))

    def reload(self, hand: Hand) -> None:
        request = partial(claims.reload, worker_id=self.worker_id, transaction_id=hand.transaction_id)
        self._clerk.request(request).add_done_callback(partial(self._on_reloaded, hand))

    def fetch_done(self, hand: Hand, keys: Collection[RunKey]) -> None:
        request = partial(claims.done, transaction_id=hand.transaction_id, keys=keys)
        self._clerk.request(request).add_done_callback(partial(self._on_fetched, hand))

    async def ask_child(self, hand: Hand, call: TaskCall) -> Result | Ongoing:
        ask = partial(children.ask, call, transaction_id=hand.transaction_id, worker_id=self.worker_id)
        found: Result | Ongoing = await self._aside.request(ask)
        return found

    def let_go(self, hand: Hand) -> None:
        self._hands.pop(hand.transaction_id, None)
        self._let_go.add(hand.transaction_id)
        self.slots.forget(hand)
        if hand.owes_parent:
            self._tell_parents([hand.transaction_id])
        if len(self._hands) <= LOW_HANDS or not self._accepting:
            self._wake_up()

    def park(self, hand: Hand, *, error: BaseException) -> None:
        hand.drop()
        self._park(hand.transaction_id, message=f"{type(error).__name__}: {error}")
        self.let_go(hand)

    def give_up(self, attempts: Collection[Attempt]) -> None:
        self._given_up.update(attempts)

    def was_given_up(self, attempt: Attempt) -> bool:
        return attempt in self._given_up

    # The loop.

    async def _work_until(self, ends_at: float) -> None:
        while not self._should_stop() and (time.monotonic() < ends_at or self._hands):
            self._wake.clear()
            await self._look_for_work()
            await self._rest()

    async def _look_for_work(self) -> None:
        """Claims what there is room for; a worker that becomes idle says so first, and then looks."""
        if self._shall_adopt:
            await self._adopt()
        await self._say_idle(len(self._hands) < (BUSY_HANDS if self._idle else IDLE_HANDS))
        room = min(conf.SLOTS - len(self._hands), conf.CLAIM_BATCH)
        if room <= 0:
            self._next_look = time.monotonic() + BUSY_LOOK_SECONDS
            return
        self._let_go.clear()
        harvest = await self._committer.claim(
            limit=room, look_ahead=self._idle, openings=self._shelf.openings(slots=self.slots)
        )
        if harvest.claimed:
            failpoints.hit("claimed")
        await self._take_all(harvest.claimed, harvest.runs)
        has_more = len(harvest.claimed) == room
        self._next_look = time.monotonic() + (0.0 if has_more else self._pause(harvest.next_due_in_seconds))

    def _pause(self, next_due_in_seconds: float | None) -> float:
        """Seconds until the next look, when nothing more is due now."""
        if not self._idle:
            return BUSY_LOOK_SECONDS
        if next_due_in_seconds is None:
            return conf.POLL_SECONDS
        return min(max(next_due_in_seconds - claims.LEAD_SECONDS, 0.0), conf.POLL_SECONDS)

    async def _rest(self) -> None:
        """Until something is due, a notification comes, or there is little left in hand."""
        try:
            async with asyncio.timeout(max(self._next_look - time.monotonic(), SHORTEST_REST_SECONDS)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _say_idle(self, idle: bool) -> None:
        if idle != self._idle:
            self._idle = idle
            await self._clerk.request(partial(leases.set_idle, worker_id=self.worker_id, idle=idle))

    def _take(self, claimed: Claimed, *, runs: list[StoredRun]) -> None:
        if held := self._hands.get(claimed.transaction_id):
            held.touch()
            return
        try:
            hand = Hand(claimed, flow=self._shelf.take(claimed.flow_id), runs=runs, desk=self)
        except Exception as error:
            logger.exception("Transaction %s cannot be taken up", claimed.instance_id)
            self._park(claimed.transaction_id, message=f"{type(error).__name__}: {error}")
            return
        self._hands[claimed.transaction_id] = hand
        hand.advance()

    async def _learn(self, flow_ids: set[str]) -> None:
        """Flows that were not needed before. Where a definition does not parse, its transactions are parked."""
        unknown = self._shelf.lacks(flow_ids)
        if not unknown:
            return
        await self._refresh()  # a flow may name what was registered just before it
        found = await self._clerk.request(partial(claims.definitions, flow_ids=unknown))
        for flow_id, (text, pinned) in found.items():
            try:
                self._shelf.put(flow_id, flow=await asyncio.to_thread(_load, text, pinned=pinned))
            except Exception:
                logger.exception("The definition of flow %s cannot be read", flow_id)

    def _on_reconnect(self) -> None:
        """A connection broke: what was claimed just then is this worker's, though it was not told."""
        self._adopt_until = time.monotonic() + ORPHAN_SECONDS
        self._shall_adopt = True
        self._wake_up()

    async def _adopt(self) -> None:
        """Takes up what this worker holds and has in no hand. While no claim is under way: its answer holds the same.

        Each is read again, since what was in hand a moment ago may have been released.
        """
        self._shall_adopt = False
        claimed = await self._clerk.request(partial(claims.owned, worker_id=self.worker_id)) or []
        await self._learn({each.flow_id for each in claimed})
        for each in claimed:
            if each.transaction_id not in self._hands:
                await self._take_anew(each.transaction_id)

    async def _take_anew(self, transaction_id: int) -> None:
        """As it stands now, if it is still this worker's."""
        request = partial(claims.reload, worker_id=self.worker_id, transaction_id=transaction_id)
        if (found := await self._clerk.request(request)) is not None:
            self._take(found[0], runs=found[1])

    async def _take_all(self, claimed: list[Claimed], runs: list[StoredRun]) -> None:
        """A claim also finds what is in hand and was woken. What was let go meanwhile it has seen as it stood before
        its last write: calls that were recorded with that one would be made again."""
        await self._learn({each.flow_id for each in claimed})
        runs_of: dict[int, list[StoredRun]] = {each.transaction_id: [] for each in claimed}
        for run in runs:
            runs_of[run.transaction_id].append(run)
        for each in claimed:
            if each.transaction_id in self._let_go:
                await self._take_anew(each.transaction_id)
            else:
                self._take(each, runs=runs_of[each.transaction_id])

    def _park(self, transaction_id: int, *, message: str) -> None:
        request = partial(
            batch.park,
            worker_id=self.worker_id,
            transaction_id=transaction_id,
            message=message,
            seconds=PARK_SECONDS,
        )
        self._clerk.request(request)

    def _on_reloaded(self, hand: Hand, future: asyncio.Future[Any]) -> None:
        if future.cancelled() or future.exception() or future.result() is None:
            hand.drop()
            self.let_go(hand)
            return
        claimed, runs = future.result()
        try:
            hand.reloaded(claimed, runs=runs)
        except Exception as error:
            logger.exception("Transaction %s cannot be taken up again", claimed.instance_id)
            self.park(hand, error=error)

    def _on_fetched(self, hand: Hand, future: asyncio.Future[Any]) -> None:
        if future.cancelled() or (error := future.exception()) is None and future.result() is None:
            return  # the worker ends
        if error is not None:
            self.park(hand, error=error)
            return
        try:
            hand.fetched(future.result())
        except Exception as failure:
            logger.exception("What tasks gave cannot be used")
            self.park(hand, error=failure)

    def _wake_up(self) -> None:
        self._wake.set()

    def _on_lease_lost(self) -> None:
        """Somebody else may have all of it by now: calls are given up, nothing is written."""
        logger.error("Worker %d lost its lease with %d transactions in hand.", self.worker_id, len(self._hands))
        self._lost = True
        self._accepting = False
        self._committer.abandon()
        self._clerk.abandon()
        for hand in self._hands.values():
            hand.drop()
        if self._main is not None:
            self._main.cancel()

    # Around the loop.

    async def _tick(self) -> None:
        """Shows that the loop turns, and notices that it shall stop."""
        while True:
            self._ticked_at = time.monotonic()
            self._on_tick(self.worker_id)
            if self._should_stop():
                self._wake_up()
            await asyncio.sleep(TICK_SECONDS)

    async def _tidy(self) -> None:
        """Housekeeping between claims, in bounded slices, by one worker at a time."""
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            in_contact = time.monotonic() - self._lease.contact_since >= conf.LEASE_SECONDS
            if time.monotonic() < self._adopt_until:
                self._shall_adopt = True
            await self._refresh()
            tidy = partial(_tidy, worker_id=self.worker_id, may_rescue=in_contact)
            try:
                rescued = await self._clerk.request(tidy, is_atomic=True)
                self._items.request(expire_overdue).add_done_callback(_log_failure)
                self._tell_parents(await self._clerk.request(partial(children.owing, limit=MOST_TOLD)) or [])
            except Unstorable as error:
                logger.error("Housekeeping failed: %s", error)
            else:
                if rescued:
                    self._wake_up()

    def _tell_parents(self, child_ids: list[int]) -> None:
        """How transactions ended that others have started; what is not told now is told by housekeeping."""
        for child_id in child_ids:
            self._aside.request(partial(children.tell, child_id)).add_done_callback(_look_at)

    async def _refresh(self) -> None:
        """What is known of connections and secrets; where that fails, what was known before counts."""
        try:
            await self._clerk.request(self._registered.refresh)
        except Unstorable as error:
            logger.error("Connections and secrets could not be read: %s", error)

    async def _hand_back(self) -> None:
        """Nothing new starts; attempts in flight end within the grace, or are left to whoever comes next."""
        self._accepting = False
        await self._say_idle(False)
        failpoints.hit("hand_back")
        ends_at = time.monotonic() + conf.STOP_GRACE_SECONDS
        for hand in list(self._hands.values()):
            hand.advance()
        while self._hands and time.monotonic() < ends_at:
            self._wake.clear()
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
        for hand in self._hands.values():
            hand.drop()
        self._lease.stop()  # else it would find that the lease ended
        await self._clerk.request(partial(leases.retire, worker_id=self.worker_id), is_atomic=True)

    async def _close(self) -> None:
        for task in self._background:
            task.cancel()
        self._lease.stop()
        await asyncio.to_thread(self._lease.join, JOIN_SECONDS)
        for part in (self._committer, self._clerk, self._aside, self._items):
            try:
                async with asyncio.timeout(JOIN_SECONDS):
                    await part.close()
            except TimeoutError:
                logger.warning("The database does not answer: what was to be written last is left.")
        await self.apart.close()
        for executor in executors().values():
            try:
                await threads.close(executor)
            except Exception:
                logger.exception("The executor %s could not be closed", executor.kind)

    def _keep(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _load(text: str, *, pinned: dict[str, Any]) -> LoadedFlow:
    return load(parse_stored(text, pinned=pinned))


def _tell(hand: Hand, write: Write, written: Written | None, error: BaseException | None) -> None:
    if written is not None:
        hand.written(write, written)
    elif error is not None:
        hand.refused(write, error=error)


def _look_at(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logger.error("A transaction could not be told how another one ended: %r", error)


def _log_failure(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logger.error("Requests for approval could not be looked after: %r", error)


def _tell_of(reply: Reply, future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        error = future.exception()
        reply(None if error else future.result(), error)


def _tidy(cursor: Any, *, worker_id: int, may_rescue: bool) -> int:
    """Returns how many transactions were rescued."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('dist_task.tidy'))")
    if not cursor.fetchone()[0]:
        return 0
    counts.fold(cursor)
    leases.forget_old(cursor)
    return leases.rescue(cursor, by=worker_id) if may_rescue else 0
