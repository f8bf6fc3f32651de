#!/bin/sh
# The browser test against a real server: run.sh BINARY
# Makes a small shop in a temporary directory (deterministic CSV, import, nightly), serves it on a free port, signs in, clicks, and removes
# everything. E2E_SHOTS = where the screenshots go (default build/e2e). It fails, never skips, when something is missing.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 BINARY" >&2; exit 2; }
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
here=$(cd "$(dirname "$0")" && pwd)
[ -x "$binary" ] || { echo "$binary is not there; build it first (make build)" >&2; exit 1; }
[ -d "$here/../node_modules/playwright-core" ] || { echo "run \`npm ci\` in api/web first" >&2; exit 1; }
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || { echo "no Chromium at ${CHROMIUM:-/usr/bin/chromium}; install it (apt-get install chromium) or set CHROMIUM" >&2; exit 1; }

work=$(mktemp -d)
server=
finish() {
  code=$?
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  if [ "$code" -ne 0 ] && [ -s "$work/serve.log" ]; then echo "--- the server's last lines" >&2; tail -n 15 "$work/serve.log" >&2; fi
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

cat > "$work/perennial.yaml" <<YAML
timezone: Asia/Shanghai
currency: CNY
clock: 2026-03-02T04:00:00Z
refund_maturity_days: 5
YAML
p() { "$binary" "$@" --data "$work/data" --config "$work/perennial.yaml"; }

node "$here/shop.mjs" csv "$work/orders.csv"
p import events "$work/orders.csv" --map user_id=user_id --map ts=created_at --map value=total --map margin=margin --map order_id=order_id --map category=category --json > "$work/import.json"
key=$(p keys create --role admin --name e2e --json | sed -n 's/.*"key" *: *"\([^"]*\)".*/\1/p')
[ -n "$key" ] || { echo "keys create printed no key" >&2; exit 1; }
port=$(node -e 'const s = require("net").createServer(); s.listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
base=http://127.0.0.1:$port
"$binary" serve --addr "127.0.0.1:$port" --data "$work/data" --config "$work/perennial.yaml" > "$work/serve.log" 2>&1 &
server=$!
i=0
until node -e "fetch('$base/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"; do
  i=$((i + 1))
  [ "$i" -lt 100 ] && kill -0 "$server" 2>/dev/null || { echo "the server did not become ready" >&2; exit 1; }
  sleep 0.2
done
node "$here/shop.mjs" traffic "$base" "$key"
p nightly --json > "$work/nightly.json" 2> "$work/nightly.log" || { tail -n 20 "$work/nightly.log" >&2; exit 1; }
BASE_URL=$base SIGNIN_KEY=$key node "$here/e2e.mjs"
