"""The Modelfile language, the table of parameters, and the catalog of models people run.

The ground floor: standard library and YAML only. Knows no network, no store and no runner.
"""
