#!/bin/bash
# ask.sh CERTIFICATE ISSUER: what OpenSSL is told by OCSP (RFC 6960); the responder runs for this one question.
set -euo pipefail
: > responder.txt    # what the one before said is not waited for
pkicode serve ocsp --bind 127.0.0.1:0 2>> responder.txt &
trap 'kill $!' EXIT
until url=$(sed -n 's/^listening on //p' responder.txt) && [ -n "$url" ]; do
    kill -0 $! 2> alive.txt || { cat responder.txt >&2; exit 1; }
    sleep 0.1
done
openssl ocsp -no_nonce -issuer "public/ca/$2.pem" -cert "$1" -url "$url" \
    -CAfile public/bundle/trust.pem -verify_other "public/ca/$2.pem"
