"""Tool calls in what a model writes: a scanner for each shape in which model families write them."""
