"""What is raised when a text has not the form its key asks for; decode.py tells it with file and line."""


class WrongForm(ValueError):
    """A text has not the form its key asks for."""

    def __init__(self, code: str, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.mend = mend
