#!/usr/bin/env python3
"""The JSON of runs against docs/run.schema.json: run_schema.py FILE... ('-' is stdin).

A validator of the keywords that this schema uses; an unknown keyword is an error. Beyond the schema, every key of a run, cell, repetition,
model and agreement must be described there, and every metric of fields.def.
"""
import json
import re
import sys

ROOT = json.load(open("docs/run.schema.json", encoding="utf-8"))
KNOWN = {"$schema", "$ref", "title", "description", "type", "enum", "properties", "required", "items", "additionalProperties", "minimum",
         "definitions"}
TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "null": lambda v: v is None,
}
# Objects whose keys others choose.
OPEN = {"environment", "workload", "settings", "effective", "missing", "extra", "summary"}


def validate(value, schema, where, faults, is_open=False):
    unknown = set(schema) - KNOWN
    if unknown:
        faults.append(f"the schema at {where} has keywords that are not checked: {unknown}")
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return validate(value, ROOT["definitions"][name], where, faults, name == "environment")
    if "enum" in schema and value not in schema["enum"]:
        faults.append(f"{where}: {value!r} is none of {schema['enum']}")
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(TYPES[n](value) for n in names):
            faults.append(f"{where}: {str(value)[:60]!r} is no {' or '.join(names)}")
            return None
    if "minimum" in schema and TYPES["number"](value) and value < schema["minimum"]:
        faults.append(f"{where}: {value} is below {schema['minimum']}")
    if isinstance(value, list):
        for i, item in enumerate(value):
            validate(item, schema.get("items", {}), f"{where}[{i}]", faults)
    if isinstance(value, dict):
        for key in schema.get("required", []):
            if key not in value:
                faults.append(f"{where}: '{key}' is missing")
        for key, item in value.items():
            if key in schema.get("properties", {}):
                validate(item, schema["properties"][key], f"{where}.{key}", faults, key in OPEN)
            elif "additionalProperties" in schema:
                validate(item, schema["additionalProperties"], f"{where}.{key}", faults)
            elif "properties" in schema and not is_open:
                faults.append(f"{where}: '{key}' is not described")
    return None


def main():
    faults = []
    rep = ROOT["definitions"]["rep"]["properties"]
    fields = re.findall(r"^AN_FIELD\((\w+)", open("src/record/fields.def", encoding="utf-8").read(), re.M)
    faults += [f"docs/run.schema.json lacks the metric '{f}'" for f in fields if f not in rep]
    n = 0
    for path in sys.argv[1:]:
        doc = json.load(sys.stdin if path == "-" else open(path, encoding="utf-8"))
        for run in doc if isinstance(doc, list) else [doc]:
            validate(run, ROOT, path, faults)
            n += 1
    # It can fail: a wrong type, a missing key and an unknown one are found.
    for broken in ({"schema": "anemo.run/1"}, {**ROOT, "schema": 1}, []):
        found = []
        validate(broken, ROOT, "broken", found)
        if not found:
            faults.append(f"the validator accepts {str(broken)[:40]}")
    for fault in faults[:20]:
        print(fault, file=sys.stderr)
    print(f"{n} runs, {len(faults)} faults")
    return 1 if faults or n == 0 else 0


sys.exit(main())
