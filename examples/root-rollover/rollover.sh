#!/bin/bash
# Lives through the change of the root in a copy of this folder, with a clock that is set forward a week at a time.
# On each of these days the server's chain is verified with every trust bundle that a client may still have.
set -euo pipefail
start=$(date +%s)
rm -rf ../rehearsal && cp -a . ../rehearsal && cd ../rehearsal
mkdir clients

verify() { # verify INSTANT BUNDLE LEAF: as a client that has this bundle, with every CRL there is
    openssl verify -x509_strict -attime "$1" -no-CApath -no-CAstore -CAfile "$2" \
        -untrusted "$3" -crl_check -crl_check_all -CRLfile crls.pem "$3"
}

ask() { # by OCSP, of a responder that runs for this one question: good or revoked
    sed '1,/END CERTIFICATE/d' out/web.pem > issuer.pem
    : > responder.txt # what the one before said is not what this one says
    pkicode serve ocsp --bind 127.0.0.1:0 2> responder.txt &
    until url=$(sed -n 's/^listening on //p' responder.txt) && [ -n "$url" ]; do
        kill -0 $! || { cat responder.txt >&2; return 1; }
        sleep 0.1
    done
    pkicode ocsp query out/web.pem issuer.pem --url "$url" > answer.txt
    kill $!
    grep -ow -m1 'good\|revoked' answer.txt
}

for day in $(seq 0 7 147); do
    now=$((start + day * 86400))
    PKICODE_NOW=$(date -u -d "@$now" +%FT%TZ)
    export PKICODE_NOW
    allow=()
    if [ "$day" = 14 ]; then
        # The change: the root is to have a stronger key.  That makes its next generation, and takes leave.
        sed -i 's/^overlap/key = { alg = "ec-p384" }\noverlap/' pki.toml
        allow=(--allow root-change=root)
    fi
    pkicode -q apply -y --allow-clock "${allow[@]}" > applied.txt
    cp public/bundle/trust.pem "clients/$now"
    for crl in public/crl/*.crl; do openssl crl -inform DER -in "$crl"; done > crls.pem
    for bundle in clients/*; do
        # Whoever has not fetched the bundle for longer than the overlap was promised nothing.
        if [ "$(basename "$bundle")" -ge $((now - 60 * 86400)) ]; then
            verify "$now" "$bundle" out/web.pem > verified.txt
        fi
    done
    echo "day $day: $(grep -c BEGIN public/bundle/trust.pem) trusted, chain of $(grep -c BEGIN out/web.pem)"
    case $day in 0 | 42 | 147) echo "by OCSP: $(ask)" ;; esac
done

told() { verify "$now" "$1" "$2" > verified.txt 2>&1 && echo accepted || echo refused; }
echo "by a client with the old root alone: $(told public/ca/root-g1.pem out/web.pem)"
echo "by a client with today's bundle: $(told public/bundle/trust.pem out/web.pem)"
echo "what the old root signed, by a client with today's bundle: $(told public/bundle/trust.pem public/ca/issuing-g1.pem)"
