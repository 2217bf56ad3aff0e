#!/usr/bin/env bash
# Paints a photograph through a running `impasto serve`, with curl alone.
#
#   paint.sh PHOTO STYLE OUT        STYLE is a picture, or an id of /v1/styles such as museum:436535
#
# IMPASTO_SERVICE is the address, IMPASTO_KEY the key if the service asks for one.
set -euo pipefail

photo=$1 style=$2 out=$3
service=${IMPASTO_SERVICE:-http://127.0.0.1:8000}
call=(curl --silent --show-error --fail-with-body --header "Authorization: Bearer ${IMPASTO_KEY:-}")
quoted() { printf '%s' "$1" | sed 's/[\\"]/\\&/g; s/.*/"&"/'; } # or curl would part a name at ; and ,
content="content=@$(quoted "$photo")"
if [ -f "$style" ]; then what=(-F "style=@$(quoted "$style")"); else what=(--form-string "style=$style"); fi

# At once: the answer is the picture, and breaking off stops the painting.
"${call[@]}" "$service/v1/stylize" -F "$content" "${what[@]}" -F quality=draft --output "$out"

# As a job: it goes on while nobody waits. A repeated request with the same key starts no second one.
answer=$("${call[@]}" "$service/v1/jobs" --header "Idempotency-Key: $RANDOM$RANDOM" \
    -F "$content" "${what[@]}" -F quality=draft -F format=jpg)
job=$(sed -E 's/.*"id": ?"([0-9a-f]+)".*/\1/' <<<"$answer")

# Its events, to the last.
"${call[@]}" --no-buffer "$service/v1/jobs/$job/events" | grep --line-buffered '^event: '

"${call[@]}" "$service/v1/jobs/$job/result" --output "${out%.*}.jpg"
