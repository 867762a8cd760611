"""An agent of your own is a file in this folder. Save it, and the nodes that use it go on with the new one."""

from flowcore.node import Agent, NodeConfig, field


class TooHot(Agent):
    """Cool a machine that is too hot, and call for help when that does not do.

    One file, one class: its name makes the type, agent/too-hot.
    """

    class Config(NodeConfig):
        limit_c: float = field(80.0, description="Above this a machine is cooled, in °C")
        patience: int = field(5, gt=0, description="Readings above the limit before help is called")

    def on_message(self, message):
        machine, temp_c = message.payload["machine"], message.payload["temp_c"]
        hot_for = self.state.get(machine, 0)  # readings above the limit, so far
        if temp_c <= self.config.limit_c:
            if hot_for:
                self.state.pop(machine)
                yield self.act(message, ["mqtt", "log"], {"on": False}, topic=f"actuators/{machine}/cooling")
            return
        self.state[machine] = hot_for + 1
        if hot_for == 0:
            yield self.act(message, ["mqtt", "log"], {"on": True}, topic=f"actuators/{machine}/cooling")
        if hot_for + 1 == self.config.patience:
            text = f"{machine} is still at {temp_c:g} °C, although it is cooled."
            yield self.act(message, ["mail", "webhook"], text, topic=f"{machine} does not cool down")
