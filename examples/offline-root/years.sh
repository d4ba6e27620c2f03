#!/bin/bash
# Half a year on, and then more than four, in a copy of this folder with a clock that is set forward: the root's list is
# signed again, the CA below is followed by the next, and the server's chain verifies with all lists, as OpenSSL checks it.
set -euo pipefail
start=$(date +%s)
rm -rf ../rehearsal && cp -a . ../rehearsal && cd ../rehearsal
for half in 1 9; do
    now=$((start + half * 181 * 86400))
    PKICODE_NOW=$(date -u -d "@$now" +%FT%TZ)
    export PKICODE_NOW
    held=""
    until pkicode -q apply -y --allow-clock > applied.txt; do
        [ -z "$held" ] || { cat applied.txt >&2; exit 1; }      # one round is enough
        ./ceremony.sh > ceremony.txt
        held=$(sed -n 's/^imported //p' ceremony.txt | tr '\n' ' ')
    done
    for crl in public/crl/*.crl; do openssl crl -inform DER -in "$crl"; done > crls.pem
    openssl verify -x509_strict -attime "$now" -no-CApath -no-CAstore -CAfile public/bundle/trust.pem \
        -untrusted out/portal.pem -crl_check -crl_check_all -CRLfile crls.pem out/portal.pem > verified.txt
    echo "after $((6 * half)) months a ceremony for $held"
done
