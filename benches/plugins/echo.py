from aih_plugin import tool


@tool
def echo(text: str) -> str:
    """Gives the text back."""
    return text
