#!/bin/bash
# anemo report as a whole program: runs from files and from the database, all forms, exit codes, and the schema of its JSON.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/cli/common.sh
. tests/cli/common.sh
scene=$ANEMO_BUILD/tests/unit/report/report_scene
export ANEMO_DB=$work/results.db ANEMO_ENGINES=$work/none COLUMNS=100 LC_ALL=C.UTF-8

# expect CODE TEXT ARGS…: the exit code, and TEXT on stdout or stderr.
expect() {
    exits "$1" report "${@:3}"
    [ -z "$2" ] || said "report ${*:3}" "$2"
}

for kind in compare aa bench hostile empty; do
    "$scene" "$kind" >"$work/$kind.json" || fail "report_scene $kind"
done
id=20261125-174501-3f9a

expect 4 "no such file" "$work/none.json"
expect 4 "results.db" last
expect 2 "exclude each other" --html --md "$work/compare.json"
expect 2 "'pdf' is none of" --format pdf "$work/compare.json"
expect 2 "unknown option" --no-such-option
echo '{"schema":"anemo.run/1","cells":3}' >"$work/bad.json"
expect 3 "bad.json" "$work/bad.json"
expect 4 "$work/no/folder" "$work/compare.json" -o "$work/no/folder/x.html"

expect 0 "llama.cpp is 9.6 % slower than native" "$work/compare.json"
expect 0 "━" "$work/compare.json"
LC_ALL=C expect 0 "[---" "$work/compare.json"
expect 0 "Context switches, voluntary" "$work/compare.json" --all
expect 0 "| Verdict | reference | slower (9.6 % slower)" "$work/compare.json" --md
expect 0 "run,cell,engine" "$work/compare.json" --csv
expect 0 "<!DOCTYPE html>" "$work/compare.json" --html
expect 0 "Nothing could be measured." "$work/empty.json"

# The end of the file's name decides.
for ending in html md csv json; do
    expect 0 "" "$work/compare.json" -o "$work/x.$ending"
    [ -s "$work/x.$ending" ] || fail "x.$ending was not written"
done
head -c 15 "$work/x.html" | grep -qF '<!DOCTYPE html>' || fail "x.html is no page"
head -n 1 "$work/x.csv" | grep -q '^run,cell,' || fail "x.csv has no header"
python3 tests/cli/run_schema.py "$work/x.json" "$work"/{compare,aa,bench,hostile,empty}.json >"$work/out" 2>"$work/err" ||
    fail "the JSON of report does not fit docs/run.schema.json"

# From the database: by id, by its beginning, by tag and as the last one; the page is the same as from the file.
"$anemo" results import "$work/compare.json" >"$work/out" 2>"$work/err" || fail "results import"
"$anemo" results tag "$id" nightly >"$work/out" 2>"$work/err" || fail "results tag"
for name in "$id" 20261125-1745 last nightly; do
    expect 0 "llama.cpp is 9.6 % slower" "$name" --md
done
expect 0 "llama.cpp is 9.6 % slower" --md
expect 4 "yesterday" yesterday
"$anemo" report last --csv >"$work/a.csv" && "$anemo" report "$work/compare.json" --csv >"$work/b.csv"
cmp "$work/a.csv" "$work/b.csv" || fail "the database gives other figures than the file"

# A capsule is a run too.
"$anemo" results pack last -q -o "$work/run.capsule.json" >"$work/out" 2>"$work/err" || fail "results pack"
expect 0 "llama.cpp is 9.6 % slower" "$work/run.capsule.json" --md
head -c 300 "$work/run.capsule.json" >"$work/cut.json"
expect 3 "cut.json" "$work/cut.json"

# Several runs in one document, and back.
expect 0 "" last "$work/bench.json" -o "$work/both.html"
[ "$(grep -c 'id="run-data-' "$work/both.html")" = 2 ] || fail "both.html does not hold two runs"
expect 0 "" last "$work/bench.json" -o "$work/both.json"
expect 0 "== $id ==" "$work/both.json"
python3 tests/cli/run_schema.py "$work/both.json" >"$work/out" 2>"$work/err" || fail "several runs do not fit the schema"

# What compare measures fits the schema as well.
"$anemo" compare tests/golden/tiny/files/chatml.gguf --engine native -n 6 -r 2 --threads 1 -q --format json >"$work/real.json" 2>"$work/err" ||
    fail "compare"
python3 tests/cli/run_schema.py "$work/real.json" >"$work/out" 2>"$work/err" || fail "the JSON of compare does not fit the schema"
expect 0 "<!DOCTYPE html>" "$work/real.json" --html

exit "$failed"
