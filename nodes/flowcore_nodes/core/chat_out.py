import json
from typing import Any, Literal

from pydantic import field_validator

from flowcore.node import GiveUp, In, Message, Out, field
from flowcore_nodes.core.http_client import HttpClient, PatienceConfig, check_url, refused
from flowcore_nodes.core.places import check_places, fill_places

_NOT_LET_IN = {401, 403, 404, 410}  # a token that is none, a webhook or bot that was removed
_LONGEST = {"slack": 40_000, "teams": 20_000, "telegram": 4096}  # characters that a service takes


class ChatOut(HttpClient):
    """Write each message into a chat: Slack, Microsoft Teams or Telegram.

    `text` has places for parts of the message: "{topic}: {payload.temp_c} °C". Slack and Teams take it at the address
    of an incoming webhook (of Teams, a workflow "when a webhook request is received"), Telegram by the token of a bot
    and the id of a chat. A message is done when the service has it; while it is away, or says that it is too much,
    messages wait in order. What it refuses is an error, also a token or webhook that it does not know any more: they
    don't come back, and the node's status says so until a message gets through.
    """

    type = "core/chat-out"
    title = "Chat out"
    icon = "message-square-text"

    class Config(PatienceConfig):
        service: Literal["slack", "teams", "telegram"] = field("slack", description="Which service")
        webhook: str = field("", secret=True, description="slack, teams: address of the webhook, which is a secret")
        bot_token: str = field("", secret=True, description="telegram: token of the bot")
        chat: str = field("", description="telegram: id of the chat, or @channel")
        text: str = field("{payload}", widget="textarea", description="What is written, with {places} for its parts")
        api: str = field("https://api.telegram.org", description="telegram: address of the bot API")

        @field_validator("text")
        @classmethod
        def _has_paths(cls, text: str) -> str:
            return check_places(text)

    in_ = In(description="has the parts that the text names")
    out = Out(description="the message, when the service has it")

    async def on_start(self) -> None:
        await super().on_start()
        self._is_shut_out = False
        config = self.config  # secrets are only here now
        if config.service == "telegram" and not (config.bot_token and config.chat):
            raise ValueError("telegram needs bot_token and chat")
        if config.service != "telegram" and not config.webhook:
            raise ValueError(f"{config.service} needs the address of its webhook")
        self._url = (
            f"{config.api}/bot{config.bot_token}/sendMessage" if config.service == "telegram" else config.webhook
        )
        try:
            check_url(self._url)
        except ValueError:
            raise ValueError("webhook or api is no URL of http or https") from None  # without the secret

    async def on_message(self, message: Message) -> Message:
        body = body_of(self.config.service, self._text(message), self.config.chat)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        async with self.ask(
            "POST", self._url, headers, where=self.config.service, data=data, allow_redirects=False
        ) as answer:
            if not 200 <= answer.status < 300:
                why = str(await refused(answer)).replace(self._url, self.config.service)
                if answer.status in _NOT_LET_IN:
                    self._is_shut_out = True
                    self.set_status(f"not let in: {why}", "error")
                raise GiveUp(why)
        if self._is_shut_out:
            self._is_shut_out = False
            self.set_status(f"connected: {self.config.service}")
        return message

    def _text(self, message: Message) -> str:
        text = fill_places(self.config.text, message)
        if not text.strip():
            raise GiveUp("there is no text: services refuse empty messages")
        most = _LONGEST[self.config.service]
        return text if len(text) <= most else text[: most - 1] + "…"


def body_of(service: str, text: str, chat: str) -> dict[str, Any]:
    """What a service takes for a text."""
    if service == "slack":
        return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
    if service == "telegram":
        return {"chat_id": chat, "text": text}
    block = {"type": "TextBlock", "text": text, "wrap": True}
    card = {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4"}
    content = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card | {"body": [block]}}
    return {"type": "message", "attachments": [content]}
