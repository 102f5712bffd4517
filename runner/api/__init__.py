"""HTTP: the dialects that clients speak, over one meaning of a request. Knows no scheduler and no engine."""
