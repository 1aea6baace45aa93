"""YAML as its writer means it: `1e-4` is a number, as in JSON, TOML and YAML 1.2, and no key occurs twice.

Nor is a key `yes`, `no`, `on` or `off` a boolean: it is a label, as in YAML 1.2.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_BOOLEAN = "tag:yaml.org,2002:bool"
_EXPONENT = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+")


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == _BOOLEAN and str(key.value).lower() not in ("true", "false"):
                key.tag = "tag:yaml.org,2002:str"
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} occurs twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    pass


# PyYAML follows YAML 1.1, where a number with an exponent needs a point. The dumper quotes texts that look like one.
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("+-0123456789"))


def read(text: str) -> Any:
    """The value of a YAML document. Raises `yaml.YAMLError` when it is none."""
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except ValueError as error:  # a day that no month has
        raise yaml.YAMLError(f"it holds what is no date or number: {error}") from error


def write(value: Any) -> str:
    """A value as YAML that `read` gives back, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
