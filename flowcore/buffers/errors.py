"""What can go wrong with a tensor."""


class BufferExpired(RuntimeError):
    """The bytes are gone: the slot was written again, its owner has ended, or the tensor was released."""


class NoRoom(Exception):
    """No slot is free now; nothing has changed. Wait until a consumer is done, or drop what was to be sent.

    Args:
        nbytes: how much was asked for.
        pools: the pools there are, for the message: slots, slot bytes, used and waiting of each.
        limit_bytes: how large they may be together.
    """

    def __init__(self, nbytes: int, pools: list[dict], limit_bytes: int) -> None:
        self.nbytes, self.pools, self.limit_bytes = nbytes, pools, limit_bytes
        held = "; ".join(
            f"{pool['slots']} slots of {pool['slot_bytes']:,} bytes, {pool['used']} in use here, "
            f"{pool['waiting']} held by readers"
            for pool in pools
        )
        super().__init__(
            f"no room for {nbytes:,} bytes in the {limit_bytes:,} that this node may share ({held or 'no pools'}); "
            "wait for consumers, or raise the node's setting pool_mb"
        )
