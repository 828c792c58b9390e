"""Text from anywhere, as it can be shown in a terminal."""


def printable(text: str) -> str:
    """The text with everything that a terminal would obey rather than show written out, such as `\\x1b`.

    Lines and tabs stay. Marks that turn the direction of writing are written out too.
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
