"""Secrets: sealed on disk, and clear about what is wrong."""

import json
import stat

import pytest

from flowcore.bus.secrets import KeyLost, SecretStore, Tampered, UnknownSecret


def test_a_secret_comes_back_and_is_not_on_disk(tmp_path):
    """Values are read again by another store; no file holds them; both files are the owner's alone."""
    SecretStore(tmp_path).set("plant.password", "tröpfchen")
    assert SecretStore(tmp_path).get("plant.password") == "tröpfchen"
    assert SecretStore(tmp_path).names() == ["plant.password"]
    files = [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert {path.name for path in files} == {"secrets.json", "secrets.key"}
    assert all("tröpfchen".encode() not in path.read_bytes() for path in files)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


def test_values_cannot_be_swapped(tmp_path):
    """A value moved to another name, or changed in one byte, is not opened."""
    store = SecretStore(tmp_path)
    store.set("a", "1")
    store.set("b", "2")
    path = tmp_path / "secrets.json"
    stored = json.loads(path.read_text())
    stored["secrets"]["a"], stored["secrets"]["b"] = stored["secrets"]["b"], stored["secrets"]["a"]
    path.write_text(json.dumps(stored))
    with pytest.raises(Tampered, match="'a' cannot be opened"):
        store.get("a")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"secrets": {"a": 5}}', '{"secrets": {"a": '])
def test_a_damaged_file_is_said_to_be_damaged(tmp_path, text):
    (tmp_path / "secrets.json").write_text(text)
    with pytest.raises(Tampered, match=r"secrets\.json is damaged"):
        SecretStore(tmp_path).names()


def test_a_lost_key_is_not_replaced(tmp_path):
    """Neither get nor set makes a new key beside secrets that the old one sealed; remove still works."""
    store = SecretStore(tmp_path)
    store.set("a", "1")
    (tmp_path / "secrets.key").unlink()
    for use in (lambda: store.get("a"), lambda: store.set("b", "2")):
        with pytest.raises(KeyLost, match="missing"):
            use()
    assert not (tmp_path / "secrets.key").exists()
    store.remove("a")
    store.set("b", "2")
    assert store.get("b") == "2"


def test_another_folders_key_is_noticed_before_anything_is_added(tmp_path):
    for folder in ("one", "two"):
        SecretStore(tmp_path / folder).set("a", folder)
    (tmp_path / "two" / "secrets.key").replace(tmp_path / "one" / "secrets.key")
    with pytest.raises(KeyLost, match="opens none"):
        SecretStore(tmp_path / "one").set("b", "2")


def test_what_is_not_there(tmp_path):
    store = SecretStore(tmp_path)
    with pytest.raises(UnknownSecret, match="flowcore secret set x"):
        store.get("x")
    with pytest.raises(UnknownSecret):
        store.remove("x")
    with pytest.raises(ValueError, match="begin with a letter"):
        store.set("no blanks", "")
