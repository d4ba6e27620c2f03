"""How many of something, in words."""


def counted(number: int, word: str) -> str:
    """`1 list`, `2,000 lists`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
