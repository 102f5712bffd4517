"""Runner's own endpoints, beyond the dialects: one module for each thing that they are about."""
