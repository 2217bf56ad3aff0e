#!/bin/sh
# Installs Debian's packages that tests drive: a browser, a shell, a database, an OCR. Where it cannot (no apt-get, or not
# root), it says which are missing; their tests are skipped and say why.
missing=""
for program in chromium zsh npm; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
command -v google-chrome >/dev/null && missing=$(echo "$missing" | sed 's/ chromium//')
# painted letters are read by an OCR, in four scripts
tesseract --list-langs 2>/dev/null | grep -q chi_sim ||
    missing="$missing tesseract-ocr tesseract-ocr-rus tesseract-ocr-ara tesseract-ocr-chi-sim"
[ -d /usr/lib/postgresql ] || missing="$missing postgresql" # the service keeps its jobs in a real one, too
[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    # shellcheck disable=SC2086 # words
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing && exit 0
fi
echo "some tests are skipped: install$missing, on Debian by apt-get install$missing as root" >&2
