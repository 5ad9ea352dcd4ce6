# What the script of a page uses. The output of each block goes to a file, which `printed` reads.
exec 3>&1 4>&2
set -e
trap 'kill -KILL $(jobs -p) 2>/dev/null || true' EXIT
begin() {
    exec >"out-$1" 2>&1
    current="out-$1"
    line=$2
    trap 'failed $?' ERR
}
failed() {
    trap - ERR
    exec >&3 2>&4
    echo "the block in line $line failed with $1:"
    cat "$current"
    exit 1
}
must_fail() { [ "$status" -ne 0 ] || { echo 'it did not fail'; failed 0; }; }
install_file() {
    mkdir -p "$(dirname "$2")"
    cp "$1" "$2"
}
# Waits for what happens in any case, as long as the programs of the page run.
listening() {
    until command grep -q "$1 00000000:0000 0A" /proc/net/tcp; do
        [ -n "$(jobs -pr)" ] || { cat ./*.log; failed 'no listener'; }
        command sleep 0.02
    done
}
# A reader looks into a log later than it is written.
grep() { until command grep "$@"; do command sleep 0.02; done; }
# The comments of the page name what is waited for.
sleep() { :; }
# Each line of a file is in the output of a block; `…` stands for anything.
printed() {
    python3 - "out-$1" "$2" "$3" <<'EOF' >&3 2>&4 || exit 1
import re, sys
said = re.sub(r"\s+", " ", open(sys.argv[1], errors="replace").read())
for line in open(sys.argv[2]):
    line = " ".join(line.split())
    pattern = ".*".join(re.escape(part.strip()) for part in line.split("…"))
    if line and not re.search(pattern, said):
        sys.exit(f"line {sys.argv[3]}: the commands before it did not print {line!r}, but:\n{said}")
EOF
}
