"""The settings of a broker: what is refused, and how topics are matched."""

import pytest
from flowcore_nodes.iot.broker import BadBroker, BadTopic, Broker, Tls, address_of, check_filter, check_topic, fits


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://plant", "mqtt://host:port"),
        ("plant:1883", "mqtt://host:port"),
        ("mqtt://plant:99999", "port must be a number"),
        ("mqtt://me:secret@plant", "no user and password"),
    ],
)
def test_a_url_of_another_kind_is_refused(url, why):
    """The error says what a URL must look like."""
    with pytest.raises(BadBroker, match=why):
        address_of(Broker(url=url))


def test_ports_are_those_of_mqtt():
    """1883 in the clear, 8883 with TLS, unless the URL says otherwise."""
    assert str(address_of(Broker(url="mqtt://plant"))) == "mqtt://plant:1883"
    assert str(address_of(Broker(url="mqtts://plant"))) == "mqtts://plant:8883"
    assert address_of(Broker(url="mqtt://plant:18830")).port == 18830


def test_tls_checks_the_broker_unless_told_otherwise():
    """Only `insecure` turns the checks off."""
    safe = address_of(Broker(url="mqtts://plant")).tls
    assert safe.check_hostname and safe.verify_mode.name == "CERT_REQUIRED"
    trial = address_of(Broker(url="mqtts://plant", tls=Tls(insecure=True))).tls
    assert not trial.check_hostname and trial.verify_mode.name == "CERT_NONE"


def test_a_missing_certificate_file_is_named(tmp_path):
    """An error about a file names the file."""
    missing = str(tmp_path / "ca.pem")
    with pytest.raises(BadBroker, match=r"ca\.pem"):
        address_of(Broker(url="mqtts://plant", tls=Tls(ca=missing)))
    with pytest.raises(BadBroker, match=r"ca\.pem"):
        address_of(Broker(url="mqtts://plant", tls=Tls(certificate=missing)))


@pytest.mark.parametrize("text", ["", "a/#/b", "a/b#", "a+/b", "x\0"])
def test_wrong_filters_are_refused(text):
    """Wildcards are whole levels, `#` the last one."""
    with pytest.raises(BadTopic):
        check_filter(text)


@pytest.mark.parametrize("text", ["", "a/+", "a/#", 5])
def test_wrong_topics_are_refused(text):
    """One publishes to a topic, not to a filter."""
    with pytest.raises(BadTopic):
        check_topic(text)


@pytest.mark.parametrize(
    ("topic", "pattern", "is_match"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/+", True),
        ("a", "a/#", True),
        ("a/b/c", "a/#", True),
        ("a/b/c", "a/+", False),
        ("a", "a/+", False),
        ("a/", "a/+", True),
        ("$SYS/x", "#", False),
        ("$SYS/x", "+/x", False),
        ("$SYS/x", "$SYS/#", True),
        ("a/b", "$share/us/a/+", True),
    ],
)
def test_filters_match_as_mqtt_says(topic, pattern, is_match):
    """The cases of the specification, 4.7."""
    assert fits(topic, [pattern]) is is_match
