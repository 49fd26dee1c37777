from aih_plugin import tool


@tool
def echo(message: str) -> str:
    """Answers what it is given."""
    return message
