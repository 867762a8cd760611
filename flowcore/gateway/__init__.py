"""The gateway: REST, WebSocket, metrics and the editor's files, in a process of its own beside the host.

It is a program like any other that asks the control services and listens to the public feed; the host does not wait for
it, and when it dies the host starts it again. So a thousand debug messages a second for a browser take no time from
supervision, and a fault in here stops no flow.

    browser ──HTTP, WebSocket── gateway ──flowcore.>, flow.>── bus ── host, nodes

`process` runs it (what `flowcore up` uses), `app` puts it together; `guard` says what is let in, `sessions` who.
"""
