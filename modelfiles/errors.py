"""What can be wrong with a Modelfile, a parameter or the catalog.

    ModelfileError    text that is no Modelfile, or a value that no Modelfile can carry
    ParameterError    a parameter that does not exist, or a value outside its type or bounds (a ValueError)
    CatalogError      a catalog file that breaks the catalog's rules

Knows nothing of how an error is shown: the API and the CLI word it for their users.
"""


class ModelfileError(Exception):
    """A fault in a Modelfile; `line` and `column` are 1-based and count characters.

    Both are 0 when the fault is in a value rather than at a place in a text.
    """

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message, line, column)
        self.message = message
        self.line = line
        self.column = column

    def __str__(self) -> str:
        if not self.line:
            return self.message
        return f"line {self.line}, column {self.column}: {self.message}"


class ParameterError(ValueError):
    """A parameter that is unknown, of the wrong type or out of range; `name` is the offending field."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class CatalogError(Exception):
    """A catalog file that cannot be used; `file` and `field` say where, `reason` what."""

    def __init__(self, file: str, field: str, reason: str) -> None:
        super().__init__(file, field, reason)
        self.file = file
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.reason}"
