"""What a config may hold in place of values: env, resources, secrets, references for each message."""

import pytest

from flowcore.flow.references import settle


def threshold(**config):
    return {"hot": {"type": "core/threshold", "config": {"above": 1, **config}}}


def mqtt(**config):
    return {"in": {"type": "iot/mqtt-in", "config": {"host": "localhost", "topic": "t", **config}}}


def test_env_alone_keeps_its_type_and_inside_text_is_text(resolved):
    """A number stays a number; in a text it is written out, true as JSON has it."""
    env = {"LIMIT": 80, "SITE": "north", "ON": True}
    config = resolved(threshold(above="${LIMIT}", field="${SITE}-${LIMIT}-${ON}"), env=env).nodes["hot"].config
    assert config == {"above": 80, "field": "north-80-true"}


def test_env_may_use_env(resolved):
    """A value of the document may be made of others and of the host's, in any order."""
    env = {"TOPIC": "${SITE}/temp", "SITE": "north", "HOST": "${WORD}"}
    config = resolved(mqtt(topic="${TOPIC}", host="${HOST}"), env=env).nodes["in"].config
    assert (config["topic"], config["host"]) == ("north/temp", "many")


def test_env_of_the_same_name_means_the_host(resolved):
    """`"PORT": "${PORT}"` takes the host's; the host's text is read as the number that the field takes."""
    assert resolved(mqtt(port="${PORT}"), env={"PORT": "${PORT}"}).nodes["in"].config["port"] == 1884


def test_env_that_needs_itself_is_said(messages):
    """A ring of names ends in a message."""
    said = messages(threshold(field="${A}"), env={"A": "${B}", "B": "${A}"})
    assert said == ["/nodes/0/config/field: ${A} is made of itself"]


def test_env_that_grows_without_end_is_stopped(messages):
    """Twenty-five values that double each other do not fill the memory."""
    env = {"A0": "x" * 1000, **{f"A{n}": f"${{A{n - 1}}}${{A{n - 1}}}" for n in range(1, 26)}}
    assert "is longer than 1,000,000 characters" in messages(threshold(field="${A25}"), env=env)[0]


def test_two_dollars_are_the_text_itself(resolved):
    """A text may hold `${X}` without meaning env."""
    assert resolved(threshold(field="$${LIMIT} $5 ${ }")).nodes["hot"].config["field"] == "${LIMIT} $5 ${ }"


def test_code_keeps_its_dollars(resolved):
    """A program's own `${..}` is left alone; its other fields are filled in."""
    code = 'return f"costs ${price}"'
    node = {"f": {"type": "core/function", "config": {"script": code, "note": "${SITE}"}}}
    assert resolved(node, env={"SITE": "north"}).nodes["f"].config == {"script": code, "note": "north"}


def test_a_resource_is_merged_and_the_node_has_the_last_word(resolved):
    """`$use` brings the resource's fields; what stands beside it wins."""
    plant = {"plant": {"type": "iot/mqtt-broker", "config": {"host": "${SITE}.example", "port": 8883}}}
    node = {"in": {"type": "iot/mqtt-in", "config": {"$use": "plant", "topic": "t", "port": 1885}}}
    config = resolved(node, env={"SITE": "north"}, resources=plant).nodes["in"].config
    assert config == {"host": "north.example", "port": 1885, "topic": "t"}


def test_a_resource_is_filled_from_the_document(resolved):
    """A subflow's parameter of the same name does not reach into a resource that everyone shares."""
    inner = {"id": "in", "type": "iot/mqtt-in", "config": {"$use": "plant", "topic": "${SITE}"}}
    flow = resolved(
        {"one": {"type": "subflow:s", "config": {"SITE": "inner"}}},
        env={"SITE": "outer"},
        resources={"plant": {"config": {"host": "${SITE}"}}},
        subflows={"s": {"params": {"SITE": {}}, "nodes": [inner]}},
    )
    assert flow.nodes["one:in"].config == {"host": "outer", "topic": "inner"}


def test_a_resource_may_use_another_but_not_itself(resolved, messages):
    """Resources build on each other; a ring of them ends in a message."""
    node = {"in": {"type": "iot/mqtt-in", "config": {"$use": "a", "topic": "t"}}}
    chain = {"a": {"config": {"$use": "b", "port": 1}}, "b": {"config": {"host": "h"}}}
    assert resolved(node, resources=chain).nodes["in"].config == {"host": "h", "port": 1, "topic": "t"}
    ring = {"a": {"config": {"$use": "b"}}, "b": {"config": {"$use": "a"}}}
    assert "/resources/b/config/$use: resource 'a' uses itself" in messages(node, resources=ring)


def test_a_resource_that_lacks_a_field_is_the_users_fault(messages):
    """What resource and node lack together is missing in the node."""
    node = {"in": {"type": "iot/mqtt-in", "config": {"$use": "plant", "topic": "t"}}}
    resources = {"plant": {"type": "iot/mqtt-broker", "config": {"port": 1}}}
    assert messages(node, resources=resources) == [
        "/nodes/0/config: the field 'host' is missing (name or address of the broker)"
    ]


def test_secrets_and_message_references_stay(resolved):
    """They are looked up when the node starts, or for each message."""
    config = resolved(mqtt(password={"$secret": "plant_password"})).nodes["in"].config
    assert config["password"] == {"$secret": "plant_password"}
    config = resolved(threshold(above={"$message": "payload.t"})).nodes["hot"].config
    assert config["above"] == {"$message": "payload.t"}


def test_a_secret_may_come_through_the_env(resolved):
    """A document's env may name a secret for many nodes."""
    config = resolved(mqtt(password="${PW}"), env={"PW": {"$secret": "plant_password"}}).nodes["in"].config
    assert config["password"] == {"$secret": "plant_password"}


def test_a_password_of_the_hosts_environment_is_never_in_the_resolved_flow(resolved):
    """Both ways to write it leave a reference."""
    for password in ("${BROKER_PASSWORD}", {"$env": "BROKER_PASSWORD"}):
        flow = resolved(mqtt(password=password))
        assert flow.nodes["in"].config["password"] == {"$env": "BROKER_PASSWORD"}
        assert "hunter2" not in str(flow.asdict())


def test_a_password_in_the_documents_env_is_refused(messages):
    """A detour over env does not make it less of a literal; the message names the detour."""
    assert messages(mqtt(password="${PW}"), env={"PW": "hunter2"}) == [
        "/nodes/0/config/password: holds a secret in plain text: run `flowcore secret set NAME` and write "
        '{"$secret": "NAME"} here (from /env/PW)'
    ]


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_password_is_no_secret(resolved, nothing):
    """An empty secret field holds no secret."""
    resolved(mqtt(password=nothing))


def test_a_secret_that_is_not_known_here_passes(messages):
    """Without a secret store to ask, as in a linter, any name will do."""
    assert messages(mqtt(password={"$secret": "whatever"}), secrets=None) == []


def test_a_reference_that_is_nearly_one_is_warned_of(messages):
    """`$mesage` in a field that takes anything would silently be a map."""
    said = messages({"i": {"type": "core/inject", "config": {"payload": {"$mesage": "x"}}}})
    assert said == [
        "/nodes/0/config/payload: '$mesage' is no reference; did you mean '$message'? "
        "(references: $message, $flow, $global, $env, $secret, $use)"
    ]


def test_a_map_with_dollars_is_a_map(resolved):
    """A payload for a document database is nobody's reference."""
    payload = {"$set": {"a": 1}, "$inc": {"b": 2}}
    config = resolved({"i": {"type": "core/inject", "config": {"payload": payload}}}).nodes["i"].config
    assert config["payload"] == payload


def test_a_dynamic_field_inside_a_list(resolved, messages):
    """A reference may stand in a dynamic field of an entry, and only there."""
    rules = [{"op": "above", "value": {"$flow": "limit"}}]
    resolved({"s": {"type": "core/switch", "config": {"rules": rules}}})
    rules = [{"op": "matches", "pattern": {"$flow": "limit"}}]
    said = messages({"s": {"type": "core/switch", "config": {"rules": rules}}})
    assert said == ["/nodes/0/config/rules/0/pattern: $flow needs a dynamic field, which 'pattern' is not"]


def test_a_reference_deep_in_a_map_of_anything(messages):
    """For each message only whole fields are looked up; a secret is filled in wherever it stands."""
    payload = {"a": {"$message": "payload"}, "b": [{"$secret": "cloud_tokn"}]}
    assert messages({"i": {"type": "core/inject", "config": {"payload": payload}}}) == [
        "/nodes/0/config/payload/a: $message is looked up only as the value of a dynamic field: here it stays a map",
        "/nodes/0/config/payload/b/0: no secret is named 'cloud_tokn'; did you mean 'cloud_token'? "
        "(secrets: cloud_token, plant_password); `flowcore secret set cloud_tokn` adds it",
    ]


def test_a_disabled_node_may_be_as_it_likes(resolved):
    """Its library may be missing and its config wrong: that is why it is off."""
    nodes = {
        "ask": {"type": "ai/ask", "disabled": True},
        "odd": {"type": "no/such", "disabled": True},
        "hot": {"type": "core/threshold", "config": {"above": "${NOWHERE}"}, "disabled": True},
    }
    flow = resolved(nodes, ["ask.out > hot.value", "odd.x > hot.value"])
    assert flow.nodes == {} and flow.wires == () and flow.notes == ["disabled: ask, odd, hot"]


def test_settle_fills_in_what_is_left():
    """Secrets and the host's environment, wherever they stand; what is for each message stays."""
    config = {"a": [{"$secret": "s"}], "b": {"c": {"$env": "E"}}, "d": {"$message": "payload"}, "e": 1}
    settled = settle(config, {"E": "outside"}, {"s": "hunter2"}.__getitem__)
    assert settled == {"a": ["hunter2"], "b": {"c": "outside"}, "d": {"$message": "payload"}, "e": 1}
    with pytest.raises(KeyError):
        settle({"$secret": "none"}, {}, {}.__getitem__)
