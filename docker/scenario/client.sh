#!/bin/sh
# What the client sees. Ends with an error at the first thing that is not as it should be.
set -eu

fail() {
  echo "NOT AS IT SHOULD BE: $*" >&2
  exit 1
}

# The proxy and the origins have been started a moment ago, so that the first answers may take a while.
get() {
  curl --silent --show-error --retry 30 --retry-delay 1 --retry-all-errors "$@"
}

echo "== the proxy is the only way out"
if curl --silent --noproxy '*' --connect-timeout 5 http://192.0.2.1/; then fail "there is a way to the internet"; fi
if curl --silent --noproxy '*' --connect-timeout 5 --insecure https://bank.example/; then fail "there is a way to the origin"; fi
echo "neither the internet nor the origin can be reached past it"

echo "== https://bank.example/: the pinned host, with the pinned key"
answer=$(get https://bank.example/)
echo "$answer"
[ "$answer" = "the origin" ] || fail "this is not the page of the origin"

echo "== https://shop.example:8443/: the other one, where nothing is pinned"
answer=$(get https://shop.example:8443/)
echo "$answer"
[ "$answer" = "somebody else" ] || fail "its certificate should be good enough for a host that is not pinned"

echo "== https://bank.example:8443/: the other one, under the name that is pinned"
if curl --silent --show-error --verbose https://bank.example:8443/ >/tmp/answer 2>/tmp/said; then
  cat /tmp/answer
  fail "this should have been refused"
fi
grep -E '^< (HTTP|proxy-status)|^curl:' /tmp/said || fail "there is no answer: $(cat /tmp/said)"
grep -q '^< HTTP/1.1 502 Certificate pin mismatch for bank.example (pinset bank)' /tmp/said || fail "refused for another reason"
[ ! -s /tmp/answer ] || fail "something came through: $(cat /tmp/answer)"

echo "== all as it should be"
