"""Control services for the users of the bus outside: who they are, and having the host read their store again.

Adding one is not among them: its password would go over the bus. `flowcore access add` writes the store in the data
folder, then asks for `access.apply`.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from flowcore.runtime.control.errors import ControlError
from flowcore.runtime.control.operation import Answer, Nothing, Request, operation

if TYPE_CHECKING:
    from flowcore.runtime.host import Host


class User(Answer):
    """A user, without its password."""

    name: str
    mqtt: bool = Field(description="A device, which comes by MQTT")
    subscribe: list[str]
    publish: list[str]
    host: bool = Field(False, description="A member host, which may do everything")


class Users(Answer):
    """The users that there are."""

    users: list[User]


@operation("access.list")
async def access_list(host: "Host", ask: Nothing) -> Users:
    """List the users for programs and devices outside, and what they may do."""
    return _users(host)


@operation("access.apply")
async def access_apply(host: "Host", ask: Nothing) -> Users:
    """Read the users' store again and put it in force: new ones may come in, removed ones are cut off."""
    await host.apply_access()
    return _users(host)


class UserName(Request):
    """One user."""

    name: str


@operation("access.remove")
async def access_remove(host: "Host", ask: UserName) -> Users:
    """Take a user away and cut it off."""
    if ask.name not in {user.name for user in host.access.list()}:
        raise ControlError("unknown", f"no user {ask.name!r}", where=ask.name, do="List them: flowcore access list")
    host.access.remove(ask.name)
    await host.apply_access()
    return _users(host)


def _users(host: "Host") -> Users:
    return Users(
        users=[
            User(
                name=user.name,
                mqtt=user.mqtt,
                subscribe=list(user.subscribe),
                publish=list(user.publish),
                host=user.host,
            )
            for user in host.access.list()
        ]
    )
