"""`flowcore password`: what lets people on other machines into the editor."""

from flowcore.cli.options import DATA, Data, Json


def password(data: Data = DATA, json: Json = False) -> None:
    """Set the editor's password, from a prompt or standard input; whoever is logged in must do so again."""
    import sys

    from flowcore.cli import out
    from flowcore.gateway.sessions import BadPassword, Sessions

    if sys.stdin.isatty():
        import getpass

        given = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != given:
            raise out.Misused("the two are not the same", "Try again.")
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    try:
        Sessions(data).set_password(given)
    except BadPassword as e:
        raise out.Misused(str(e), "Take a longer one.") from None
    out.result("the password is set; it is asked for on other machines", json, set=True)
