"""http in, http response, http request."""

from __future__ import annotations

import json
import re
from typing import Any

from flowcore.convert.nodered import typed
from flowcore.convert.nodered.findings import CannotTurn
from flowcore.convert.nodered.node import Given, Turned

_PORT = 1890
_METHODS = ("get", "post", "put", "patch", "delete")
# What functions and templates behind an http in read there.
_REQUEST = [
    {"action": "set", "path": f"meta.req.{theirs}", "value": {"$message": ours}}
    for theirs, ours in (
        ("params", "meta.http.params"), ("query", "meta.http.query"), ("headers", "meta.http.headers"),
        ("method", "meta.http.method"), ("path", "meta.http.path"), ("url", "meta.http.path"),
        ("ip", "meta.http.remote"), ("body", "payload"),
    )
]  # fmt: skip
# What the headers of another server's answer say of its body, which is not what is sent.
_OF_THE_BODY = ("content-length", "content-encoding", "transfer-encoding", "connection")


def http_in(given: Given) -> Turned:
    """`http in`: the request is put where nodes behind it look for it, `msg.req`."""
    method = given.text("method", "get")
    if method not in _METHODS:
        raise CannotTurn(f"the method {method!r}")
    path = _route(given.text("url"))
    given.differs(
        f"it listens at http://127.0.0.1:{_PORT}{path}, not at Node-RED's own address",
        "set port and address; for other machines a key, too",
    )
    if typed.truth(given["upload"]):
        given.differs("uploaded files are in the payload, by the names of their fields, not in msg.req.files")
    given.skip("swaggerDoc", "skipBodyParsing")
    config = {"path": path, "method": method.upper(), "port": _PORT, "answer": "response"}
    return Turned("core/http-in", config, then=[("request", "core/change", {"rules": _REQUEST})])


def _route(url: str) -> str:
    path = url if url.startswith("/") else f"/{url}"
    path = re.sub(r"/\*$", "/{rest...}", path)
    path = re.sub(r":(\w+)(?=/|$|\.|-)", r"{\1}", path)
    if re.search(r"[():?*+\\]", path) or "${" in path:
        raise CannotTurn(f"the path {url!r} is a pattern", "a core/http-in node for each of its forms")
    return path


def http_response(given: Given) -> Turned:
    """`http response`: a text is a page, as Express sends it, and the status comes from msg.statusCode."""
    headers = given.get("headers", {})
    if not isinstance(headers, dict):
        raise CannotTurn("its headers are no map")
    config: dict[str, Any] = {"headers": typed.literal({str(k): str(v) for k, v in headers.items()})} if headers else {}
    if code := given.text("statusCode"):
        config["status"] = typed.value(code, "num")
    script = ["const headers = {...(msg.headers || {})};"]
    script.append(
        f"for (const name of Object.keys(headers)) if ({json.dumps(_OF_THE_BODY)}.includes(name.toLowerCase())) "
        "delete headers[name];"
    )
    if not any(name.lower() == "content-type" for name in headers):
        script.append(
            "const named = Object.keys(headers).some(name => name.toLowerCase() === 'content-type');\n"
            "if (typeof msg.payload === 'string' && !named) headers['Content-Type'] = 'text/html; charset=utf-8';"
        )
    script.append("msg.headers = headers;")
    if not code:
        script.append("msg.status = msg.statusCode ? Number(msg.statusCode) : undefined;")
    script.append("return msg;")
    return Turned(
        "core/http-response", config, [], before=[("answer", "core/javascript", {"script": "\n".join(script)})]
    )


_BODY = {"ignore": "auto", "query": "query", "body": "auto", "": "auto", "false": "auto", "true": "query"}
_ANSWER = {"txt": "text", "bin": "bytes", "obj": "json"}


def http_request(given: Given) -> Turned:
    """`http request`: what was answered is also put into msg.statusCode and msg.headers."""
    url = given.text("url")
    if "{{" in url:
        raise CannotTurn(f"the address {url!r} is a template", "a core/template in front that sets meta.url")
    config: dict[str, Any] = {"fail": False, "while_away": "fail"}
    if url:
        config["url"] = typed.text(url if "://" in url or url.startswith("${") else f"http://{url}")
    method = given.text("method", "GET")
    if method != "GET":
        config["method"] = {"$message": "meta.method"} if method == "use" else method
    body = _BODY.get(str(given.get("paytoqs", "ignore")).lower(), "auto")
    if body != "auto":
        config["body"] = body
    if (answer := _ANSWER.get(given.text("ret", "txt"), "text")) != "auto":
        config["answer_format"] = answer
    config |= _who(given) | _trust(given)
    config["headers"] = {"$message": "meta.headers"}
    given.lacks("proxy", "a proxy", "set it for the machine: https_proxy")
    given.skip("persist", "insecureHTTPParser", "senderr")
    rules = [
        {"action": "set", "path": "meta.statusCode", "value": {"$message": "meta.response.status"}},
        {"action": "set", "path": "meta.headers", "value": {"$message": "meta.response.headers"}},
        {"action": "set", "path": "meta.responseUrl", "value": {"$message": "meta.response.url"}},
    ]
    return Turned(
        "core/http-request",
        config,
        before=[("headers", "core/javascript", {"script": _headers(given)})],
        then=[("answer", "core/change", {"rules": rules})],
    )


def _who(given: Given) -> dict[str, Any]:
    kind = given.text("authType")
    if not kind and "user" not in (given.raw.get("credentials") or {}):
        return {}
    if kind == "digest":
        raise CannotTurn("digest authentication", "basic authentication or a token, where the server takes them")
    what = "token" if kind == "bearer" else "password"
    given.differs(f"the {what} is not in an export", f'`flowcore secret set NAME`, then {what}: {{"$secret": NAME}}')
    user = (given.raw.get("credentials") or {}).get("user")
    return {"user": typed.text(str(user))} if user and what == "password" else {}


def _trust(given: Given) -> dict[str, Any]:
    raw = given.around.config_node(given["tls"]) if given["tls"] else None
    if raw is None:
        return {}
    if raw.get("cert") or raw.get("certname"):
        given.differs("it showed a certificate of its own, which ours can't", "a proxy that does")
    if raw.get("verifyservercert") is False:
        return {"tls_insecure": True}
    return {"tls_ca": typed.text(str(raw["ca"]))} if raw.get("ca") else {}


def _headers(given: Given) -> str:
    """The script that puts the headers of a request together: those of the node go before msg.headers.

    What the answer of a request before has left in msg.headers is not sent, as in Node-RED.
    """
    lines = [
        "const before = JSON.stringify((msg.response || {}).headers || {});",
        "const headers = JSON.stringify(msg.headers || {}) === before ? {} : {...msg.headers};",
    ]
    listed = given.get("headers", [])
    for one in listed if isinstance(listed, list) else []:
        key, kind = str(one.get("keyType") or "other"), str(one.get("valueType") or "other")
        said, value = str(one.get("keyValue") or ""), str(one.get("valueValue") or "")
        if "${" in said + value or {key, kind} & {"flow", "global", "jsonata", "env"}:
            what = f"the header {said or key!r} comes from a context, an expression or the environment"
            given.around.tell("setting", given, what, "set it in a core/javascript in front")
            continue
        name = _property(said) if key == "msg" else json.dumps(said if key == "other" else key)
        text = _property(value) if kind == "msg" else json.dumps(value if kind == "other" else kind)
        lines.append(f"headers[{name}] = {text};")
    return "\n".join([*lines, "msg.headers = headers;", "return msg;"])


def _property(path: str) -> str:
    typed.path(path)  # one that is looked up in the message is told
    return f"RED.util.getMessageProperty(msg, {json.dumps(path)})"
