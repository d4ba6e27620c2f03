#!/bin/bash
# A ceremony a year, in a copy of this folder with a clock that is set forward: the root's list is signed again, and the
# next certificate for who answers OCSP in its name; the CA below is followed by the next.  Each time the server's chain
# verifies with all lists, as OpenSSL checks it.  The half years to stop at may be named.
set -euo pipefail
start=$(date +%s)
rm -rf ../rehearsal && cp -a . ../rehearsal && cd ../rehearsal
for half in ${*:-1 3 5 7 9}; do
    now=$((start + half * 181 * 86400))
    PKICODE_NOW=$(date -u -d "@$now" +%FT%TZ)
    export PKICODE_NOW
    held=""
    until pkicode -q apply -y --allow-clock > applied.txt; do
        [ -z "$held" ] || { cat applied.txt >&2; exit 1; }      # one round is enough
        ./ceremony.sh > ceremony.txt
        held=$(sed -n 's/^imported //p' ceremony.txt | tr '\n' ' ')
    done
    ./verify.sh "$now"
    echo "after $((6 * half)) months a ceremony for $held"
done
