"""Judges TOML texts by a JSON Schema.

Reads {"schema": …, "texts": […]} from standard input, and writes for each text an error, or null where there is none.
"""

import datetime
import json
import sys
import tomllib

from jsonschema import Draft202012Validator


def plain(value):
    """What JSON can hold: dates become texts, as editors hand them over."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value


def main():
    asked = json.load(sys.stdin)
    Draft202012Validator.check_schema(asked["schema"])
    validator = Draft202012Validator(asked["schema"])
    verdicts = []
    for text in asked["texts"]:
        error = next(validator.iter_errors(plain(tomllib.loads(text))), None)
        verdicts.append(error and f"{error.json_path}: {error.message}")
    json.dump(verdicts, sys.stdout)


main()
