import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from croniter import croniter
from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.core.zones import TimeZone

_LONGEST_NAP_S = 30.0  # the clock of a machine can be set, and another runtime can enable a job
_LEASE_S = 60.0  # a run that nobody said is done is made again after so long
_HISTORY, _MOST_MISSED = 50, 10_000


class Job(NodeConfig):
    """Something that is due at certain times: `cron`, or `days` and `time`, or `at` once."""

    name: str = field(..., min_length=1, max_length=100, description="Its name; the topic of its messages")
    cron: str = field("", description='Such as "*/5 8-17 * * mon-fri" (minute hour day month weekday [second])')
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = field([], description="Days of the week")
    time: str = field("", description="Time on these days, as 06:30")
    at: str = field("", description="Once, at this time: 2026-12-24T18:00, in the zone unless it says another")
    payload: Any = field(None, description="What is sent")
    enabled: bool = field(True, description="Whether it runs at first; later, what was said at the input holds")
    on_holidays: bool = field(True, description="Runs on holidays, too")

    @model_validator(mode="after")
    def _has_times(self) -> "Job":
        if bool(self.cron) + bool(self.days or self.time) + bool(self.at) != 1:
            raise ValueError(f"job {self.name!r} needs cron, or days and time, or at")
        if self.cron and not croniter.is_valid(self.cron):
            raise ValueError(f"job {self.name!r}: {self.cron!r} is no cron expression: minute hour day month weekday")
        if self.days or self.time:
            if not self.days:
                raise ValueError(f"job {self.name!r} has a time and no days")
            datetime.strptime(self.time, "%H:%M")  # its error says what it should be
        if self.at:
            datetime.fromisoformat(self.at)
        return self

    def times(self, after_s: float, zone: ZoneInfo, holidays: frozenset[date]) -> Iterator[float]:
        """When it is due, from then on."""
        if self.at:
            at = datetime.fromisoformat(self.at)
            due_s = (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()
            if due_s > after_s:
                yield due_s
            return
        hour, _, minute = self.time.partition(":")
        cron = self.cron or f"{int(minute)} {int(hour)} * * {','.join(self.days)}"
        found = croniter(cron, datetime.fromtimestamp(after_s, zone))
        for _ in range(_MOST_MISSED):
            due: datetime = found.get_next(datetime)
            if self.on_holidays or due.date() not in holidays:
                yield due.timestamp()


class Schedule(Node):
    """Send messages at certain times: by cron, on days of the week, or once; each run is made by one runtime.

    What ran last is in the key-value store that all runtimes of a bus share: of several with the same job one runs it,
    a restart does not run it again, and one that died before its run was done is made up for by another. Runs that
    were missed while nothing ran are told at `missed`, and made up for once, or left out. A message at the input says
    what is done with a job: {"job": "lights", "action": "disable"}; also enable, run (now), and history, which answers
    at `history`.
    """

    type = "core/schedule"
    title = "Schedule"
    category = "sequence"
    icon = "calendar-clock"
    context = ("global",)
    outside = False

    class Config(NodeConfig):
        jobs: list[Job] = field(..., min_length=1, description="What is due when")
        time_zone: TimeZone = field("UTC", description="Zone of all times, such as Europe/Berlin")
        holidays: list[str] = field([], description="Dates such as 2026-12-25, for jobs with on_holidays off")
        missed: Literal["once", "skip"] = field("once", description="Missed runs of a job: one is made up for, or none")
        late_s: float = field(60.0, gt=0, le=86_400, description="A run that is later counts as missed, in seconds")
        group: str = field("", description="Schedules with the same group share their jobs; empty: flow and node")

        @model_validator(mode="after")
        def _names_once(self) -> "Schedule.Config":
            names = [job.name for job in self.jobs]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"jobs have names of their own; twice: {', '.join(sorted(twice))}")
            return self

        @field_validator("holidays")
        @classmethod
        def _are_dates(cls, dates: list[str]) -> list[str]:
            for text in dates:
                date.fromisoformat(text)
            return dates

    in_ = In(dict, description="job and action: enable, disable, run, history")
    out = Out(description="the job's payload; meta.schedule has job, due, missed")
    missed = Out(
        dict, description="job, count, first and last of the runs that were missed, and whether one is made up for"
    )
    history = Out(dict, description="job, enabled, next, history: of each run due, at, and how it was")

    def on_start(self) -> None:
        self._me = secrets.token_hex(8)
        self._zone = ZoneInfo(self.config.time_zone)
        self._holidays = frozenset(map(date.fromisoformat, self.config.holidays))
        self._jobs = {job.name: job for job in self.config.jobs}
        self._timer: Any = None
        self._shown = ""

    def _key(self, job: Job) -> str:
        return f"schedule {self.config.group or f'{self.flow}.{self.id}'} {job.name}"

    async def run(self) -> None:
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._look_in(0)
        try:
            await self._failed  # it is reported then, and this begins again after a while
        finally:
            self._timer.cancel()

    def _look_in(self, seconds: float) -> None:
        """Look by a timer: that is a turn of this node, so a clock that is moved by hand waits until it is over."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.after(seconds, self._look_at_all)

    async def _look_at_all(self) -> None:
        """Run what is due, and look again when the next is."""
        try:
            next_s = [due_s for job in self._jobs.values() if (due_s := await self._look(job)) is not None]
        except Exception as e:
            if not self._failed.done():
                self._failed.set_exception(e)
            return
        self._show(min(next_s, default=None))
        if not self._failed.done():
            wait_s = min(max(min(next_s, default=1e12) - self.now_s(), 0.0), _LONGEST_NAP_S)
            self._look_in(wait_s + 0.001)

    async def _look(self, job: Job) -> float | None:
        """Run what is due; returns when it is due next."""
        now_s = self.now_s()
        record = await self.global_context.get(self._key(job))
        if record is None:  # the first time that anybody looks at it
            begun = {"due": now_s, "done": True, "by": "", "enabled": job.enabled, "history": []}
            record = await self.global_context.update(self._key(job), lambda there: there or begun)
        if not record["enabled"]:
            return None
        if not record["done"] and record["by"] != self._me and now_s - record["claimed"] > _LEASE_S:
            await self._run(job, record["due"], 0)  # whoever had it has died
        due: list[float] = []
        for due_s in job.times(record["due"], self._zone, self._holidays):
            if due_s > now_s:
                break
            due.append(due_s)
        if due:
            await self._due(job, due, now_s)
        return next(job.times(now_s, self._zone, self._holidays), None)

    async def _due(self, job: Job, due: list[float], now_s: float) -> None:
        late = [due_s for due_s in due if now_s - due_s > self.config.late_s]
        runs = len(late) < len(due) or self.config.missed == "once"
        if not await self._run(job, due[-1], len(late), is_skipped=not runs):
            return  # another runtime has it
        if late:
            told = {"job": job.name, "count": len(late), "first": self._iso(late[0]), "last": self._iso(late[-1])}
            await self.send({**told, "made_up_for": runs and len(late) == len(due)}, port="missed", topic=job.name)

    async def _run(self, job: Job, due_s: float, missed: int, *, is_skipped: bool = False) -> bool:
        """Claim a run and make it; False when another runtime was faster."""
        claim = {"due": due_s, "by": self._me, "claimed": self.now_s(), "done": is_skipped}

        def take(record: dict) -> dict:
            is_over = record["due"] > due_s or (
                record["due"] == due_s and (record["done"] or claim["claimed"] - record["claimed"] <= _LEASE_S)
            )
            return record if is_over else {**record, **claim}

        record = await self.global_context.update(self._key(job), take)
        if record["by"] != self._me or record["due"] != due_s or record.get("claimed") != claim["claimed"]:
            return False
        if is_skipped:
            await self._note(job, due_s, f"skipped, {missed} missed")
            return True
        about = {"job": job.name, "due": self._iso(due_s), "missed": missed}
        receipt = await self.send(job.payload, topic=job.name, meta={"schedule": about})

        async def finish() -> None:
            await receipt
            await self._note(job, due_s, f"made up for {missed} missed" if missed else "ran", done=True)

        self.spawn(finish())
        return True

    async def _note(self, job: Job, due_s: float, how: str, *, done: bool = False) -> None:
        entry = [self._iso(due_s), self._iso(self.now_s()), how]

        def note(record: dict) -> dict:
            is_ours = done and record["due"] == due_s and record["by"] == self._me
            return {**record, "history": [*record["history"], entry][-_HISTORY:], "done": record["done"] or is_ours}

        await self.global_context.update(self._key(job), note)

    async def on_message(self, message: Message) -> None:
        job = self._jobs.get(message.payload.get("job"))
        action = message.payload.get("action")
        if job is None or action not in ("enable", "disable", "run", "history"):
            raise GiveUp(f"job is one of {', '.join(self._jobs)}, action enable, disable, run or history")
        now_s = self.now_s()
        begun = {"due": now_s, "done": True, "by": "", "enabled": job.enabled, "history": []}
        if action in ("enable", "disable"):  # what was due while it was disabled was not missed

            def switch(record: dict | None) -> dict:
                record = record or begun
                return {**record, "enabled": action == "enable", "due": record["due"] if record["enabled"] else now_s}

            await self.global_context.update(self._key(job), switch)
            self._look_in(0)
        elif action == "run":
            await self.send(job.payload, topic=job.name, meta={"schedule": {"job": job.name, "due": "", "missed": 0}})
            await self.global_context.update(self._key(job), lambda record: record or begun)
            await self._note(job, now_s, "by hand")
        else:
            record = await self.global_context.get(self._key(job)) or begun
            following = next(job.times(now_s, self._zone, self._holidays), None) if record["enabled"] else None
            told = {"job": job.name, "enabled": record["enabled"], "next": self._iso(following)}
            runs = [{"due": due, "at": at, "how": how} for due, at, how in record["history"]]
            await self.send({**told, "history": runs}, port="history", topic=job.name)

    def _iso(self, at_s: float | None) -> str:
        return "" if at_s is None else datetime.fromtimestamp(at_s, self._zone).isoformat(timespec="seconds")

    def _show(self, next_s: float | None) -> None:
        with contextlib.suppress(OverflowError):
            text = f"next: {self._iso(next_s)}" if next_s is not None else "nothing is due any more"
            if text != self._shown:
                self._shown = text
                self.set_status(text)
