"""What can be wrong with a Modelfile, a parameter, the catalog, or a file that declares models.

    ModelfileError    text that is no Modelfile, or a value that no Modelfile can carry
    ParameterError    a parameter that does not exist, or a value outside its type or bounds (a ValueError)
    CatalogError      a catalog file that breaks the catalog's rules
    FileError         a lock file or project file that can't be used

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


class FileError(Exception):
    """A lock file or project file that cannot be used; `line` is 1-based, 0 where unknown, `field` may be empty."""

    def __init__(self, file: str, line: int, field: str, reason: str) -> None:
        super().__init__(file, line, field, reason)
        self.file = file
        self.line = line
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{place}: {self.field}: {self.reason}" if self.field else f"{place}: {self.reason}"
