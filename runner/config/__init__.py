"""Settings: the table, how they are read, and how a change of them is told. The door; what is inside has modules."""

from runner.config.change import Change, changed
from runner.config.models import ModelSettings
from runner.config.reading import ConfigError, config_file, folders, load, load_usable, outweighed
from runner.config.table import BY_NAME, SETTINGS, Applies, Folders, Setting, Settings
from runner.config.values import (
    PORT,
    Address,
    Places,
    SandboxMode,
    parse_address,
    parse_duration,
    parse_places,
    parse_size,
    written_size,
)

__all__ = [
    "BY_NAME",
    "PORT",
    "SETTINGS",
    "Address",
    "Applies",
    "Change",
    "ConfigError",
    "Folders",
    "ModelSettings",
    "Places",
    "SandboxMode",
    "Setting",
    "Settings",
    "changed",
    "config_file",
    "folders",
    "load",
    "load_usable",
    "outweighed",
    "parse_address",
    "parse_duration",
    "parse_places",
    "parse_size",
    "written_size",
]
