import difflib
import logging
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import StringConstraints, model_validator

from flowcore.node import GiveUp, In, Message, Out, Outputs, field
from flowcore_nodes.core.action_lanes import EARLY_S, Lane, Policy, RoutePolicy, policy_of, wait_s
from flowcore_nodes.core.due import Due
from flowcore_nodes.core.holding import ID, META, PAYLOAD, TOPIC, Holding, HoldingConfig, message_of, parts_of, without

# What is kept of an action, under a rising number: the message's parts; when it may go, None while it is under way;
# the nodes that have yet to tell.
PARTS, ROUTE, ATTEMPTS, FIRST_S, DUE_S, ASKED, ERROR = range(7)

LOG = "log"
_PACED = "paced:"  # state: route -> when its limit lets the next one go
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class ActionDead(Exception):
    """An action was not done, and is not tried again."""


class Actions(Holding):
    """Have done what agents ask for: by route, at a rate, again when it fails; and tell what became of each action.

    An action is a message whose `meta.do` names one or several routes; each route is an output, to be wired to the
    node that does it: mqtt-out, webhook-out, email-out, exec, or any other. `log` needs no wire, it writes a line into
    the log (`meta.level`). The nodes behind a route tell by themselves whether they have done it; failed actions are
    tried again after growing waits, and then are dead. Each route waits for itself: one whose far end is away holds up
    no other. What waits and what is under way survives a kill; an action may be done twice then, and never not at all.

    `audit` tells of each end of an action, and of each try that failed; wire it to a file or a database. `dead` has
    the actions that were not done: as they came, the reason in `meta.action`; wired back to `in` they begin anew.
    Without a wire there they are kept as given up: `flowcore errors`, `flowcore retry`.
    """

    type = "core/actions"
    title = "Actions"
    category = "agents"
    icon = "list-checks"
    follows = "followed"
    outputs_from = "routes"

    class Config(HoldingConfig, Policy):
        routes: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]] = field(
            ["mqtt", "webhook", "command", "mail"], description="Routes by which actions go; each is an output"
        )
        by_route: dict[str, RoutePolicy] = field({}, description="What is different for a route")
        followed: dict[str, list[str]] = field(
            {}, widget="hidden", description="Filled in at deploy: the nodes behind each route"
        )

        @model_validator(mode="after")
        def _fits(self) -> "Actions.Config":
            for name in self.routes:
                if name in ("audit", "dead") or self.routes.count(name) > 1:
                    raise ValueError(f"{name!r} is no name for a route: it is taken")
            for name in self.by_route:
                if name not in self.routes:
                    raise ValueError(f"by_route names {name!r}, which is none of the routes{_near(name, self.routes)}")
            return self

    in_ = In(description="actions: meta.do says by which routes")
    done = In(description="wired at deploy: what the nodes behind the routes have done")
    failed = In(description="wired at deploy: what failed there")
    audit = Out(dict, description="id, do, agent, outcome (done, failed, dead), attempts, why, took_s, payload ..")
    dead = Out(description="actions that were not done, as they came; meta.action: why, attempts")

    def on_start(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._routes_due = Due(self, self._when_due)
        self._expiries = Due(self, self._when_expired)
        self._failures = 0
        self._label = f"{self.flow}/{self.id}"
        super().on_start()

    def adopt(self) -> None:
        """Work out of the entries which wait, and until when."""
        config, now_s = self.config, self.now_s()
        names = dict.fromkeys([*config.routes, *(self.held[number][ROUTE] for number in self.numbers())])
        self._lanes = {
            name: Lane(policy_of(config, config.by_route.get(name)), self.held.get(_PACED + name, 0.0))
            for name in names
        }
        expiries: dict[str, float] = {}
        for number in self.numbers():
            entry = self.held[number]
            lane = self._lanes[entry[ROUTE]]
            expiries[number] = entry[FIRST_S] + lane.policy.expire_s
            if entry[DUE_S] is not None:
                lane.wait(number, entry[DUE_S])
            elif set(entry[ASKED]) & set(config.followed.get(entry[ROUTE], ())):
                lane.in_flight.add(number)
            else:  # those that had it are gone
                lane.wait(number, now_s)
        self._expiries.begin(expiries)
        self._routes_due.begin({name: now_s for name, lane in self._lanes.items() if self._next_s(lane) is not None})

    # -- what comes in

    async def on_message(self, message: Message):
        with self.changing():
            if message.port == "in":
                made = self._take(message)
            elif message.port == "done":
                made = self._done(message)
            else:
                made = self._failed(message)
            for one in made:
                yield one
            self._arm()

    def _take(self, message: Message) -> Iterator[Outputs]:
        names = self._routes_of(message)
        room = self.config.max_held - len(self._expiries)
        for name in names:
            entry: list[Any] = [parts_of(message), name, 0, self.now_s(), self.now_s(), [], ""]
            if name == LOG and LOG not in self.config.routes:
                yield self._log(entry)
            elif name not in self.config.followed:
                yield self._dead(entry, "nothing is wired to the route")
            elif room <= 0:
                yield self._dead(entry, f"{self.config.max_held} actions wait already")
            else:
                room -= 1
                number = self.put(entry)
                lane = self._lanes[name]
                lane.wait(number, entry[DUE_S])
                self._expiries.add(number, entry[FIRST_S] + lane.policy.expire_s)
                yield from self._send(name)

    def _routes_of(self, message: Message) -> list[str]:
        do = message.meta.get("do")
        names = [do] if isinstance(do, str) else do
        if not isinstance(names, (list, tuple)) or not names or not all(isinstance(one, str) for one in names):
            raise GiveUp(f"meta.do must name a route, or a list of them, got {do!r}")
        known = [*self.config.routes, LOG]
        for name in names:
            if name not in known:
                raise GiveUp(f"no route {name!r}{_near(name, known)} (there are: {', '.join(known)})")
        return list(dict.fromkeys(names))

    def _log(self, entry: list) -> Outputs:
        payload, meta = entry[PARTS][PAYLOAD], entry[PARTS][META]
        text = payload if isinstance(payload, str) else repr(payload)
        self.log.log(_LEVELS.get(str(meta.get("level", "info")), logging.INFO), "%s", text[:2000])
        entry[ATTEMPTS] = 1
        return Outputs(audit=self._audit(entry, "done"))

    # -- what goes out

    def _send(self, name: str) -> Iterator[Outputs]:
        """Those of a route that may go now."""
        lane = self._lanes[name]
        while (due_s := self._next_s(lane)) is not None and due_s <= self.now_s() + EARLY_S:
            number = lane.go(self.now_s())
            if lane.policy.messages is not None:
                self.held[_PACED + name] = lane.paced_s
            entry = list(self.held[number])
            if name not in self.config.followed:
                yield self._end(number, entry, "dead", "nothing is wired to the route")
                continue
            entry[ATTEMPTS] += 1
            entry[DUE_S], entry[ASKED] = None, list(self.config.followed[name])
            self.held[number] = entry
            mine = {"by": self._label, "number": number, "attempt": entry[ATTEMPTS]}
            yield Outputs({name: message_of(entry[PARTS], meta={**entry[PARTS][META], "action": mine})})
            if not entry[ASKED]:  # it leads to another flow, whose nodes tell nothing
                yield self._end(number, entry, "done")

    def _next_s(self, lane: Lane) -> float | None:
        return lane.next_s(lambda number: number in self.held)

    def _arm(self) -> None:
        """See to it that the next of each route goes when it may."""
        for name, lane in self._lanes.items():
            due_s = self._next_s(lane)
            if due_s is None:
                self._routes_due.discard(name)
            else:
                self._routes_due.add(name, due_s)
        self._routes_due.arm()
        self._expiries.arm()

    async def _when_due(self):
        with self.changing():
            for name in self._routes_due.take():
                for made in self._send(name):
                    yield made
            self._arm()

    async def _when_expired(self):
        with self.changing():
            freed: dict[str, None] = {}
            for number in self._expiries.take():
                entry = self.held[number]
                freed[entry[ROUTE]] = None
                lacks = f"no word from {' and '.join(entry[ASKED])}" if entry[DUE_S] is None else "it waited"
                why = f"not done after {self._lanes[entry[ROUTE]].policy.expire_s:g} s: {entry[ERROR] or lacks}"
                yield self._end(number, entry, "dead", why)
            for name in freed:
                for made in self._send(name):
                    yield made
            self._arm()

    # -- what became of it

    def _done(self, message: Message) -> Iterator[Outputs]:
        number = self._mine(message)
        if number is None:
            return
        entry = list(self.held[number])
        teller = message.id.partition(".")[0]
        entry[ASKED] = [one for one in entry[ASKED] if one != teller]
        if len(self.held[number][ASKED]) > 1 and entry[ASKED]:  # of one it is clear, whoever tells: a wire by hand
            self.held[number] = entry
            return
        yield self._end(number, entry, "done")
        yield from self._send(entry[ROUTE])

    def _failed(self, message: Message) -> Iterator[Outputs]:
        caught = message.payload if isinstance(message.payload, dict) else {"text": message.payload}
        what = f"{caught.get('node') or 'a node'}: {str(caught.get('text'))[:500]}"
        number = self._mine(message)
        if number is None:
            if _action_of(message).get("by") is None:  # nothing that we, or another dispatcher, had sent there
                raise GiveUp(f"failed, and no action of this node: {what}")
            return
        entry = list(self.held[number])
        entry[ERROR] = what
        lane = self._lanes[entry[ROUTE]]
        if caught.get("error") == "GiveUp" or entry[ATTEMPTS] > lane.policy.times:
            yield self._end(number, entry, "dead", what)
        else:
            entry[DUE_S], entry[ASKED] = self.now_s() + wait_s(lane.policy, entry[ATTEMPTS]), []
            self.held[number] = entry
            lane.in_flight.discard(number)
            lane.wait(number, entry[DUE_S])
            yield Outputs(audit=self._audit(entry, "failed", what))
        yield from self._send(entry[ROUTE])

    def _mine(self, message: Message) -> str | None:
        """The number of the action that a message tells of; None: it is not ours, or not under way any more."""
        action = _action_of(message)
        number = action.get("number")
        if action.get("by") != self._label or not isinstance(number, str) or number not in self.held:
            return None
        entry = self.held[number]
        return number if entry[DUE_S] is None and entry[ATTEMPTS] == action.get("attempt") else None

    def _end(self, number: str, entry: list, outcome: str, why: str = "") -> Outputs:
        """An action is over."""
        del self.held[number]
        self._expiries.discard(number)
        self._lanes[entry[ROUTE]].in_flight.discard(number)
        return self._dead(entry, why) if outcome == "dead" else Outputs(audit=self._audit(entry, outcome))

    def _dead(self, entry: list, why: str) -> Outputs:
        parts = entry[PARTS]
        meta = {**without(parts[META], "action"), "do": [entry[ROUTE]]}
        meta["action"] = {"why": why, "attempts": entry[ATTEMPTS], "at_s": self.now_s()}
        self._failures += 1
        self.set_status(f"{self._failures} not done; last: {entry[ROUTE]}: {why}"[:200], "warn")
        dead = message_of(parts, meta=meta)
        dead.port = "in"  # where `flowcore retry` puts it
        self.report(ActionDead(f"{entry[ROUTE]}: {why}"), None if "dead" in self.config.followed else dead)
        return Outputs(dead=dead, audit=self._audit(entry, "dead", why))

    def _audit(self, entry: list, outcome: str, why: str = "") -> Message:
        parts, now_s = entry[PARTS], self.now_s()
        told = {
            "id": f"{parts[ID]}/{entry[ROUTE]}",
            "do": entry[ROUTE],
            "agent": parts[META].get("agent"),
            "outcome": outcome,
            "attempts": entry[ATTEMPTS],
            "why": why,
            "asked_s": entry[FIRST_S],
            "at_s": now_s,
            "took_s": round(now_s - entry[FIRST_S], 6),
            "topic": parts[TOPIC],
            "payload": parts[PAYLOAD],
        }
        return message_of(parts, told, {})


def _action_of(message: Message) -> dict:
    """What we had noted in the meta of an action: the error of a message has it in its own meta, too."""
    action = message.meta.get("action")
    return action if isinstance(action, dict) else {}


def _near(name: str, names: list[str]) -> str:
    found = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
