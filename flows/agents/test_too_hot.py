"""An agent's test needs no flow and no bus: run it with `pytest flows/agents`."""

from flowcore_agents.too_hot import TooHot

from flowcore.node.testing import MemoryStore, drive


async def put(agent, *temperatures):
    for temp_c in temperatures:
        await agent.put({"machine": "mill-2", "temp_c": temp_c})


async def test_a_machine_is_cooled_until_it_is_cool():
    async with drive(TooHot, limit_c=50) as agent:
        await put(agent, 40, 60, 70, 40, 40)
        assert await agent.sent(port="action") == [{"on": True}, {"on": False}]
        first = agent.messages("action")[0]
        assert (first.topic, first.meta["do"]) == ("actuators/mill-2/cooling", ["mqtt", "log"])


async def test_help_is_called_once_also_when_the_agent_is_started_anew_meanwhile():
    store = MemoryStore()
    async with drive(TooHot, limit_c=50, patience=3, store=store) as agent:
        await put(agent, 60, 61)
    async with drive(TooHot, limit_c=50, patience=3, store=store) as agent:
        await put(agent, 62, 63)
        (call,) = agent.messages("action")
        assert call.meta["do"] == ["mail", "webhook"] and "62 °C" in call.payload


async def test_a_reading_without_a_temperature_is_an_error_of_its_own():
    async with drive(TooHot) as agent:
        await agent.put({"machine": "mill-2"})
        await put(agent, 90)
        assert [error["error"] for error in agent.errors] == ["KeyError"]
        assert len(agent.messages("action")) == 1
