from aih_plugin import Event, hook


@hook("*")
def let_pass(event: Event) -> None:
    """Lets every call pass."""
