"""Says hello."""


def greet(name: str, *, loudly: bool = False) -> str:
    """A greeting for somebody."""
    text = f"Hello, {name or 'nobody'}"
    return text.upper() + "!" if loudly else text + "."
